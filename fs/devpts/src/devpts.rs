//! The filesystem of slaves. Linux: fs/devpts/inode.c.
//!
//! Differs: there is no reserve of ptys for the first mount namespace.

use crate::inode::{Attrs, Node, new_inode};
use crate::options::DevptsOptions;
use crate::pty::{Jobs, PTS_MAJOR, Pty};
use fs_vfs::{
    At, Dentry, File, FileSystemType, FsFlags, Inode, LookupFlags, Mount, MountContext, NotifyMask, Path,
    StatFs, SuperBlock, SuperFlags, SuperOps, TaskContext, Vfs, dentry_open, fsnotify_name, user_path_at,
};
use sentry_auth::{Cred, UserNamespace};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EIO, ENODEV, ENOSPC};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::stat::makedev;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Linux: include/uapi/linux/magic.h, `DEVPTS_SUPER_MAGIC`.
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
/// Inode numbers of the root directory and of `ptmx`; those of slaves come after them.
const ROOT_INO: u64 = 1;
const PTMX_INO: u64 = 2;
const FIRST_INO: u64 = 3;
/// Most ptys of a kernel: `/proc/sys/kernel/pty/max`. Linux: `NR_UNIX98_PTY_DEFAULT`.
const PTY_LIMIT: u32 = 4096;

/// What all ptys of a kernel share.
pub(crate) struct Ptys {
    pub(crate) jobs: Arc<dyn Jobs>,
    /// How many there are: `/proc/sys/kernel/pty/nr`.
    count: AtomicU32,
}

impl Ptys {
    pub(crate) fn new(jobs: Arc<dyn Jobs>) -> Arc<Ptys> {
        Arc::new(Ptys { jobs, count: AtomicU32::new(0) })
    }
}

/// An instance of devpts.
pub(crate) struct Devpts {
    ptys: Arc<Ptys>,
    options: Mutex<DevptsOptions, { level::LEAF }>,
    root: Arc<Attrs>,
    ptmx: Arc<Attrs>,
    root_inode: OnceLock<Weak<Inode>>,
    /// Numbers in use. The node is there as long as the master is open.
    slaves: Mutex<BTreeMap<u32, Option<Arc<Inode>>>, { level::LEAF }>,
}

impl Devpts {
    /// A number for a new pty: the lowest that is free. Linux: `devpts_new_index`.
    fn new_index(&self) -> Result<u32, Errno> {
        let max = self.options.lock().max;
        if self.ptys.count.fetch_add(1, Ordering::Relaxed) >= PTY_LIMIT {
            self.ptys.count.fetch_sub(1, Ordering::Relaxed);
            return Err(ENOSPC);
        }
        let mut slaves = self.slaves.lock();
        let free = (0..max).zip(slaves.keys().map(Some).chain(std::iter::repeat(None)));
        let free = free.into_iter().find(|(index, used)| used.is_none_or(|used| used != index));
        match free {
            Some((index, _)) => {
                slaves.insert(index, None);
                Ok(index)
            }
            None => {
                drop(slaves);
                self.ptys.count.fetch_sub(1, Ordering::Relaxed);
                Err(ENOSPC)
            }
        }
    }

    /// Gives a number back. Linux: `devpts_kill_index`.
    pub(crate) fn free_index(&self, index: u32) {
        let gone = self.slaves.lock().remove(&index);
        if gone.is_some() {
            self.ptys.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The node of a slave goes. Linux: `devpts_pty_kill`.
    pub(crate) fn pty_kill(&self, index: u32) {
        let inode = self.slaves.lock().get_mut(&index).and_then(Option::take);
        if let Some(inode) = inode {
            Node::of(&inode).inspect(|node| node.attrs().unlink());
            self.notify(index, &inode, NotifyMask::DELETE);
        }
    }

    fn notify(&self, index: u32, inode: &Arc<Inode>, event: NotifyMask) {
        if let Some(root) = self.root_inode.get().and_then(Weak::upgrade) {
            fsnotify_name(&root, index.to_string().as_bytes(), inode, event, 0);
        }
    }

    /// The nodes that are there, by number.
    pub(crate) fn nodes(&self) -> Vec<(u32, Arc<Inode>)> {
        let slaves = self.slaves.lock();
        slaves.iter().filter_map(|(index, inode)| Some((*index, inode.clone()?))).collect()
    }

    /// The node of this number.
    pub(crate) fn node(&self, index: u32) -> Option<Arc<Inode>> {
        self.slaves.lock().get(&index)?.clone()
    }

    /// The node `ptmx`.
    pub(crate) fn ptmx_inode(&self, sb: &Arc<SuperBlock>) -> Arc<Inode> {
        new_inode(sb, PTMX_INO, Node::Ptmx(self.ptmx.clone()))
    }
}

impl SuperOps for Devpts {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: DEVPTS_SUPER_MAGIC, block_size: 1024, ..StatFs::default() }
    }

