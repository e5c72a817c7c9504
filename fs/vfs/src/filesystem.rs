//! Linux: fs/filesystems.c.

use crate::{Dentry, TaskContext};
use bitflags::bitflags;
use sentry_auth::{CapSet, UserNamespace, ns_capable};
use sentry_sync::{RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::EBUSY;
use std::sync::Arc;

bitflags! {
    /// What kind of filesystem a type is. Linux: include/linux/fs.h, `FS_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FsFlags: u32 {
        /// Needs a block device.
        const REQUIRES_DEV = 1;
        /// May be mounted by root of any user namespace.
        const USERNS_MOUNT = 8;
    }
}

/// What a mount of a filesystem is asked for.
pub struct MountContext<'a> {
    /// The device, or whatever the type takes for it.
    pub source: &'a [u8],
    /// Options, separated by commas, without those that are flags.
    pub options: &'a str,
    /// Who is to own the instance: [`FileSystemType::user_ns`]. Linux: `fc->user_ns`.
    pub user_ns: Arc<UserNamespace>,
}

/// A type of filesystem.
pub trait FileSystemType: Send + Sync {
    /// As in `/proc/filesystems`.
    fn name(&self) -> &'static str;

    /// What kind it is.
    fn flags(&self) -> FsFlags {
        FsFlags::empty()
    }

    /// The user namespace that is to own what the caller mounts: the caller's own, unless the filesystem shows something
    /// that another owns. Linux: `fc->user_ns`, as `init_fs_context` leaves it.
    fn user_ns(&self, ctx: &dyn TaskContext) -> Arc<UserNamespace> {
        ctx.cred().user_ns.clone()
    }

    /// An instance's root: a new instance, or one that is there already. Linux: `get_tree`.
    ///
    /// # Errors
    /// `EINVAL` for options; the filesystem's own.
    fn mount(&self, ctx: &dyn TaskContext, mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno>;
}

/// Whether the caller may mount the type for `user_ns`. Linux: fs/super.c, `mount_capable`.
pub(crate) fn mount_capable(
    ctx: &dyn TaskContext,
    fs_type: &dyn FileSystemType,
    user_ns: &Arc<UserNamespace>,
) -> bool {
    let cred = ctx.cred();
    if fs_type.flags().contains(FsFlags::USERNS_MOUNT) {
        ns_capable(&cred, user_ns, CapSet::SYS_ADMIN)
    } else {
        ctx.vfs().capable(&cred, CapSet::SYS_ADMIN)
    }
}

/// The types of filesystems a kernel knows.
#[derive(Default)]
pub struct FileSystemTable {
    types: RwLock<Vec<Arc<dyn FileSystemType>>, { level::LEAF }>,
}

impl FileSystemTable {
    /// Adds a type. Linux: `register_filesystem`.
    ///
    /// # Errors
    /// `EBUSY` if there is one of that name.
    pub fn register(&self, fs_type: Arc<dyn FileSystemType>) -> Result<(), Errno> {
        let mut types = self.types.write();
        if types.iter().any(|t| t.name() == fs_type.name()) {
            return Err(EBUSY);
        }
        types.push(fs_type);
        Ok(())
    }

    /// The type of a name. Linux: `get_fs_type`.
    pub fn get(&self, name: &[u8]) -> Option<Arc<dyn FileSystemType>> {
        self.types.read().iter().find(|t| t.name().as_bytes() == name).cloned()
    }

    /// All types in the order of their registration, for `/proc/filesystems`: name, and whether it shows `nodev`.
    pub fn list(&self) -> Vec<(&'static str, bool)> {
        let types = self.types.read();
        types.iter().map(|t| (t.name(), !t.flags().contains(FsFlags::REQUIRES_DEV))).collect()
    }
}
