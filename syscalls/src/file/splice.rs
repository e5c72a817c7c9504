//! Linux: fs/splice.c, and sendfile(2) and copy_file_range(2) of fs/read_write.c.

use super::iov::UserIov;
use super::user::get_file;
use crate::arg::{Addr, Bits, Fd};
use fs_vfs::{
    File, FileType, do_copy_file_range, do_sendfile, do_splice, do_tee, do_vmsplice_from, do_vmsplice_to,
};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EINVAL, ESPIPE};

/// `SPLICE_F_MOVE` to `SPLICE_F_GIFT`.
const SPLICE_F_ALL: u32 = 0xf;

/// An offset in guest memory, if the caller gave one.
struct Offset {
    addr: Addr,
    value: Option<u64>,
}

impl Offset {
    fn read(task: &CurrentTask, addr: Addr) -> Result<Offset, Errno> {
        let value = match addr.0 {
            0 => None,
            _ => Some(u64::try_from(task.user()?.read_obj::<i64>(addr.0)?).map_err(|_| EINVAL)?),
        };
        Ok(Offset { addr, value })
    }

    /// Tells the guest where the transfer has ended.
    fn write(&self, task: &CurrentTask) -> Result<(), Errno> {
        self.value.map_or(Ok(()), |value| task.user()?.write_obj(self.addr.0, &value))
    }
}

fn is_pipe(file: &File) -> bool {
    file.inode().file_type() == FileType::Fifo
}

/// sendfile(2).
pub(crate) fn sendfile(
    task: &mut CurrentTask,
    out_fd: Fd,
    in_fd: Fd,
    offset: Addr,
    count: usize,
) -> SyscallResult {
    let mut offset = Offset::read(task, offset)?;
    let from = get_file(task, in_fd)?;
    if !from.readable() {
        return Err(EBADF.into());
    }
    let to = get_file(task, out_fd)?;
    let result = do_sendfile(task, &to, &from, offset.value.as_mut(), count);
    offset.write(task)?;
    Ok(result? as u64)
}

/// splice(2).
pub(crate) fn splice(
    task: &mut CurrentTask,
    fd_in: Fd,
    off_in: Addr,
    fd_out: Fd,
    off_out: Addr,
    len: usize,
    flags: Bits,
) -> SyscallResult {
    if len == 0 {
        return Ok(0);
    }
    if flags.0 & !SPLICE_F_ALL != 0 {
        return Err(EINVAL.into());
    }
    let from = get_file(task, fd_in)?;
    let to = get_file(task, fd_out)?;
    if (is_pipe(&from) && off_in.0 != 0) || (is_pipe(&to) && off_out.0 != 0) {
        return Err(ESPIPE.into());
    }
    let mut off_out = Offset::read(task, off_out)?;
    let mut off_in = Offset::read(task, off_in)?;
    let n = do_splice(task, &from, off_in.value.as_mut(), &to, off_out.value.as_mut(), len, flags.0)?;
    off_out.write(task)?;
    off_in.write(task)?;
    Ok(n as u64)
}

/// tee(2).
pub(crate) fn tee(task: &mut CurrentTask, fd_in: Fd, fd_out: Fd, len: usize, flags: Bits) -> SyscallResult {
    if flags.0 & !SPLICE_F_ALL != 0 {
        return Err(EINVAL.into());
    }
    if len == 0 {
        return Ok(0);
    }
    let from = get_file(task, fd_in)?;
    let to = get_file(task, fd_out)?;
    Ok(do_tee(task, &from, &to, len, flags.0)? as u64)
}

/// vmsplice(2): into a pipe opened for writing, else out of it.
pub(crate) fn vmsplice(task: &mut CurrentTask, fd: Fd, vec: Addr, count: u64, flags: Bits) -> SyscallResult {
    if flags.0 & !SPLICE_F_ALL != 0 {
        return Err(EINVAL.into());
    }
    let file = get_file(task, fd)?;
    if !file.readable() && !file.writable() {
        return Err(EBADF.into());
    }
    let iov = UserIov::import(task, vec.0, count)?;
    if !is_pipe(&file) {
        return Err(EBADF.into());
    }
    if iov.len() == 0 {
        return Ok(0);
    }
    let mm = task.user()?;
    let n = if file.writable() {
        do_vmsplice_from(task, &file, &mut mm.src(iov.ranges())?, flags.0)?
    } else {
        do_vmsplice_to(task, &file, &mut mm.dst(iov.ranges())?, flags.0)?
    };
    Ok(n as u64)
}

/// copy_file_range(2).
pub(crate) fn copy_file_range(
    task: &mut CurrentTask,
    fd_in: Fd,
    off_in: Addr,
    fd_out: Fd,
    off_out: Addr,
    len: usize,
    flags: Bits,
) -> SyscallResult {
    let from = get_file(task, fd_in)?;
    let to = get_file(task, fd_out)?;
    let mut off_in = Offset::read(task, off_in)?;
    let mut off_out = Offset::read(task, off_out)?;
    let n =
        do_copy_file_range(task, &from, off_in.value.as_mut(), &to, off_out.value.as_mut(), len, flags.0)?;
    off_in.write(task)?;
    off_out.write(task)?;
    Ok(n as u64)
}