    fn show_options(&self) -> String {
        self.options.lock().show()
    }

    fn remount(&self, options: &str) -> Result<(), Errno> {
        let user_ns = match self.root_inode.get().and_then(Weak::upgrade) {
            Some(root) => root.sb().user_ns.clone(),
            None => return Err(EIO),
        };
        let options = DevptsOptions::parse(options, &user_ns)?;
        self.ptmx.set_perm(options.ptmxmode);
        *self.options.lock() = options;
        Ok(())
    }
}

/// A new instance; returns the root's dentry, which leads to the superblock. Linux: `devpts_fill_super`.
pub(crate) fn new_super(
    ptys: &Arc<Ptys>,
    vfs: &Vfs,
    cred: &Cred,
    user_ns: Arc<UserNamespace>,
    source: &[u8],
    options: DevptsOptions,
) -> Arc<Dentry> {
    // Its mounter's root.
    let root = (user_ns.make_kuid(0), user_ns.make_kgid(0));
    let now = vfs.clocks.realtime();
    let ops = Devpts {
        ptys: ptys.clone(),
        root: Attrs::new(0o755, root.0, root.1, 0, now),
        ptmx: Attrs::new(
            options.ptmxmode,
            cred.fsuid,
            cred.fsgid,
            makedev(crate::drivers::TTYAUX_MAJOR, 2),
            now,
        ),
        options: Mutex::new(options),
        root_inode: OnceLock::new(),
        slaves: Mutex::new(BTreeMap::new()),
    };
    let root = ops.root.clone();
    let dev = vfs.alloc_dev();
    let flags = SuperFlags::REVALIDATE | SuperFlags::OWN_DEVICES;
    let sb =
        SuperBlock::new(DevptsType::NAME, dev, user_ns, vfs.clocks.clone(), flags, source, Box::new(ops));
    let inode = new_inode(&sb, ROOT_INO, Node::Root(root));
    if let Some(devpts) = sb.downcast::<Devpts>() {
        // Set once, here.
        let _ = devpts.root_inode.set(Arc::downgrade(&inode));
    }
    Dentry::new_root(inode, b"")
}

/// A new pty with its node. The master counts as open. Linux: `ptmx_open`, `devpts_pty_new`.
///
/// # Errors
/// `ENOSPC` when there are too many; `ENODEV` on another filesystem.
pub(crate) fn new_pty(sb: &Arc<SuperBlock>, cred: &Cred) -> Result<Arc<Pty>, Errno> {
    let devpts = sb.downcast::<Devpts>().ok_or(ENODEV)?;
    let index = devpts.new_index()?;
    let pty = Pty::new(index, sb.clone(), devpts.ptys.jobs.clone());
    let options = devpts.options.lock().clone();
    let attrs = Attrs::new(
        options.mode,
        options.uid.unwrap_or(cred.fsuid),
        options.gid.unwrap_or(cred.fsgid),
        makedev(PTS_MAJOR, index),
        sb.clocks.realtime(),
    );
    let inode = new_inode(sb, FIRST_INO + u64::from(index), Node::Slave(attrs, Arc::downgrade(&pty)));
    devpts.slaves.lock().insert(index, Some(inode.clone()));
    devpts.notify(index, &inode, NotifyMask::CREATE);
    Ok(pty)
}

