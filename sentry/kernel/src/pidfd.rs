//! Linux: kernel/fork.c, `pidfd_fops`. A descriptor that stands for a process.

use crate::{CurrentTask, Pid, ThreadGroup};
use fs_vfs::{File, FileOps, PollTable, Pseudo, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, ESRCH};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLHUP, POLLIN, POLLRDNORM};
use std::any::Any;
use std::sync::Arc;

/// What stands behind a pidfd.
pub struct PidFd {
    /// The process's id, kept from being given out again.
    pub pid: Arc<Pid>,
    /// The process.
    pub group: Arc<ThreadGroup>,
}

impl FileOps for PidFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn seekable(&self) -> bool {
        false
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait(self.group.exit_queue());
        if !self.group.is_dead() {
            return 0;
        }
        let reaped = self
            .group
            .kernel
            .upgrade()
            .is_none_or(|k| !k.tree.lock().processes.contains_key(&self.group.id()));
        POLLIN | POLLRDNORM | if reaped { POLLHUP } else { 0 }
    }

    fn show_fdinfo(&self, _file: &File) -> String {
        format!("Pid:\t{}\nNSpid:\t{}\n", self.pid.global(), self.pid.global())
    }
}

/// A file for a process. Linux: `pidfd_prepare`.
pub fn pidfd_file(task: &CurrentTask, pid: Arc<Pid>, group: Arc<ThreadGroup>, nonblock: bool) -> Arc<File> {
    let flags = OpenFlags::RDWR | if nonblock { OpenFlags::NONBLOCK } else { OpenFlags::empty() };
    task.vfs().pseudo_file(Pseudo::Anon, "[pidfd]", Box::new(PidFd { pid, group }), flags, task.task().cred())
}

/// The process behind a descriptor. Linux: `pidfd_pid`.
///
/// # Errors
/// `EBADF` if it is no pidfd.
pub fn pidfd_group(file: &File) -> Result<(Arc<Pid>, Arc<ThreadGroup>), Errno> {
    file.downcast::<PidFd>().map(|p| (p.pid.clone(), p.group.clone())).ok_or(EBADF)
}

/// The process that a pidfd or a directory `/proc/[pid]` stands for. Linux: kernel/signal.c, `pidfd_to_pid`.
///
/// # Errors
/// `EBADF` if it is neither; `ESRCH` if the process is gone.
pub fn pidfd_to_pid(task: &CurrentTask, file: &File) -> Result<(Arc<Pid>, Arc<ThreadGroup>), Errno> {
    if let Ok(found) = pidfd_group(file) {
        return Ok(found);
    }
    let pid = file.inode().ops().process().ok_or(EBADF)?.downcast::<Pid>().map_err(|_| EBADF)?;
    let group = task.kernel().tree.lock().processes.get(&pid.global()).map(|p| p.group.clone());
    Ok((pid, group.ok_or(ESRCH)?))
}

/// A process that may be gone.
///
/// # Errors
/// `ESRCH` if it has been reaped.
pub fn still_there(group: &Arc<ThreadGroup>) -> Result<(), Errno> {
    let kernel = group.kernel.upgrade().ok_or(ESRCH)?;
    let there = kernel.tree.lock().processes.get(&group.id()).is_some_and(|p| Arc::ptr_eq(&p.group, group));
    if there { Ok(()) } else { Err(ESRCH) }
}
