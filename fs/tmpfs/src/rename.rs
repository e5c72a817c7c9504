//! Linux: mm/shmem.c, `shmem_rename2`; fs/libfs.c, `simple_rename`, `simple_rename_exchange`.

use crate::inode::{Directory, TmpfsInode, get_inode, tmpfs_inode};
use crate::shmem::FaultAround;
use fs_vfs::{Inode, NewNode, NodeKind, Rename, RenameFlags};
use sentry_auth::{Kgid, Kuid};
use sentry_sync::{MutexGuard, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOENT;
use std::sync::Arc;

type Guard<'a> = MutexGuard<'a, Directory, { level::INODE }>;

/// Both directories of a rename, locked; one guard if they are the same.
struct Pair<'a> {
    old: Guard<'a>,
    new: Option<Guard<'a>>,
}

impl<'a> Pair<'a> {
    fn lock(old: &'a TmpfsInode, new: &'a TmpfsInode) -> Result<Pair<'a>, Errno> {
        let (a, b) = (old.directory()?, new.directory()?);
        Ok(if std::ptr::eq(a, b) {
            Pair { old: a.lock(), new: None }
        } else if std::ptr::from_ref(a) < std::ptr::from_ref(b) {
            let first = a.lock();
            Pair { old: first, new: Some(b.lock_nested()) }
        } else {
            let first = b.lock();
            Pair { old: a.lock_nested(), new: Some(first) }
        })
    }

    fn new_dir(&mut self) -> &mut Directory {
        self.new.as_mut().unwrap_or(&mut self.old)
    }
}

/// A character device 0:0: hides a name of the layers below. Linux: `shmem_whiteout`.
fn whiteout(dir: &Arc<Inode>) -> Result<Arc<Inode>, Errno> {
    let node = NewNode::new(NodeKind::CharDevice(0), 0, Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT);
    get_inode(dir.sb(), node, 1, FaultAround::Cluster)
}

pub(crate) fn rename(r: &Rename<'_>) -> Result<(), Errno> {
    let (old_dir, new_dir) = (tmpfs_inode(r.old_dir)?, tmpfs_inode(r.new_dir)?);
    if r.flags.contains(RenameFlags::EXCHANGE) {
        exchange(r, old_dir, new_dir)?;
    } else {
        replace(r, old_dir, new_dir)?;
    }
    let now = r.old_dir.sb().clocks.realtime();
    old_dir.meta.lock().modified(now);
    new_dir.meta.lock().modified(now);
    tmpfs_inode(r.target)?.meta.lock().ctime = now;
    if let Some(other) = r.replaced {
        tmpfs_inode(other)?.meta.lock().ctime = now;
    }
    Ok(())
}

fn exchange(r: &Rename<'_>, old_dir: &TmpfsInode, new_dir: &TmpfsInode) -> Result<(), Errno> {
    let other = r.replaced.ok_or(ENOENT)?;
    {
        let mut pair = Pair::lock(old_dir, new_dir)?;
        let one = pair.old.entries.insert(r.old_name, other.clone());
        let two = pair.new_dir().entries.insert(r.new_name, r.target.clone());
        drop(pair);
        drop((one, two));
    }
    if r.target.is_dir() != other.is_dir() && !std::ptr::eq(old_dir, new_dir) {
        let (loses, gains) = if r.target.is_dir() { (old_dir, new_dir) } else { (new_dir, old_dir) };
        move_dir_link(loses, gains);
    }
    Ok(())
}

fn replace(r: &Rename<'_>, old_dir: &TmpfsInode, new_dir: &TmpfsInode) -> Result<(), Errno> {
    let left_behind = if r.flags.contains(RenameFlags::WHITEOUT) { Some(whiteout(r.old_dir)?) } else { None };
    let victim = r.replaced.map(|v| tmpfs_inode(v)).transpose()?;
    if let (Some(victim), true) = (victim, r.replaced.is_some_and(|v| v.is_dir())) {
        victim.kill()?;
        victim.meta.lock().nlink = 0;
        let mut meta = new_dir.meta.lock();
        meta.nlink = meta.nlink.saturating_sub(1);
    } else if let Some(victim) = victim {
        victim.drop_link(r.old_dir.sb().clocks.realtime());
    }
    {
        let mut pair = Pair::lock(old_dir, new_dir)?;
        if pair.new_dir().dead {
            return Err(ENOENT);
        }
        let moved = match left_behind {
            Some(whiteout) => pair.old.entries.insert(r.old_name, whiteout),
            None => pair.old.entries.remove(r.old_name),
        };
        let gone = pair.new_dir().entries.insert(r.new_name, r.target.clone());
        drop(pair);
        drop((moved, gone));
    }
    if r.target.is_dir() && !std::ptr::eq(old_dir, new_dir) {
        move_dir_link(old_dir, new_dir);
    }
    Ok(())
}

/// The `..` of a directory now counts for another parent.
fn move_dir_link(from: &TmpfsInode, to: &TmpfsInode) {
    {
        let mut meta = from.meta.lock();
        meta.nlink = meta.nlink.saturating_sub(1);
    }
    let mut meta = to.meta.lock();
    meta.nlink = meta.nlink.saturating_add(1);
}
