//! Linux: include/linux/fs.h, `struct super_block`.

use crate::{Dentry, FileType, Inode, Mount};
use bitflags::bitflags;
use sentry_auth::UserNamespace;
use sentry_sync::{Mutex, level};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, EROFS};
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

bitflags! {
    /// What the VFS may assume of a filesystem.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SuperFlags: u32 {
        /// Names come and go behind the VFS's back: ask [`crate::InodeOps::revalidate`] before trusting the dcache.
        const REVALIDATE = 1;
        /// May not be mounted by anybody but the kernel. Linux: `SB_NOUSER`.
        const NOUSER = 2;
        /// Device nodes on it do not work. Linux: `SB_I_NODEV`.
        const NODEV = 4;
        /// Nothing on it can be executed. Linux: `SB_I_NOEXEC`.
        const NOEXEC = 8;
        /// The VFS keeps access times, through [`crate::InodeOps::update_atime`]. Without it the filesystem decides.
        const ATIME = 16;
        /// Shows things of the whole system: may only be mounted in a user namespace where it can be seen in full
        /// already. Linux: `SB_I_USERNS_VISIBLE`.
        const USERNS_VISIBLE = 32;
        /// Its device nodes are the filesystem's own and work in any user namespace. Linux: `SB_I_NODEV` cleared.
        const OWN_DEVICES = 128;
        /// Dentries nobody uses are not kept. Linux: `DCACHE_DONTCACHE`.
        const DONTCACHE = 64;
        /// Files have access control lists: [`crate::InodeOps::get_acl`]. Linux: `SB_POSIXACL`.
        const POSIXACL = 256;
    }
}

/// What statfs(2) tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatFs {
    /// Type of the filesystem: its magic number.
    pub magic: u64,
    /// Size of a block in bytes.
    pub block_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free.
    pub blocks_free: u64,
    /// Inodes in all.
    pub files: u64,
    /// Inodes free.
    pub files_free: u64,
}

/// What a filesystem does as a whole.
pub trait SuperOps: Any + Send + Sync {
    /// For a filesystem to get back at its own type.
    fn as_any(&self) -> &dyn Any;
    /// Linux: `statfs`.
    fn statfs(&self) -> StatFs;
    /// Options as `/proc/mounts` shows them behind `rw`, with their leading commas. Linux: `show_options`.
    fn show_options(&self) -> String {
        String::new()
    }
    /// The last mount is gone, and with it the last open file: what would keep the instance alive in a circle is to be let
    /// go. A filesystem of a single instance, which may be mounted again, does nothing. Linux: `kill_sb`.
    fn kill_sb(&self) {}
    /// Changes options of a mounted filesystem. Linux: `reconfigure`.
    fn remount(&self, options: &str) -> Result<(), Errno> {
        let _ = options;
        Ok(())
    }
}

/// An instance of a filesystem.
pub struct SuperBlock {
    /// Name of the type, as in `/proc/filesystems`.
    pub fs_type: &'static str,
    /// What stat(2) gives as the device.
    pub dev: u64,
    /// The namespace that owns it: whose capabilities count for it. Linux: `s_user_ns`.
    pub user_ns: Arc<UserNamespace>,
    /// The kernel's clocks, for the times of inodes.
    pub clocks: Arc<Clocks>,
    /// What the VFS may assume.
    pub flags: SuperFlags,
    /// The filesystem's part.
    pub ops: Box<dyn SuperOps>,
    /// What `/proc/mounts` shows as the device.
    pub source: Vec<u8>,
    read_only: AtomicBool,
    /// Taken while something moves to another directory. Linux: `s_vfs_rename_mutex`.
    pub(crate) rename_lock: Mutex<(), { level::NAMESPACE }>,
    /// Recently used dentries, kept alive though nobody holds them. Emptied when the last mount goes.
    lru: Mutex<Lru, { level::LEAF }>,
    mounts: AtomicU32,
    /// What is mounted on its dentries, in all namespaces, by the address of the dentry. Linux: `mountpoint_hashtable`.
    mountpoints: Mutex<HashMap<usize, Vec<Weak<Mount>>>, { level::LEAF }>,
    /// Writers at work through any mount.
    writers: AtomicU32,
    /// Number of notification marks on its inodes: mostly none, which must cost nothing. Linux:
    /// `s_fsnotify_connectors`.
    marks: AtomicUsize,
    /// The inodes that have them.
    marked: Mutex<Vec<Weak<Inode>>, { level::LEAF }>,
}

