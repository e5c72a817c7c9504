//! The type `mqueue` for mount(2). Linux: ipc/mqueue.c, `mqueue_fs_type`, `mq_init_ns`.

use super::inode::RootInode;
use crate::{CurrentTask, IpcNamespace};
use fs_vfs::{
    Dentry, FileSystemType, FsFlags, Mount, MountContext, StatFs, SuperBlock, SuperFlags, SuperOps,
    TaskContext, Vfs,
};
use sentry_auth::{Kgid, Kuid, UserNamespace};
use sentry_uapi::Errno;
use sentry_uapi::errno::EPERM;
use std::any::Any;
use std::sync::Arc;

/// `f_type` of statfs(2).
const MQUEUE_MAGIC: u64 = 0x1980_0202;

struct MqueueSuper;

impl SuperOps for MqueueSuper {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: MQUEUE_MAGIC, block_size: sentry_mm::PAGE_SIZE, ..StatFs::default() }
    }
}

impl IpcNamespace {
    /// The filesystem of its queues, made when it is first asked for. Linux: `mq_create_mount`.
    pub(super) fn mq_mount(&self, vfs: &Vfs) -> Arc<Mount> {
        let make = || {
            let sb = SuperBlock::new(
                "mqueue",
                vfs.alloc_dev(),
                self.user_ns.clone(),
                vfs.clocks.clone(),
                SuperFlags::empty(),
                b"mqueue",
                Box::new(MqueueSuper),
            );
            let uid = Some(self.user_ns.make_kuid(0)).filter(|u| u.is_valid()).unwrap_or(Kuid::GLOBAL_ROOT);
            let gid = Some(self.user_ns.make_kgid(0)).filter(|g| g.is_valid()).unwrap_or(Kgid::GLOBAL_ROOT);
            let root = RootInode::make(&sb, self.mq.clone(), uid, gid);
            vfs.kern_mount(Dentry::new_root(root, b""))
        };
        self.mq_mnt.get_or_init(make).clone()
    }
}

/// Shows the queues of the caller's IPC namespace.
pub struct MqueueType;

fn current(ctx: &dyn TaskContext) -> Option<&CurrentTask> {
    ctx.as_any().downcast_ref()
}

impl FileSystemType for MqueueType {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn flags(&self) -> FsFlags {
        FsFlags::USERNS_MOUNT
    }

    fn user_ns(&self, ctx: &dyn TaskContext) -> Arc<UserNamespace> {
        current(ctx).map_or_else(|| ctx.cred().user_ns.clone(), |task| task.ipc_ns().user_ns.clone())
    }

    fn mount(&self, ctx: &dyn TaskContext, _mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno> {
        let task = current(ctx).ok_or(EPERM)?;
        Ok(task.ipc_ns().mq_mount(ctx.vfs()).root.clone())
    }
}
