//! What many filesystems share. Linux: fs/libfs.c, fs/read_write.c, fs/inode.c, include/linux/fs.h.

use crate::{DirSink, File, FileType, Resource, TaskContext};
use sentry_auth::{CapSet, Cred};
use sentry_uapi::Errno;
use sentry_uapi::errno::EFBIG;
use sentry_uapi::signal::SIGXFSZ;
use sentry_uapi::stat::{S_ISGID, S_ISUID};

/// Position of the first entry behind `.` and `..`.
pub const FIRST_ENTRY: u64 = 2;

/// Puts out `.` and `..` as far as `pos` has not passed them. False: the sink is full. Linux: `dir_emit_dots`.
pub fn dir_emit_dots(file: &File, pos: u64, sink: &mut dyn DirSink) -> bool {
    let dtype = FileType::Directory.dirent_type();
    let own = file.inode().ino();
    if pos == 0 && !sink.entry(b".", own, dtype, 1) {
        return false;
    }
    if pos <= 1 {
        let parent = file.path().dentry.parent().and_then(|d| d.inode()).map_or(own, |i| i.ino());
        return sink.entry(b"..", parent, dtype, FIRST_ENTRY);
    }
    true
}

/// How many of `count` bytes may be written to a regular file at `pos`. Linux: `generic_write_checks`.
///
/// # Errors
/// `EFBIG` beyond the largest offset, or beyond RLIMIT_FSIZE, which also sends SIGXFSZ.
pub fn generic_write_checks(ctx: &dyn TaskContext, pos: u64, count: usize) -> Result<usize, Errno> {
    if count == 0 {
        return Ok(0);
    }
    let limit = ctx.rlimit(Resource::Fsize);
    if pos >= limit {
        ctx.send_sig(SIGXFSZ);
        return Err(EFBIG);
    }
    let room = limit.min(i64::MAX.unsigned_abs()).saturating_sub(pos);
    if room == 0 {
        return Err(EFBIG);
    }
    Ok(usize::try_from(room).map_or(count, |room| count.min(room)))
}

/// The permission bits of a regular file after `cred` has written to it, if they change: set-ID bits go.
/// Linux: `setattr_should_drop_suidgid`.
pub fn drop_suidgid(perm: u32, cred: &Cred) -> Option<u32> {
    let mut gone = perm & S_ISUID;
    if perm & S_ISGID != 0 && perm & 0o010 != 0 {
        gone |= S_ISGID;
    }
    (gone != 0 && !cred.capable(CapSet::FSETID)).then_some(perm & !gone)
}
