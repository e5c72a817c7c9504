//! What all mounts and open files of one kernel share, and the filesystems that are never seen in a tree.
//!
//! Linux: fs/anon_inodes.c, fs/pipe.c (`pipefs`), net/socket.c (`sockfs`).

use crate::locks::FileLocks;
use crate::nsfs::{Namespace, Nsfs};
use crate::timerfd::RealtimeTimers;
use crate::{
    Attr, Dentry, File, FileOps, FileType, Inode, InodeOps, Mount, Path, StatFs, SuperBlock, SuperFlags,
};
use crate::{DeviceTable, FileSystemTable, MountTable, SetAttr, SuperOps, TaskContext};
use crate::{EpollLimits, InotifyLimits, PipeLimits};
use sentry_auth::{CapSet, Cred, Kgid, Kuid, UserNamespace, ns_capable};
use sentry_sync::{Mutex, level};
use sentry_time::{Clocks, TimerQueue};
use sentry_uapi::Errno;
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::stat::makedev;
use sentry_uapi::time::Timespec;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A filesystem that is mounted only inside the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pseudo {
    /// Pipes: `pipe:[N]`.
    Pipe,
    /// Sockets: `socket:[N]`.
    Socket,
    /// Everything made by a system call of its own: `anon_inode:[eventfd]`.
    Anon,
}

/// The part of the kernel that all file trees share.
pub struct Vfs {
    /// The kernel's clocks.
    pub clocks: Arc<Clocks>,
    /// Timers of files.
    pub timers: Arc<TimerQueue>,
    /// Memory of pipes.
    pub pipes: Arc<PipeLimits>,
    /// Descriptors watched by epoll.
    pub epoll: Arc<EpollLimits>,
    /// Watches of inotify.
    pub inotify: Arc<InotifyLimits>,
    /// Locks of all files.
    pub(crate) file_locks: Arc<FileLocks>,
    /// Timers that have to be looked at when the clock is set.
    pub(crate) realtime_timers: Arc<RealtimeTimers>,
    pipefs: Arc<Mount>,
    sockfs: Arc<Mount>,
    anonfs: Arc<Mount>,
    rootfs: Arc<Mount>,
    nsfs: Nsfs,
    next_ino: AtomicU64,
    next_dev: AtomicU64,
    next_mount: AtomicU64,
    next_cookie: AtomicU32,
    user_ns: Arc<UserNamespace>,
    mounts: Arc<MountTable>,
    devices: DeviceTable,
    filesystems: FileSystemTable,
}

impl Vfs {
    /// A fresh one, with no filesystem mounted.
    pub fn new(clocks: Arc<Clocks>, user_ns: &Arc<UserNamespace>) -> Arc<Vfs> {
        let mount = |id, fs_type, magic| {
            let ops = Box::new(PseudoSuper { magic });
            let sb = SuperBlock::new(
                fs_type,
                makedev(0, id),
                user_ns.clone(),
                clocks.clone(),
                SuperFlags::NOUSER,
                b"none",
                ops,
            );
            let root = Inode::new(
                sb,
                1,
                FileType::Directory,
                0,
                Box::new(PseudoInode::new(FileType::Directory, Timespec::default())),
            );
            Mount::new_internal(u64::from(id), Dentry::new_root(root, b""))
        };
        Arc::new(Vfs {
            pipefs: mount(1, "pipefs", 0x5049_5045),
            sockfs: mount(2, "sockfs", 0x534f_434b),
            anonfs: mount(3, "anon_inodefs", 0x0904_1934),
            rootfs: mount(4, "rootfs", 0x8584_58f6),
            nsfs: Nsfs::new(5, makedev(0, 5), user_ns, &clocks),
            timers: TimerQueue::new(clocks.clone()),
            pipes: Arc::new(PipeLimits::new()),
            inotify: Arc::new(InotifyLimits::new()),
            file_locks: Arc::new(FileLocks::new()),
            realtime_timers: Arc::new(RealtimeTimers::default()),
            epoll: Arc::new(EpollLimits::new()),
            clocks,
            next_ino: AtomicU64::new(1000),
            next_dev: AtomicU64::new(20),
            next_mount: AtomicU64::new(20),
            next_cookie: AtomicU32::new(1),
            user_ns: user_ns.clone(),
            mounts: MountTable::new(),
            devices: DeviceTable::default(),
            filesystems: FileSystemTable::default(),
        })
    }

    /// Whether `cred` has `cap` over the whole kernel. Linux: `capable`.
    pub fn capable(&self, cred: &Cred, cap: CapSet) -> bool {
        ns_capable(cred, &self.user_ns, cap)
    }

    /// The first user namespace.
    pub fn user_ns(&self) -> &Arc<UserNamespace> {
        &self.user_ns
    }

    /// The empty directory at the bottom of every mount namespace, below its root. Linux: init/do_mounts.c, `rootfs`.
    pub(crate) fn rootfs(&self) -> &Arc<Mount> {
        &self.rootfs
    }

    /// What serialises changes of mount trees.
    pub(crate) fn mounts(&self) -> &Arc<MountTable> {
        &self.mounts
    }

    /// The drivers of device nodes.
    pub fn devices(&self) -> &DeviceTable {
        &self.devices
    }

