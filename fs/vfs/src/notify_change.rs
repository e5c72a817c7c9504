//! Linux: fs/attr.c, and the calls of fs/open.c and fs/utimes.c that change attributes.

use crate::namei::{At, LookupFlags, user_path_at};
use crate::notify::{NotifyMask, fsnotify_dentry};
use crate::write_access::InodeWriter;
use crate::{
    Access, Attr, Dentry, File, FileType, Inode, Path, Resource, SetAttr, SetTime, TaskContext,
    security_xattr,
};
use sentry_auth::{CapSet, Cred, Kgid, capable_wrt_inode_uidgid, inode_owner_or_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EFBIG, EINVAL, EISDIR, ENOENT, EOPNOTSUPP, EOVERFLOW, EPERM};
use sentry_uapi::fcntl::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, OpenFlags};
use sentry_uapi::stat::{S_ISGID, S_ISUID};
use sentry_uapi::time::{NSEC_PER_SEC, Timespec};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// `tv_nsec` that stands for the present. Linux: include/linux/stat.h.
pub const UTIME_NOW: i64 = 0x3fff_ffff;
/// `tv_nsec` that stands for no change.
pub const UTIME_OMIT: i64 = 0x3fff_fffe;

/// Signal for a file that would grow beyond RLIMIT_FSIZE.
const SIGXFSZ: i32 = 25;
/// Execute permission for the group.
const S_IXGRP: u32 = 0o010;
/// Linux: `MAX_LFS_FILESIZE`.
const MAX_FILE_SIZE: u64 = i64::MAX as u64;

/// A change of attributes, with why it is made.
#[derive(Clone, Copy, Default)]
struct Change {
    set: SetAttr,
    /// Linux: `ATTR_KILL_SUID`, `ATTR_KILL_SGID`.
    kill: u32,
    /// Take file capabilities off. Linux: `ATTR_KILL_PRIV`.
    kill_priv: bool,
    /// Both times become the present, which a writer may do too. Linux: `ATTR_TOUCH`.
    touch: bool,
    /// Times were given. Linux: `ATTR_TIMES_SET`.
    times_set: bool,
    /// Not the caller's wish but a consequence: no permission is asked. Linux: `ATTR_FORCE`.
    force: bool,
}

fn in_group_or_capable(cred: &Cred, attr: &Attr, gid: Kgid) -> bool {
    cred.in_group_p(gid) || capable_wrt_inode_uidgid(cred, attr.uid, attr.gid, CapSet::FSETID)
}

/// The set-group-ID bit if a change of owner or contents takes it off. Linux: `setattr_should_drop_sgid`.
fn should_drop_sgid(cred: &Cred, attr: &Attr) -> u32 {
    let drops =
        attr.perm & S_ISGID != 0 && (attr.perm & S_IXGRP != 0 || !in_group_or_capable(cred, attr, attr.gid));
    if drops { S_ISGID } else { 0 }
}

/// The set-ID bits a write takes off. Linux: `setattr_should_drop_suidgid`.
fn should_drop_suidgid(ctx: &dyn TaskContext, cred: &Cred, inode: &Inode, attr: &Attr) -> u32 {
    let kill = (attr.perm & S_ISUID) | should_drop_sgid(cred, attr);
    if kill != 0 && inode.file_type() == FileType::Regular && !ctx.vfs().capable(cred, CapSet::FSETID) {
        kill
    } else {
        0
    }
}

/// `EFBIG`, with SIGXFSZ where it is the limit that is passed. Linux: `inode_newsize_ok`.
pub(crate) fn newsize_ok(ctx: &dyn TaskContext, attr: &Attr, size: u64) -> Result<(), Errno> {
    if size > attr.size {
        if size > ctx.rlimit(Resource::Fsize) {
            ctx.send_sig(SIGXFSZ);
            return Err(EFBIG);
        }
        if size > MAX_FILE_SIZE {
            return Err(EFBIG);
        }
    }
    Ok(())
}

/// Whether the caller may make the change. Linux: `setattr_prepare`.
fn setattr_prepare(cred: &Cred, attr: &Attr, change: &mut Change) -> Result<(), Errno> {
    let capable = |cap| capable_wrt_inode_uidgid(cred, attr.uid, attr.gid, cap);
    if let Some(uid) = change.set.uid
        && !(cred.fsuid == attr.uid && uid == attr.uid)
        && !capable(CapSet::CHOWN)
    {
        return Err(EPERM);
    }
    if let Some(gid) = change.set.gid
        && !(cred.fsuid == attr.uid && (gid == attr.gid || cred.in_group_p(gid)))
        && !capable(CapSet::CHOWN)
    {
        return Err(EPERM);
    }
    if let Some(perm) = &mut change.set.perm {
        if !inode_owner_or_capable(cred, attr.uid) {
            return Err(EPERM);
        }
        if !in_group_or_capable(cred, attr, change.set.gid.unwrap_or(attr.gid)) {
            *perm &= !S_ISGID;
        }
    }
    if change.times_set && !inode_owner_or_capable(cred, attr.uid) {
        return Err(EPERM);
    }
    Ok(())
}

