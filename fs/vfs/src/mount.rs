//! Linux: fs/mount.h and the parts of fs/namespace.c that are about one mount.
//!
//! A mount holds its children; a child knows its parent weakly. What changes the tree runs under
//! [`crate::MountTable::lock`]; a walk reads one mount's place in the tree at a time.

use crate::mount_namespace::NsTree;
use crate::propagation::PeerGroup;
use crate::{Dentry, FileType, Inode, MountNamespace, SuperBlock, SuperFlags};
use bitflags::bitflags;
use sentry_auth::Cred;
use sentry_sync::{RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, EROFS};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

bitflags! {
    /// Flags of one mount. Linux: include/linux/mount.h, `MNT_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        /// Set-ID bits and file capabilities have no effect on exec.
        const NOSUID = 0x1;
        /// Device nodes cannot be opened.
        const NODEV = 0x2;
        /// Nothing can be executed.
        const NOEXEC = 0x4;
        /// Access times stay.
        const NOATIME = 0x8;
        /// Access times of directories stay.
        const NODIRATIME = 0x10;
        /// Access times move at most daily, or after a change.
        const RELATIME = 0x20;
        /// Nothing can be written through it.
        const READONLY = 0x40;
        /// Symbolic links are not followed.
        const NOSYMFOLLOW = 0x80;
        /// Cannot be bind mounted.
        const UNBINDABLE = 0x2000;
        /// The atime flags cannot be changed.
        const LOCK_ATIME = 0x4_0000;
        /// NOEXEC cannot be cleared.
        const LOCK_NOEXEC = 0x8_0000;
        /// NOSUID cannot be cleared.
        const LOCK_NOSUID = 0x10_0000;
        /// NODEV cannot be cleared.
        const LOCK_NODEV = 0x20_0000;
        /// READONLY cannot be cleared.
        const LOCK_READONLY = 0x40_0000;
        /// Cannot be unmounted on its own: it hides something from a less privileged namespace.
        const LOCKED = 0x80_0000;
        /// Was unmounted.
        const UMOUNT = 0x800_0000;
    }
}

impl MountFlags {
    /// The flags about access times.
    pub const ATIME_MASK: MountFlags =
        MountFlags::NOATIME.union(MountFlags::NODIRATIME).union(MountFlags::RELATIME);
    /// The flags that keep others from being cleared.
    pub const LOCKS: MountFlags = MountFlags::LOCK_ATIME
        .union(MountFlags::LOCK_NOEXEC)
        .union(MountFlags::LOCK_NOSUID)
        .union(MountFlags::LOCK_NODEV)
        .union(MountFlags::LOCK_READONLY);
    /// The flags that mount(2) with MS_REMOUNT and MS_BIND may change.
    pub const USER_SETTABLE: MountFlags = MountFlags::NOSUID
        .union(MountFlags::NODEV)
        .union(MountFlags::NOEXEC)
        .union(MountFlags::NOATIME)
        .union(MountFlags::NODIRATIME)
        .union(MountFlags::RELATIME)
        .union(MountFlags::READONLY)
        .union(MountFlags::NOSYMFOLLOW);
}

/// A mounted filesystem, or a part of one.
pub struct Mount {
    /// Number shown in mountinfo.
    pub id: u64,
    /// What is at the top of it.
    pub root: Arc<Dentry>,
    /// The filesystem.
    pub sb: Arc<SuperBlock>,
    /// What `/proc/mounts` shows as the device. Linux: `mnt_devname`.
    pub source: Arc<[u8]>,
    flags: AtomicU32,
    /// Writers at work and files open for writing.
    writers: AtomicU32,
    expiry_mark: AtomicBool,
    pub(crate) tree: RwLock<MountTree, { level::MOUNT }>,
}

/// Where a mount stands.
#[derive(Default)]
pub(crate) struct MountTree {
    pub(crate) parent: Weak<Mount>,
    pub(crate) mountpoint: Option<Arc<Dentry>>,
    /// The namespace it is part of; none while it is in no tree.
    pub(crate) ns: Option<Arc<NsTree>>,
    /// Its number in the order of the namespace's mounts.
    pub(crate) seq: u64,
    /// Mounts on it, by the address of the dentry they are mounted on.
    pub(crate) children: HashMap<usize, Arc<Mount>>,
    /// The group it shares mounts with. Linux: `mnt_share`, `mnt_group_id`.
    pub(crate) group: Option<Arc<PeerGroup>>,
    /// The group it receives mounts from. Linux: `mnt_master`.
    pub(crate) master: Option<Arc<PeerGroup>>,
}

/// Permission to write through a mount, given back when dropped. Linux: `mnt_want_write`.
pub(crate) struct WriteAccess {
    mnt: Arc<Mount>,
}

fn key(dentry: &Dentry) -> usize {
    std::ptr::from_ref(dentry).addr()
}