    /// The types of filesystems that can be mounted.
    pub fn filesystems(&self) -> &FileSystemTable {
        &self.filesystems
    }

    /// A number that joins the two events of a move. Linux: `fsnotify_get_cookie`.
    pub(crate) fn next_cookie(&self) -> u32 {
        self.next_cookie.fetch_add(1, Ordering::Relaxed)
    }

    /// A device number for a filesystem without a device. Linux: `get_anon_bdev`.
    pub fn alloc_dev(&self) -> u64 {
        let minor = self.next_dev.fetch_add(1, Ordering::Relaxed);
        makedev(0, u32::try_from(minor).unwrap_or(u32::MAX))
    }

    /// A number for a new mount.
    pub fn alloc_mount_id(&self) -> u64 {
        self.next_mount.fetch_add(1, Ordering::Relaxed)
    }

    /// An inode number for something without a filesystem of its own. Linux: `get_next_ino`.
    pub fn alloc_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }

    /// An open file on one of the kernel's own filesystems. `/proc/[pid]/fd` shows a pipe or socket as `pipe:[ino]`, an
    /// anonymous one as `anon_inode:` and `name`. Linux: `alloc_file_pseudo`, `anon_inode_getfile`.
    pub fn pseudo_file(
        &self,
        fs: Pseudo,
        name: &str,
        ops: Box<dyn FileOps>,
        flags: OpenFlags,
        cred: Arc<Cred>,
    ) -> Arc<File> {
        let inode = self.pseudo_inode(fs, &cred);
        let name = match fs {
            Pseudo::Pipe => format!("pipe:[{}]", inode.ino()),
            Pseudo::Socket => format!("socket:[{}]", inode.ino()),
            Pseudo::Anon => format!("anon_inode:{name}"),
        };
        let path = self.pseudo_path(fs, inode.clone(), name.as_bytes());
        File::new(path, inode, ops, flags, cred)
    }

    /// An inode for [`Vfs::pseudo_path`], owned by `cred`: a pipe has two files on one inode.
    pub fn pseudo_inode(&self, fs: Pseudo, cred: &Cred) -> Arc<Inode> {
        let file_type = match fs {
            Pseudo::Pipe => FileType::Fifo,
            Pseudo::Socket => FileType::Socket,
            Pseudo::Anon => FileType::Anonymous,
        };
        let ops = PseudoInode::new(file_type, self.clocks.realtime());
        {
            let mut state = ops.state.lock();
            state.0 = cred.fsuid;
            state.1 = cred.fsgid;
        }
        Inode::new(self.pseudo_mount(fs).sb.clone(), self.alloc_ino(), file_type, 0, Box::new(ops))
    }

    /// The path of an inode on one of the kernel's own filesystems; `name` is all that `d_path` shows of it.
    pub fn pseudo_path(&self, fs: Pseudo, inode: Arc<Inode>, name: &[u8]) -> Path {
        Path { mnt: self.pseudo_mount(fs).clone(), dentry: Dentry::new_root(inode, name) }
    }

    /// The place of a namespace, to be opened or mounted. Linux: `ns_get_path`.
    pub fn ns_get_path(&self, ns: Arc<dyn Namespace>) -> Path {
        self.nsfs.path(ns)
    }

    /// Mounts a filesystem for the kernel's own use, in no tree. Linux: `kern_mount`.
    pub fn kern_mount(&self, root: Arc<Dentry>) -> Arc<Mount> {
        Mount::new_internal(self.alloc_mount_id(), root)
    }

    fn pseudo_mount(&self, fs: Pseudo) -> &Arc<Mount> {
        match fs {
            Pseudo::Pipe => &self.pipefs,
            Pseudo::Socket => &self.sockfs,
            Pseudo::Anon => &self.anonfs,
        }
    }
}

struct PseudoSuper {
    magic: u64,
}

impl SuperOps for PseudoSuper {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: self.magic, block_size: 4096, ..StatFs::default() }
    }
}

struct PseudoInode {
    file_type: FileType,
    made: Timespec,
    /// Owner, group, permission bits.
    state: Mutex<(Kuid, Kgid, u32), { level::LEAF }>,
}

impl PseudoInode {
    fn new(file_type: FileType, made: Timespec) -> PseudoInode {
        let perm = if file_type == FileType::Socket { 0o777 } else { 0o600 };
        PseudoInode { file_type, made, state: Mutex::new((Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT, perm)) }
    }
}

impl InodeOps for PseudoInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        let (uid, gid, perm) = *self.state.lock();
        Ok(Attr {
            ino: inode.ino(),
            perm,
            nlink: 1,
            uid,
            gid,
            rdev: 0,
            size: 0,
            blksize: 4096,
            blocks: 0,
            atime: self.made,
            mtime: self.made,
            ctime: self.made,
            btime: None,
        })
    }

    fn lookup(&self, _dir: &Arc<Inode>, _ctx: &dyn TaskContext, _name: &[u8]) -> Result<Arc<Inode>, Errno> {
        Err(sentry_uapi::errno::ENOENT)
    }

    fn setattr(&self, _inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        if self.file_type == FileType::Anonymous {
            return Err(sentry_uapi::errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        state.0 = change.uid.unwrap_or(state.0);
        state.1 = change.gid.unwrap_or(state.1);
        state.2 = change.perm.unwrap_or(state.2);
        Ok(())
    }
}
