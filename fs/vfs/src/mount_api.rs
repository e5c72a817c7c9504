//! Linux: fs/namespace.c, open_tree(2), move_mount(2), mount_setattr(2), and mounts that are nowhere yet.

use crate::do_mount::{
    can_change_locked_flags, loopback_copy, may_mount, mount_too_revealing, move_mount_to, ms,
};
use crate::namei::{At, LookupFlags, user_path_at};
use crate::propagation::{Propagation, change_propagation};
use crate::{
    Dentry, File, FileOps, Mount, MountFlags, MountNamespace, Path, SuperFlags, TaskContext, dentry_open,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOENT, EPERM};
use sentry_uapi::fcntl::{AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW, OpenFlags};
use std::any::Any;
use std::sync::Arc;

/// Apply to all mounts below. Linux: include/uapi/linux/fcntl.h, `AT_RECURSIVE`.
const AT_RECURSIVE: u32 = 0x8000;

/// Flags of open_tree(2). Linux: include/uapi/linux/mount.h.
#[allow(missing_docs)]
pub mod open_tree {
    pub const CLONE: u32 = 1;
    pub const CLOEXEC: u32 = 0o2_000_000;
}

/// Flags of move_mount(2). Linux: include/uapi/linux/mount.h.
#[allow(missing_docs)]
pub mod move_mount {
    pub const F_SYMLINKS: u32 = 0x1;
    pub const F_EMPTY_PATH: u32 = 0x4;
    pub const T_SYMLINKS: u32 = 0x10;
    pub const T_EMPTY_PATH: u32 = 0x40;
    /// All of them, those without an effect here included, but for `MOVE_MOUNT_SET_GROUP`.
    pub const MASK: u32 = 0x77;
}

/// Attributes of mount_setattr(2) and fsmount(2). Linux: include/uapi/linux/mount.h.
#[allow(missing_docs)]
pub mod mount_attr {
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    pub const ATIME: u64 = 0x70;
    pub const RELATIME: u64 = 0;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
    /// What fsmount(2) takes.
    pub const VALID: u64 = RDONLY | NOSUID | NODEV | NOEXEC | ATIME | NODIRATIME | NOSYMFOLLOW;
}

/// `struct mount_attr`, decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// Attributes to set.
    pub attr_set: u64,
    /// Attributes to clear.
    pub attr_clr: u64,
    /// Propagation type (`MS_*`), or 0.
    pub propagation: u64,
}

/// What the descriptor of a detached tree does: it keeps the tree; the last one to go takes it apart. Linux:
/// `FMODE_NEED_UNMOUNT`.
struct DetachedTree {
    _ns: MountNamespace,
}