/// Changes attributes of the file behind `dentry`. The caller has asked the mount. Linux: `notify_change`.
fn notify_change(
    ctx: &dyn TaskContext,
    dentry: &Dentry,
    inode: &Arc<Inode>,
    mut change: Change,
) -> Result<(), Errno> {
    let cred = ctx.cred();
    let attr = inode.getattr()?;
    if change.touch && !inode_owner_or_capable(&cred, attr.uid) {
        inode.permission(&cred, Access::WRITE)?;
    }
    if change.set.perm.is_some() && inode.file_type() == FileType::Symlink {
        return Err(EOPNOTSUPP);
    }
    let killed = attr.perm & change.kill;
    if killed != 0 {
        change.set.perm = Some(attr.perm & !killed);
    }
    let ns = &inode.sb().user_ns;
    let uid_ok = change.set.uid.map_or(attr.uid.is_valid(), |u| ns.from_kuid(u).is_some());
    let gid_ok = change.set.gid.map_or(attr.gid.is_valid(), |g| ns.from_kgid(g).is_some());
    if !uid_ok || !gid_ok {
        return Err(EOVERFLOW);
    }
    if let Some(size) = change.set.size {
        newsize_ok(ctx, &attr, size)?;
    }
    if !change.force {
        setattr_prepare(&cred, &attr, &mut change)?;
    }
    if change.set.perm.is_some_and(|p| p & (S_ISUID | S_ISGID) != 0) {
        inode.nosec.store(false, Ordering::Release);
    }
    if change.kill_priv {
        security_xattr::remove_capability(inode)?;
    }
    inode.ops().setattr(inode, &change.set)?;
    fsnotify_change(dentry, &change.set);
    Ok(())
}

/// Linux: `fsnotify_change`.
fn fsnotify_change(dentry: &Dentry, set: &SetAttr) {
    let mut mask = NotifyMask::empty();
    if set.uid.is_some() || set.gid.is_some() || set.perm.is_some() {
        mask |= NotifyMask::ATTRIB;
    }
    if set.size.is_some() {
        mask |= NotifyMask::MODIFY;
    }
    mask |= match (set.atime, set.mtime) {
        (Some(_), Some(_)) => NotifyMask::ATTRIB,
        (Some(_), None) => NotifyMask::ACCESS,
        (None, Some(_)) => NotifyMask::MODIFY,
        (None, None) => NotifyMask::empty(),
    };
    if !mask.is_empty() {
        fsnotify_dentry(dentry, mask);
    }
}

/// chmod(2), fchmodat(2), fchmodat2(2), with fchmodat2's flags. Linux: `do_fchmodat`, `chmod_common`.
///
/// # Errors
/// `EINVAL` for flags; those of the walk; `EROFS`, `EOPNOTSUPP` on a symbolic link, `EPERM`.
pub fn do_fchmodat(ctx: &dyn TaskContext, at: &At, name: &[u8], mode: u32, flags: u32) -> Result<(), Errno> {
    let path = user_path_at(ctx, at, name, at_lookup_flags(flags)?)?;
    vfs_chmod(ctx, &path, mode)
}

/// fchmod(2).
///
/// # Errors
/// `EBADF`, also for O_PATH; then as chmod(2).
pub fn do_fchmod(ctx: &dyn TaskContext, fd: i32, mode: u32) -> Result<(), Errno> {
    vfs_chmod(ctx, ctx.files().get(fd)?.path(), mode)
}

/// Changes the permission bits of the file at a path. Linux: `chmod_common`.
///
/// # Errors
/// `EROFS`, `EOPNOTSUPP`, `EPERM`.
pub fn vfs_chmod(ctx: &dyn TaskContext, path: &Path, mode: u32) -> Result<(), Errno> {
    let _write = path.mnt.want_write()?;
    let inode = path.inode().ok_or(ENOENT)?;
    let set = SetAttr { perm: Some(mode & 0o7777), ..SetAttr::default() };
    notify_change(ctx, &path.dentry, inode, Change { set, ..Change::default() })
}

fn at_lookup_flags(flags: u32) -> Result<LookupFlags, Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    Ok(lookup)
}

