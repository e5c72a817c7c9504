//! What is not done in directories that everybody may write to, where names are laid as traps. Linux: fs/namei.c,
//! `may_linkat`, `may_follow_link`, `may_create_in_sticky`. Differs in where it starts: as distributions set it.

use crate::{Access, Dentry, FileType, Inode, TaskContext};
use sentry_auth::{Cred, inode_owner_or_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EOVERFLOW, EPERM};
use sentry_uapi::stat::{S_ISGID, S_ISUID, S_ISVTX};
use std::sync::atomic::{AtomicUsize, Ordering};

const S_IXGRP: u32 = 0o010;
const S_IWOTH: u32 = 0o002;
const S_IWGRP: u32 = 0o020;

/// `/proc/sys/fs/protected_*`.
#[derive(Debug)]
pub struct ProtectedNames {
    /// 1: others' files get no further names unless they are harmless.
    pub hardlinks: AtomicUsize,
    /// 1: others' symbolic links are not followed in sticky directories that everybody may write to.
    pub symlinks: AtomicUsize,
    /// 1: others' FIFOs are not opened with `O_CREAT` there; 2: nor where the group may write.
    pub fifos: AtomicUsize,
    /// The same for regular files.
    pub regular: AtomicUsize,
}

impl Default for ProtectedNames {
    fn default() -> ProtectedNames {
        let [hardlinks, symlinks, fifos, regular] = [1, 1, 1, 2].map(AtomicUsize::new);
        ProtectedNames { hardlinks, symlinks, fifos, regular }
    }
}

fn level(of: &AtomicUsize) -> usize {
    of.load(Ordering::Relaxed)
}

/// Whether the caller may make another name for a file: its owner may, others only for a harmless one that they may read
/// and write.
///
/// # Errors
/// `EPERM`; `EOVERFLOW` for a file without an owner.
pub(crate) fn may_linkat(ctx: &dyn TaskContext, inode: &Inode) -> Result<(), Errno> {
    let (cred, attr) = (ctx.cred(), inode.getattr()?);
    if !attr.uid.is_valid() || !attr.gid.is_valid() {
        return Err(EOVERFLOW);
    }
    if level(&ctx.vfs().protected.hardlinks) == 0 {
        return Ok(());
    }
    let set_gid = S_ISGID | S_IXGRP;
    let harmless = inode.file_type() == FileType::Regular
        && attr.perm & S_ISUID == 0
        && attr.perm & set_gid != set_gid
        && inode.permission(&cred, Access::READ | Access::WRITE).is_ok();
    if harmless || inode_owner_or_capable(&cred, attr.uid) { Ok(()) } else { Err(EPERM) }
}

/// Whether the last symbolic link of a path may be followed: in a sticky directory that everybody may write to, only one's
/// own and those of the directory's owner.
///
/// # Errors
/// `EACCES`.
pub(crate) fn may_follow_link(
    ctx: &dyn TaskContext,
    cred: &Cred,
    dir: &Dentry,
    link: &Inode,
) -> Result<(), Errno> {
    let Some(dir) = dir.inode_ref().filter(|_| level(&ctx.vfs().protected.symlinks) != 0) else {
        return Ok(());
    };
    let dir = dir.getattr()?;
    if dir.perm & (S_ISVTX | S_IWOTH) != S_ISVTX | S_IWOTH {
        return Ok(());
    }
    let owner = link.getattr()?.uid;
    if owner == cred.fsuid || owner == dir.uid { Ok(()) } else { Err(EACCES) }
}

/// Whether an open with `O_CREAT` may come upon this FIFO or file: in a sticky directory that others may write to, only upon
/// one's own and those of the directory's owner.
///
/// # Errors
/// `EACCES`.
pub(crate) fn may_create_in_sticky(
    ctx: &dyn TaskContext,
    dentry: &Dentry,
    inode: &Inode,
) -> Result<(), Errno> {
    let protected = &ctx.vfs().protected;
    let level = match inode.file_type() {
        FileType::Regular => level(&protected.regular),
        FileType::Fifo => level(&protected.fifos),
        // Whatever else there is, is protected by nothing that could be switched off.
        _ => 1,
    };
    let writers = match level {
        0 => return Ok(()),
        1 => S_IWOTH,
        _ => S_IWOTH | S_IWGRP,
    };
    let Some(dir) = dentry.parent() else { return Ok(()) };
    let Some(dir) = dir.inode_ref() else { return Ok(()) };
    let dir = dir.getattr()?;
    if dir.perm & S_ISVTX == 0 || dir.perm & writers == 0 {
        return Ok(());
    }
    let owner = inode.getattr()?.uid;
    if owner == ctx.cred().fsuid || owner == dir.uid { Ok(()) } else { Err(EACCES) }
}
