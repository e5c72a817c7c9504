//! Linux: fs/namei.c, the calls that make and remove names.
//!
//! Permissions are checked before the directory's lock is taken; what the checks rest on is looked at again under it.

use crate::namei::{
    At, Last, LastType, LookupFlags, Nameidata, filename_parentat, lookup_dentry, user_path_at,
};
use crate::notify::{NotifyMask, fsnotify_inode, fsnotify_name};
use crate::posix_acl::posix_acl_create;
use crate::protected;
use crate::{Access, Attr, Dentry, FileType, Inode, NewAcls, NewNode, NodeKind, Path, TaskContext};
use sentry_auth::{CapSet, Cred, capable_wrt_inode_uidgid};
use sentry_uapi::Errno;
use sentry_uapi::errno::{
    EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EOVERFLOW, EPERM, EXDEV,
};
use sentry_uapi::fcntl::{AT_EMPTY_PATH, AT_REMOVEDIR, AT_SYMLINK_FOLLOW};
use sentry_uapi::stat::{S_ISGID, S_ISVTX};
use std::sync::Arc;

/// Execute permission for the group.
const S_IXGRP: u32 = 0o010;

/// Whether a name may be made in `dir`. Linux: `may_create`, `may_o_create`.
pub(crate) fn may_create(ctx: &dyn TaskContext, dir: &Dentry) -> Result<(), Errno> {
    if dir.is_dead() {
        return Err(ENOENT);
    }
    let cred = ctx.cred();
    let ns = &dir.sb().user_ns;
    if ns.from_kuid(cred.fsuid).is_none() || ns.from_kgid(cred.fsgid).is_none() {
        return Err(EOVERFLOW);
    }
    dir.inode_ref().ok_or(ENOENT)?.permission(&cred, Access::WRITE | Access::EXEC)
}

/// Whether the sticky bit of `dir` keeps `cred` from removing a file. Linux: `check_sticky`.
fn check_sticky(cred: &Cred, dir: &Attr, victim: &Attr) -> bool {
    dir.perm & S_ISVTX != 0
        && victim.uid != cred.fsuid
        && dir.uid != cred.fsuid
        && !capable_wrt_inode_uidgid(cred, victim.uid, victim.gid, CapSet::FOWNER)
}

/// Whether a name may be removed from `dir`. Linux: `may_delete`.
pub(crate) fn may_delete(
    ctx: &dyn TaskContext,
    dir: &Arc<Dentry>,
    victim: &Arc<Dentry>,
    want_dir: bool,
) -> Result<(), Errno> {
    let inode = victim.inode_ref().ok_or(ENOENT)?;
    let attr = inode.getattr()?;
    if !attr.uid.is_valid() || !attr.gid.is_valid() {
        return Err(EOVERFLOW);
    }
    let dir_inode = dir.inode_ref().ok_or(ENOENT)?;
    let cred = ctx.cred();
    dir_inode.permission(&cred, Access::WRITE | Access::EXEC)?;
    if check_sticky(&cred, &dir_inode.getattr()?, &attr) {
        return Err(EPERM);
    }
    if want_dir {
        if !inode.is_dir() {
            return Err(ENOTDIR);
        }
        if victim.is_root() {
            return Err(EBUSY);
        }
    } else if inode.is_dir() {
        return Err(EISDIR);
    }
    if dir.is_dead() { Err(ENOENT) } else { Ok(()) }
}

/// Owner, group, permission bits and access control lists of a node made in `dir`. Linux: `vfs_prepare_mode`,
/// `inode_init_owner`.
pub(crate) fn new_node(
    ctx: &dyn TaskContext,
    dir: &Dentry,
    kind: NodeKind,
    mode: u32,
) -> Result<NewNode, Errno> {
    let cred = ctx.cred();
    let dir = dir.inode_ref().ok_or(ENOENT)?;
    let parent = dir.getattr()?;
    let mut perm = mode & 0o7777;
    let mut acls = NewAcls::default();
    let is_dir = kind == NodeKind::Directory;
    let inherits = parent.perm & S_ISGID != 0;
    if matches!(kind, NodeKind::Symlink(_)) {
        perm = 0o777;
    } else {
        if inherits
            && !is_dir
            && perm & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
            && !cred.in_group_p(parent.gid)
            && !capable_wrt_inode_uidgid(&cred, parent.uid, parent.gid, CapSet::FSETID)
        {
            perm &= !S_ISGID;
        }
        if is_dir {
            perm &= 0o777 | S_ISVTX;
        }
        (perm, acls) = posix_acl_create(dir, perm, ctx.fs().umask(), is_dir)?;
    }
    if inherits && is_dir {
        perm |= S_ISGID;
    }
    let gid = if inherits { parent.gid } else { cred.fsgid };
    Ok(NewNode { kind, perm, uid: cred.fsuid, gid, acls })
}

