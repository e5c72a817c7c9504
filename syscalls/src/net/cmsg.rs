//! Control messages: descriptors, ids and their layout. Linux: net/core/scm.c.

use crate::arg::Addr;
use fs_vfs::{File, TaskContext};
use sentry_kernel::{CurrentTask, pidfd_file};
use sentry_net::{CmsgWriter, ControlMsg, ScmCreds, SendControl, Socket, parse_cmsgs};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EINVAL, ENOBUFS, ESRCH};
use sentry_uapi::socket::{
    AF_NETLINK, AF_UNIX, MsgFlags, SCM_CREDENTIALS, SCM_MAX_FD, SCM_PIDFD, SCM_RIGHTS, SOL_SOCKET, Ucred,
};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// Most control data of one message. Linux: `/proc/sys/net/core/optmem_max`.
const OPTMEM_MAX: u64 = 20480;

/// The control messages to send, which stand in guest memory.
///
/// # Errors
/// `ENOBUFS` for too many; `EFAULT`; `EINVAL` for their layout; `EBADF`; `ESRCH` for credentials of nobody.
pub(super) fn scm_send(
    task: &CurrentTask,
    file: &File,
    control: Addr,
    len: u64,
) -> Result<Vec<SendControl>, Errno> {
    if len == 0 || control.0 == 0 {
        return Ok(Vec::new());
    }
    let len = usize::try_from(len).ok().filter(|_| len <= OPTMEM_MAX).ok_or(ENOBUFS)?;
    let bytes = task.user()?.read_array::<u8>(control.0, len)?;
    let family = Socket::of(file)?.family();
    let mut files = Vec::new();
    let mut out = Vec::new();
    for cmsg in parse_cmsgs(&bytes) {
        let cmsg = cmsg?;
        // Only these two families carry them; the others know nothing of them, and say so or not.
        let scm = cmsg.level == SOL_SOCKET && matches!(family, AF_UNIX | AF_NETLINK);
        match cmsg.ty {
            SCM_RIGHTS if scm && family == AF_UNIX => scm_fp_copy(task, cmsg.data, &mut files)?,
            SCM_CREDENTIALS if scm => out.push(SendControl::Credentials(read_creds(task, cmsg.data)?)),
            ty => out.push(SendControl::Other { level: cmsg.level, ty, data: cmsg.data.to_vec() }),
        }
    }
    if !files.is_empty() {
        out.push(SendControl::Rights(files));
    }
    Ok(out)
}

/// The files behind descriptors. Linux: `scm_fp_copy`.
fn scm_fp_copy(task: &CurrentTask, data: &[u8], files: &mut Vec<Arc<File>>) -> Result<(), Errno> {
    let count = data.len() / size_of::<i32>();
    if files.len() + count > SCM_MAX_FD {
        return Err(EINVAL);
    }
    let table = TaskContext::files(task);
    for fd in data.chunks_exact(size_of::<i32>()) {
        let fd = i32::read_from_bytes(fd).map_err(|_| EINVAL)?;
        files.push(table.get_raw(fd).ok_or(EBADF)?);
    }
    Ok(())
}

fn read_creds(task: &CurrentTask, data: &[u8]) -> Result<ScmCreds, Errno> {
    let ucred = Ucred::read_from_bytes(data).map_err(|_| EINVAL)?;
    let pid = task.pid_ns().find(ucred.pid).ok_or(ESRCH)?.global();
    ScmCreds::from_user(&TaskContext::cred(task).user_ns, ucred, pid)
}

/// Descriptors that were made for a message the guest has not been told of yet.
#[derive(Default)]
struct NewFds(Vec<(i32, Arc<File>)>);

/// Writes what came with a message to guest memory: the new `msg_controllen`, and flags.
///
/// # Errors
/// `EFAULT`; no descriptor is left behind then.
pub(super) fn scm_recv(
    task: &CurrentTask,
    received: Vec<ControlMsg>,
    control: Addr,
    len: u64,
    cloexec: bool,
) -> Result<(u64, MsgFlags), Errno> {
    let capacity = if control.0 == 0 { 0 } else { usize::try_from(len).unwrap_or(usize::MAX) };
    let mut writer = CmsgWriter::new(capacity);
    let mut fds = NewFds::default();
    for msg in received {
        match msg {
            ControlMsg::Rights(files) => scm_detach_fds(task, files, &mut writer, &mut fds, cloexec),
            ControlMsg::Credentials(creds) => {
                let ns = TaskContext::cred(task).user_ns.clone();
                let ucred = creds.to_user(&ns, pid_here(task, creds.pid));
                writer.put(SOL_SOCKET, SCM_CREDENTIALS, ucred.as_bytes());
            }
            ControlMsg::Pidfd(pid) => put_pidfd(task, pid, &mut writer, &mut fds),
            ControlMsg::Other { level, ty, data } => writer.put(level, ty, &data),
        }
    }
    let (bytes, flags) = writer.finish();
    let told = task.user().and_then(|mm| mm.copy_to_user(control.0, &bytes));
    let table = TaskContext::files(task);
    for (fd, file) in fds.0 {
        match told {
            Ok(()) => table.fd_install(fd, file),
            Err(_) => table.put_unused_fd(fd),
        }
    }
    told?;
    Ok((bytes.len() as u64, flags))
}

/// As many descriptors as there is room for. Linux: `scm_detach_fds`.
fn scm_detach_fds(
    task: &CurrentTask,
    files: Vec<Arc<File>>,
    writer: &mut CmsgWriter,
    fds: &mut NewFds,
    cloexec: bool,
) {
    let table = TaskContext::files(task);
    let wanted = files.len();
    let mut numbers = Vec::new();
    for file in files.into_iter().take(writer.room() / size_of::<i32>()) {
        let Ok(fd) = table.get_unused_fd(task, cloexec) else { break };
        numbers.push(fd);
        fds.0.push((fd, file));
    }
    if numbers.len() < wanted {
        writer.set_truncated();
    }
    if !numbers.is_empty() {
        writer.put(SOL_SOCKET, SCM_RIGHTS, numbers.as_bytes());
    }
}

/// A pidfd of the sender, or the error why there is none. Linux: `scm_pidfd_recv`.
fn put_pidfd(task: &CurrentTask, pid: u32, writer: &mut CmsgWriter, fds: &mut NewFds) {
    if writer.room() < size_of::<i32>() {
        writer.set_truncated();
        return;
    }
    let made = pidfd_of(task, pid).and_then(|file| {
        let fd = TaskContext::files(task).get_unused_fd(task, true)?;
        fds.0.push((fd, file));
        Ok(fd)
    });
    let value = made.unwrap_or_else(|e| -e.raw());
    writer.put(SOL_SOCKET, SCM_PIDFD, value.as_bytes());
}

/// A pidfd of a process given by its number in the first pid namespace.
///
/// # Errors
/// `ESRCH`.
pub(super) fn pidfd_of(task: &CurrentTask, pid: u32) -> Result<Arc<File>, Errno> {
    let kernel = task.kernel();
    let number = kernel.root_pid_ns.find(pid).ok_or(ESRCH)?;
    let group = kernel.tree.lock().processes.get(&pid).map(|p| p.group.clone()).ok_or(ESRCH)?;
    Ok(pidfd_file(task, number, group, false))
}

/// A process id of the first pid namespace in the caller's; 0 if it is not in there.
pub(super) fn pid_here(task: &CurrentTask, pid: u32) -> u32 {
    let found = task.kernel().root_pid_ns.find(pid);
    found.map_or(0, |pid| pid.nr_in(&task.pid_ns()))
}