/// A mount of the instance, through which the slave can be named: the one a file was opened through, or another in the
/// caller's namespace. Linux: `devpts_mntget`.
fn devpts_mntget(
    ctx: &dyn TaskContext,
    file: Option<&File>,
    sb: &Arc<SuperBlock>,
) -> Result<Arc<Mount>, Errno> {
    let is_instance = |mnt: &Arc<Mount>| Arc::ptr_eq(&mnt.sb, sb) && mnt.root.is_root();
    if let Some(file) = file
        && is_instance(&file.path().mnt)
    {
        return Ok(file.path().mnt.clone());
    }
    ctx.mnt_ns().mounts().into_iter().find(is_instance).ok_or(ENODEV)
}

/// The name of a slave, through a mount of its instance.
///
/// # Errors
/// `ENODEV` if there is none; `ENOENT` if the master is closed.
pub(crate) fn slave_path(ctx: &dyn TaskContext, file: Option<&File>, pty: &Pty) -> Result<Path, Errno> {
    let mnt = devpts_mntget(ctx, file, &pty.sb)?;
    let root = Path { dentry: mnt.root.clone(), mnt };
    user_path_at(ctx, &At::Dir(root), pty.index.to_string().as_bytes(), LookupFlags::empty())
}

/// TIOCGPTPEER: opens the slave without walking a path of the caller's. Linux: `ptm_open_peer`.
///
/// # Errors
/// `EMFILE`; `ENODEV`; those of opening a slave.
pub(crate) fn open_peer(
    ctx: &dyn TaskContext,
    file: &File,
    pty: &Pty,
    flags: OpenFlags,
) -> Result<i32, Errno> {
    let files = ctx.files();
    let fd = files.get_unused_fd(ctx, flags.contains(OpenFlags::CLOEXEC))?;
    match slave_path(ctx, Some(file), pty).and_then(|path| dentry_open(ctx, path, flags)) {
        Ok(slave) => {
            files.fd_install(fd, slave);
            Ok(fd)
        }
        Err(e) => {
            files.put_unused_fd(fd);
            Err(e)
        }
    }
}

/// The instance that a `ptmx` belongs to: its own, or the one mounted on a `pts` of the same filesystem. Linux:
/// `devpts_acquire`, which looks beside the file's name.
///
/// # Errors
/// `ENODEV`.
pub(crate) fn devpts_acquire(ctx: &dyn TaskContext, ptmx: &Inode) -> Result<Arc<SuperBlock>, Errno> {
    if ptmx.sb().downcast::<Devpts>().is_some() {
        return Ok(ptmx.sb().clone());
    }
    let beside = |mnt: &Arc<Mount>| {
        let is_devpts = mnt.sb.downcast::<Devpts>().is_some() && mnt.root.is_root();
        let at = mnt.parent().filter(|_| is_devpts);
        at.is_some_and(|(_, at)| &*at.name() == b"pts" && Arc::ptr_eq(at.sb(), ptmx.sb()))
    };
    ctx.mnt_ns().mounts().into_iter().rev().find(beside).map(|mnt| mnt.sb.clone()).ok_or(ENODEV)
}

/// A terminal was used, which its node shows. Linux: `tty_update_time`.
pub(crate) fn tty_update_time(inode: &Inode, read: bool) {
    if let Some(node) = Node::of(inode) {
        node.attrs().touch(inode.sb().clocks.realtime(), read);
    }
}

/// The type `devpts` for mount(2): every mount is an instance of its own.
pub(crate) struct DevptsType(pub(crate) Arc<Ptys>);

impl DevptsType {
    pub(crate) const NAME: &'static str = "devpts";
}

impl FileSystemType for DevptsType {
    fn name(&self) -> &'static str {
        DevptsType::NAME
    }

    fn flags(&self) -> FsFlags {
        FsFlags::USERNS_MOUNT
    }

    fn mount(&self, ctx: &dyn TaskContext, mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno> {
        let cred = ctx.cred();
        let options = DevptsOptions::parse(mount.options, &cred.user_ns)?;
        Ok(new_super(&self.0, ctx.vfs(), &cred, mount.user_ns.clone(), mount.source, options))
    }
}