impl FileOps for DetachedTree {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn detached_file(ctx: &dyn TaskContext, mnt: Arc<Mount>) -> Result<Arc<File>, Errno> {
    let (user_ns, creator) = (ctx.mnt_ns().user_ns().clone(), ctx.cred().euid);
    let ns = MountNamespace::anonymous(ctx.vfs(), user_ns, creator, mnt.clone())?;
    let path = Path { dentry: mnt.root.clone(), mnt };
    let inode = path.inode().ok_or(ENOENT)?.clone();
    Ok(File::new(path, inode, Box::new(DetachedTree { _ns: ns }), OpenFlags::PATH, ctx.cred()))
}

/// open_tree(2): a descriptor for a place, or for a copy of the mounts there that is mounted nowhere.
///
/// # Errors
/// `EINVAL` for flags; `EPERM`; those of the walk; `EINVAL` as for bind mounts.
pub fn do_open_tree(ctx: &dyn TaskContext, at: &At, name: &[u8], flags: u32) -> Result<Arc<File>, Errno> {
    let known = AT_EMPTY_PATH
        | AT_NO_AUTOMOUNT
        | AT_RECURSIVE
        | AT_SYMLINK_NOFOLLOW
        | open_tree::CLONE
        | open_tree::CLOEXEC;
    if flags & !known != 0 || flags & (AT_RECURSIVE | open_tree::CLONE) == AT_RECURSIVE {
        return Err(EINVAL);
    }
    let clone = flags & open_tree::CLONE != 0;
    if clone && !may_mount(ctx) {
        return Err(EPERM);
    }
    let path = user_path_at(ctx, at, name, lookup_flags(flags))?;
    if !clone {
        return dentry_open(ctx, path, OpenFlags::PATH);
    }
    let copy = {
        let _lock = ctx.vfs().mounts().lock();
        loopback_copy(ctx, &path, flags & AT_RECURSIVE != 0)?
    };
    detached_file(ctx, copy)
}

fn lookup_flags(flags: u32) -> LookupFlags {
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    lookup
}

/// The flags fsmount(2) is asked for.
///
/// # Errors
/// `EINVAL`.
pub(crate) fn fsmount_flags(attrs: u64) -> Result<MountFlags, Errno> {
    if attrs & !mount_attr::VALID != 0 {
        return Err(EINVAL);
    }
    Ok(attr_flags(attrs) | atime_flags(attrs)?)
}

/// The last step of fsmount(2): a descriptor for a mount, nowhere yet, of the filesystem with this root.
///
/// # Errors
/// `EPERM` where it would show what the caller's namespace hides; `EINVAL` for a filesystem only the kernel may mount.
pub(crate) fn detached_mount(
    ctx: &dyn TaskContext,
    root: Arc<Dentry>,
    source: &[u8],
    flags: MountFlags,
) -> Result<Arc<File>, Errno> {
    let flags = mount_too_revealing(ctx, root.sb(), flags)?;
    if root.sb().flags.contains(SuperFlags::NOUSER) {
        return Err(EINVAL);
    }
    detached_file(ctx, Mount::new(ctx.vfs().alloc_mount_id(), root, flags, source.into()))
}

/// move_mount(2), without `MOVE_MOUNT_SET_GROUP`.
///
/// # Errors
/// `EPERM`; `EINVAL` for flags; those of the walks; those of MS_MOVE.
pub fn do_move_mount(
    ctx: &dyn TaskContext,
    from_at: &At,
    from: &[u8],
    to_at: &At,
    to: &[u8],
    flags: u32,
) -> Result<(), Errno> {
    if !may_mount(ctx) {
        return Err(EPERM);
    }
    if flags & !move_mount::MASK != 0 {
        return Err(EINVAL);
    }
    let lookup = |follow: u32, empty: u32| {
        let mut lookup = LookupFlags::empty();
        lookup.set(LookupFlags::FOLLOW, flags & follow != 0);
        lookup.set(LookupFlags::EMPTY, flags & empty != 0);
        lookup
    };
    let from = user_path_at(ctx, from_at, from, lookup(move_mount::F_SYMLINKS, move_mount::F_EMPTY_PATH))?;
    let to = user_path_at(ctx, to_at, to, lookup(move_mount::T_SYMLINKS, move_mount::T_EMPTY_PATH))?;
    move_mount_to(ctx, &from, &to)
}

fn attr_flags(attrs: u64) -> MountFlags {
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::READONLY, attrs & mount_attr::RDONLY != 0);
    flags.set(MountFlags::NOSUID, attrs & mount_attr::NOSUID != 0);
    flags.set(MountFlags::NODEV, attrs & mount_attr::NODEV != 0);
    flags.set(MountFlags::NOEXEC, attrs & mount_attr::NOEXEC != 0);
    flags.set(MountFlags::NODIRATIME, attrs & mount_attr::NODIRATIME != 0);
    flags.set(MountFlags::NOSYMFOLLOW, attrs & mount_attr::NOSYMFOLLOW != 0);
    flags
}

fn atime_flags(attrs: u64) -> Result<MountFlags, Errno> {
    match attrs & mount_attr::ATIME {
        mount_attr::RELATIME => Ok(MountFlags::RELATIME),
        mount_attr::NOATIME => Ok(MountFlags::NOATIME),
        mount_attr::STRICTATIME => Ok(MountFlags::empty()),
        _ => Err(EINVAL),
    }
}

