//! Linux: fs/overlayfs/super.c.

use crate::inode::{Lower, OvlInode};
use fs_vfs::{
    Dentry, FdTable, File, FileOps, FsStruct, Inode, InodeCache, Mount, MountNamespace, Path, Resource,
    Sleep, StatFs, SuperBlock, SuperFlags, SuperOps, TaskContext, Vfs,
};
use sentry_auth::{CapSet, Cred, UserNamespace};
use sentry_mm::MemoryManager;
use sentry_sync::{Parker, WaitQueue, Wake};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINTR, EINVAL, EIO, ENOTDIR, ESRCH};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::signal::{SigInfo, SigSet};
use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

/// `f_type` of statfs(2). Linux: include/uapi/linux/magic.h.
pub const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;

/// What a new overlay needs to know.
pub struct OverlayParams {
    /// The kernel's files.
    pub vfs: Arc<Vfs>,
    /// Who mounts it: the layers are read and written with these credentials. Linux: `ovl_override_creds`.
    pub cred: Arc<Cred>,
    /// The user namespace whose root owns the filesystem.
    pub user_ns: Arc<UserNamespace>,
    /// Directories to show, the uppermost first; at least one. Never written.
    pub lower: Vec<Arc<Dentry>>,
    /// Where changes go. None: read-only.
    pub upper: Option<Arc<Dentry>>,
    /// What `/proc/mounts` shows as the device.
    pub source: Vec<u8>,
    /// Mount options for `/proc/mounts`, with their leading commas.
    pub options: String,
}

/// What all inodes of one overlay share.
pub(crate) struct OvlShared {
    /// A mount for each layer, by which its files are opened, the upper one first if there is one.
    layers: Vec<Arc<Mount>>,
    /// The distinct filesystems the layers are on. The first is the uppermost lower layer's, whose inode numbers show as
    /// they are.
    filesystems: Vec<Arc<SuperBlock>>,
    upper: Option<Arc<SuperBlock>>,
    /// By the address of the real inode that tells the file from others, which the overlay's inode keeps alive.
    pub(crate) inodes: InodeCache<usize>,
    pub(crate) mounter: Mounter,
}

/// Where the number of the filesystem stands in an inode number. Linux: `xino`.
const FSID_SHIFT: u32 = 56;

impl OvlShared {
    /// The number the overlay shows for a number of a layer's filesystem. Linux: `ovl_map_dev_ino`.
    pub(crate) fn map_ino(&self, sb: &Arc<SuperBlock>, ino: u64) -> u64 {
        let fsid = self.filesystems.iter().position(|fs| Arc::ptr_eq(fs, sb)).unwrap_or(0);
        ino ^ (u64::try_from(fsid).unwrap_or(0) << FSID_SHIFT)
    }

    /// Opens a real inode. Linux: `ovl_open_realfile`.
    pub(crate) fn open_real(
        &self,
        ctx: &dyn TaskContext,
        real: &Arc<Inode>,
        flags: OpenFlags,
    ) -> Result<Arc<File>, Errno> {
        let ops: Box<dyn FileOps> = real.ops().open(real, ctx, flags)?;
        let mnt = self.layers.iter().find(|m| Arc::ptr_eq(&m.sb, real.sb())).ok_or(EIO)?.clone();
        let path = Path { mnt, dentry: Dentry::new_root(real.clone(), b"") };
        Ok(File::new(path, real.clone(), ops, flags, self.mounter.cred()))
    }
}

struct OvlSuper {
    shared: Arc<OvlShared>,
    options: String,
}

impl SuperOps for OvlSuper {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        let real = self.shared.upper.as_ref().or(self.shared.filesystems.first());
        let stat = real.map(|sb| sb.ops.statfs()).unwrap_or_default();
        StatFs { magic: OVERLAYFS_SUPER_MAGIC, ..stat }
    }

    fn show_options(&self) -> String {
        self.options.clone()
    }
}

