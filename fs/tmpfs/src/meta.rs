//! Attributes of a file in memory. Linux: `struct inode` and fs/attr.c, `setattr_copy`.

use fs_vfs::{SetAttr, SetTime};
use sentry_auth::{Kgid, Kuid};
use sentry_uapi::time::Timespec;

/// What chmod(2), chown(2), utimensat(2) and link(2) change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(crate) perm: u32,
    pub(crate) uid: Kuid,
    pub(crate) gid: Kgid,
    pub(crate) nlink: u32,
    pub(crate) atime: Timespec,
    pub(crate) mtime: Timespec,
    pub(crate) ctime: Timespec,
    pub(crate) btime: Timespec,
}

impl Meta {
    pub(crate) fn new(perm: u32, uid: Kuid, gid: Kgid, nlink: u32, now: Timespec) -> Meta {
        Meta { perm, uid, gid, nlink, atime: now, mtime: now, ctime: now, btime: now }
    }

    /// Takes over what is to change; ctime moves. A size is not part of this, but moves mtime.
    pub(crate) fn set(&mut self, change: &SetAttr, now: Timespec) {
        let time = |t: Option<SetTime>, old| match t {
            None => old,
            Some(SetTime::Now) => now,
            Some(SetTime::To(t)) => t,
        };
        self.perm = change.perm.unwrap_or(self.perm);
        self.uid = change.uid.unwrap_or(self.uid);
        self.gid = change.gid.unwrap_or(self.gid);
        self.atime = time(change.atime, self.atime);
        if change.size.is_some() {
            self.mtime = now;
        }
        self.mtime = time(change.mtime, self.mtime);
        self.ctime = now;
    }

    /// The contents changed.
    pub(crate) fn modified(&mut self, now: Timespec) {
        self.mtime = now;
        self.ctime = now;
    }
}