/// Makes a node behind a negative dentry, under the directory's lock.
///
/// # Errors
/// `EEXIST` also when somebody did something else with the name first: look it up again.
pub(crate) fn create_locked(
    ctx: &dyn TaskContext,
    dir: &Arc<Dentry>,
    dentry: &Arc<Dentry>,
    name: &[u8],
    node: NewNode,
) -> Result<(), Errno> {
    let dir_inode = dir.inode_ref().ok_or(ENOENT)?;
    let _lock = dir.dir_lock.lock();
    if dir.is_dead() {
        return Err(ENOENT);
    }
    if !dentry.is_child_of(dir, name) || !dentry.is_negative() {
        return Err(EEXIST);
    }
    let _change = dir.begin_change();
    match dir_inode.ops().create(dir_inode, ctx, name, node) {
        Ok(inode) => {
            dentry.d_instantiate(inode);
            Ok(())
        }
        Err(e) => {
            if e == EEXIST {
                // The filesystem knows better.
                dentry.d_drop();
            }
            Err(e)
        }
    }
}

/// What a name to be made comes to: its directory, and the dentry, which is negative. Linux: `filename_create`.
fn filename_create<'n>(
    ctx: &dyn TaskContext,
    at: &At,
    name: &'n [u8],
    want_dir: bool,
) -> Result<NewName<'n>, Errno> {
    let (dir, last) = filename_parentat(ctx, at, name)?;
    if last.kind != LastType::Norm {
        return Err(EEXIST);
    }
    let write = dir.mnt.want_write();
    let dentry = lookup_dentry(ctx, &dir.dentry, last.name(), false)?;
    if !dentry.is_negative() {
        return Err(EEXIST);
    }
    if last.trailing_slash && !want_dir {
        return Err(ENOENT);
    }
    Ok(NewName { _write: write?, dir, last, dentry })
}

struct NewName<'n> {
    _write: crate::mount::WriteAccess,
    dir: Path,
    last: Last<'n>,
    dentry: Arc<Dentry>,
}

impl NewName<'_> {
    fn create(&self, ctx: &dyn TaskContext, kind: NodeKind, mode: u32) -> Result<(), Errno> {
        may_create(ctx, &self.dir.dentry)?;
        if let NodeKind::CharDevice(dev) | NodeKind::BlockDevice(dev) = &kind {
            let whiteout = matches!(kind, NodeKind::CharDevice(_)) && *dev == 0;
            if !whiteout && !ctx.vfs().capable(&ctx.cred(), CapSet::MKNOD) {
                return Err(EPERM);
            }
        }
        let node = new_node(ctx, &self.dir.dentry, kind, mode)?;
        create_locked(ctx, &self.dir.dentry, &self.dentry, self.last.name(), node)?;
        self.notify();
        Ok(())
    }

    fn notify(&self) {
        if let (Some(dir), Some(inode)) = (self.dir.inode(), self.dentry.inode_ref()) {
            fsnotify_name(dir, self.last.name(), inode, NotifyMask::CREATE, 0);
        }
    }
}

/// mkdir(2), mkdirat(2).
///
/// # Errors
/// In the order of `do_mkdirat`: those of the walk, `EEXIST`, `EROFS`, those of `may_create`, the filesystem's.
pub fn do_mkdirat(ctx: &dyn TaskContext, at: &At, name: &[u8], mode: u32) -> Result<(), Errno> {
    let new = filename_create(ctx, at, name, true)?;
    new.create(ctx, NodeKind::Directory, mode)
}

