//! Small files of a process. Linux: fs/proc/base.c, except where noted.

use crate::pid::ProcTask;
use crate::pid::entry::{View, parse_int};
use crate::procfs::{capable_admin, current};
use crate::seq::put;
use fs_kernfs::{DirNode, Emit, Node, NodeAttr, NodeOps, SeqNode, emit_names};
use fs_vfs::{FIRST_ENTRY, File, FileType, TaskContext};
use sentry_auth::{CapSet, ns_capable};
use sentry_kernel::Task;
use sentry_mm::IoSrc;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, ENOENT, EPERM, ESRCH};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Dump private and shared anonymous memory, and ELF headers. Linux: include/linux/sched/coredump.h,
/// `MMF_DUMP_FILTER_DEFAULT`.
const MMF_DUMP_FILTER_DEFAULT: u32 = 0x33;
/// Timer slack a task gets back by writing 0, in nanoseconds. Linux: init/init_task.c.
const DEFAULT_TIMER_SLACK: u64 = 50_000;

/// Takes a write without effect.
pub(crate) fn ignore(_view: &View<'_>, _bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    Ok(())
}

/// For a file that can only be written.
pub(crate) fn unreadable(_view: &View<'_>, _out: &mut Vec<u8>) -> Result<(), Errno> {
    Err(EINVAL)
}

/// Linux: fs/proc/task_mmu.c, `clear_refs_write`: there are no reference bits to clear.
pub(crate) fn clear_refs(_view: &View<'_>, bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    if (1..=5).contains(&parse_int(bytes)?) { Ok(()) } else { Err(EINVAL) }
}

/// The task, for those who could attach to it. Linux: `lock_trace`.
fn lock_trace<'a>(view: &'a View<'_>) -> Result<&'a Arc<Task>, Errno> {
    let task = view.who.task().ok_or(ESRCH)?;
    if view.may_access() { Ok(task) } else { Err(EPERM) }
}

pub(crate) fn personality(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    put(out, format_args!("{:08x}\n", lock_trace(view)?.personality.load(Ordering::Relaxed)));
    Ok(())
}

/// Registers of a task that sleeps are not told: the number is, and that it is in the kernel.
pub(crate) fn syscall(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let task = lock_trace(view)?;
    match task.current_syscall().filter(|_| task.run_state() != 'R') {
        Some(nr) => put(out, format_args!("{nr} 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n")),
        None => out.extend_from_slice(b"running\n"),
    }
    Ok(())
}

/// Where a task sleeps in the kernel: nowhere that has a name.
pub(crate) fn wchan(_view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.push(b'0');
    Ok(())
}

/// The kernel's stack of a task is not the guest's to see.
pub(crate) fn stack(view: &View<'_>, _out: &mut Vec<u8>) -> Result<(), Errno> {
    if capable_admin(view.ctx, view.file.cred()) { Ok(()) } else { Err(EACCES) }
}

/// Linux: kernel/cgroup/cpuset.c, `proc_cpuset_show`.
pub(crate) fn cpuset(_view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.extend_from_slice(b"/\n");
    Ok(())
}

/// Linux: kernel/cgroup/cgroup.c, `proc_cgroup_show`: everything is in the root of the one hierarchy.
pub(crate) fn cgroup(_view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.extend_from_slice(b"0::/\n");
    Ok(())
}

/// A login id, or audit session, that was never set.
pub(crate) fn audit_unset(_view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    put(out, format_args!("{}", u32::MAX));
    Ok(())
}

/// Without auditing, the one login id a task can be given is none. Linux: `proc_loginuid_write`.
pub(crate) fn store_loginuid(view: &View<'_>, bytes: &[u8], pos: u64) -> Result<(), Errno> {
    let own = current(view.ctx).is_some_and(|c| view.who.task().is_some_and(|t| Arc::ptr_eq(t, c.task())));
    if !own {
        return Err(EPERM);
    }
    if pos != 0 {
        return Err(EINVAL);
    }
    let id = u32::try_from(parse_int(bytes)?).map_err(|_| EINVAL)?;
    if id == u32::MAX { Ok(()) } else { Err(EPERM) }
}

/// No core is dumped; the mask says what would be.
pub(crate) fn coredump_filter(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    if view.who.mm().is_some() {
        put(out, format_args!("{MMF_DUMP_FILTER_DEFAULT:08x}\n"));
    }
    Ok(())
}

/// Linux: `do_io_accounting`. Bytes are not counted by task.
pub(crate) fn io(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    if !view.may_access() {
        return Err(EACCES);
    }
    for label in ["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"] {
        put(out, format_args!("{label}: 0\n"));
    }
    Ok(())
}

/// Linux: `timers_start`, `show_timer`: none are listed.
pub(crate) fn timers(_view: &View<'_>, _out: &mut Vec<u8>) -> Result<(), Errno> {
    Ok(())
}

/// The task, for itself and those who may change its scheduling.
fn slack_task<'a>(view: &'a View<'_>) -> Result<&'a Arc<Task>, Errno> {
    let task = view.who.task().ok_or(ESRCH)?;
    let own = current(view.ctx).is_some_and(|c| Arc::ptr_eq(c.task(), task));
    let capable = || ns_capable(&view.ctx.cred(), &task.cred().user_ns, CapSet::SYS_NICE);
    if own || capable() { Ok(task) } else { Err(EPERM) }
}

pub(crate) fn timerslack_ns(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    put(out, format_args!("{}\n", slack_task(view)?.timer_slack.load(Ordering::Relaxed)));
    Ok(())
}

pub(crate) fn store_timerslack_ns(view: &View<'_>, bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    let slack = u64::try_from(parse_int(bytes)?).map_err(|_| EINVAL)?;
    let slack = if slack == 0 { DEFAULT_TIMER_SLACK } else { slack };
    slack_task(view)?.timer_slack.store(slack, Ordering::Relaxed);
    Ok(())
}

/// `/proc/[pid]/attr`, as without a security module.
struct AttrDir {
    at: ProcTask,
}

const ATTRS: [&str; 6] = ["current", "prev", "exec", "fscreate", "keycreate", "sockcreate"];

pub(crate) fn attr_dir(at: &ProcTask) -> Node {
    Node::dir(AttrDir { at: at.clone() })
}

impl NodeOps for AttrDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(0o555, true)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl DirNode for AttrDir {
    fn lookup(&self, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        let perm = match str::from_utf8(name).ok().filter(|n| ATTRS.contains(n)).ok_or(ENOENT)? {
            "prev" => 0o444,
            _ => 0o666,
        };
        Ok(Node::seq(SecurityAttr { at: self.at.clone(), perm }))
    }

    fn list(&self, _ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        emit_names(ATTRS.iter().map(|n| (n.as_bytes(), FileType::Regular)), FIRST_ENTRY, from, emit);
        Ok(())
    }
}

/// A security attribute nobody provides.
struct SecurityAttr {
    at: ProcTask,
    perm: u32,
}

impl NodeOps for SecurityAttr {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(self.perm, false)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl SeqNode for SecurityAttr {
    /// Linux: `security_getprocattr` without a module.
    fn show(&self, _file: &File, _ctx: &dyn TaskContext, _out: &mut Vec<u8>) -> Result<(), Errno> {
        Err(EINVAL)
    }

    fn write(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        _src: &mut IoSrc<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        Err(EINVAL)
    }
}
