//! Linux: fs/namespace.c, mount(2).

use crate::filesystem::{MountContext, mount_capable};
use crate::mount_tree::{CopyFlags, attach_recursive_mnt, clone_mnt, copy_tree, lock_mount, mnt_ns_of};
use crate::namei::{At, LookupFlags, user_path_at};
use crate::propagation::{Propagation, change_propagation};
use crate::{Dentry, FileType, Mount, MountFlags, MountNamespace, Path, SuperBlock, SuperFlags, TaskContext};
use sentry_auth::{CapSet, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, EINVAL, ELOOP, ENODEV, ENOTDIR, EPERM};
use std::sync::Arc;

/// Flags of mount(2). Linux: include/uapi/linux/mount.h.
#[allow(missing_docs)]
pub mod ms {
    pub const RDONLY: u64 = 1;
    pub const NOSUID: u64 = 2;
    pub const NODEV: u64 = 4;
    pub const NOEXEC: u64 = 8;
    pub const REMOUNT: u64 = 32;
    pub const NOSYMFOLLOW: u64 = 256;
    pub const NOATIME: u64 = 1024;
    pub const NODIRATIME: u64 = 2048;
    pub const BIND: u64 = 4096;
    pub const MOVE: u64 = 8192;
    pub const REC: u64 = 16384;
    pub const SILENT: u64 = 32768;
    pub const UNBINDABLE: u64 = 1 << 17;
    pub const PRIVATE: u64 = 1 << 18;
    pub const SLAVE: u64 = 1 << 19;
    pub const SHARED: u64 = 1 << 20;
    pub const RELATIME: u64 = 1 << 21;
    pub const STRICTATIME: u64 = 1 << 24;
    pub const NOUSER: u64 = 1 << 31;
    pub const MGC_VAL: u64 = 0xc0ed_0000;
    pub const MGC_MSK: u64 = 0xffff_0000;
}

/// Arguments of mount(2), copied in.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountArgs<'a> {
    /// The device, or what is bound or moved.
    pub source: Option<&'a [u8]>,
    /// Type of the filesystem.
    pub fs_type: Option<&'a [u8]>,
    /// `MS_*`.
    pub flags: u64,
    /// The filesystem's options.
    pub data: Option<&'a str>,
}

/// Whether the caller may change its mount namespace.
pub fn may_mount(ctx: &dyn TaskContext) -> bool {
    ns_capable(&ctx.cred(), ctx.mnt_ns().user_ns(), CapSet::SYS_ADMIN)
}

/// The flags of a mount that mount(2) is asked for; `old` are those of the mount it is to change. Linux: `path_mount`.
fn mount_flags(flags: u64, old: MountFlags) -> MountFlags {
    let mut mnt = MountFlags::empty();
    mnt.set(MountFlags::RELATIME, flags & ms::NOATIME == 0);
    mnt.set(MountFlags::NOSUID, flags & ms::NOSUID != 0);
    mnt.set(MountFlags::NODEV, flags & ms::NODEV != 0);
    mnt.set(MountFlags::NOEXEC, flags & ms::NOEXEC != 0);
    mnt.set(MountFlags::NOATIME, flags & ms::NOATIME != 0);
    mnt.set(MountFlags::NODIRATIME, flags & ms::NODIRATIME != 0);
    if flags & ms::STRICTATIME != 0 {
        mnt -= MountFlags::RELATIME | MountFlags::NOATIME;
    }
    mnt.set(MountFlags::READONLY, flags & ms::RDONLY != 0);
    mnt.set(MountFlags::NOSYMFOLLOW, flags & ms::NOSYMFOLLOW != 0);
    let atime = ms::NOATIME | ms::NODIRATIME | ms::RELATIME | ms::STRICTATIME;
    if flags & ms::REMOUNT != 0 && flags & atime == 0 {
        mnt = (mnt - MountFlags::ATIME_MASK) | (old & MountFlags::ATIME_MASK);
    }
    mnt
}