impl Mount {
    /// A mount that stands in no tree. Linux: `alloc_vfsmnt`.
    pub(crate) fn new(id: u64, root: Arc<Dentry>, flags: MountFlags, source: Arc<[u8]>) -> Arc<Mount> {
        let sb = root.sb().clone();
        sb.mounted(true);
        Arc::new(Mount {
            id,
            root,
            sb,
            source,
            flags: AtomicU32::new(flags.bits()),
            writers: AtomicU32::new(0),
            expiry_mark: AtomicBool::new(false),
            tree: RwLock::new(MountTree::default()),
        })
    }

    /// The mount that is to be the root of a namespace.
    pub fn new_root(id: u64, root: Arc<Dentry>, flags: MountFlags) -> Arc<Mount> {
        Mount::new(id, root, flags, b"none".as_slice().into())
    }

    /// A mount of a filesystem only the kernel uses. Linux: `kern_mount`.
    pub fn new_internal(id: u64, root: Arc<Dentry>) -> Arc<Mount> {
        Mount::new(id, root, MountFlags::empty(), b"none".as_slice().into())
    }

    /// Its flags.
    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Ordering::Acquire))
    }

    /// Whether it was marked to expire before; marks it. Linux: `mnt_expiry_mark`.
    pub(crate) fn mark_expired(&self) -> bool {
        self.expiry_mark.swap(true, Ordering::AcqRel)
    }

    /// It is in use: it does not expire.
    pub(crate) fn clear_expiry(&self) {
        if self.expiry_mark.load(Ordering::Relaxed) {
            self.expiry_mark.store(false, Ordering::Release);
        }
    }

    pub(crate) fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Ordering::Release);
    }

    /// What is mounted on `dentry` of this mount. Linux: `__lookup_mnt`.
    pub fn lookup_mnt(&self, dentry: &Dentry) -> Option<Arc<Mount>> {
        self.tree.read().children.get(&key(dentry)).cloned()
    }

    /// The mount it is on, and where; none for the root of a tree.
    pub fn parent(&self) -> Option<(Arc<Mount>, Arc<Dentry>)> {
        let tree = self.tree.read();
        Some((tree.parent.upgrade()?, tree.mountpoint.clone()?))
    }

    /// The mounts on it, in the order of the namespace.
    pub(crate) fn children(&self) -> Vec<Arc<Mount>> {
        let mut children: Vec<_> = self.tree.read().children.values().cloned().collect();
        children.sort_by_key(|c| (c.tree.read().seq, c.id));
        children
    }

    /// The namespace it is part of.
    pub(crate) fn ns(&self) -> Option<Arc<NsTree>> {
        self.tree.read().ns.clone()
    }

    /// Whether it shares mounts with others. Linux: `IS_MNT_SHARED`.
    pub(crate) fn group(&self) -> Option<Arc<PeerGroup>> {
        self.tree.read().group.clone()
    }

    /// The group it receives mounts from. Linux: `IS_MNT_SLAVE`.
    pub(crate) fn master(&self) -> Option<Arc<PeerGroup>> {
        self.tree.read().master.clone()
    }

    /// Puts it on `dentry` of `parent`, under the lock of the table. Linux: `attach_mnt`.
    pub(crate) fn attach(self: &Arc<Self>, parent: &Arc<Mount>, dentry: &Arc<Dentry>) {
        dentry.note_mount(true);
        dentry.sb().add_mountpoint(dentry, self);
        {
            let mut tree = self.tree.write();
            tree.parent = Arc::downgrade(parent);
            tree.mountpoint = Some(dentry.clone());
        }
        parent.tree.write().children.insert(key(dentry), self.clone());
    }

    /// Moves it to `dentry` of `parent`, under the lock of the table. It stands in its new place before it leaves the old
    /// one, so that what it covers is never seen. Linux: `mnt_change_mountpoint`.
    pub(crate) fn reattach(self: &Arc<Self>, parent: &Arc<Mount>, dentry: &Arc<Dentry>) {
        dentry.note_mount(true);
        dentry.sb().add_mountpoint(dentry, self);
        let replaced = parent.tree.write().children.insert(key(dentry), self.clone());
        let (old_parent, old_mountpoint) = {
            let mut tree = self.tree.write();
            let parent = std::mem::replace(&mut tree.parent, Arc::downgrade(parent));
            (parent.upgrade(), tree.mountpoint.replace(dentry.clone()))
        };
        if let Some(mountpoint) = old_mountpoint {
            mountpoint.note_mount(false);
            mountpoint.sb().remove_mountpoint(&mountpoint, self);
            if let Some(old_parent) = old_parent {
                old_parent.remove_child(&mountpoint, self);
            }
        }
        drop(replaced);
    }

    fn remove_child(&self, mountpoint: &Dentry, child: &Mount) {
        let mut tree = self.tree.write();
        let at = key(mountpoint);
        let ours = tree.children.get(&at).is_some_and(|c| std::ptr::eq(Arc::as_ptr(c), child));
        let gone = if ours { tree.children.remove(&at) } else { None };
        drop(tree);
        drop(gone);
    }

    /// Takes it off its parent, under the lock of the table. Returns where it was. Linux: `unhash_mnt`.
    pub(crate) fn detach(&self) -> Option<(Arc<Mount>, Arc<Dentry>)> {
        let (parent, mountpoint) = {
            let mut tree = self.tree.write();
            (std::mem::take(&mut tree.parent), tree.mountpoint.take())
        };
        let mountpoint = mountpoint?;
        mountpoint.note_mount(false);
        mountpoint.sb().remove_mountpoint(&mountpoint, self);
        let parent = parent.upgrade()?;
        parent.remove_child(&mountpoint, self);
        Some((parent, mountpoint))
    }

    /// Whether nothing can be written through it. Linux: `__mnt_is_readonly`.
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MountFlags::READONLY) || self.sb.is_read_only()
    }

    /// Asks to write through the mount. Linux: `mnt_want_write`.
    ///
    /// # Errors
    /// `EROFS` where the mount or the filesystem is read-only.
    pub(crate) fn want_write(self: &Arc<Self>) -> Result<WriteAccess, Errno> {
        self.writers.fetch_add(1, Ordering::SeqCst);
        self.sb.note_writer(true);
        let access = WriteAccess { mnt: self.clone() };
        if self.is_read_only() { Err(EROFS) } else { Ok(access) }
    }

    /// Makes the mount read-only, unless somebody writes. Linux: `mnt_make_readonly`.
    pub(crate) fn make_readonly(&self) -> Result<(), Errno> {
        let old = self.flags.fetch_or(MountFlags::READONLY.bits(), Ordering::SeqCst);
        if self.writers.load(Ordering::SeqCst) > 0 && old & MountFlags::READONLY.bits() == 0 {
            self.flags.fetch_and(!MountFlags::READONLY.bits(), Ordering::SeqCst);
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Whether nothing here may be executed. Linux: `path_noexec`.
    pub fn is_noexec(&self) -> bool {
        self.flags().contains(MountFlags::NOEXEC) || self.sb.flags.contains(SuperFlags::NOEXEC)
    }

    /// Whether set-ID bits count here, for a task with `cred` in the mount namespace `ns`. Linux: `mnt_may_suid`.
    pub fn may_suid(&self, ns: &MountNamespace, cred: &Cred) -> bool {
        !self.flags().contains(MountFlags::NOSUID)
            && ns.owns(self)
            && self.sb.user_ns.is_ancestor_or_self(&cred.user_ns)
    }

    /// Whether device nodes may be opened here. Linux: `may_open_dev`.
    pub fn may_open_dev(&self) -> bool {
        // Whoever may mount a filesystem without privilege must not gain devices by it.
        !self.flags().contains(MountFlags::NODEV)
            && !self.sb.flags.contains(SuperFlags::NODEV)
            && (self.sb.user_ns.level() == 0 || self.sb.flags.contains(SuperFlags::OWN_DEVICES))
    }

    /// Whether reading `inode` through the mount is to move its access time, and by which rule. Linux:
    /// `atime_needs_update`.
    pub fn atime_policy(&self, inode: &Inode) -> AtimePolicy {
        let flags = self.flags();
        if flags.contains(MountFlags::NOATIME)
            || (flags.contains(MountFlags::NODIRATIME) && inode.file_type() == FileType::Directory)
            || self.is_read_only()
        {
            AtimePolicy::Never
        } else if flags.contains(MountFlags::RELATIME) {
            AtimePolicy::Relative
        } else {
            AtimePolicy::Strict
        }
    }
}

/// When reading a file moves its access time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtimePolicy {
    /// Not at all.
    Never,
    /// When it is not later than the last change, or a day old. Linux: `relatime_need_update`.
    Relative,
    /// Each time.
    Strict,
}

