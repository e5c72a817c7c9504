//! Linux: fs/kernfs/mount.c.

use crate::Node;
use crate::inode::KernInode;
use fs_vfs::{Dentry, StatFs, SuperBlock, SuperFlags, SuperOps};
use sentry_auth::UserNamespace;
use sentry_time::Clocks;
use std::any::Any;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Inode number of a root directory.
const ROOT_INO: u64 = 1;

/// What a new superblock needs to know.
pub struct SuperParams {
    /// Name of the type, as in `/proc/filesystems`.
    pub fs_type: &'static str,
    /// Magic number for statfs(2).
    pub magic: u64,
    /// Device number, from [`fs_vfs::Vfs::alloc_dev`].
    pub dev: u64,
    /// The user namespace whose root owns the filesystem.
    pub user_ns: Arc<UserNamespace>,
    /// The kernel's clocks.
    pub clocks: Arc<Clocks>,
    /// `REVALIDATE` where entries come and go with the kernel's state.
    pub flags: SuperFlags,
    /// What `/proc/mounts` shows as the device.
    pub source: Vec<u8>,
    /// Mount options for `/proc/mounts`, with their leading commas.
    pub options: String,
}

pub(crate) struct KernSuper {
    magic: u64,
    options: String,
    hasher: RandomState,
}

impl KernSuper {
    /// The inode number of a name in a directory. The hash is keyed, so nobody can make two names collide on purpose.
    pub(crate) fn child_ino(&self, dir: u64, name: &[u8]) -> u64 {
        // Positive as a signed number, and none of the small ones that have a meaning.
        (self.hasher.hash_one((dir, name)) >> 1) | (1 << 32)
    }
}

impl SuperOps for KernSuper {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: self.magic, block_size: 4096, ..StatFs::default() }
    }

    fn show_options(&self) -> String {
        self.options.clone()
    }
}

/// A superblock with `root` as its root directory; returns the root's dentry, which leads to the superblock.
pub fn new_super(params: SuperParams, root: Node) -> Arc<Dentry> {
    let ops = KernSuper { magic: params.magic, options: params.options, hasher: RandomState::new() };
    let sb = SuperBlock::new(
        params.fs_type,
        params.dev,
        params.user_ns,
        params.clocks,
        params.flags,
        &params.source,
        Box::new(ops),
    );
    Dentry::new_root(KernInode::new_inode(&sb, ROOT_INO, root), b"")
}
