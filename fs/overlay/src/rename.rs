//! Linux: fs/overlayfs/dir.c, `ovl_rename`.

use crate::inode::{OvlInode, Place, ovl_inode};
use crate::names::{clear_whiteout, kill_dir};
use crate::whiteout::{lookup_real, make_whiteout, set_opaque};
use fs_vfs::{Inode, Rename, RenameFlags, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOENT, EXDEV};

/// A directory that a layer below takes part in cannot move: without redirects, that part would stay. Linux:
/// `ovl_can_move`.
fn can_move(inode: &Inode, node: &OvlInode) -> bool {
    !inode.is_dir() || node.lower.is_empty()
}

pub(crate) fn rename(r: &Rename<'_>, ctx: &dyn TaskContext) -> Result<(), Errno> {
    if !(r.flags - (RenameFlags::EXCHANGE | RenameFlags::NOREPLACE)).is_empty() {
        return Err(EINVAL);
    }
    let exchange = r.flags.contains(RenameFlags::EXCHANGE);
    let (old_dir, new_dir) = (ovl_inode(r.old_dir)?, ovl_inode(r.new_dir)?);
    let target = ovl_inode(r.target)?;
    let replaced = r.replaced.map(|inode| ovl_inode(inode).map(|node| (inode, node))).transpose()?;
    if !can_move(r.target, target) {
        return Err(EXDEV);
    }
    target.copy_up(r.target)?;
    old_dir.copy_up(r.old_dir)?;
    new_dir.copy_up(r.new_dir)?;
    if exchange {
        let (inode, node) = replaced.ok_or(ENOENT)?;
        if !can_move(inode, node) {
            return Err(EXDEV);
        }
        node.copy_up(inode)?;
    }
    with_entries(old_dir, new_dir, || {
        if exchange { exchange_upper(r, ctx, old_dir, new_dir) } else { move_upper(r, ctx, old_dir, new_dir) }
    })?;
    old_dir.dir_modified();
    new_dir.dir_modified();
    target.set_place(Some(Place { dir: r.new_dir.clone(), name: r.new_name.into() }));
    if let Some((_, node)) = replaced {
        let place = exchange.then(|| Place { dir: r.old_dir.clone(), name: r.old_name.into() });
        node.set_place(place);
    }
    Ok(())
}

/// Runs `f` with the entries of both directories locked, in the order of their addresses.
fn with_entries<T>(a: &OvlInode, b: &OvlInode, f: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    if std::ptr::eq(a, b) {
        let _only = a.entries.write();
        return f();
    }
    let (first, second) = if std::ptr::from_ref(a) < std::ptr::from_ref(b) { (a, b) } else { (b, a) };
    let _first = first.entries.write();
    let _second = second.entries.write_nested();
    f()
}

/// A directory that comes to a name must hide what the layers below have there.
fn hide_below(
    ctx: &dyn TaskContext,
    moved: &Inode,
    upper: &Inode,
    dir: &OvlInode,
    name: &[u8],
) -> Result<(), Errno> {
    if moved.is_dir() && dir.lower_positive(ctx, name)? { set_opaque(upper) } else { Ok(()) }
}

fn exchange_upper(
    r: &Rename<'_>,
    ctx: &dyn TaskContext,
    old_dir: &OvlInode,
    new_dir: &OvlInode,
) -> Result<(), Errno> {
    let (old_upper, new_upper) = (old_dir.living_upper()?, new_dir.living_upper()?);
    let one = lookup_real(ctx, old_upper, r.old_name)?.ok_or(ENOENT)?;
    let two = lookup_real(ctx, new_upper, r.new_name)?.ok_or(ENOENT)?;
    hide_below(ctx, &one, &one, new_dir, r.new_name)?;
    hide_below(ctx, &two, &two, old_dir, r.old_name)?;
    let real = Rename {
        old_dir: old_upper,
        old_name: r.old_name,
        target: &one,
        new_dir: new_upper,
        new_name: r.new_name,
        replaced: Some(&two),
        flags: RenameFlags::EXCHANGE,
    };
    old_upper.ops().rename(&real, ctx)
}

fn move_upper(
    r: &Rename<'_>,
    ctx: &dyn TaskContext,
    old_dir: &OvlInode,
    new_dir: &OvlInode,
) -> Result<(), Errno> {
    let (old_upper, new_upper) = (old_dir.living_upper()?, new_dir.living_upper()?);
    let target = lookup_real(ctx, old_upper, r.old_name)?.ok_or(ENOENT)?;
    if let Some(inode) = r.replaced.filter(|inode| inode.is_dir()) {
        kill_dir(ovl_inode(inode)?, ctx)?;
    }
    hide_below(ctx, r.target, &target, new_dir, r.new_name)?;
    let hid = clear_whiteout(ctx, new_upper, r.new_name)?;
    let replaced = lookup_real(ctx, new_upper, r.new_name)?;
    let leave = old_dir.lower_positive(ctx, r.old_name)?;
    let real = Rename {
        old_dir: old_upper,
        old_name: r.old_name,
        target: &target,
        new_dir: new_upper,
        new_name: r.new_name,
        replaced: replaced.as_ref(),
        flags: if leave { RenameFlags::WHITEOUT } else { RenameFlags::empty() },
    };
    let result = old_upper.ops().rename(&real, ctx);
    if result.is_err() && hid {
        // The first error is the one to tell.
        let _ = make_whiteout(ctx, new_upper, r.new_name);
    }
    result
}
