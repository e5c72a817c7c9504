//! Linux: fs/open.c, `vfs_fallocate`.

use fs_vfs::{File, FileType, fsnotify_modify};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EFBIG, EINVAL, EISDIR, ENODEV, EOPNOTSUPP, ESPIPE};

const KEEP_SIZE: u32 = 0x01;
const PUNCH_HOLE: u32 = 0x02;
const COLLAPSE_RANGE: u32 = 0x08;
const ZERO_RANGE: u32 = 0x10;
const INSERT_RANGE: u32 = 0x20;
const UNSHARE_RANGE: u32 = 0x40;
const SUPPORTED: u32 = KEEP_SIZE | PUNCH_HOLE | COLLAPSE_RANGE | ZERO_RANGE | INSERT_RANGE | UNSHARE_RANGE;

/// Checks a request of fallocate(2) and hands it to the file.
///
/// # Errors
/// In Linux's order: `EINVAL` for the range, `EOPNOTSUPP` and `EINVAL` for the mode, `EBADF` for a file not open for
/// writing, `ESPIPE`, `EISDIR`, `ENODEV` for its type, `EFBIG`; then the file's own.
pub(crate) fn vfs_fallocate(file: &File, mode: u32, offset: i64, len: i64) -> Result<(), Errno> {
    let (Ok(start), Ok(length)) = (u64::try_from(offset), u64::try_from(len)) else { return Err(EINVAL) };
    if length == 0 {
        return Err(EINVAL);
    }
    let has = |flag| mode & flag != 0;
    if mode & !SUPPORTED != 0 || (has(PUNCH_HOLE) && (has(ZERO_RANGE) || !has(KEEP_SIZE))) {
        return Err(EOPNOTSUPP);
    }
    let alone = |flag: u32, with: u32| !has(flag) || mode & !(flag | with) == 0;
    if !alone(COLLAPSE_RANGE, 0) || !alone(INSERT_RANGE, 0) || !alone(UNSHARE_RANGE, KEEP_SIZE) {
        return Err(EINVAL);
    }
    if !file.writable() {
        return Err(EBADF);
    }
    match file.inode().file_type() {
        FileType::Regular | FileType::BlockDevice => {}
        FileType::Fifo => return Err(ESPIPE),
        FileType::Directory => return Err(EISDIR),
        _ => return Err(ENODEV),
    }
    offset.checked_add(len).ok_or(EFBIG)?;
    file.ops().fallocate(file, mode, start, length)?;
    fsnotify_modify(file);
    Ok(())
}
