//! The directories themselves. Linux: fs/proc/base.c, `tgid_base_stuff`, `tid_base_stuff`.

use crate::net::NetDir;
use crate::pid::entry::{PidEntry, What};
use crate::pid::{
    ProcTask, cmdline, comm, fd, gid_map, identity, limits, links, maps, mem, misc, mounts, ns, oom,
    projid_map, setgroups, smaps, stat, status, task_dir, timens_offsets, uid_map,
};
use crate::procfs::{Caller, HidePid};
use fs_kernfs::{DirNode, Emit, Node, NodeAttr, NodeOps, emit_names};
use fs_vfs::{Access, Attr, FIRST_ENTRY, FileType, Inode, TaskContext, generic_permission};
use sentry_auth::Cred;
use sentry_kernel::ProcPid;
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENOENT, EPERM};
use std::any::Any;

const fn entry(name: &'static str, perm: u32, what: What) -> PidEntry {
    PidEntry::new(name, perm, what)
}

/// What a process has, in Linux's order.
static TGID_BASE: &[PidEntry] = &[
    entry("task", 0o555, What::Dir(task_dir::node)),
    entry("fd", 0o500, What::Dir(fd::dir)),
    entry("map_files", 0o500, What::Dir(maps::map_files)),
    entry("fdinfo", 0o555, What::Dir(fd::info_dir)),
    entry("ns", 0o511, What::Dir(ns::dir)),
    entry("net", 0o555, What::Dir(NetDir::node)),
    entry("environ", 0o400, What::File(cmdline::environ)),
    entry("auxv", 0o400, What::Private(cmdline::auxv)),
    entry("status", 0o444, What::Public(status::show)),
    entry("personality", 0o400, What::Public(misc::personality)),
    entry("limits", 0o444, What::Public(limits::show)),
    entry("sched", 0o644, What::Store(stat::sched, misc::ignore)),
    entry("timens_offsets", 0o644, What::File(timens_offsets::node)),
    entry("comm", 0o644, What::Store(comm::show, comm::store)),
    entry("syscall", 0o400, What::Public(misc::syscall)),
    entry("cmdline", 0o444, What::File(cmdline::cmdline)),
    entry("stat", 0o444, What::Public(stat::show)),
    entry("statm", 0o444, What::Public(stat::statm)),
    entry("maps", 0o444, What::File(maps::node)),
    entry("numa_maps", 0o444, What::File(maps::numa)),
    entry("mem", 0o600, What::File(mem::node)),
    entry("cwd", 0o777, What::Link(links::cwd)),
    entry("root", 0o777, What::Link(links::root)),
    entry("exe", 0o777, What::Link(links::exe)),
    entry("mounts", 0o444, What::File(mounts::mounts)),
    entry("mountinfo", 0o444, What::File(mounts::mountinfo)),
    entry("mountstats", 0o400, What::File(mounts::mountstats)),
    entry("clear_refs", 0o200, What::Store(misc::unreadable, misc::clear_refs)),
    entry("smaps", 0o444, What::File(smaps::node)),
    entry("smaps_rollup", 0o444, What::Private(smaps::rollup)),
    entry("pagemap", 0o400, What::File(mem::pagemap)),
    entry("attr", 0o555, What::Dir(misc::attr_dir)),
    entry("wchan", 0o444, What::Public(misc::wchan)),
    entry("stack", 0o400, What::Public(misc::stack)),
    entry("schedstat", 0o444, What::Public(stat::schedstat)),
    entry("cpuset", 0o444, What::Public(misc::cpuset)),
    entry("cgroup", 0o444, What::Public(misc::cgroup)),
    entry("oom_score", 0o444, What::Public(oom::score)),
    entry("oom_adj", 0o644, What::Store(oom::show_adj, oom::store_adj)),
    entry("oom_score_adj", 0o644, What::Store(oom::show_score_adj, oom::store_score_adj)),
    entry("loginuid", 0o644, What::Store(misc::audit_unset, misc::store_loginuid)),
    entry("sessionid", 0o444, What::Public(misc::audit_unset)),
    entry("coredump_filter", 0o644, What::Store(misc::coredump_filter, misc::ignore)),
    entry("io", 0o400, What::Public(misc::io)),
    entry("uid_map", 0o644, What::File(uid_map::node)),
    entry("gid_map", 0o644, What::File(gid_map::node)),
    entry("projid_map", 0o644, What::File(projid_map::node)),
    entry("setgroups", 0o644, What::File(setgroups::node)),
    entry("timers", 0o444, What::Public(misc::timers)),
    entry("timerslack_ns", 0o666, What::Store(misc::timerslack_ns, misc::store_timerslack_ns)),
];

/// What a process has and a thread has not.
const TGID_ONLY: [&str; 7] =
    ["task", "map_files", "timens_offsets", "mountstats", "coredump_filter", "timers", "timerslack_ns"];

/// What a thread has and a process has not.
static TID_ONLY: &[PidEntry] = &[entry("children", 0o444, What::Public(identity::children))];

fn entries(whole: bool) -> impl Iterator<Item = &'static PidEntry> {
    let has = move |e: &&PidEntry| whole || !TGID_ONLY.contains(&e.name);
    TGID_BASE.iter().filter(has).chain(if whole { &[] } else { TID_ONLY })
}

/// The directory of a process or a thread.
pub(crate) struct PidDir {
    at: ProcTask,
}

impl PidDir {
    pub(crate) fn node(at: ProcTask) -> Node {
        Node::dir(PidDir { at })
    }
}

impl NodeOps for PidDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        let dirs = entries(self.at.whole).filter(|e| e.file_type() == FileType::Directory).count();
        let nlink = u32::try_from(dirs).unwrap_or(0) + 2;
        Ok(NodeAttr { nlink, ..self.at.attr(0o555, true)? })
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }

    /// Linux: `proc_pid_permission`.
    fn permission(&self, attr: &Attr, file_type: FileType, cred: &Cred, access: Access) -> Result<(), Errno> {
        let fs = &self.at.fs;
        if fs.options.hidepid != HidePid::Off
            && let Ok(task) = self.at.task()
        {
            let who = Caller::Cred(cred);
            if !fs.has_pid_permissions(&who, &task, HidePid::NoAccess) {
                let hidden = fs.options.hidepid >= HidePid::Invisible;
                return Err(if hidden { ENOENT } else { EPERM });
            }
        }
        generic_permission(attr, file_type, cred, access)
    }
}

impl DirNode for PidDir {
    fn attach(&self, inode: &Inode) {
        if self.at.whole {
            inode.attached_or(|| ProcPid(self.at.pid()));
        }
    }

    fn lookup(&self, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        let found = entries(self.at.whole).find(|e| e.name.as_bytes() == name).ok_or(ENOENT)?;
        if self.at.exists() { Ok(found.node(&self.at)) } else { Err(ENOENT) }
    }

    fn list(&self, _ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        if !self.at.exists() {
            return Err(ENOENT);
        }
        let names = entries(self.at.whole).map(|e| (e.name.as_bytes(), e.file_type()));
        emit_names(names, FIRST_ENTRY, from, emit);
        Ok(())
    }
}
