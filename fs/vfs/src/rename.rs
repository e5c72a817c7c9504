//! Linux: fs/namei.c, `do_renameat2` and `vfs_rename`.

use crate::namei::{At, Last, LastType, filename_parentat, lookup_dentry};
use crate::namei_ops::{may_create, may_delete};
use crate::notify::{NotifyMask, fsnotify_inode, fsnotify_name};
use crate::{Access, Dentry, Inode, Path, Rename, RenameFlags, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, EEXIST, EINVAL, ENOENT, ENOTDIR, ENOTEMPTY, EXDEV};
use std::sync::Arc;

/// rename(2), renameat(2), renameat2(2).
///
/// # Errors
/// In the order of `do_renameat2`.
pub fn do_renameat2(
    ctx: &dyn TaskContext,
    old_at: &At,
    old: &[u8],
    new_at: &At,
    new: &[u8],
    flags: u32,
) -> Result<(), Errno> {
    let flags = RenameFlags::from_bits(flags).ok_or(EINVAL)?;
    if flags.contains(RenameFlags::EXCHANGE)
        && flags.intersects(RenameFlags::NOREPLACE | RenameFlags::WHITEOUT)
    {
        return Err(EINVAL);
    }
    let (old_dir, old_last) = filename_parentat(ctx, old_at, old)?;
    let (new_dir, new_last) = filename_parentat(ctx, new_at, new)?;
    if !Arc::ptr_eq(&old_dir.mnt, &new_dir.mnt) {
        return Err(EXDEV);
    }
    if old_last.kind != LastType::Norm {
        return Err(EBUSY);
    }
    if new_last.kind != LastType::Norm {
        return Err(if flags.contains(RenameFlags::NOREPLACE) { EEXIST } else { EBUSY });
    }
    let _write = old_dir.mnt.want_write()?;
    let renaming = Renaming { ctx, old_dir, old_last, new_dir, new_last, flags };
    loop {
        let old = lookup_dentry(ctx, &renaming.old_dir.dentry, renaming.old_last.name(), false)?;
        if old.is_negative() {
            return Err(ENOENT);
        }
        let new = lookup_dentry(ctx, &renaming.new_dir.dentry, renaming.new_last.name(), false)?;
        if renaming.attempt(&old, &new)? {
            return Ok(());
        }
    }
}

struct Renaming<'a, 'n> {
    ctx: &'a dyn TaskContext,
    old_dir: Path,
    old_last: Last<'n>,
    new_dir: Path,
    new_last: Last<'n>,
    flags: RenameFlags,
}

impl Renaming<'_, '_> {
    fn exchange(&self) -> bool {
        self.flags.contains(RenameFlags::EXCHANGE)
    }

    /// Renames, if the two names still stand for these dentries once their directories are locked.
    fn attempt(&self, old: &Arc<Dentry>, new: &Arc<Dentry>) -> Result<bool, Errno> {
        let (old_dir, new_dir) = (&self.old_dir.dentry, &self.new_dir.dentry);
        let same_dir = Arc::ptr_eq(old_dir, new_dir);
        // Ancestry changes only under this lock, so what is found out about it below stays true.
        let _rename = if same_dir { None } else { Some(old_dir.sb().rename_lock.lock()) };
        self.check_names(old, new)?;
        if !same_dir {
            if new_dir.is_subdir(old) {
                return Err(EINVAL);
            }
            if !new.is_negative() && old_dir.is_subdir(new) {
                return Err(if self.exchange() { EINVAL } else { ENOTEMPTY });
            }
        }
        let (Some(source), target) = (old.inode_ref(), new.inode_ref()) else { return Err(ENOENT) };
        if target.is_some_and(|t| Arc::ptr_eq(source, t)) {
            return Ok(true);
        }
        self.check_permissions(old, new, source, target)?;
        let ns = self.ctx.mnt_ns();
        let busy = ns.is_local_mountpoint(old) || ns.is_local_mountpoint(new);
        let old_inode = old_dir.inode_ref().ok_or(ENOENT)?;
        let new_inode = new_dir.inode_ref().ok_or(ENOENT)?;
        {
            let (first, second) =
                if new_dir.is_subdir(old_dir) { (old_dir, new_dir) } else { (new_dir, old_dir) };
            let _first = first.dir_lock.lock();
            let _second = if same_dir { None } else { Some(second.dir_lock.lock_nested()) };
            if !old.is_child_of(old_dir, self.old_last.name())
                || !new.is_child_of(new_dir, self.new_last.name())
                || new.is_negative() != target.is_none()
            {
                return Ok(false);
            }
            if busy {
                return Err(EBUSY);
            }
            if new_dir.is_dead() {
                return Err(ENOENT);
            }
            // A directory about to be replaced: nothing can be made in it from here on.
            let replaces_dir = !self.exchange() && target.is_some_and(|t| t.is_dir());
            let _victim = replaces_dir.then(|| new.dir_lock.lock_nested());
            let rename = Rename {
                old_dir: old_inode,
                old_name: self.old_last.name(),
                target: source,
                new_dir: new_inode,
                new_name: self.new_last.name(),
                replaced: target,
                flags: self.flags,
            };
            let _old_change = old_dir.begin_change();
            let _new_change = (!same_dir).then(|| new_dir.begin_change());
            let moves_dir = source.is_dir() || target.is_some_and(|t| t.is_dir());
            let _moving = moves_dir.then(|| self.ctx.vfs().mounts().begin_rename());
            old_inode.ops().rename(&rename, self.ctx)?;
            self.move_dentries(old, new, target);
        }
        drop(_rename);
        self.after(old_inode, new_inode, source, target, new);
        Ok(true)
    }