impl AtimePolicy {
    /// Whether the access time is to become `now`.
    pub fn needs_update(self, attr: &crate::Attr, now: sentry_uapi::time::Timespec) -> bool {
        const DAY: i64 = 24 * 60 * 60;
        match self {
            AtimePolicy::Never => false,
            AtimePolicy::Strict => attr.atime != now,
            AtimePolicy::Relative => {
                attr.atime <= attr.mtime
                    || attr.atime <= attr.ctime
                    || now.tv_sec.saturating_sub(attr.atime.tv_sec) >= DAY
            }
        }
    }
}

impl Drop for WriteAccess {
    fn drop(&mut self) {
        self.mnt.writers.fetch_sub(1, Ordering::SeqCst);
        self.mnt.sb.note_writer(false);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(mountpoint) = self.tree.get_mut().mountpoint.take() {
            mountpoint.note_mount(false);
            mountpoint.sb().remove_mountpoint(&mountpoint, self);
        }
        let tree = self.tree.get_mut();
        // Not by recursion: a guest can mount on mounts to any depth.
        let mut todo: Vec<Arc<Mount>> = tree.children.drain().map(|(_, m)| m).collect();
        while let Some(child) = todo.pop() {
            if let Some(mut child) = Arc::into_inner(child) {
                todo.extend(child.tree.get_mut().children.drain().map(|(_, m)| m));
            }
        }
        self.sb.mounted(false);
    }
}
