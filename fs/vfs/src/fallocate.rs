//! Linux: fs/open.c, `vfs_fallocate`.

use crate::notify::fsnotify_modify;
use crate::notify_change::{file_remove_privs, newsize_ok};
use crate::{FileType, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EFBIG, EINVAL, EISDIR, ENODEV, EOPNOTSUPP, ESPIPE};

/// Modes. Linux: include/uapi/linux/falloc.h, `FALLOC_FL_*`.
const KEEP_SIZE: u32 = 0x01;
const PUNCH_HOLE: u32 = 0x02;
const COLLAPSE_RANGE: u32 = 0x08;
const ZERO_RANGE: u32 = 0x10;
const INSERT_RANGE: u32 = 0x20;
const UNSHARE_RANGE: u32 = 0x40;
const SUPPORTED: u32 = KEEP_SIZE | PUNCH_HOLE | COLLAPSE_RANGE | ZERO_RANGE | INSERT_RANGE | UNSHARE_RANGE;

/// fallocate(2).
///
/// # Errors
/// In the order of `vfs_fallocate`; then the filesystem's.
pub fn do_fallocate(ctx: &dyn TaskContext, fd: i32, mode: u32, offset: i64, len: i64) -> Result<(), Errno> {
    let file = ctx.files().get(fd)?;
    let (Ok(start), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else { return Err(EINVAL) };
    if len == 0 {
        return Err(EINVAL);
    }
    if mode & !SUPPORTED != 0 || mode & (PUNCH_HOLE | ZERO_RANGE) == PUNCH_HOLE | ZERO_RANGE {
        return Err(EOPNOTSUPP);
    }
    if mode & PUNCH_HOLE != 0 && mode & KEEP_SIZE == 0 {
        return Err(EOPNOTSUPP);
    }
    for alone in [COLLAPSE_RANGE, INSERT_RANGE] {
        if mode & alone != 0 && mode != alone {
            return Err(EINVAL);
        }
    }
    if mode & UNSHARE_RANGE != 0 && mode & !(UNSHARE_RANGE | KEEP_SIZE) != 0 {
        return Err(EINVAL);
    }
    if !file.writable() {
        return Err(EBADF);
    }
    let inode = file.inode();
    match inode.file_type() {
        FileType::Regular | FileType::BlockDevice => {}
        FileType::Fifo => return Err(ESPIPE),
        FileType::Directory => return Err(EISDIR),
        _ => return Err(ENODEV),
    }
    let end = start.checked_add(len).filter(|end| i64::try_from(*end).is_ok()).ok_or(EFBIG)?;
    if mode & KEEP_SIZE == 0 {
        newsize_ok(ctx, &inode.getattr()?, end)?;
    }
    file_remove_privs(ctx, &file)?;
    file.ops().fallocate(&file, mode, start, len)?;
    fsnotify_modify(&file);
    Ok(())
}