/// mknod(2), mknodat(2). `mode` holds the type; `dev` is as stat(2) shows it. Linux: `do_mknodat`.
///
/// # Errors
/// `EPERM` for a directory, `EINVAL` for an unknown type, before the walk; `EPERM` for a device without CAP_MKNOD in the
/// first user namespace.
pub fn do_mknodat(ctx: &dyn TaskContext, at: &At, name: &[u8], mode: u32, dev: u64) -> Result<(), Errno> {
    let file_type = if mode & sentry_uapi::stat::S_IFMT == 0 {
        FileType::Regular
    } else {
        FileType::from_mode(mode).ok_or(EINVAL)?
    };
    let kind = match file_type {
        FileType::Regular => NodeKind::Regular,
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::CharDevice => NodeKind::CharDevice(dev),
        FileType::BlockDevice => NodeKind::BlockDevice(dev),
        FileType::Directory => return Err(EPERM),
        FileType::Symlink | FileType::Anonymous => return Err(EINVAL),
    };
    filename_create(ctx, at, name, false)?.create(ctx, kind, mode)
}

/// Makes the node a UNIX socket is bound to, and gives its place. Linux: net/unix/af_unix.c, `unix_bind_bsd`.
///
/// # Errors
/// As mknod(2), with `EEXIST` for the caller to turn into `EADDRINUSE`.
pub fn mknod_socket(ctx: &dyn TaskContext, name: &[u8], mode: u32) -> Result<Path, Errno> {
    let new = filename_create(ctx, &At::Cwd, name, false)?;
    new.create(ctx, NodeKind::Socket, mode)?;
    Ok(Path { mnt: new.dir.mnt, dentry: new.dentry })
}

/// symlink(2), symlinkat(2). Linux: `do_symlinkat`.
///
/// # Errors
/// `ENOENT` for an empty target first; then as mkdir(2).
pub fn do_symlinkat(ctx: &dyn TaskContext, target: &[u8], at: &At, name: &[u8]) -> Result<(), Errno> {
    if target.is_empty() {
        return Err(ENOENT);
    }
    let new = filename_create(ctx, at, name, false)?;
    new.create(ctx, NodeKind::Symlink(target.to_vec()), 0o777)
}

/// Attached to a file made by O_TMPFILE without O_EXCL: it may get a name. Linux: `I_LINKABLE`.
struct Linkable;

pub(crate) fn mark_linkable(inode: &Inode) {
    inode.attached_or(|| Linkable);
}

/// link(2), linkat(2), with linkat's flags. Linux: `do_linkat`.
///
/// # Errors
/// In the order of `do_linkat`, `vfs_link`.
pub fn do_linkat(
    ctx: &dyn TaskContext,
    old_at: &At,
    old: &[u8],
    new_at: &At,
    new: &[u8],
    flags: u32,
) -> Result<(), Errno> {
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    let mut lookup = LookupFlags::empty();
    if flags & AT_EMPTY_PATH != 0 {
        if !ctx.vfs().capable(&ctx.cred(), CapSet::DAC_READ_SEARCH) {
            return Err(ENOENT);
        }
        lookup |= LookupFlags::EMPTY;
    }
    lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_FOLLOW != 0);
    let old_path = user_path_at(ctx, old_at, old, lookup)?;
    let new = filename_create(ctx, new_at, new, false)?;
    if !Arc::ptr_eq(&old_path.mnt, &new.dir.mnt) {
        return Err(EXDEV);
    }
    protected::may_linkat(ctx, old_path.inode().ok_or(ENOENT)?)?;
    vfs_link(ctx, &old_path.dentry, &new)
}

fn vfs_link(ctx: &dyn TaskContext, old: &Arc<Dentry>, new: &NewName<'_>) -> Result<(), Errno> {
    let inode = old.inode_ref().ok_or(ENOENT)?;
    let dir = &new.dir.dentry;
    may_create(ctx, dir)?;
    if !Arc::ptr_eq(dir.sb(), inode.sb()) {
        return Err(EXDEV);
    }
    let attr = inode.getattr()?;
    if !attr.uid.is_valid() || !attr.gid.is_valid() || inode.is_dir() {
        return Err(EPERM);
    }
    if attr.nlink == 0 && inode.attached::<Linkable>().is_none() {
        return Err(ENOENT);
    }
    let dir_inode = dir.inode_ref().ok_or(ENOENT)?;
    {
        let _lock = dir.dir_lock.lock();
        if dir.is_dead() {
            return Err(ENOENT);
        }
        if !new.dentry.is_child_of(dir, new.last.name()) || !new.dentry.is_negative() {
            return Err(EEXIST);
        }
        let _change = dir.begin_change();
        dir_inode.ops().link(dir_inode, ctx, new.last.name(), inode)?;
        new.dentry.d_instantiate(inode.clone());
    }
    fsnotify_inode(inode, NotifyMask::ATTRIB);
    new.notify();
    Ok(())
}

