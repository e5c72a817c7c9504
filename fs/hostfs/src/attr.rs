//! Attributes of the host in the kernel's terms.

use crate::super_block::HostShared;
use fs_vfs::{Attr, FileType, SetTime};
use platform_host::fs::{HostStat, HostTime};
use sentry_auth::{Kgid, Kuid};
use sentry_uapi::stat::makedev;
use sentry_uapi::time::Timespec;

fn timespec((tv_sec, tv_nsec): (i64, u32)) -> Timespec {
    Timespec { tv_sec, tv_nsec: i64::from(tv_nsec) }
}

/// A time of utimensat(2) for the host. "Now" is the guest's clock, not the host's.
pub(crate) fn host_time(time: Option<SetTime>, now: Timespec) -> HostTime {
    match time {
        None => HostTime::Keep,
        Some(SetTime::Now) => HostTime::To(now.tv_sec, now.tv_nsec),
        Some(SetTime::To(t)) => HostTime::To(t.tv_sec, t.tv_nsec),
    }
}

/// The type of a host file; what has none we know shows as a socket, which nobody can open.
pub(crate) fn file_type(stat: &HostStat) -> FileType {
    FileType::from_mode(stat.mode).unwrap_or(FileType::Socket)
}

pub(crate) fn rdev(stat: &HostStat) -> u64 {
    makedev(stat.rdev.0, stat.rdev.1)
}

impl HostShared {
    /// The attributes of a file that belongs to the host ids `uid` and `gid`.
    pub(crate) fn attr(&self, stat: &HostStat, (uid, gid): (u32, u32)) -> Attr {
        Attr {
            ino: stat.ino,
            perm: stat.mode & 0o7777,
            nlink: stat.nlink,
            uid: Kuid::from_global(self.uid_from_host(uid)),
            gid: Kgid::from_global(self.gid_from_host(gid)),
            rdev: rdev(stat),
            size: stat.size,
            blksize: stat.blksize,
            blocks: stat.blocks,
            atime: timespec(stat.atime),
            mtime: timespec(stat.mtime),
            ctime: timespec(stat.ctime),
            btime: stat.btime.map(timespec),
        }
    }
}
