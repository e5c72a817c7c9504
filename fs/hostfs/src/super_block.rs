//! A host directory as a filesystem.

use crate::fd_cache::FdCache;
use crate::inode::HostInode;
use crate::pages::HostPages;
use fs_vfs::{Dentry, InodeCache, MountFlags, StatFs, SuperBlock, SuperFlags, SuperOps};
use platform_host::fs::{self, HostStat};
use sentry_auth::UserNamespace;
use sentry_mm::{Mappable, MemoryFile};
use sentry_sync::{Mutex, RwLock, level};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOTDIR;
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Translates an id one way.
pub type MapId = Arc<dyn Fn(u32) -> u32 + Send + Sync>;

/// Whoever knows the owners of host files that stat(2) does not tell the sentry: one in a user namespace of its own sees the
/// overflow ids for all that its namespace does not map.
pub trait HostOwners: Send + Sync {
    /// Whether these may be overflow ids rather than the file's own.
    fn hides(&self, uid: u32, gid: u32) -> bool;

    /// The user and group id of an open file (`O_PATH` will do); none if that cannot be learnt.
    fn owner(&self, file: BorrowedFd<'_>) -> Option<(u32, u32)>;

    /// The owners of names in an open directory, without those that cannot be learnt: cheaper than to ask for each.
    fn owners_in(&self, dir: BorrowedFd<'_>, names: &[&[u8]]) -> Vec<NamedOwner>;
}

/// Whom a file belongs to that was asked for by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedOwner {
    /// Device and inode number, as stat(2) tells them.
    pub file: (u64, u64),
    /// User and group.
    pub ids: (u32, u32),
}

/// Whether others may change the tree while the sandbox has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody else does: everything learnt of it holds until the sandbox itself changes it.
    Exclusive,
    /// Others may: names and attributes are asked for anew each time.
    Shared,
}

/// What a new host filesystem needs to know.
pub struct HostFsParams {
    /// Name of the type, as `/proc/mounts` shows it.
    pub fs_type: &'static str,
    /// Device number, from [`fs_vfs::Vfs::alloc_dev`].
    pub dev: u64,
    /// The user namespace whose root owns the filesystem.
    pub user_ns: Arc<UserNamespace>,
    /// The kernel's clocks.
    pub clocks: Arc<Clocks>,
    /// Where mapped contents are cached.
    pub memory: Arc<MemoryFile>,
    /// What `/proc/mounts` shows as the device.
    pub source: Vec<u8>,
    /// Whether anything may be changed.
    pub writable: bool,
    /// Whether others may change the tree.
    pub sharing: Sharing,
    /// Whom to ask for owners that are hidden from the sentry; `None` where none is.
    pub owners: Option<Arc<dyn HostOwners>>,
    /// Guest ids for host user and group ids as the sentry sees them; `None` takes them as they are.
    pub ids_from_host: Option<(MapId, MapId)>,
    /// Host ids, as the sentry sees them, for guest user and group ids.
    pub ids_to_host: Option<(MapId, MapId)>,
    /// What mounts of the host in the tree forbid, by their ids.
    pub mount_flags: HashMap<u64, MountFlags>,
    /// Most host descriptors to keep open that nobody uses.
    pub max_fds: usize,
    /// Most bytes of cached contents to keep that nobody maps.
    pub max_cached: u64,
}

/// A file of the host: device and inode number.
pub(crate) type Key = (u64, u64);

/// What all inodes of one filesystem share.
pub(crate) struct HostShared {
    pub(crate) writable: bool,
    pub(crate) sharing: Sharing,
    pub(crate) fds: FdCache,
    pub(crate) inodes: InodeCache<Key>,
    /// Written while a name comes to mean another file, read while a file is found by its name; so nothing is opened
    /// under a name that is not its own any more.
    pub(crate) names: RwLock<(), { level::HOST_NAMES }>,
    pub(crate) memory: Arc<MemoryFile>,
    pub(crate) owners: Option<Arc<dyn HostOwners>>,
    mount_flags: HashMap<u64, MountFlags>,
    ids_from_host: Option<(MapId, MapId)>,
    ids_to_host: Option<(MapId, MapId)>,
    max_cached: u64,
    cached: AtomicU64,
    /// Caches with pages in them, oldest first.
    caches: Mutex<VecDeque<Weak<HostPages>>, { level::LEAF }>,
}

impl HostShared {
    /// Whether what was learnt of a file still holds.
    pub(crate) fn exclusive(&self) -> bool {
        self.sharing == Sharing::Exclusive
    }