/// unlink(2), rmdir(2), unlinkat(2), with unlinkat's flags.
///
/// # Errors
/// In the order of `do_unlinkat` and `do_rmdir`.
pub fn do_unlinkat(ctx: &dyn TaskContext, at: &At, name: &[u8], flags: u32) -> Result<(), Errno> {
    if flags & !AT_REMOVEDIR != 0 {
        return Err(EINVAL);
    }
    let want_dir = flags & AT_REMOVEDIR != 0;
    let (dir, last) = filename_parentat(ctx, at, name)?;
    match last.kind {
        LastType::Norm => {}
        _ if !want_dir => return Err(EISDIR),
        LastType::DotDot => return Err(ENOTEMPTY),
        LastType::Dot => return Err(EINVAL),
        LastType::Root => return Err(EBUSY),
    }
    let _write = dir.mnt.want_write()?;
    loop {
        let victim = lookup_dentry(ctx, &dir.dentry, last.name(), false)?;
        let Some(inode) = victim.inode_ref() else { return Err(ENOENT) };
        if last.trailing_slash && !want_dir {
            return Err(if inode.is_dir() { EISDIR } else { ENOTDIR });
        }
        may_delete(ctx, &dir.dentry, &victim, want_dir)?;
        if remove_locked(ctx, &dir.dentry, &victim, last.name(), want_dir)? {
            after_removal(ctx, &dir.dentry, victim, last.name(), want_dir);
            return Ok(());
        }
    }
}

/// Removes a name under its directory's lock. False if the name is not what it was. Linux: `vfs_unlink`, `vfs_rmdir`.
fn remove_locked(
    ctx: &dyn TaskContext,
    dir: &Arc<Dentry>,
    victim: &Arc<Dentry>,
    name: &[u8],
    want_dir: bool,
) -> Result<bool, Errno> {
    let busy = ctx.mnt_ns().is_local_mountpoint(victim);
    let dir_inode = dir.inode_ref().ok_or(ENOENT)?;
    let inode = victim.inode_ref().ok_or(ENOENT)?;
    let _lock = dir.dir_lock.lock();
    if !victim.is_child_of(dir, name) {
        return Ok(false);
    }
    if busy {
        return Err(EBUSY);
    }
    let _change = dir.begin_change();
    if want_dir {
        // Nothing can be made in it from here on.
        let _victim = victim.dir_lock.lock_nested();
        dir_inode.ops().rmdir(dir_inode, ctx, name, inode)?;
        victim.mark_dead();
        victim.shrink_children();
    } else {
        dir_inode.ops().unlink(dir_inode, ctx, name, inode)?;
        victim.mark_dead();
    }
    victim.d_delete();
    Ok(true)
}

/// What follows a removal, with no lock held: mounts on it in other namespaces go, marks are told.
fn after_removal(ctx: &dyn TaskContext, dir: &Arc<Dentry>, victim: Arc<Dentry>, name: &[u8], was_dir: bool) {
    ctx.vfs().mounts().detach_mounts(&victim);
    let Some(inode) = victim.inode() else { return };
    if !was_dir {
        fsnotify_inode(&inode, NotifyMask::ATTRIB);
    }
    // If this was the last use, the marks of the file itself hear of its end now.
    drop(victim);
    if let Some(dir) = dir.inode_ref() {
        fsnotify_name(dir, name, &inode, NotifyMask::DELETE, 0);
    }
}

/// The text of a symbolic link, for readlink(2) and readlinkat(2). An empty path stands for a link opened with O_PATH.
/// Linux: `do_readlinkat`.
///
/// # Errors
/// Those of the walk; `EINVAL` (`ENOENT` with an empty path) for what is no link.
pub fn do_readlinkat(ctx: &dyn TaskContext, at: &At, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let nd = Nameidata::new(ctx, at, name, LookupFlags::EMPTY)?;
    let path = nd.path_lookupat()?;
    let inode = path.inode().ok_or(ENOENT)?;
    if inode.file_type() != FileType::Symlink {
        return Err(if name.is_empty() { ENOENT } else { EINVAL });
    }
    crate::atime::touch_atime(&path.mnt, inode);
    inode.ops().readlink_text(inode, ctx)
}
