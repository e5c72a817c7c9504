//! Linux: fs/namespace.c, umount2(2) and pivot_root(2).

use crate::do_mount::may_mount;
use crate::mount_tree::{UmountFlags, lock_mount, umount_tree};
use crate::namei::{At, LookupFlags, user_path_at};
use crate::propagation::propagate_mount_busy;
use crate::{Mount, MountFlags, Path, TaskContext};
use sentry_auth::{CapSet, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EBUSY, EINVAL, ENOENT, EPERM};
use std::sync::Arc;

/// Flags of umount2(2). Linux: include/linux/fs.h.
const MNT_FORCE: u32 = 1;
const MNT_DETACH: u32 = 2;
const MNT_EXPIRE: u32 = 4;
const UMOUNT_NOFOLLOW: u32 = 8;

/// umount(2), umount2(2). Linux: `ksys_umount`.
///
/// # Errors
/// `EINVAL` for flags; those of the walk; `EPERM`; `EINVAL` for what is no mount of the caller's namespace, or locked;
/// `EAGAIN` and `EBUSY`.
pub fn do_umount(ctx: &dyn TaskContext, name: &[u8], flags: u32) -> Result<(), Errno> {
    if flags & !(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) != 0 {
        return Err(EINVAL);
    }
    let mut lookup = LookupFlags::MOUNTPOINT;
    lookup.set(LookupFlags::FOLLOW, flags & UMOUNT_NOFOLLOW == 0);
    let path = user_path_at(ctx, &At::Cwd, name, lookup)?;
    if !may_mount(ctx) {
        return Err(EPERM);
    }
    if !path.is_mount_root() || !ctx.mnt_ns().owns(&path.mnt) || path.mnt.flags().contains(MountFlags::LOCKED)
    {
        return Err(EINVAL);
    }
    if flags & MNT_FORCE != 0 && !ns_capable(&ctx.cred(), &path.mnt.sb.user_ns, CapSet::SYS_ADMIN) {
        return Err(EPERM);
    }
    umount_mount(ctx, &path.mnt, flags)
}

/// Unmounts a mount, to which the caller holds exactly one reference. Linux: `do_umount`.
fn umount_mount(ctx: &dyn TaskContext, mnt: &Arc<Mount>, flags: u32) -> Result<(), Errno> {
    let is_root = Arc::ptr_eq(mnt, &ctx.fs().root().mnt);
    if flags & MNT_EXPIRE != 0 {
        if is_root || flags & (MNT_FORCE | MNT_DETACH) != 0 {
            return Err(EINVAL);
        }
        if Arc::strong_count(mnt) > 2 {
            return Err(EBUSY);
        }
        if !mnt.mark_expired() {
            return Err(EAGAIN);
        }
    }
    if is_root && flags & MNT_DETACH == 0 {
        // The root stays; it becomes read-only.
        if !ns_capable(&ctx.cred(), &mnt.sb.user_ns, CapSet::SYS_ADMIN) {
            return Err(EPERM);
        }
        return mnt.sb.make_read_only();
    }
    let table = ctx.vfs().mounts();
    let gone = {
        let _lock = table.lock();
        if mnt.flags().contains(MountFlags::LOCKED) {
            return Err(EINVAL);
        }
        if mnt.ns().is_none() {
            Vec::new()
        } else if flags & MNT_DETACH != 0 {
            umount_tree(table, mnt, UmountFlags::PROPAGATE)
        } else if propagate_mount_busy(mnt, 2) {
            return Err(EBUSY);
        } else {
            umount_tree(table, mnt, UmountFlags::PROPAGATE | UmountFlags::SYNC)
        }
    };
    drop(gone);
    Ok(())
}

/// pivot_root(2): the mount at `new_root` becomes the root of the namespace, and the old one moves to `put_old`. Returns
/// the two roots: every other task whose root or working directory is the first is to move to the second
/// ([`crate::FsStruct::chroot_refs`]); the caller's own have. Linux: fs/namespace.c.
///
/// # Errors
/// In Linux's order: `EPERM`; those of the walks; `EINVAL`, `ENOENT`, `EBUSY`.
pub fn pivot_root(ctx: &dyn TaskContext, new_root: &[u8], put_old: &[u8]) -> Result<(Path, Path), Errno> {
    if !may_mount(ctx) {
        return Err(EPERM);
    }
    let lookup = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    let new = user_path_at(ctx, &At::Cwd, new_root, lookup)?;
    let old = user_path_at(ctx, &At::Cwd, put_old, lookup)?;
    let root = ctx.fs().root();
    let ns = ctx.mnt_ns();
    {
        let _lock = ctx.vfs().mounts().lock();
        let old = lock_mount(&old)?;
        if !ns.owns(&root.mnt) || !ns.owns(&new.mnt) {
            return Err(EINVAL);
        }
        let parent_of = |m: &Mount| m.parent();
        let (new_parent, root_parent) = (parent_of(&new.mnt), parent_of(&root.mnt));
        // A mount without a parent is, to Linux, its own.
        let shared = |parent: &Option<(Arc<Mount>, _)>, own: &Arc<Mount>| {
            parent.as_ref().map_or(own, |(p, _)| p).group().is_some()
        };
        if old.mnt.group().is_some()
            || shared(&new_parent, &new.mnt)
            || shared(&root_parent, &root.mnt)
            || new.mnt.flags().contains(MountFlags::LOCKED)
        {
            return Err(EINVAL);
        }
        if new.dentry.is_unhashed() {
            return Err(ENOENT);
        }
        if Arc::ptr_eq(&new.mnt, &root.mnt) || Arc::ptr_eq(&old.mnt, &root.mnt) {
            return Err(EBUSY);
        }
        if !root.is_mount_root() || !new.is_mount_root() || new_parent.is_none() {
            return Err(EINVAL);
        }
        if !old.is_under(&new) || !new.is_under(&root) {
            return Err(EINVAL);
        }
        let Some((root_parent, root_mountpoint)) = root_parent else { return Err(EINVAL) };
        new.mnt.detach();
        root.mnt.detach();
        if root.mnt.flags().contains(MountFlags::LOCKED) {
            new.mnt.set_flags(new.mnt.flags() | MountFlags::LOCKED);
            root.mnt.set_flags(root.mnt.flags() - MountFlags::LOCKED);
        }
        root.mnt.attach(&old.mnt, &old.dentry);
        new.mnt.attach(&root_parent, &root_mountpoint);
        ns.tree.touch();
    }
    ctx.fs().chroot_refs(&root, &new);
    Ok((root, new))
}
