//! Making and removing names. Linux: fs/overlayfs/dir.c.

use crate::inode::{Lower, OvlInode, Place, inherit_mount_flags, need_upper, ovl_inode};
use crate::readdir::is_empty;
use crate::whiteout::{is_whiteout, lookup_real, make_whiteout, set_opaque};
use fs_vfs::{DirSink, Inode, InodeOps, NewNode, NodeKind, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENOENT, ENOTEMPTY};
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl OvlInode {
    /// The upper directory, for entries to be made in it.
    pub(crate) fn living_upper(&self) -> Result<&Arc<Inode>, Errno> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(ENOENT);
        }
        need_upper(self.upper())
    }
}

/// Takes a whiteout away, so that something can be made in its place. Returns whether there was one. The caller holds
/// the directory's `entries`.
pub(crate) fn clear_whiteout(
    ctx: &dyn TaskContext,
    upper_dir: &Arc<Inode>,
    name: &[u8],
) -> Result<bool, Errno> {
    match lookup_real(ctx, upper_dir, name)? {
        Some(found) if is_whiteout(&found) => {
            upper_dir.ops().unlink(upper_dir, ctx, name, &found)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

pub(crate) fn create(
    dir: &OvlInode,
    dir_inode: &Arc<Inode>,
    ctx: &dyn TaskContext,
    name: &[u8],
    node: NewNode,
) -> Result<Arc<Inode>, Errno> {
    dir.copy_up(dir_inode)?;
    let is_dir = node.kind == NodeKind::Directory;
    let upper = {
        let _entries = dir.entries.write();
        let upper_dir = dir.living_upper()?;
        let hid = clear_whiteout(ctx, upper_dir, name)?;
        let made = upper_dir.ops().create(upper_dir, ctx, name, node).and_then(|upper| {
            inherit_mount_flags(&upper, dir.mount_flags(dir_inode));
            if hid && is_dir {
                set_opaque(&upper)?;
            }
            Ok(upper)
        });
        match made {
            Ok(upper) => upper,
            Err(e) => {
                if hid {
                    // What is below must stay hidden; if even that fails, the first error is still the one to tell.
                    let _ = make_whiteout(ctx, upper_dir, name);
                }
                return Err(e);
            }
        }
    };
    dir.dir_modified();
    let place = Place { dir: dir_inode.clone(), name: name.into() };
    Ok(OvlInode::new_inode(&dir.fs, dir_inode.sb(), Some(upper), Lower::new(), Some(place)))
}

pub(crate) fn link(
    dir: &OvlInode,
    dir_inode: &Arc<Inode>,
    ctx: &dyn TaskContext,
    name: &[u8],
    target: &Arc<Inode>,
) -> Result<(), Errno> {
    let node = ovl_inode(target)?;
    let upper = node.copy_up(target)?;
    dir.copy_up(dir_inode)?;
    {
        let _entries = dir.entries.write();
        let upper_dir = dir.living_upper()?;
        let hid = clear_whiteout(ctx, upper_dir, name)?;
        if let Err(e) = upper_dir.ops().link(upper_dir, ctx, name, &upper) {
            if hid {
                let _ = make_whiteout(ctx, upper_dir, name);
            }
            return Err(e);
        }
    }
    dir.dir_modified();
    if node.place().is_none() {
        node.set_place(Some(Place { dir: dir_inode.clone(), name: name.into() }));
    }
    Ok(())
}

/// unlink(2) and rmdir(2). Linux: `ovl_do_remove`.
pub(crate) fn remove(
    dir: &OvlInode,
    dir_inode: &Arc<Inode>,
    ctx: &dyn TaskContext,
    name: &[u8],
    target: &Arc<Inode>,
) -> Result<(), Errno> {
    let node = ovl_inode(target)?;
    dir.copy_up(dir_inode)?;
    {
        let _entries = dir.entries.write();
        let upper_dir = dir.living_upper()?;
        if target.is_dir() {
            kill_dir(node, ctx)?;
        }
        let result = remove_upper(dir, upper_dir, ctx, name);
        if result.is_err() && target.is_dir() {
            node.dead.store(false, Ordering::SeqCst);
        }
        result?;
    }
    dir.dir_modified();
    if node.place().is_some_and(|p| Arc::ptr_eq(&p.dir, dir_inode) && *p.name == *name) {
        node.set_place(None);
    }
    Ok(())
}

/// Makes sure that a directory is empty and stays so, and takes the whiteouts out of its upper layer. The caller holds
/// its parent's `entries`.
pub(crate) fn kill_dir(node: &OvlInode, ctx: &dyn TaskContext) -> Result<(), Errno> {
    let _entries = node.entries.write_nested();
    if !is_empty(node, ctx)? {
        return Err(ENOTEMPTY);
    }
    node.dead.store(true, Ordering::SeqCst);
    if let Some(upper) = node.upper() {
        clear_whiteouts(node, upper)?;
    }
    Ok(())
}

/// Linux: `ovl_cleanup_whiteouts`.
fn clear_whiteouts(node: &OvlInode, upper: &Arc<Inode>) -> Result<(), Errno> {
    struct Names(Vec<Vec<u8>>);
    impl DirSink for Names {
        fn entry(&mut self, name: &[u8], _ino: u64, _dtype: u8, _next: u64) -> bool {
            if name != b"." && name != b".." {
                self.0.push(name.to_vec());
            }
            true
        }
    }
    let ctx = &node.fs.mounter;
    let file = node.fs.open_real(ctx, upper, OpenFlags::default())?;
    let mut names = Names(Vec::new());
    file.ops().readdir(&file, ctx, 0, &mut names)?;
    for name in names.0 {
        clear_whiteout(ctx, upper, &name)?;
    }
    Ok(())
}

/// Removes the upper file of a name, and hides a lower one. The caller holds the directory's `entries`.
fn remove_upper(
    dir: &OvlInode,
    upper_dir: &Arc<Inode>,
    ctx: &dyn TaskContext,
    name: &[u8],
) -> Result<(), Errno> {
    let hide = dir.lower_positive(ctx, name)?;
    if let Some(upper) = lookup_real(ctx, upper_dir, name)? {
        if upper.is_dir() {
            upper_dir.ops().rmdir(upper_dir, ctx, name, &upper)?;
        } else {
            upper_dir.ops().unlink(upper_dir, ctx, name, &upper)?;
        }
    }
    if hide { make_whiteout(ctx, upper_dir, name) } else { Ok(()) }
}