/// chown(2), lchown(2), fchownat(2), with fchownat's flags. `u32::MAX` leaves an id alone. Linux: `do_fchownat`.
///
/// # Errors
/// `EINVAL` for flags; those of the walk; `EROFS`; `EINVAL` for an id without a mapping; `EPERM`.
pub fn do_fchownat(
    ctx: &dyn TaskContext,
    at: &At,
    name: &[u8],
    uid: u32,
    gid: u32,
    flags: u32,
) -> Result<(), Errno> {
    let path = user_path_at(ctx, at, name, at_lookup_flags(flags)?)?;
    vfs_chown(ctx, &path, uid, gid)
}

/// fchown(2).
///
/// # Errors
/// `EBADF`, also for O_PATH; then as chown(2).
pub fn do_fchown(ctx: &dyn TaskContext, fd: i32, uid: u32, gid: u32) -> Result<(), Errno> {
    vfs_chown(ctx, ctx.files().get(fd)?.path(), uid, gid)
}

/// Changes the owner of the file at a path; ids are of the caller's user namespace. Linux: `chown_common`.
///
/// # Errors
/// `EROFS`; `EINVAL` for an id without a mapping; `EPERM`.
pub fn vfs_chown(ctx: &dyn TaskContext, path: &Path, uid: u32, gid: u32) -> Result<(), Errno> {
    let _write = path.mnt.want_write()?;
    let inode = path.inode().ok_or(ENOENT)?;
    let cred = ctx.cred();
    let kuid = Some(uid).filter(|u| *u != u32::MAX).map(|u| cred.user_ns.make_kuid(u));
    let kgid = Some(gid).filter(|g| *g != u32::MAX).map(|g| cred.user_ns.make_kgid(g));
    if kuid.is_some_and(|u| !u.is_valid()) || kgid.is_some_and(|g| !g.is_valid()) {
        return Err(EINVAL);
    }
    let set = SetAttr { uid: kuid, gid: kgid, ..SetAttr::default() };
    let mut change = Change { set, ..Change::default() };
    if !inode.is_dir() {
        change.kill = S_ISUID | should_drop_sgid(&cred, &inode.getattr()?);
        change.kill_priv = true;
    }
    notify_change(ctx, &path.dentry, inode, change)
}

/// Sets the size, and what follows from it. Permissions have been checked. Linux: `do_truncate`.
pub(crate) fn truncate_checked(
    ctx: &dyn TaskContext,
    dentry: &Dentry,
    inode: &Arc<Inode>,
    set: SetAttr,
) -> Result<(), Errno> {
    let cred = ctx.cred();
    let kill = should_drop_suidgid(ctx, &cred, inode, &inode.getattr()?);
    let kill_priv = security_xattr::has_capability(inode);
    notify_change(ctx, dentry, inode, Change { set, kill, kill_priv, force: true, ..Change::default() })
}

/// truncate(2). Linux: `do_sys_truncate`, `vfs_truncate`.
///
/// # Errors
/// `EINVAL` for a negative length; those of the walk; `EISDIR`, `EINVAL` for other than regular files, `EROFS`,
/// `EACCES`, `ETXTBSY`, `EFBIG`.
pub fn do_truncate(ctx: &dyn TaskContext, name: &[u8], length: i64) -> Result<(), Errno> {
    let size = u64::try_from(length).map_err(|_| EINVAL)?;
    let path = user_path_at(ctx, &At::Cwd, name, LookupFlags::FOLLOW)?;
    let inode = path.inode().ok_or(ENOENT)?;
    match inode.file_type() {
        FileType::Regular => {}
        FileType::Directory => return Err(EISDIR),
        _ => return Err(EINVAL),
    }
    let _write = path.mnt.want_write()?;
    inode.permission(&ctx.cred(), Access::WRITE)?;
    let _writer = InodeWriter::new(inode)?;
    let mtime = (inode.getattr()?.size != size).then_some(SetTime::Now);
    truncate_checked(ctx, &path.dentry, inode, SetAttr { size: Some(size), mtime, ..SetAttr::default() })
}

/// ftruncate(2). Linux: `do_sys_ftruncate`.
///
/// # Errors
/// `EINVAL` for a negative length; `EBADF`; `EINVAL` for other than regular files open for writing; `EFBIG`.
pub fn do_ftruncate(ctx: &dyn TaskContext, fd: i32, length: i64) -> Result<(), Errno> {
    let size = u64::try_from(length).map_err(|_| EINVAL)?;
    let file = ctx.files().get(fd)?;
    if file.inode().file_type() != FileType::Regular || !file.writable() {
        return Err(EINVAL);
    }
    let set = SetAttr { size: Some(size), mtime: Some(SetTime::Now), ..SetAttr::default() };
    truncate_checked(ctx, &file.path().dentry, file.inode(), set)
}

