//! clone(2) as fork(2) with new namespaces and a pidfd.

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Which of the two processes goes on after [`clone_process`].
#[derive(Debug)]
pub enum Cloned {
    /// The caller.
    Parent {
        /// The child, as the caller's pid namespace numbers it.
        pid: Pid,
        /// A descriptor that becomes readable when the child is gone.
        pidfd: OwnedFd,
    },
    /// The new process, a copy of the caller in the new namespaces.
    Child,
}

/// Forks the calling process into the new namespaces that `flags` (`CLONE_NEW*` only) name. The child's death is
/// reported by SIGCHLD.
///
/// # Errors
/// As clone(2): `EPERM`, `ENOSPC` or `EUSERS` where the host allows no further namespaces.
///
/// # Safety
/// The calling process has a single thread: in the child no other thread exists, and locks those held would stay held.
pub unsafe fn clone_process(flags: CloneFlags) -> Result<Cloned, Errno> {
    let flags = flags.bits() | libc::SIGCHLD | libc::CLONE_PIDFD;
    let mut pidfd: RawFd = -1;
    // SAFETY: without CLONE_VM the child has its own copy of the stack; the kernel writes one descriptor to `pidfd`.
    let pid = Errno::result(unsafe {
        libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0, &raw mut pidfd, 0, 0)
    })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?);
    // SAFETY: clone succeeded, so `pidfd` is a descriptor of ours that nobody else knows.
    Ok(Cloned::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}