/// mount(2). Linux: `do_mount`, `path_mount`.
///
/// # Errors
/// Those of the walk to `target`; `EINVAL` for MS_NOUSER; `EPERM`; then those of what is asked for.
pub fn do_mount(ctx: &dyn TaskContext, target: &[u8], args: &MountArgs<'_>) -> Result<(), Errno> {
    let path = user_path_at(ctx, &At::Cwd, target, LookupFlags::FOLLOW)?;
    let mut flags = args.flags;
    if flags & ms::MGC_MSK == ms::MGC_VAL {
        flags &= !ms::MGC_MSK;
    }
    if flags & ms::NOUSER != 0 {
        return Err(EINVAL);
    }
    if !may_mount(ctx) {
        return Err(EPERM);
    }
    let mnt_flags = mount_flags(flags, path.mnt.flags());
    if flags & (ms::REMOUNT | ms::BIND) == ms::REMOUNT | ms::BIND {
        return do_reconfigure_mnt(ctx, &path, mnt_flags);
    }
    if flags & ms::REMOUNT != 0 {
        return do_remount(ctx, &path, flags & ms::RDONLY != 0, mnt_flags, args.data.unwrap_or_default());
    }
    if flags & ms::BIND != 0 {
        return do_loopback(ctx, &path, args.source, flags & ms::REC != 0);
    }
    if flags & (ms::SHARED | ms::PRIVATE | ms::SLAVE | ms::UNBINDABLE) != 0 {
        return do_change_type(ctx, &path, flags);
    }
    if flags & ms::MOVE != 0 {
        let source = args.source.filter(|s| !s.is_empty()).ok_or(EINVAL)?;
        let old = user_path_at(ctx, &At::Cwd, source, LookupFlags::FOLLOW)?;
        return move_mount_to(ctx, &old, &path);
    }
    do_new_mount(ctx, &path, args, flags & ms::RDONLY != 0, mnt_flags)
}

/// Whether flags that a more privileged namespace has locked would stay as they are. Linux: `can_change_locked_flags`.
pub(crate) fn can_change_locked_flags(mnt: &Mount, new: MountFlags) -> bool {
    let old = mnt.flags();
    let kept = |lock, flag| !old.contains(lock) || new.contains(flag);
    kept(MountFlags::LOCK_READONLY, MountFlags::READONLY)
        && kept(MountFlags::LOCK_NODEV, MountFlags::NODEV)
        && kept(MountFlags::LOCK_NOSUID, MountFlags::NOSUID)
        && kept(MountFlags::LOCK_NOEXEC, MountFlags::NOEXEC)
        && (!old.contains(MountFlags::LOCK_ATIME)
            || old & MountFlags::ATIME_MASK == new & MountFlags::ATIME_MASK)
}

/// Linux: `set_mount_attributes`.
fn set_mount_attributes(mnt: &Mount, new: MountFlags) {
    mnt.set_flags(new | (mnt.flags() - MountFlags::USER_SETTABLE));
    if let Some(ns) = mnt.ns() {
        ns.touch();
    }
}

/// The mount at whose top `path` is, if it is the caller's and may get these flags. Linux: the checks of
/// `do_reconfigure_mnt` and `do_remount`.
fn remountable(ctx: &dyn TaskContext, path: &Path, new: MountFlags) -> Result<(), Errno> {
    if !ctx.mnt_ns().owns(&path.mnt) || !path.is_mount_root() {
        return Err(EINVAL);
    }
    if can_change_locked_flags(&path.mnt, new) { Ok(()) } else { Err(EPERM) }
}

/// MS_REMOUNT with MS_BIND: the flags of one mount.
fn do_reconfigure_mnt(ctx: &dyn TaskContext, path: &Path, new: MountFlags) -> Result<(), Errno> {
    remountable(ctx, path, new)?;
    let _lock = ctx.vfs().mounts().lock();
    if new.contains(MountFlags::READONLY) && !path.mnt.is_read_only() {
        path.mnt.make_readonly()?;
    }
    set_mount_attributes(&path.mnt, new);
    Ok(())
}

/// MS_REMOUNT: the options of the filesystem, and the flags of the mount.
fn do_remount(
    ctx: &dyn TaskContext,
    path: &Path,
    read_only: bool,
    new: MountFlags,
    options: &str,
) -> Result<(), Errno> {
    remountable(ctx, path, new)?;
    let sb = &path.mnt.sb;
    if !ns_capable(&ctx.cred(), &sb.user_ns, CapSet::SYS_ADMIN) {
        return Err(EPERM);
    }
    sb.reconfigure(read_only, options)?;
    let _lock = ctx.vfs().mounts().lock();
    set_mount_attributes(&path.mnt, new);
    Ok(())
}

/// MS_BIND: another view of what is there. Linux: `do_loopback`.
fn do_loopback(
    ctx: &dyn TaskContext,
    target: &Path,
    source: Option<&[u8]>,
    recurse: bool,
) -> Result<(), Errno> {
    let source = source.filter(|s| !s.is_empty()).ok_or(EINVAL)?;
    let old = user_path_at(ctx, &At::Cwd, source, LookupFlags::FOLLOW)?;
    // A mount namespace must not hold on to itself, nor to one that may hold it. Linux: `mnt_ns_loop`.
    if mnt_ns_of(&old.dentry).is_some_and(|other| ctx.mnt_ns().id() >= other) {
        return Err(EINVAL);
    }
    let copy;
    let result = {
        let _lock = ctx.vfs().mounts().lock();
        let at = lock_mount(target)?;
        if !ctx.mnt_ns().owns(&at.mnt) {
            return Err(EINVAL);
        }
        copy = loopback_copy(ctx, &old, recurse)?;
        graft_tree(ctx, &copy, &at)
    };
    drop(copy);
    result
}

