//! Linux: fs/inode.c, `touch_atime`.

use crate::{File, Inode, Mount, SuperFlags};
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;

/// Moves the access time of `inode`, if its filesystem leaves that to the VFS and the mount's rule says so.
pub(crate) fn touch_atime(mnt: &Mount, inode: &Arc<Inode>) {
    if !inode.sb().flags.contains(SuperFlags::ATIME) {
        return;
    }
    let policy = mnt.atime_policy(inode);
    if policy == crate::AtimePolicy::Never {
        return;
    }
    let now = inode.sb().clocks.realtime();
    if inode.getattr().is_ok_and(|attr| policy.needs_update(&attr, now)) {
        inode.ops().update_atime(inode, now);
    }
}

/// Notes that an open file was read. Linux: `file_accessed`.
pub fn file_accessed(file: &File) {
    if !file.flags().contains(OpenFlags::NOATIME) {
        touch_atime(&file.path().mnt, file.inode());
    }
}
