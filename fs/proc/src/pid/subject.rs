//! Whom a directory of `/proc` is about. Linux: fs/proc/base.c, `get_proc_task`, `task_dump_owner`.

use crate::procfs::{Caller, Instance};
use fs_kernfs::NodeAttr;
use fs_vfs::TaskContext;
use sentry_auth::{Cred, Kgid, Kuid};
use sentry_kernel::{DeadLeader, Kernel, Pid, Task, ThreadGroup};
use sentry_mm::{MemoryManager, dumpable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, ENOENT, ESRCH};
use std::sync::{Arc, Weak};

/// A process or thread by its id; perhaps gone.
#[derive(Clone)]
pub(crate) struct ProcTask {
    pub(crate) fs: Arc<Instance>,
    pid: Weak<Pid>,
    /// Reached as `/proc/[pid]`: numbers are those of the whole process.
    pub(crate) whole: bool,
}

/// What became of the thread.
enum Life {
    Alive(Arc<Task>),
    /// Only a leader outlives its own end.
    Dead(DeadLeader),
}

/// A process or thread that is there.
pub(crate) struct Subject {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) pid: Arc<Pid>,
    pub(crate) group: Arc<ThreadGroup>,
    life: Life,
}

impl ProcTask {
    pub(crate) fn new(fs: &Arc<Instance>, pid: &Arc<Pid>, whole: bool) -> ProcTask {
        ProcTask { fs: fs.clone(), pid: Arc::downgrade(pid), whole }
    }

    /// Its id.
    pub(crate) fn pid(&self) -> Weak<Pid> {
        self.pid.clone()
    }

    /// The process or thread.
    ///
    /// # Errors
    /// `ESRCH` if it is gone.
    pub(crate) fn subject(&self) -> Result<Subject, Errno> {
        let pid = self.pid.upgrade().ok_or(ESRCH)?;
        let kernel = self.fs.shared.kernel()?;
        let (group, life) = {
            let tree = kernel.tree.lock();
            match tree.tasks.get(&pid.global()).filter(|t| Arc::ptr_eq(&t.pid(), &pid)) {
                Some(task) => (task.group.clone(), Life::Alive(task.clone())),
                None => {
                    let process = tree.processes.get(&pid.global());
                    let group =
                        process.map(|p| &p.group).filter(|g| Arc::ptr_eq(&g.pid, &pid)).ok_or(ESRCH)?;
                    (group.clone(), Life::Dead(group.dead_leader().ok_or(ESRCH)?))
                }
            }
        };
        Ok(Subject { kernel, pid, group, life })
    }

    /// The thread.
    ///
    /// # Errors
    /// `ESRCH` if it has ended.
    pub(crate) fn task(&self) -> Result<Arc<Task>, Errno> {
        self.subject()?.task().cloned().ok_or(ESRCH)
    }

    /// Whether it is there.
    pub(crate) fn exists(&self) -> bool {
        self.subject().is_ok()
    }

    /// Attributes of an entry: the task's effective ids, but root's where the task must not be looked into. Linux:
    /// `task_dump_owner`.
    pub(crate) fn attr(&self, perm: u32, is_dir: bool) -> Result<NodeAttr, Errno> {
        let subject = self.subject().map_err(|_| ENOENT)?;
        let (uid, gid) = subject.dump_owner(is_dir && perm == 0o555);
        Ok(NodeAttr { nlink: if is_dir { 2 } else { 1 }, ..NodeAttr::root(perm).owned_by(uid, gid) })
    }

    /// The task, if the caller may look into it. Linux: `proc_mem_open`, `proc_fd_access_allowed`.
    ///
    /// # Errors
    /// `EACCES`; `ENOENT` if the task has ended.
    pub(crate) fn access(&self, ctx: &dyn TaskContext) -> Result<Arc<Task>, Errno> {
        let task = self.task().map_err(|_| ENOENT)?;
        if Caller::new(ctx).may_access(&task) { Ok(task) } else { Err(EACCES) }
    }
}

impl Subject {
    /// The thread; none once it has ended.
    pub(crate) fn task(&self) -> Option<&Arc<Task>> {
        match &self.life {
            Life::Alive(task) => Some(task),
            Life::Dead(_) => None,
        }
    }

    /// Its address space; none once it is exiting.
    pub(crate) fn mm(&self) -> Option<Arc<MemoryManager>> {
        self.task()?.mm().ok()
    }

    /// Its name.
    pub(crate) fn comm(&self) -> Vec<u8> {
        match &self.life {
            Life::Alive(task) => task.comm(),
            Life::Dead(leader) => leader.comm.clone(),
        }
    }

    /// Its credentials.
    pub(crate) fn cred(&self) -> Arc<Cred> {
        match &self.life {
            Life::Alive(task) => task.cred(),
            Life::Dead(leader) => leader.cred.clone(),
        }
    }

    /// What it is doing, as a letter. Linux: `task_state_array`.
    pub(crate) fn state(&self) -> char {
        match &self.life {
            Life::Alive(task) => task.run_state(),
            Life::Dead(_) => 'Z',
        }
    }

    /// Number of living threads of the process.
    pub(crate) fn num_threads(&self) -> usize {
        let tree = self.kernel.tree.lock();
        tree.processes.get(&self.group.id()).map_or(0, |p| p.threads.len())
    }

    /// Owner of an entry; `public` for directories everybody may enter.
    fn dump_owner(&self, public: bool) -> (Kuid, Kgid) {
        let cred = self.cred();
        if public {
            return (cred.euid, cred.egid);
        }
        let Some(mm) = self.mm() else { return (Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT) };
        if mm.dumpable() == dumpable::USER {
            return (cred.euid, cred.egid);
        }
        let ns = mm.user_ns().unwrap_or_else(|| self.kernel.user_ns.clone());
        let uid = Some(ns.make_kuid(0)).filter(|id| id.is_valid());
        let gid = Some(ns.make_kgid(0)).filter(|id| id.is_valid());
        (uid.unwrap_or(Kuid::GLOBAL_ROOT), gid.unwrap_or(Kgid::GLOBAL_ROOT))
    }
}
