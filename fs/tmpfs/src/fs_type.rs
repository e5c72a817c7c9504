//! The type `tmpfs` for mount(2). Linux: mm/shmem.c, `shmem_fs_type`.

use crate::options::TmpfsOptions;
use crate::super_block::{TmpfsParams, new_super};
use fs_vfs::{Dentry, FileSystemType, FsFlags, MountContext, SuperFlags, TaskContext};
use sentry_mm::MemoryFile;
use sentry_uapi::Errno;
use std::sync::Arc;

/// Makes a tmpfs for every mount.
pub struct TmpfsType {
    memory: Arc<MemoryFile>,
    total: u64,
}

impl TmpfsType {
    /// Keeps files in `memory`; default limits are reckoned from `total` bytes, 0 for no limits.
    pub fn new(memory: Arc<MemoryFile>, total: u64) -> TmpfsType {
        TmpfsType { memory, total }
    }
}

impl FileSystemType for TmpfsType {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn flags(&self) -> FsFlags {
        FsFlags::USERNS_MOUNT
    }

    fn mount(&self, ctx: &dyn TaskContext, mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno> {
        let options = TmpfsOptions::parse(mount.options, self.total, &ctx.cred())?;
        let vfs = ctx.vfs();
        // Whoever is root only in a namespace of its own makes no devices that work. Linux: `alloc_super`.
        let initial = Arc::ptr_eq(&mount.user_ns, vfs.user_ns());
        new_super(TmpfsParams {
            fs_type: "tmpfs",
            dev: vfs.alloc_dev(),
            user_ns: mount.user_ns.clone(),
            clocks: vfs.clocks.clone(),
            memory: self.memory.clone(),
            flags: if initial { SuperFlags::empty() } else { SuperFlags::NODEV },
            source: mount.source.to_vec(),
            options,
        })
    }
}