/// utimensat(2) and its kin with a path. `None` sets both times to the present. Linux: `do_utimes_path`.
///
/// # Errors
/// `EINVAL` for flags or nanoseconds; those of the walk; `EROFS`; `EACCES` and `EPERM` as in utimensat(2).
pub fn do_utimes_path(
    ctx: &dyn TaskContext,
    at: &At,
    name: &[u8],
    times: Option<[Timespec; 2]>,
    flags: u32,
) -> Result<(), Errno> {
    let path = user_path_at(ctx, at, name, at_lookup_flags(flags)?)?;
    vfs_utimes(ctx, &path, times)
}

/// futimens(3), futimesat(2) without a path. Linux: `do_utimes_fd`.
///
/// # Errors
/// `EBADF`; then as [`do_utimes_path`].
pub fn do_utimes_fd(ctx: &dyn TaskContext, fd: i32, times: Option<[Timespec; 2]>) -> Result<(), Errno> {
    vfs_utimes(ctx, ctx.files().get(fd)?.path(), times)
}

fn set_time(time: Timespec) -> Option<SetTime> {
    match time.tv_nsec {
        UTIME_OMIT => None,
        UTIME_NOW => Some(SetTime::Now),
        _ => Some(SetTime::To(time)),
    }
}

/// Linux: `vfs_utimes`.
fn vfs_utimes(ctx: &dyn TaskContext, path: &Path, times: Option<[Timespec; 2]>) -> Result<(), Errno> {
    let valid = |t: &Timespec| {
        t.tv_nsec == UTIME_NOW || t.tv_nsec == UTIME_OMIT || (0..NSEC_PER_SEC).contains(&t.tv_nsec)
    };
    if times.is_some_and(|t| !t.iter().all(valid)) {
        return Err(EINVAL);
    }
    let times = times.filter(|t| t.iter().any(|t| t.tv_nsec != UTIME_NOW));
    let _write = path.mnt.want_write()?;
    let inode = path.inode().ok_or(ENOENT)?;
    let [atime, mtime] = match times {
        Some([atime, mtime]) => [set_time(atime), set_time(mtime)],
        None => [Some(SetTime::Now); 2],
    };
    let set = SetAttr { atime, mtime, ..SetAttr::default() };
    let (touch, times_set) = (times.is_none(), times.is_some());
    notify_change(ctx, &path.dentry, inode, Change { set, touch, times_set, ..Change::default() })
}

/// Takes off what a write takes off: set-ID bits and file capabilities. Linux: `file_remove_privs`.
///
/// # Errors
/// The filesystem's.
pub fn file_remove_privs(ctx: &dyn TaskContext, file: &File) -> Result<(), Errno> {
    let inode = file.inode();
    if inode.file_type() != FileType::Regular || inode.nosec.load(Ordering::Acquire) {
        return Ok(());
    }
    let attr = inode.getattr()?;
    let cred = ctx.cred();
    let kill = should_drop_suidgid(ctx, &cred, inode, &attr);
    let kill_priv = security_xattr::has_capability(inode);
    if kill == 0 && !kill_priv {
        if attr.perm & (S_ISUID | S_ISGID) == 0 {
            inode.nosec.store(true, Ordering::Release);
        }
        return Ok(());
    }
    let change = Change { kill, kill_priv, force: true, ..Change::default() };
    notify_change(ctx, &file.path().dentry, inode, change)
}

/// How many bytes of a write at `pos` RLIMIT_FSIZE and the largest file size allow. Linux:
/// `generic_write_check_limits`.
///
/// # Errors
/// `EFBIG`, with SIGXFSZ where it is the limit that is passed.
pub(crate) fn write_check_limits(ctx: &dyn TaskContext, pos: u64, count: usize) -> Result<usize, Errno> {
    let limit = ctx.rlimit(Resource::Fsize);
    if pos >= limit {
        ctx.send_sig(SIGXFSZ);
        return Err(EFBIG);
    }
    if pos >= MAX_FILE_SIZE {
        return Err(EFBIG);
    }
    let room = limit.min(MAX_FILE_SIZE) - pos;
    Ok(count.min(usize::try_from(room).unwrap_or(usize::MAX)))
}

/// fcntl(F_SETFL) beyond what the file itself does. Linux: `setfl`.
///
/// # Errors
/// `EBADF` for O_PATH; `EPERM` for O_NOATIME on somebody else's file; the file's own.
pub fn setfl(ctx: &dyn TaskContext, file: &File, flags: OpenFlags) -> Result<(), Errno> {
    if file.flags().contains(OpenFlags::PATH) {
        return Err(EBADF);
    }
    let wants_noatime = flags.contains(OpenFlags::NOATIME) && !file.flags().contains(OpenFlags::NOATIME);
    if wants_noatime && !inode_owner_or_capable(&ctx.cred(), file.inode().getattr()?.uid) {
        return Err(EPERM);
    }
    file.set_status_flags(flags)
}
