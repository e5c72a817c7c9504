//! `/proc` itself. Linux: fs/proc/root.c, fs/proc/base.c (`proc_pid_lookup`, `proc_pid_readdir`).

mod cpuinfo;
mod devices;
mod hardware;
mod ipc;
mod keys;
mod loadavg;
mod locks;
mod meminfo;
mod selflink;
mod stat;
mod tree;
mod uptime;
mod version;
mod vmstat;

pub(crate) use meminfo::memory_total;

use crate::pid::{PidDir, ProcTask, name_to_int};
use crate::procfs::{Caller, HidePid, Instance};
use fs_kernfs::{DirNode, Emit, Node, NodeAttr, NodeOps, StaticDir};
use fs_vfs::{FileType, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOENT;
use std::any::Any;
use std::sync::Arc;

/// Positions from here on are those of processes. Linux: `FIRST_PROCESS_ENTRY`.
const FIRST_PROCESS_ENTRY: u64 = 1 << 16;

/// The root directory of an instance.
pub(crate) struct RootDir {
    fs: Arc<Instance>,
    entries: StaticDir,
}

impl RootDir {
    pub(crate) fn new(fs: Arc<Instance>) -> RootDir {
        let entries = tree::entries(&fs);
        RootDir { fs, entries }
    }

    /// Puts out the processes from a position on. Linux: `proc_pid_readdir`.
    fn list_processes(&self, ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let kernel = self.fs.shared.kernel()?;
        let who = Caller::new(ctx);
        let mut nr = u32::try_from(from.saturating_sub(FIRST_PROCESS_ENTRY)).unwrap_or(u32::MAX).max(1);
        while let Some((found, pid)) = self.fs.pid_ns.find_ge(nr) {
            nr = found.saturating_add(1);
            let group = {
                let tree = kernel.tree.lock();
                tree.processes.get(&pid.global()).map(|p| p.group.clone())
            };
            // An id that is only a thread's, a process group's or a session's is not listed.
            let Some(group) = group.filter(|g| Arc::ptr_eq(&g.pid, &pid)) else { continue };
            if self.fs.options.hidepid >= HidePid::Invisible {
                let at = ProcTask::new(&self.fs, &group.pid, true);
                let hidden = |t| !self.fs.has_pid_permissions(&who, &t, HidePid::Invisible);
                if at.task().is_ok_and(hidden) {
                    continue;
                }
            }
            let next = FIRST_PROCESS_ENTRY + u64::from(nr);
            if !emit(found.to_string().as_bytes(), FileType::Directory, next) {
                break;
            }
        }
        Ok(())
    }
}

impl NodeOps for RootDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    /// Each process counts as a link. Linux: `proc_root_getattr`.
    fn attr(&self) -> Result<NodeAttr, Errno> {
        let attr = self.entries.attr()?;
        let processes = self.fs.shared.kernel().map_or(0, |k| k.tree.lock().processes.len());
        let nlink = attr.nlink.saturating_add(u32::try_from(processes).unwrap_or(u32::MAX));
        Ok(NodeAttr { nlink, ..attr })
    }
}

impl DirNode for RootDir {
    fn lookup(&self, ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        let Some(nr) = name_to_int(name) else { return self.entries.lookup(ctx, name) };
        let pid = self.fs.pid_ns.find(nr).ok_or(ENOENT)?;
        let at = ProcTask::new(&self.fs, &pid, true);
        let task = at.subject().map_err(|_| ENOENT)?;
        if self.fs.options.hidepid == HidePid::NotPtraceable {
            let visible = |t| self.fs.has_pid_permissions(&Caller::new(ctx), t, HidePid::NotPtraceable);
            if !task.task().is_some_and(visible) {
                return Err(ENOENT);
            }
        }
        Ok(PidDir::node(at))
    }

    fn still_missing(&self, name: &[u8]) -> bool {
        name_to_int(name).is_none() && self.entries.still_missing(name)
    }

    fn list(&self, ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let mut full = false;
        if from < FIRST_PROCESS_ENTRY {
            self.entries.list(ctx, from, &mut |name: &[u8], file_type, next| {
                full = !emit(name, file_type, next);
                !full
            })?;
        }
        if full { Ok(()) } else { self.list_processes(ctx, from, emit) }
    }
}
