//! Linux: kernel/fork.c, `pidfd_fops`. A descriptor that stands for a process.

use crate::{CurrentTask, Kernel, Pid, PidNamespace, ThreadGroup};
use fs_vfs::{File, FileOps, PollTable, Pseudo, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, ESRCH};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLHUP, POLLIN, POLLRDNORM};
use std::any::Any;
use std::sync::{Arc, Weak};

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
}

impl PidFd {
    /// What `/proc/[pid]/fdinfo` of an instance for `ns` shows: the process's numbers from there down, 0 if it cannot be
    /// seen, -1 once it has been reaped. Linux: `pidfd_show_fdinfo`.
    pub fn fdinfo(&self, ns: &Arc<PidNamespace>) -> String {
        let nr = self.pid.nr_in(ns);
        if still_there(&self.group).is_err() {
            return "Pid:\t-1\nNSpid:\t-1\n".to_owned();
        }
        let below = if nr == 0 { Vec::new() } else { self.pid.numbers_from(ns) };
        let below: String = below.iter().skip(1).map(|nr| format!("\t{nr}")).collect();
        format!("Pid:\t{nr}\nNSpid:\t{nr}{below}\n")
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

/// What procfs attaches to the inode of a process's directory.
pub struct ProcPid(pub Weak<Pid>);

/// The process behind a directory of `/proc`, which pidfd_send_signal(2) takes for a pidfd. Linux: `tgid_pidfd_to_pid`.
///
/// # Errors
/// `EBADF` if it is no such directory; `ESRCH` if the process is gone.
pub fn tgid_pidfd_group(kernel: &Kernel, file: &File) -> Result<(Arc<Pid>, Arc<ThreadGroup>), Errno> {
    let pid = file.inode().attached::<ProcPid>().ok_or(EBADF)?.0.upgrade().ok_or(ESRCH)?;
    let tree = kernel.tree.lock();
    let process = tree.processes.get(&pid.global()).filter(|p| Arc::ptr_eq(&p.group.pid, &pid));
    let group = process.ok_or(ESRCH)?.group.clone();
    drop(tree);
    Ok((pid, group))
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
