//! `/proc/[pid]/task`. Linux: fs/proc/base.c, `proc_task_lookup`, `proc_task_readdir`.

use crate::pid::fd::name_to_int;
use crate::pid::{PidDir, ProcTask};
use fs_kernfs::{DirNode, Emit, Node, NodeAttr, NodeOps};
use fs_vfs::{FIRST_ENTRY, FileType, TaskContext};
use sentry_kernel::Pid;
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOENT;
use std::any::Any;
use std::sync::Arc;

struct TaskDir {
    at: ProcTask,
}

pub(crate) fn node(at: &ProcTask) -> Node {
    Node::dir(TaskDir { at: at.clone() })
}

impl TaskDir {
    /// Ids of the threads, and of a leader that has ended before them.
    fn threads(&self) -> Result<Vec<Arc<Pid>>, Errno> {
        let group = self.at.subject().map_err(|_| ENOENT)?.group;
        let mut pids: Vec<Arc<Pid>> = group.threads().iter().map(|t| t.pid()).collect();
        if !pids.iter().any(|pid| Arc::ptr_eq(pid, &group.pid)) {
            pids.push(group.pid.clone());
        }
        Ok(pids)
    }
}

impl NodeOps for TaskDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        let count = u32::try_from(self.threads()?.len()).unwrap_or(u32::MAX);
        Ok(NodeAttr { nlink: count.saturating_add(2), ..self.at.attr(0o555, true)? })
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl DirNode for TaskDir {
    fn lookup(&self, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        let nr = name_to_int(name).ok_or(ENOENT)?;
        let fs = &self.at.fs;
        let pid = fs.pid_ns.find(nr).ok_or(ENOENT)?;
        let thread = ProcTask::new(fs, &pid, false);
        let group = self.at.subject().map_err(|_| ENOENT)?.group;
        let of_group = thread.subject().is_ok_and(|t| Arc::ptr_eq(&t.group, &group));
        if of_group { Ok(PidDir::node(thread)) } else { Err(ENOENT) }
    }

    fn list(&self, _ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let ns = &self.at.fs.pid_ns;
        let mut numbers: Vec<u32> = self.threads()?.iter().map(|pid| pid.nr_in(ns)).collect();
        numbers.sort_unstable();
        for nr in numbers {
            let next = u64::from(nr) + FIRST_ENTRY + 1;
            if next > from && !emit(nr.to_string().as_bytes(), FileType::Directory, next) {
                break;
            }
        }
        Ok(())
    }
}
