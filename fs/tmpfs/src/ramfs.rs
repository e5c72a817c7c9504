//! The type `ramfs` for mount(2). Linux: fs/ramfs/inode.c. A tmpfs without limits.

use crate::options::TmpfsOptions;
use crate::super_block::{TmpfsParams, TmpfsSuper, new_super_with};
use fs_vfs::{Dentry, FileSystemType, FsFlags, MountContext, StatFs, SuperFlags, SuperOps, TaskContext};
use sentry_mm::{MemoryFile, PAGE_SIZE};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::any::Any;
use std::sync::Arc;

/// `f_type` of statfs(2). Linux: include/uapi/linux/magic.h.
const RAMFS_MAGIC: u64 = 0x8584_58f6;
const RAMFS_DEFAULT_MODE: u32 = 0o755;

/// Makes a ramfs for every mount.
pub struct RamfsType {
    memory: Arc<MemoryFile>,
}

impl RamfsType {
    /// Keeps files in `memory`.
    pub fn new(memory: Arc<MemoryFile>) -> RamfsType {
        RamfsType { memory }
    }
}

struct RamfsSuper {
    files: TmpfsSuper,
    mode: u32,
}

impl SuperOps for RamfsSuper {
    fn as_any(&self) -> &dyn Any {
        &self.files
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: RAMFS_MAGIC, block_size: PAGE_SIZE, ..StatFs::default() }
    }

    fn show_options(&self) -> String {
        if self.mode == RAMFS_DEFAULT_MODE { String::new() } else { format!(",mode={:o}", self.mode) }
    }
}

/// The mode; other options are taken and forgotten. Linux: `ramfs_parse_param`.
fn parse_mode(options: &str) -> Result<u32, Errno> {
    match options.split(',').rev().find_map(|o| o.strip_prefix("mode=")) {
        Some(mode) => Ok(u32::from_str_radix(mode, 8).map_err(|_| EINVAL)? & 0o7777),
        None => Ok(RAMFS_DEFAULT_MODE),
    }
}

impl FileSystemType for RamfsType {
    fn name(&self) -> &'static str {
        "ramfs"
    }

    fn flags(&self) -> FsFlags {
        FsFlags::USERNS_MOUNT
    }

    fn mount(&self, ctx: &dyn TaskContext, mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno> {
        let mode = parse_mode(mount.options)?;
        let vfs = ctx.vfs();
        let cred = ctx.cred();
        let initial = Arc::ptr_eq(&mount.user_ns, vfs.user_ns());
        let params = TmpfsParams {
            fs_type: "ramfs",
            dev: vfs.alloc_dev(),
            user_ns: mount.user_ns.clone(),
            clocks: vfs.clocks.clone(),
            memory: self.memory.clone(),
            flags: if initial { SuperFlags::empty() } else { SuperFlags::NODEV },
            source: mount.source.to_vec(),
            options: TmpfsOptions { mode, uid: cred.fsuid, gid: cred.fsgid, ..TmpfsOptions::with_memory(0) },
        };
        new_super_with(params, |files| Box::new(RamfsSuper { files, mode }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mode_counts() {
        assert_eq!(parse_mode(""), Ok(0o755));
        assert_eq!(parse_mode("size=1m,mode=700,what"), Ok(0o700));
        assert_eq!(parse_mode("mode=9"), Err(EINVAL));
    }
}