/// Recently used dentries, oldest first. A dentry knows the number of its slot, so that it can be taken out of the middle.
#[derive(Default)]
struct Lru {
    slots: VecDeque<Option<Arc<Dentry>>>,
    /// Number of the first slot.
    first: u64,
}

impl Lru {
    fn push(&mut self, dentry: Arc<Dentry>) {
        let slot = self.first.wrapping_add(self.slots.len() as u64);
        dentry.lru_slot.store(slot, Ordering::Relaxed);
        self.slots.push_back(Some(dentry));
    }

    fn pop(&mut self) -> Option<Arc<Dentry>> {
        let slot = self.slots.pop_front()?;
        self.first = self.first.wrapping_add(1);
        slot
    }

    fn remove(&mut self, dentry: &Dentry) -> Option<Arc<Dentry>> {
        let at = dentry.lru_slot.load(Ordering::Relaxed).wrapping_sub(self.first);
        let slot = self.slots.get_mut(usize::try_from(at).ok()?)?;
        if slot.as_ref().is_some_and(|d| std::ptr::eq(Arc::as_ptr(d), dentry)) { slot.take() } else { None }
    }
}

/// Most dentries a superblock keeps alive that nobody else holds.
const LRU_MAX: usize = 1 << 17;

impl SuperBlock {
    /// A new instance, not mounted anywhere.
    pub fn new(
        fs_type: &'static str,
        dev: u64,
        user_ns: Arc<UserNamespace>,
        clocks: Arc<Clocks>,
        flags: SuperFlags,
        source: &[u8],
        ops: Box<dyn SuperOps>,
    ) -> Arc<SuperBlock> {
        Arc::new(SuperBlock {
            fs_type,
            dev,
            user_ns,
            clocks,
            flags,
            ops,
            source: source.to_vec(),
            read_only: AtomicBool::new(false),
            lru: Mutex::new(Lru::default()),
            mounts: AtomicU32::new(0),
            mountpoints: Mutex::new(HashMap::new()),
            writers: AtomicU32::new(0),
            rename_lock: Mutex::new(()),
            marks: AtomicUsize::new(0),
            marked: Mutex::new(Vec::new()),
        })
    }

    /// The filesystem's part, if it is of type `T`.
    pub fn downcast<T: SuperOps>(&self) -> Option<&T> {
        self.ops.as_any().downcast_ref()
    }

    /// Whether names must be looked up anew each time.
    pub fn revalidates(&self) -> bool {
        self.flags.contains(SuperFlags::REVALIDATE)
    }

    /// Whether the whole filesystem is read-only.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// Makes the whole filesystem read-only or writable.
    pub fn set_read_only(&self, ro: bool) {
        self.read_only.store(ro, Ordering::Relaxed);
    }

    /// `EROFS` for a write to what lives on a read-only filesystem; devices, FIFOs and sockets do not. Linux:
    /// `sb_permission`.
    pub fn may_write(&self, file_type: FileType) -> Result<(), Errno> {
        let on_disk = matches!(file_type, FileType::Regular | FileType::Directory | FileType::Symlink);
        if on_disk && self.is_read_only() { Err(EROFS) } else { Ok(()) }
    }

    /// Keeps a dentry alive for a while, and lets go of one that has not been used for long.
    pub(crate) fn keep(&self, dentry: &Arc<Dentry>) {
        if self.flags.contains(SuperFlags::DONTCACHE) {
            return;
        }
        let mut lru = self.lru.lock();
        lru.push(dentry.clone());
        let mut old = None;
        // A second chance for what was looked up meanwhile; bounded, so that one insertion stays cheap.
        for _ in 0..8 {
            if lru.slots.len() <= LRU_MAX {
                break;
            }
            match lru.pop() {
                Some(d) if d.take_referenced() => lru.push(d),
                Some(d) => {
                    old = Some(d);
                    break;
                }
                None => {}
            }
        }
        drop(lru);
        drop(old);
    }

    /// Stops keeping a dentry alive.
    pub(crate) fn forget(&self, dentry: &Dentry) {
        let gone = self.lru.lock().remove(dentry);
        drop(gone);
    }