/// What mount_setattr(2) changes. Linux: `struct mount_kattr`.
struct Kattr {
    set: MountFlags,
    clear: MountFlags,
    propagation: Option<Propagation>,
}

/// Linux: `build_mount_kattr`. Id-mapped mounts are not there: `MOUNT_ATTR_IDMAP` is `EINVAL`.
fn build_kattr(attr: &MountAttr) -> Result<Kattr, Errno> {
    let propagation = match attr.propagation {
        0 => None,
        ms::SHARED => Some(Propagation::Shared),
        ms::PRIVATE => Some(Propagation::Private),
        ms::SLAVE => Some(Propagation::Slave),
        ms::UNBINDABLE => Some(Propagation::Unbindable),
        _ => return Err(EINVAL),
    };
    if (attr.attr_set | attr.attr_clr) & !mount_attr::VALID != 0 {
        return Err(EINVAL);
    }
    let mut kattr = Kattr { set: attr_flags(attr.attr_set), clear: attr_flags(attr.attr_clr), propagation };
    match attr.attr_clr & mount_attr::ATIME {
        0 if attr.attr_set & mount_attr::ATIME != 0 => return Err(EINVAL),
        0 => {}
        // The kinds of atime are one value, not bits: all of it is cleared or none.
        mount_attr::ATIME => {
            kattr.clear |= MountFlags::RELATIME | MountFlags::NOATIME;
            kattr.set |= atime_flags(attr.attr_set)?;
        }
        _ => return Err(EINVAL),
    }
    Ok(kattr)
}

/// mount_setattr(2). The size of the structure and its tail are the caller's to check.
///
/// # Errors
/// `EINVAL` for flags; `EPERM`; `EINVAL` for attributes; those of the walk; `EPERM` for locked flags; `EBUSY` while
/// somebody writes to what is to become read-only.
pub fn do_mount_setattr(
    ctx: &dyn TaskContext,
    at: &At,
    name: &[u8],
    flags: u32,
    attr: &MountAttr,
) -> Result<(), Errno> {
    if flags & !(AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0 {
        return Err(EINVAL);
    }
    if !may_mount(ctx) {
        return Err(EPERM);
    }
    if *attr == MountAttr::default() {
        return Ok(());
    }
    let kattr = build_kattr(attr)?;
    let path = user_path_at(ctx, at, name, lookup_flags(flags))?;
    if !path.is_mount_root() {
        return Err(EINVAL);
    }
    let table = ctx.vfs().mounts();
    let _lock = table.lock();
    let mnt = &path.mnt;
    let ns = mnt.ns().ok_or(EINVAL)?;
    if (mnt.parent().is_some() || !ns.anonymous) && !ctx.mnt_ns().owns(mnt) {
        return Err(EINVAL);
    }
    let changed = if flags & AT_RECURSIVE != 0 { mnt.subtree() } else { vec![mnt.clone()] };
    setattr_prepare(&kattr, &changed)?;
    for m in &changed {
        m.set_flags((m.flags() - kattr.clear) | kattr.set);
        if let Some(propagation) = kattr.propagation {
            change_propagation(table, m, propagation);
        }
    }
    ns.touch();
    Ok(())
}

/// Checks that all mounts can be changed, and stops writers of those that become read-only. All or none. Linux:
/// `mount_setattr_prepare`.
fn setattr_prepare(kattr: &Kattr, mounts: &[Arc<Mount>]) -> Result<(), Errno> {
    let mut held: Vec<&Arc<Mount>> = Vec::new();
    for m in mounts {
        let new = (m.flags() - kattr.clear) | kattr.set;
        let mut result = if can_change_locked_flags(m, new) { Ok(()) } else { Err(EPERM) };
        if result.is_ok()
            && kattr.set.contains(MountFlags::READONLY)
            && !m.flags().contains(MountFlags::READONLY)
        {
            result = m.make_readonly();
            held.push(m);
        }
        if let Err(e) = result {
            for m in held {
                m.set_flags(m.flags() - MountFlags::READONLY);
            }
            return Err(e);
        }
    }
    Ok(())
}
