//! Linux: mm/shmem.c, `shmem_fill_super`, `shmem_statfs`, `shmem_reconfigure`.

use crate::inode::new_root;
use crate::options::TmpfsOptions;
use crate::quota::Quota;
use fs_vfs::{Dentry, StatFs, SuperBlock, SuperFlags, SuperOps};
use sentry_auth::UserNamespace;
use sentry_mm::MemoryFile;
use sentry_sync::{Mutex, level};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// `f_type` of statfs(2). Linux: include/uapi/linux/magic.h.
pub const TMPFS_MAGIC: u64 = 0x0102_1994;

/// What a new tmpfs needs to know.
pub struct TmpfsParams {
    /// `tmpfs`, or `devtmpfs`, or `shm` for the kernel's own.
    pub fs_type: &'static str,
    /// Device number, from [`fs_vfs::Vfs::alloc_dev`].
    pub dev: u64,
    /// The user namespace whose root owns the filesystem.
    pub user_ns: Arc<UserNamespace>,
    /// The kernel's clocks.
    pub clocks: Arc<Clocks>,
    /// Where the contents of files are.
    pub memory: Arc<MemoryFile>,
    /// What the VFS may assume besides what all of this kind have.
    pub flags: SuperFlags,
    /// What `/proc/mounts` shows as the device.
    pub source: Vec<u8>,
    /// Mount options.
    pub options: TmpfsOptions,
}

pub(crate) struct TmpfsSuper {
    pub(crate) memory: Arc<MemoryFile>,
    pub(crate) quota: Arc<Quota>,
    next_ino: AtomicU64,
    options: Mutex<TmpfsOptions, { level::LEAF }>,
}

impl TmpfsSuper {
    pub(crate) fn alloc_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }
}

impl SuperOps for TmpfsSuper {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        let (blocks, blocks_used) = self.quota.blocks();
        let (files, files_used) = self.quota.inodes();
        StatFs {
            magic: TMPFS_MAGIC,
            block_size: sentry_mm::PAGE_SIZE,
            blocks,
            blocks_free: blocks.saturating_sub(blocks_used),
            files,
            files_free: files.saturating_sub(files_used),
        }
    }

    fn show_options(&self) -> String {
        self.options.lock().show()
    }

    fn remount(&self, options: &str) -> Result<(), Errno> {
        let mut current = self.options.lock();
        let new = current.reconfigure(options, self.quota.blocks(), self.quota.inodes())?;
        self.quota.set_max_blocks(new.max_blocks);
        self.quota.set_max_inodes(new.max_inodes);
        *current = new;
        Ok(())
    }
}

/// A new, empty tmpfs; returns the root's dentry, which leads to the superblock.
pub fn new_super(params: TmpfsParams) -> Result<Arc<Dentry>, Errno> {
    let flags = params.flags | SuperFlags::POSIXACL;
    new_super_with(TmpfsParams { flags, ..params }, |files| Box::new(files))
}

/// [`new_super`] for a filesystem that adds something of its own.
pub(crate) fn new_super_with(
    params: TmpfsParams,
    wrap: impl FnOnce(TmpfsSuper) -> Box<dyn SuperOps>,
) -> Result<Arc<Dentry>, Errno> {
    let options = params.options;
    let ops = TmpfsSuper {
        memory: params.memory,
        quota: Arc::new(Quota::new(options.max_blocks, options.max_inodes)),
        next_ino: AtomicU64::new(1),
        options: Mutex::new(options.clone()),
    };
    let sb = SuperBlock::new(
        params.fs_type,
        params.dev,
        params.user_ns,
        params.clocks,
        params.flags | SuperFlags::ATIME,
        &params.source,
        wrap(ops),
    );
    Ok(Dentry::new_root(new_root(&sb, &options)?, b""))
}