/// The copy a bind mount is made of. Linux: `__do_loopback`.
pub(crate) fn loopback_copy(ctx: &dyn TaskContext, old: &Path, recurse: bool) -> Result<Arc<Mount>, Errno> {
    if old.mnt.flags().contains(MountFlags::UNBINDABLE) {
        return Err(EINVAL);
    }
    // A file of nsfs may be bound wherever it was found, since it is on no mount of any namespace.
    if !ctx.mnt_ns().owns(&old.mnt) && old.mnt.sb.fs_type != "nsfs" {
        return Err(EINVAL);
    }
    if !recurse && old.mnt.has_locked_children(&old.dentry) {
        return Err(EINVAL);
    }
    let vfs = ctx.vfs();
    let copy = if recurse {
        copy_tree(vfs, &old.mnt, &old.dentry, CopyFlags::MNT_NS_FILE)?
    } else {
        clone_mnt(vfs, &old.mnt, &old.dentry, CopyFlags::empty())
    };
    copy.set_flags(copy.flags() - MountFlags::LOCKED);
    Ok(copy)
}

/// Linux: `graft_tree`.
fn graft_tree(ctx: &dyn TaskContext, mnt: &Arc<Mount>, at: &Path) -> Result<(), Errno> {
    if mnt.sb.flags.contains(SuperFlags::NOUSER) {
        return Err(EINVAL);
    }
    if mnt.root.is_dir() != at.dentry.is_dir() {
        return Err(ENOTDIR);
    }
    attach_recursive_mnt(ctx, mnt, at, false)
}

/// MS_SHARED and its kin. Linux: `do_change_type`.
fn do_change_type(ctx: &dyn TaskContext, path: &Path, flags: u64) -> Result<(), Errno> {
    if !path.is_mount_root() {
        return Err(EINVAL);
    }
    let to = match flags & !(ms::REC | ms::SILENT) {
        ms::SHARED => Propagation::Shared,
        ms::PRIVATE => Propagation::Private,
        ms::SLAVE => Propagation::Slave,
        ms::UNBINDABLE => Propagation::Unbindable,
        _ => return Err(EINVAL),
    };
    let table = ctx.vfs().mounts();
    let _lock = table.lock();
    let ns = path.mnt.ns().ok_or(EINVAL)?;
    if !ns_capable(&ctx.cred(), &ns.user_ns, CapSet::SYS_ADMIN) {
        return Err(EPERM);
    }
    let changed = if flags & ms::REC != 0 { path.mnt.subtree() } else { vec![path.mnt.clone()] };
    for mnt in &changed {
        change_propagation(table, mnt, to);
    }
    Ok(())
}

/// MS_MOVE, move_mount(2): moves the mount at whose top `old` is to `new`. Linux: `do_move_mount`.
pub(crate) fn move_mount_to(ctx: &dyn TaskContext, old: &Path, new: &Path) -> Result<(), Errno> {
    let _lock = ctx.vfs().mounts().lock();
    let at = lock_mount(new)?;
    let ns: Arc<MountNamespace> = ctx.mnt_ns();
    let mnt = &old.mnt;
    let parent = mnt.parent();
    let old_ns = mnt.ns().ok_or(EINVAL)?;
    if !ns.owns(&at.mnt)
        || !(if parent.is_some() { ns.owns(mnt) } else { old_ns.anonymous })
        || mnt.flags().contains(MountFlags::LOCKED)
        || !old.is_mount_root()
        || at.dentry.is_dir() != old.dentry.is_dir()
        || parent.as_ref().is_some_and(|(p, _)| p.group().is_some())
    {
        return Err(EINVAL);
    }
    let unbindable = |m: &Arc<Mount>| m.flags().contains(MountFlags::UNBINDABLE);
    if at.mnt.group().is_some() && mnt.subtree().iter().any(unbindable) {
        return Err(EINVAL);
    }
    let mut above = Some(at.mnt.clone());
    while let Some(m) = above {
        if Arc::ptr_eq(&m, mnt) {
            return Err(ELOOP);
        }
        above = m.parent().map(|(parent, _)| parent);
    }
    if parent.is_some() {
        return attach_recursive_mnt(ctx, mnt, &at, true);
    }
    // A tree of its own: it leaves the anonymous namespace that held it.
    let subtree = mnt.subtree();
    for m in &subtree {
        old_ns.remove(m);
    }
    let result = attach_recursive_mnt(ctx, mnt, &at, false);
    if result.is_ok() {
        old_ns.set_root(None);
    } else {
        for m in &subtree {
            old_ns.add(ctx.vfs().mounts(), m);
        }
    }
    result
}

