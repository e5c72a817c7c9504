//! Linux: fs/sync.c, mm/fadvise.c, mm/readahead.c. Filesystems write through, so that syncing all of one does nothing.

use super::user::{done, get_file};
use crate::arg::{Bits, Fd};
use fs_vfs::FileType;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::{EBADF, EINVAL, ESPIPE};

/// sync(2).
pub(crate) fn sync(_task: &mut CurrentTask) -> SyscallResult {
    Ok(0)
}

/// syncfs(2).
pub(crate) fn syncfs(task: &mut CurrentTask, fd: Fd) -> SyscallResult {
    get_file(task, fd)?;
    Ok(0)
}

/// fsync(2).
pub(crate) fn fsync(task: &mut CurrentTask, fd: Fd) -> SyscallResult {
    let file = get_file(task, fd)?;
    done(file.ops().fsync(&file, false))
}

/// fdatasync(2).
pub(crate) fn fdatasync(task: &mut CurrentTask, fd: Fd) -> SyscallResult {
    let file = get_file(task, fd)?;
    done(file.ops().fsync(&file, true))
}

/// sync_file_range(2): as fdatasync(2), if it is to wait at all.
pub(crate) fn sync_file_range(
    task: &mut CurrentTask,
    fd: Fd,
    offset: i64,
    nbytes: i64,
    flags: Bits,
) -> SyscallResult {
    const WAIT_BEFORE_WRITE_WAIT_AFTER: u32 = 7;
    const WRITE: u32 = 2;
    let file = get_file(task, fd)?;
    let in_range = offset >= 0 && offset.checked_add(nbytes).is_some_and(|end| end >= offset);
    if flags.0 & !WAIT_BEFORE_WRITE_WAIT_AFTER != 0 || !in_range {
        return Err(EINVAL.into());
    }
    match file.inode().file_type() {
        FileType::Regular | FileType::BlockDevice | FileType::Directory | FileType::Symlink => {}
        _ => return Err(ESPIPE.into()),
    }
    if flags.0 & !WRITE == 0 {
        return Ok(0);
    }
    done(file.ops().fsync(&file, true))
}

/// fadvise64(2): advice is taken, and changes nothing.
pub(crate) fn fadvise64(
    task: &mut CurrentTask,
    fd: Fd,
    _offset: i64,
    len: i64,
    advice: u32,
) -> SyscallResult {
    const POSIX_FADV_NOREUSE: u32 = 5;
    let file = get_file(task, fd)?;
    if file.inode().file_type() == FileType::Fifo {
        return Err(ESPIPE.into());
    }
    if len < 0 || advice > POSIX_FADV_NOREUSE {
        return Err(EINVAL.into());
    }
    Ok(0)
}

/// readahead(2): pages are there as soon as they are asked for.
pub(crate) fn readahead(task: &mut CurrentTask, fd: Fd, _offset: i64, _count: usize) -> SyscallResult {
    let file = get_file(task, fd)?;
    if !file.readable() {
        return Err(EBADF.into());
    }
    match file.inode().file_type() {
        FileType::Regular | FileType::BlockDevice => Ok(0),
        _ => Err(EINVAL.into()),
    }
}