/// A new overlay; returns the root's dentry, which leads to the superblock.
///
/// # Errors
/// `EINVAL` without a lower layer; `ENOTDIR` for a layer that is no directory.
pub fn new_super(params: OverlayParams) -> Result<Arc<Dentry>, Errno> {
    let root_of = |dentry: &Arc<Dentry>| dentry.inode().filter(|i| i.is_dir()).ok_or(ENOTDIR);
    let lower: Lower = params.lower.iter().map(root_of).collect::<Result<_, _>>()?;
    let upper = params.upper.as_ref().map(root_of).transpose()?;
    let first = params.lower.first().ok_or(EINVAL)?;
    let mut filesystems: Vec<Arc<SuperBlock>> = Vec::new();
    for inode in lower.iter().chain(&upper) {
        if !filesystems.iter().any(|sb| Arc::ptr_eq(sb, inode.sb())) {
            filesystems.push(inode.sb().clone());
        }
    }
    let mut flags = SuperFlags::ATIME | SuperFlags::POSIXACL;
    flags.set(SuperFlags::REVALIDATE, lower.iter().any(|i| i.sb().revalidates()));
    let layers = params.upper.iter().chain(&params.lower);
    let shared = Arc::new(OvlShared {
        layers: layers.map(|root| params.vfs.kern_mount(root.clone())).collect(),
        filesystems,
        upper: upper.as_ref().map(|i| i.sb().clone()),
        inodes: InodeCache::new(),
        mounter: Mounter::new(&params, first),
    });
    let sb = SuperBlock::new(
        "overlay",
        params.vfs.alloc_dev(),
        params.user_ns,
        params.vfs.clocks.clone(),
        flags,
        &params.source,
        Box::new(OvlSuper { shared: shared.clone(), options: params.options }),
    );
    sb.set_read_only(upper.is_none());
    Ok(Dentry::new_root(OvlInode::new_inode(&shared, &sb, upper, lower, None), b""))
}

/// Whoever mounted the overlay, as a caller of the layers where no task is at hand, and where the task's own limits
/// and rights do not count: copying up.
///
/// Its namespace and directories are of no use to anybody: a layer's inodes are reached without a path.
pub(crate) struct Mounter {
    cred: Arc<Cred>,
    /// May do anything to any file: then it need not be asked.
    pub(crate) privileged: bool,
    vfs: Arc<Vfs>,
    fs: Arc<FsStruct>,
    mnt_ns: Arc<MountNamespace>,
    files: Arc<FdTable>,
}

impl Mounter {
    fn new(params: &OverlayParams, layer: &Arc<Dentry>) -> Mounter {
        let vfs = &params.vfs;
        let mnt = vfs.kern_mount(layer.clone());
        Mounter {
            privileged: vfs.capable(&params.cred, CapSet::DAC_OVERRIDE),
            cred: params.cred.clone(),
            vfs: vfs.clone(),
            fs: FsStruct::new(&Path { mnt: mnt.clone(), dentry: layer.clone() }),
            mnt_ns: MountNamespace::new(vfs, params.user_ns.clone(), &mnt),
            files: FdTable::new(),
        }
    }
}

impl TaskContext for Mounter {
    fn cred(&self) -> Arc<Cred> {
        self.cred.clone()
    }

    fn fs(&self) -> Arc<FsStruct> {
        self.fs.clone()
    }

    fn mnt_ns(&self) -> Arc<MountNamespace> {
        self.mnt_ns.clone()
    }

    fn files(&self) -> Arc<FdTable> {
        self.files.clone()
    }

    fn mm(&self) -> Result<Arc<MemoryManager>, Errno> {
        Err(ESRCH)
    }

    fn rlimit(&self, _resource: Resource) -> u64 {
        u64::MAX
    }

    fn ids(&self) -> (u32, u32) {
        (0, 0)
    }

    fn send_sig(&self, _signo: i32) {}

    fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    fn dequeue_signal(&self, _set: SigSet) -> Option<SigInfo> {
        None
    }

    fn pending_signals(&self) -> SigSet {
        SigSet::EMPTY
    }

    fn signal_queue(&self) -> WaitQueue {
        WaitQueue::new()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Parker::new())
    }

    /// Operations on files of a layer never wait.
    fn sleep(&self, _deadline: Option<Instant>) -> Result<Sleep, Errno> {
        Err(EINTR)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
