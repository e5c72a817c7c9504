//! What many filesystems share. Linux: include/linux/fs.h.

use crate::{DirSink, File, FileType};

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