    /// What the host's mount forbids through which the file was found.
    pub(crate) fn mount_flags(&self, stat: &HostStat) -> MountFlags {
        self.mount_flags.get(&stat.mnt_id).copied().unwrap_or(MountFlags::empty())
    }

    pub(crate) fn uid_from_host(&self, id: u32) -> u32 {
        self.ids_from_host.as_ref().map_or(id, |(uid, _)| uid(id))
    }

    pub(crate) fn gid_from_host(&self, id: u32) -> u32 {
        self.ids_from_host.as_ref().map_or(id, |(_, gid)| gid(id))
    }

    pub(crate) fn uid_to_host(&self, id: u32) -> u32 {
        self.ids_to_host.as_ref().map_or(id, |(uid, _)| uid(id))
    }

    pub(crate) fn gid_to_host(&self, id: u32) -> u32 {
        self.ids_to_host.as_ref().map_or(id, |(_, gid)| gid(id))
    }

    pub(crate) fn uncount_cached(&self, bytes: u64) {
        self.cached.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts cached bytes; drops the oldest caches that nobody maps when there are too many. The caller holds no lock
    /// of a page cache.
    pub(crate) fn count_cached(&self, bytes: u64, by: &Arc<HostPages>, first: bool) {
        self.cached.fetch_add(bytes, Ordering::Relaxed);
        let scan = {
            let mut caches = self.caches.lock();
            if first {
                caches.push_back(Arc::downgrade(by));
            }
            caches.len()
        };
        for _ in 0..scan {
            if self.cached.load(Ordering::Relaxed) <= self.max_cached {
                return;
            }
            let Some(oldest) = self.caches.lock().pop_front() else { return };
            let Some(oldest) = oldest.upgrade() else { continue };
            let busy = Arc::ptr_eq(&oldest, by) || !oldest.mappings().is_empty();
            if busy || !oldest.drop_clean() {
                self.caches.lock().push_back(Arc::downgrade(&oldest));
            }
        }
    }
}

/// The superblock's part of a host filesystem.
pub struct HostFs {
    root: Arc<OwnedFd>,
}

impl HostFs {
    /// The directory `root` and what lies beneath it as a filesystem; returns the root's dentry, which leads to the
    /// superblock. Nothing outside is ever reached.
    ///
    /// # Errors
    /// `ENOTDIR` if it is no directory, or what the host says.
    pub fn new_super(root: OwnedFd, params: HostFsParams) -> Result<Arc<Dentry>, Errno> {
        let stat = fs::stat(root.as_fd())?;
        if crate::attr::file_type(&stat) != fs_vfs::FileType::Directory {
            return Err(ENOTDIR);
        }
        let root = Arc::new(root);
        let shared = Arc::new(HostShared {
            writable: params.writable,
            sharing: params.sharing,
            fds: FdCache::new(params.max_fds),
            inodes: InodeCache::new(),
            names: RwLock::new(()),
            memory: params.memory,
            owners: params.owners,
            mount_flags: params.mount_flags,
            ids_from_host: params.ids_from_host,
            ids_to_host: params.ids_to_host,
            max_cached: params.max_cached,
            cached: AtomicU64::new(0),
            caches: Mutex::new(VecDeque::new()),
        });
        let flags = match params.sharing {
            Sharing::Exclusive => SuperFlags::POSIXACL,
            Sharing::Shared => SuperFlags::POSIXACL | SuperFlags::REVALIDATE,
        };
        let sb = SuperBlock::new(
            params.fs_type,
            params.dev,
            params.user_ns,
            params.clocks,
            flags,
            &params.source,
            Box::new(HostFs { root: root.clone() }),
        );
        sb.set_read_only(!params.writable);
        let inode = shared.iget(&sb, &stat, None);
        if let Some(node) = inode.downcast::<HostInode>() {
            node.pin(root);
        }
        Ok(Dentry::new_root(inode, b""))
    }
}

impl SuperOps for HostFs {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        fs::statfs(self.root.as_fd()).map_or_else(
            |_| StatFs::default(),
            |st| StatFs {
                magic: st.magic,
                block_size: st.block_size,
                blocks: st.blocks,
                blocks_free: st.blocks_free,
                files: st.files,
                files_free: st.files_free,
            },
        )
    }
}

/// What tells a host file from others.
pub(crate) fn key(stat: &HostStat) -> Key {
    (stat.dev, stat.ino)
}
