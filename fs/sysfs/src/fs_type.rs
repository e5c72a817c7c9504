//! Linux: fs/sysfs/mount.c.

use crate::attribute::dir;
use crate::{cpu, kernel, net, node};
use fs_kernfs::SuperParams;
use fs_vfs::{Dentry, FileSystemType, FsFlags, MountContext, SuperFlags, TaskContext, Vfs};
use sentry_auth::UserNamespace;
use sentry_net::NetNamespace;
use sentry_uapi::Errno;
use std::any::Any;
use std::sync::Arc;

/// `f_type` of statfs(2). Linux: include/uapi/linux/magic.h.
pub const SYSFS_MAGIC: u64 = 0x6265_6572;

/// What a new `/sys` needs to know.
pub struct SysfsParams<'a> {
    /// The kernel's files.
    pub vfs: &'a Vfs,
    /// The user namespace whose root owns the filesystem.
    pub user_ns: Arc<UserNamespace>,
    /// Number of processors the sandbox shows.
    pub cpus: u32,
    /// The network namespace whose interfaces it shows.
    pub net: Option<Arc<NetNamespace>>,
    /// What `/proc/mounts` shows as the device.
    pub source: Vec<u8>,
}

/// A new `/sys`; returns the root's dentry, which leads to the superblock.
pub fn new_super(params: SysfsParams<'_>) -> Arc<Dentry> {
    let system = dir().with("cpu", cpu::cpu(params.cpus)).with("node", node::node(params.cpus));
    let (virt_net, class_net) = net::devices(params.net.as_ref());
    let virt = dir().with("net", virt_net.node());
    let devices = dir().with("system", system.node()).with("virtual", virt.node());
    let root = dir()
        .with("block", dir().node())
        .with("bus", dir().node())
        .with("class", dir().with("net", class_net.node()).node())
        .with("dev", dir().with("block", dir().node()).with("char", dir().node()).node())
        .with("devices", devices.node())
        .with("firmware", dir().node())
        .with("fs", dir().with("cgroup", dir().node()).node())
        .with("kernel", kernel::kernel())
        .with("module", dir().node())
        .with("power", dir().node());
    let params = SuperParams {
        fs_type: "sysfs",
        magic: SYSFS_MAGIC,
        dev: params.vfs.alloc_dev(),
        user_ns: params.user_ns,
        clocks: params.vfs.clocks.clone(),
        flags: SuperFlags::NODEV | SuperFlags::NOEXEC | SuperFlags::USERNS_VISIBLE,
        source: params.source,
        options: String::new(),
    };
    fs_kernfs::new_super(params, root.node())
}

/// The type `sysfs` for mount(2).
pub struct SysfsType {
    /// Number of processors the sandbox shows.
    pub cpus: u32,
}

fn net_ns(ctx: &dyn TaskContext) -> Option<Arc<NetNamespace>> {
    let net: Arc<dyn Any + Send + Sync> = ctx.net_ns()?;
    net.downcast().ok()
}

impl FileSystemType for SysfsType {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn flags(&self) -> FsFlags {
        FsFlags::USERNS_MOUNT
    }

    /// Whose the caller's network is: interfaces are what most of it is about. Linux: `sysfs_init_fs_context`.
    fn user_ns(&self, ctx: &dyn TaskContext) -> Arc<UserNamespace> {
        net_ns(ctx).map_or_else(|| ctx.cred().user_ns.clone(), |net| net.user_ns.clone())
    }

    fn mount(&self, ctx: &dyn TaskContext, mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno> {
        Ok(new_super(SysfsParams {
            vfs: ctx.vfs(),
            user_ns: mount.user_ns.clone(),
            cpus: self.cpus,
            net: net_ns(ctx),
            source: mount.source.to_vec(),
        }))
    }
}
