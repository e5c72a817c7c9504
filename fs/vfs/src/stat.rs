//! Linux: fs/stat.c, fs/statfs.c, and faccessat(2) of fs/open.c.

use crate::namei::{At, LookupFlags, Nameidata, user_path_at};
use crate::{Access, Attr, FileType, Mount, MountFlags, Path, StatFs, TaskContext};
use sentry_auth::{CapSet, Cred, SecureBits};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, ENOENT, EROFS};
use sentry_uapi::fcntl::{AT_EACCESS, AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW};
use std::sync::Arc;

/// `AT_STATX_SYNC_TYPE`: how far a network filesystem is to go; no difference here.
const AT_STATX_SYNC_TYPE: u32 = 0x6000;

/// All that stat(2) and statx(2) tell of a file, in kernel ids. Linux: `struct kstat`.
#[derive(Clone, Copy, Debug)]
pub struct Kstat {
    /// What the filesystem says.
    pub attr: Attr,
    /// Type of the file.
    pub file_type: FileType,
    /// Device of the filesystem.
    pub dev: u64,
    /// Number of the mount: `STATX_MNT_ID`.
    pub mnt_id: u64,
    /// Whether it is the top of a mount: `STATX_ATTR_MOUNT_ROOT`.
    pub mount_root: bool,
}

impl Kstat {
    /// Type and permission bits, as `st_mode` shows them.
    pub fn mode(&self) -> u32 {
        self.file_type.mode_bits() | self.attr.perm
    }
}

/// The attributes of the file at a path. Linux: `vfs_getattr`.
///
/// # Errors
/// The filesystem's.
pub fn vfs_getattr(path: &Path) -> Result<Kstat, Errno> {
    let inode = path.inode().ok_or(ENOENT)?;
    Ok(Kstat {
        attr: inode.getattr()?,
        file_type: inode.file_type(),
        dev: inode.sb().dev,
        mnt_id: path.mnt.id,
        mount_root: path.is_mount_root(),
    })
}

/// stat(2), lstat(2), newfstatat(2), statx(2), with the flags of the last two. Linux: `vfs_statx`.
///
/// # Errors
/// `EINVAL` for flags; those of the walk.
pub fn vfs_statx(ctx: &dyn TaskContext, at: &At, name: &[u8], flags: u32) -> Result<Kstat, Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE) != 0 {
        return Err(EINVAL);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    vfs_getattr(&user_path_at(ctx, at, name, lookup)?)
}

/// fstat(2). Linux: `vfs_fstat`.
///
/// # Errors
/// `EBADF`.
pub fn vfs_fstat(ctx: &dyn TaskContext, fd: i32) -> Result<Kstat, Errno> {
    let file = ctx.files().get_raw(fd).ok_or(sentry_uapi::errno::EBADF)?;
    vfs_getattr(file.path())
}

/// statfs(2): what the filesystem at a path says, and the path, whose mount has the flags `f_flags` is made of. Linux:
/// `user_statfs`.
///
/// # Errors
/// Those of the walk.
pub fn user_statfs(ctx: &dyn TaskContext, name: &[u8]) -> Result<(StatFs, Path), Errno> {
    let path = user_path_at(ctx, &At::Cwd, name, LookupFlags::FOLLOW)?;
    Ok((path.dentry.sb().ops.statfs(), path))
}

/// fstatfs(2), as [`user_statfs`].
///
/// # Errors
/// `EBADF`.
pub fn fd_statfs(ctx: &dyn TaskContext, fd: i32) -> Result<(StatFs, Path), Errno> {
    let file = ctx.files().get_raw(fd).ok_or(sentry_uapi::errno::EBADF)?;
    let path = file.path().clone();
    Ok((path.dentry.sb().ops.statfs(), path))
}

/// `f_flags` of statfs(2): `ST_*`. Linux: `calculate_f_flags`.
pub fn calculate_f_flags(mnt: &Mount) -> u64 {
    const ST_VALID: u64 = 0x20;
    let flags = mnt.flags();
    let bits = [
        (mnt.is_read_only(), 1),
        (flags.contains(MountFlags::NOSUID), 2),
        (flags.contains(MountFlags::NODEV), 4),
        (flags.contains(MountFlags::NOEXEC), 8),
        (flags.contains(MountFlags::NOATIME), 1024),
        (flags.contains(MountFlags::NODIRATIME), 2048),
        (flags.contains(MountFlags::RELATIME), 4096),
        (flags.contains(MountFlags::NOSYMFOLLOW), 8192),
    ];
    bits.iter().filter(|(set, _)| *set).fold(ST_VALID, |all, (_, bit)| all | bit)
}

/// The caller's credentials with the real ids in force. Linux: `access_override_creds`.
fn access_override_creds(cred: &Cred) -> Cred {
    let mut new = cred.clone();
    new.fsuid = new.uid;
    new.fsgid = new.gid;
    if !new.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
        let root = new.user_ns.make_kuid(0);
        new.cap_effective = if new.uid == root { new.cap_permitted } else { CapSet::empty() };
    }
    new
}

/// access(2), faccessat(2), faccessat2(2), with the last one's flags. `mode` is of `R_OK`, `W_OK`, `X_OK`. Linux:
/// `do_faccessat`.
///
/// # Errors
/// `EINVAL` for mode or flags; those of the walk; `EACCES`; `EROFS`.
pub fn do_faccessat(ctx: &dyn TaskContext, at: &At, name: &[u8], mode: u32, flags: u32) -> Result<(), Errno> {
    let access = Access::from_bits(mode).ok_or(EINVAL)?;
    if flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    let cred = match flags & AT_EACCESS {
        0 => Arc::new(access_override_creds(&ctx.cred())),
        _ => ctx.cred(),
    };
    let mut nd = Nameidata::new(ctx, at, name, lookup)?;
    nd.cred = cred.clone();
    let path = nd.path_lookupat()?;
    let inode = path.inode().ok_or(ENOENT)?;
    if access.contains(Access::EXEC) && inode.file_type() == FileType::Regular && path.is_noexec() {
        return Err(EACCES);
    }
    inode.permission(&cred, access)?;
    let on_disk = matches!(inode.file_type(), FileType::Regular | FileType::Directory | FileType::Symlink);
    if access.contains(Access::WRITE) && on_disk && path.mnt.is_read_only() {
        return Err(EROFS);
    }
    Ok(())
}