/// A new mount of a filesystem. Linux: `do_new_mount`.
fn do_new_mount(
    ctx: &dyn TaskContext,
    target: &Path,
    args: &MountArgs<'_>,
    read_only: bool,
    flags: MountFlags,
) -> Result<(), Errno> {
    let fs_type = ctx.vfs().filesystems().get(args.fs_type.ok_or(EINVAL)?).ok_or(ENODEV)?;
    let user_ns = fs_type.user_ns(ctx);
    if !mount_capable(ctx, &*fs_type, &user_ns) {
        return Err(EPERM);
    }
    let source = args.source.unwrap_or(b"none");
    let options = args.data.unwrap_or_default();
    let mount = MountContext { source, options, user_ns };
    let root = fs_type.mount(ctx, &mount)?;
    if read_only && !root.sb().is_mounted() {
        root.sb().set_read_only(true);
    }
    let flags = mount_too_revealing(ctx, root.sb(), flags)?;
    let mnt = Mount::new(ctx.vfs().alloc_mount_id(), root, flags, source.into());
    let result = {
        let _lock = ctx.vfs().mounts().lock();
        lock_mount(target).and_then(|at| do_add_mount(ctx, &mnt, &at))
    };
    drop(mnt);
    result
}

/// Mounts a filesystem that its owner has made already; `flags` are `MS_*`. For the kernel's own use: nothing but the
/// place is checked.
///
/// # Errors
/// `EINVAL` for a place in another namespace; `EBUSY` if the same is mounted there.
pub fn mount_root(ctx: &dyn TaskContext, root: Arc<Dentry>, target: &Path, flags: u64) -> Result<(), Errno> {
    let source = root.sb().source.clone();
    let mnt_flags = mount_flags(flags, MountFlags::empty());
    let mnt = Mount::new(ctx.vfs().alloc_mount_id(), root, mnt_flags, source.as_slice().into());
    let _lock = ctx.vfs().mounts().lock();
    lock_mount(target).and_then(|at| do_add_mount(ctx, &mnt, &at))
}

/// Linux: `do_add_mount`.
fn do_add_mount(ctx: &dyn TaskContext, mnt: &Arc<Mount>, at: &Path) -> Result<(), Errno> {
    if !ctx.mnt_ns().owns(&at.mnt) {
        return Err(EINVAL);
    }
    if Arc::ptr_eq(&at.mnt.sb, &mnt.sb) && at.is_mount_root() {
        return Err(EBUSY);
    }
    if mnt.root.inode_ref().is_some_and(|i| i.file_type() == FileType::Symlink) {
        return Err(EINVAL);
    }
    graft_tree(ctx, mnt, at)
}

/// Keeps a user namespace from mounting afresh what its mounts of the same type hide; gives the flags with the locks the
/// new mount inherits. Linux: `mount_too_revealing`, `mnt_already_visible`.
///
/// # Errors
/// `EPERM`.
pub(crate) fn mount_too_revealing(
    ctx: &dyn TaskContext,
    sb: &SuperBlock,
    new: MountFlags,
) -> Result<MountFlags, Errno> {
    let ns = ctx.mnt_ns();
    if Arc::ptr_eq(ns.user_ns(), ctx.vfs().user_ns()) || !sb.flags.contains(SuperFlags::USERNS_VISIBLE) {
        return Ok(new);
    }
    for mnt in ns.mounts() {
        if mnt.sb.fs_type != sb.fs_type || !mnt.root.is_root() {
            continue;
        }
        let mut flags = mnt.flags();
        if mnt.sb.is_read_only() {
            flags |= MountFlags::LOCK_READONLY;
        }
        let read_only = flags.contains(MountFlags::LOCK_READONLY) && !new.contains(MountFlags::READONLY);
        let atime = flags.contains(MountFlags::LOCK_ATIME)
            && flags & MountFlags::ATIME_MASK != new & MountFlags::ATIME_MASK;
        let hides = |child: &Arc<Mount>| {
            let covered = child.tree.read().mountpoint.clone();
            child.flags().contains(MountFlags::LOCKED)
                && covered.is_some_and(|d| d.inode_ref().is_some_and(|i| !i.ops().is_permanently_empty()))
        };
        if !read_only && !atime && !mnt.children().iter().any(hides) {
            return Ok(new | (flags & (MountFlags::LOCK_READONLY | MountFlags::LOCK_ATIME)));
        }
    }
    Err(EPERM)
}