    /// Stops keeping any dentry alive.
    pub(crate) fn forget_all(&self) {
        let all = std::mem::take(&mut self.lru.lock().slots);
        drop(all);
    }

    /// Notes a mount come or gone; the last one to go empties the cache.
    pub(crate) fn mounted(&self, come: bool) {
        if come {
            self.mounts.fetch_add(1, Ordering::Relaxed);
        } else if self.mounts.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.forget_all();
            let marked = std::mem::take(&mut *self.marked.lock());
            for inode in marked.iter().filter_map(Weak::upgrade) {
                crate::notify::fsnotify_unmount(&inode);
            }
            self.ops.kill_sb();
        }
    }

    /// Whether anything is mounted of it.
    pub(crate) fn is_mounted(&self) -> bool {
        self.mounts.load(Ordering::Relaxed) != 0
    }

    /// Notes that `mnt` is mounted on `dentry`.
    pub(crate) fn add_mountpoint(&self, dentry: &Dentry, mnt: &Arc<Mount>) {
        let mut mountpoints = self.mountpoints.lock();
        mountpoints.entry(std::ptr::from_ref(dentry).addr()).or_default().push(Arc::downgrade(mnt));
    }

    /// Notes that `mnt` is not mounted on `dentry` any more.
    pub(crate) fn remove_mountpoint(&self, dentry: &Dentry, mnt: &Mount) {
        let mut mountpoints = self.mountpoints.lock();
        let at = std::ptr::from_ref(dentry).addr();
        if let Some(mounts) = mountpoints.get_mut(&at) {
            mounts.retain(|m| !std::ptr::eq(m.as_ptr(), mnt));
            if mounts.is_empty() {
                mountpoints.remove(&at);
            }
        }
    }

    /// What is mounted on `dentry`, in all namespaces.
    pub(crate) fn mounts_on(&self, dentry: &Dentry) -> Vec<Arc<Mount>> {
        let mountpoints = self.mountpoints.lock();
        let mounts = mountpoints.get(&std::ptr::from_ref(dentry).addr());
        mounts.map(|m| m.iter().filter_map(Weak::upgrade).collect()).unwrap_or_default()
    }

    /// Notes a writer come or gone.
    pub(crate) fn note_writer(&self, come: bool) {
        if come {
            self.writers.fetch_add(1, Ordering::SeqCst);
        } else {
            self.writers.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Makes the whole filesystem read-only, unless somebody writes. Linux: `sb_prepare_remount_readonly`.
    ///
    /// # Errors
    /// `EBUSY`.
    pub(crate) fn make_read_only(&self) -> Result<(), Errno> {
        let was = self.read_only.swap(true, Ordering::SeqCst);
        if !was && self.writers.load(Ordering::SeqCst) > 0 {
            self.read_only.store(false, Ordering::SeqCst);
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Changes options and whether it can be written. Linux: `reconfigure_super`.
    ///
    /// # Errors
    /// `EBUSY` while somebody writes to what is to become read-only; the filesystem's.
    pub(crate) fn reconfigure(&self, read_only: bool, options: &str) -> Result<(), Errno> {
        let was = self.is_read_only();
        if read_only {
            self.make_read_only()?;
        }
        if let Err(e) = self.ops.remount(options) {
            self.set_read_only(was);
            return Err(e);
        }
        self.set_read_only(read_only);
        Ok(())
    }

    /// Whether any of its inodes has a notification mark.
    #[inline]
    pub(crate) fn has_marks(&self) -> bool {
        self.marks.load(Ordering::Relaxed) != 0
    }

    /// Notes a mark put on `inode`.
    pub(crate) fn note_mark(&self, inode: &Arc<Inode>) {
        self.marks.fetch_add(1, Ordering::Relaxed);
        let mut marked = self.marked.lock();
        if !marked.iter().any(|i| std::ptr::eq(i.as_ptr(), Arc::as_ptr(inode))) {
            marked.push(Arc::downgrade(inode));
        }
    }

    /// Notes `count` marks taken off `inode`.
    pub(crate) fn forget_marks(&self, inode: &Arc<Inode>, count: usize) {
        self.marks.fetch_sub(count, Ordering::Relaxed);
        if inode.marks().is_empty() {
            self.marked.lock().retain(|i| !std::ptr::eq(i.as_ptr(), Arc::as_ptr(inode)));
        }
    }
}