    /// The checks between the lookup and `vfs_rename`. Linux: `do_renameat2`.
    fn check_names(&self, old: &Arc<Dentry>, new: &Arc<Dentry>) -> Result<(), Errno> {
        if self.flags.contains(RenameFlags::NOREPLACE) && !new.is_negative() {
            return Err(EEXIST);
        }
        if self.exchange() {
            if new.is_negative() {
                return Err(ENOENT);
            }
            if !new.is_dir() && self.new_last.trailing_slash {
                return Err(ENOTDIR);
            }
        }
        if !old.is_dir()
            && (self.old_last.trailing_slash || (!self.exchange() && self.new_last.trailing_slash))
        {
            return Err(ENOTDIR);
        }
        Ok(())
    }

    /// Linux: the first part of `vfs_rename`.
    fn check_permissions(
        &self,
        old: &Arc<Dentry>,
        new: &Arc<Dentry>,
        source: &Arc<Inode>,
        target: Option<&Arc<Inode>>,
    ) -> Result<(), Errno> {
        let (old_dir, new_dir) = (&self.old_dir.dentry, &self.new_dir.dentry);
        may_delete(self.ctx, old_dir, old, source.is_dir())?;
        match target {
            None => may_create(self.ctx, new_dir)?,
            Some(target) => {
                let want_dir = if self.exchange() { target.is_dir() } else { source.is_dir() };
                may_delete(self.ctx, new_dir, new, want_dir)?;
            }
        }
        if !Arc::ptr_eq(old_dir, new_dir) {
            // A directory that moves has its `..` rewritten.
            let cred = self.ctx.cred();
            if source.is_dir() {
                source.permission(&cred, Access::WRITE)?;
            }
            if let Some(target) = target
                && self.exchange()
                && target.is_dir()
            {
                target.permission(&cred, Access::WRITE)?;
            }
        }
        Ok(())
    }

    /// Puts the dentries where the filesystem has put the files.
    fn move_dentries(&self, old: &Arc<Dentry>, new: &Arc<Dentry>, target: Option<&Arc<Inode>>) {
        let (old_dir, new_dir) = (&self.old_dir.dentry, &self.new_dir.dentry);
        if self.exchange() {
            old.d_exchange(new);
            return;
        }
        if target.is_some() {
            new.mark_dead();
            new.shrink_children();
        }
        new.d_drop();
        old.d_move(new_dir, self.new_last.name());
        if !self.flags.contains(RenameFlags::WHITEOUT) {
            old_dir.add_negative(self.old_last.name());
        }
    }

    /// What follows, with no lock held. Linux: `fsnotify_move`.
    fn after(
        &self,
        old_dir: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        source: &Arc<Inode>,
        target: Option<&Arc<Inode>>,
        new: &Arc<Dentry>,
    ) {
        if target.is_some() && !self.exchange() {
            self.ctx.vfs().mounts().detach_mounts(new);
        }
        if !old_dir.sb().has_marks() {
            return;
        }
        let tell = |from: &Inode,
                    from_name: &[u8],
                    to: &Inode,
                    to_name: &[u8],
                    moved: &Inode,
                    gone: Option<&Inode>| {
            let cookie = self.ctx.vfs().next_cookie();
            if std::ptr::eq(from, to) {
                fsnotify_name(from, from_name, moved, NotifyMask::RENAME, 0);
            }
            fsnotify_name(from, from_name, moved, NotifyMask::MOVED_FROM, cookie);
            fsnotify_name(to, to_name, moved, NotifyMask::MOVED_TO, cookie);
            if let Some(gone) = gone {
                fsnotify_inode(gone, NotifyMask::ATTRIB);
            }
            fsnotify_inode(moved, NotifyMask::MOVE_SELF);
        };
        let (old_name, new_name) = (self.old_last.name(), self.new_last.name());
        match target {
            Some(target) if self.exchange() => {
                tell(old_dir, old_name, new_dir, new_name, source, None);
                tell(new_dir, new_name, old_dir, old_name, target, None);
            }
            gone => tell(old_dir, old_name, new_dir, new_name, source, gone.map(|g| &**g)),
        }
    }
}
