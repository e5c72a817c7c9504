//! The file trees of a container: its root, what is mounted over it, and the devices.

use crate::boot::root::{FILE_NAME, HostTree, HostTrees};
use crate::container::mount_options::flags;
use crate::container::{ContainerSpec, Mount as SpecMount, MountSource};
use crate::sandbox::owners::Owners;
use anyhow::{Context, Result, anyhow, bail};
use fs_hostfs::{HostFs, HostFsParams, HostOwners, Sharing};
use fs_overlay::OverlayParams;
use fs_tmpfs::{TmpfsOptions, TmpfsParams};
use fs_vfs::{
    At, Dentry, FsStruct, LookupFlags, Mount, MountArgs, MountFlags, MountNamespace, SuperFlags, TaskContext,
    do_fchownat, do_mkdirat, do_mknodat, do_mount, do_symlinkat, user_path_at,
};
use sentry_auth::{Cred, Kgid, Kuid, UserNamespace};
use sentry_kernel::{CurrentTask, Kernel};
use sentry_uapi::Errno;
use sentry_uapi::fcntl::AT_SYMLINK_NOFOLLOW;
use sentry_uapi::stat::{S_IFBLK, S_IFCHR, S_IFIFO, S_IFREG, makedev};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path as HostPath;
use std::sync::Arc;

const MS_RDONLY: u64 = 1;
const MS_REMOUNT: u64 = 32;
const MS_BIND: u64 = 4096;
const MS_REC: u64 = 16384;

/// What the first process finds.
pub(super) struct Files {
    /// Its mounts: the root alone, until [`Files::mount_all`].
    pub(super) mnt_ns: Arc<MountNamespace>,
    /// Its root and working directory.
    pub(super) fs: Arc<FsStruct>,
    /// What of the host is to be mounted, by the index of its mount, and what the host's own mount forbids.
    binds: Vec<Option<(Bind, MountFlags)>>,
}

/// A filesystem of the host to be mounted.
enum Bind {
    Directory(Arc<Dentry>),
    /// The directory whose entry [`FILE_NAME`] is.
    File(Arc<Dentry>),
}

fn sys<T>(what: impl FnOnce() -> String, result: Result<T, Errno>) -> Result<T> {
    result.map_err(|e| anyhow!("{}: {}", what(), e.message()))
}

impl Files {
    /// Makes the root, and opens the host's files.
    pub(super) fn new(
        kernel: &Arc<Kernel>,
        spec: &ContainerSpec,
        trees: HostTrees,
        owners: Option<Owners>,
        cpuinfo: &[u8],
    ) -> Result<Files> {
        register(kernel, cpuinfo)?;
        let owners = owners.map(|owners| Arc::new(owners) as Arc<dyn HostOwners>);
        let (root, root_flags) = trees.root;
        let writable = spec.root.writes_to_host();
        let host = hostfs(kernel, root, root_flags.by_id, writable, "root", owners.clone())?;
        let root = if spec.root.overlay { overlay(kernel, host)? } else { host };
        if spec.root.readonly {
            root.sb().set_read_only(true);
        }
        let mnt = Mount::new_root(kernel.vfs.alloc_mount_id(), root, root_flags.root);
        let mnt_ns = MountNamespace::new(&kernel.vfs, kernel.user_ns.clone(), &mnt);
        let path = mnt_ns.root().context("the root is not mounted")?;
        let fs = FsStruct::new(&path);
        let mut binds = Vec::new();
        for (tree, mount) in trees.binds.into_iter().zip(&spec.mounts) {
            let shown = mount.destination.to_string_lossy();
            let Some((tree, tree_flags)) = tree else {
                binds.push(None);
                continue;
            };
            let open = |fd| {
                let writable = !mount.options.readonly();
                hostfs(kernel, fd, tree_flags.by_id, writable, &shown, owners.clone())
            };
            let bind = match tree {
                HostTree::Directory(fd) => Bind::Directory(open(fd)?),
                HostTree::File(fd) => Bind::File(open(fd)?),
            };
            binds.push(Some((bind, tree_flags.root)));
        }
        Ok(Files { mnt_ns, fs, binds })
    }

    /// Mounts and makes everything the specification asks for, as root of the container.
    pub(super) fn mount_all(
        &self,
        ctx: &CurrentTask,
        spec: &ContainerSpec,
        user_ns: &UserNamespace,
    ) -> Result<()> {
        // Modes are as the specification has them; the process gets its own mask later.
        ctx.fs().set_umask(0);
        for (mount, bind) in spec.mounts.iter().zip(&self.binds) {
            let at = || format!("mount {}", mount.destination.display());
            self.mount_one(ctx, mount, bind.as_ref(), user_ns).with_context(at)?;
        }
        for (path, target) in &spec.symlinks {
            make_parent(ctx, path)?;
            let made =
                do_symlinkat(ctx, target.as_os_str().as_bytes(), &At::Cwd, path.as_os_str().as_bytes());
            ignore_existing(made).map_err(|e| anyhow!("{}: {}", path.display(), e.message()))?;
        }
        for device in &spec.devices {
            make_parent(ctx, &device.path)?;
            use crate::container::DeviceKind;
            let kind = match device.kind {
                DeviceKind::Character => S_IFCHR,
                DeviceKind::Block => S_IFBLK,
                DeviceKind::Fifo => S_IFIFO,
            };
            let dev = makedev(device.major, device.minor);
            let path = device.path.as_os_str().as_bytes();
            let made = match do_mknodat(ctx, &At::Cwd, path, kind | device.mode, dev) {
                Ok(()) => give_to(ctx, path, (device.uid, device.gid), user_ns),
                other => ignore_existing(other),
            };
            made.map_err(|e| anyhow!("{}: {}", device.path.display(), e.message()))?;
        }
        for path in &spec.masked_paths {
            mask(ctx, path)?;
        }
        for path in &spec.readonly_paths {
            read_only(ctx, path)?;
        }
        Ok(())
    }

    fn mount_one(
        &self,
        ctx: &CurrentTask,
        mount: &SpecMount,
        bind: Option<&(Bind, MountFlags)>,
        user_ns: &UserNamespace,
    ) -> Result<()> {
        let target = mount.destination.as_os_str().as_bytes();
        let flags = mount.options.flags;
        match (&mount.source, bind) {
            (MountSource::Filesystem { fstype, source }, _) => {
                if ctx.vfs().filesystems().get(fstype.as_bytes()).is_none() {
                    tracing::warn!("{}: no filesystem {fstype}; left as it is", mount.destination.display());
                    return Ok(());
                }
                make_directories(ctx, &mount.destination)?;
                let data = kernel_ids(&mount.options.data, user_ns)?;
                let args = MountArgs {
                    source: Some(source.as_bytes()),
                    fs_type: Some(fstype.as_bytes()),
                    flags,
                    data: Some(&data),
                };
                sys(|| fstype.clone(), do_mount(ctx, target, &args))
            }
            (MountSource::Bind { .. }, Some((bind, host_flags))) => {
                let root = match bind {
                    Bind::Directory(root) => {
                        make_directories(ctx, &mount.destination)?;
                        root.clone()
                    }
                    Bind::File(directory) => {
                        make_file(ctx, &mount.destination)?;
                        only_entry(ctx, directory)?
                    }
                };
                let at = sys(|| "path".into(), user_path_at(ctx, &At::Cwd, target, LookupFlags::FOLLOW))?;
                let flags = flags | forbidden(*host_flags);
                sys(|| "bind".into(), fs_vfs::mount_root(ctx, root, &at, flags))
            }
            (MountSource::Bind { path, .. }, None) => bail!("{} has not been opened", path.display()),
        }
    }
}

/// The file of a [`HostTree::File`], as the root of a mount.
fn only_entry(ctx: &CurrentTask, directory: &Dentry) -> Result<Arc<Dentry>> {
    let inode = directory.inode().context("a root without an inode")?;
    let name = FILE_NAME.as_bytes();
    let file = sys(|| "bind".into(), inode.ops().lookup(&inode, ctx, name))?;
    Ok(Dentry::new_root(file, b""))
}

/// Mount options as somebody of the first user namespace would write them for what one of `user_ns` means.
fn kernel_ids(data: &str, user_ns: &UserNamespace) -> Result<String> {
    if user_ns.level() == 0 {
        return Ok(data.to_owned());
    }
    let option = |option: &str| -> Result<String> {
        let Some((name @ ("uid" | "gid"), id)) = option.split_once('=') else { return Ok(option.to_owned()) };
        let id = id.parse().with_context(|| format!("{option}: expected a number"))?;
        let mapped = match name {
            "uid" => Some(user_ns.make_kuid(id)).filter(|id| id.is_valid()).map(Kuid::to_global),
            _ => Some(user_ns.make_kgid(id)).filter(|id| id.is_valid()).map(Kgid::to_global),
        };
        let mapped = mapped.with_context(|| format!("{option}: expected an id of linux.{name}Mappings"))?;
        Ok(format!("{name}={mapped}"))
    };
    let options: Vec<_> = data.split(',').map(option).collect::<Result<_>>()?;
    Ok(options.join(","))
}

/// Gives what has just been made to a user and a group of `user_ns`.
fn give_to(
    ctx: &CurrentTask,
    path: &[u8],
    (uid, gid): (u32, u32),
    user_ns: &UserNamespace,
) -> Result<(), Errno> {
    let (uid, gid) = (user_ns.make_kuid(uid), user_ns.make_kgid(gid));
    do_fchownat(ctx, &At::Cwd, path, uid.to_global(), gid.to_global(), AT_SYMLINK_NOFOLLOW)
}

fn ignore_existing(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(sentry_uapi::errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// Makes a directory and those above it, where they are missing.
fn make_directories(ctx: &CurrentTask, path: &HostPath) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if user_path_at(ctx, &At::Cwd, bytes, LookupFlags::FOLLOW).is_ok() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(ctx, parent)?;
    }
    sys(|| path.display().to_string(), ignore_existing(do_mkdirat(ctx, &At::Cwd, bytes, 0o755)))
}

/// Makes an empty file to mount another over, where there is nothing.
fn make_file(ctx: &CurrentTask, path: &HostPath) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    if user_path_at(ctx, &At::Cwd, bytes, LookupFlags::FOLLOW).is_ok() {
        return Ok(());
    }
    make_parent(ctx, path)?;
    let made = do_mknodat(ctx, &At::Cwd, bytes, S_IFREG | 0o644, 0);
    sys(|| path.display().to_string(), ignore_existing(made))
}

/// Makes the directory a path is in, where it is missing.
fn make_parent(ctx: &CurrentTask, path: &HostPath) -> Result<()> {
    path.parent().map_or(Ok(()), |parent| make_directories(ctx, parent))
}

/// Hides a path: a directory by an empty read-only tmpfs, anything else by /dev/null.
fn mask(ctx: &CurrentTask, path: &HostPath) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    let Ok(found) = user_path_at(ctx, &At::Cwd, bytes, LookupFlags::FOLLOW) else { return Ok(()) };
    let is_dir = found.dentry.is_dir();
    let args = if is_dir {
        MountArgs { source: Some(b"tmpfs"), fs_type: Some(b"tmpfs"), flags: MS_RDONLY, data: Some("size=0k") }
    } else {
        MountArgs { source: Some(b"/dev/null"), fs_type: None, flags: MS_BIND, data: None }
    };
    sys(|| format!("mask {}", path.display()), do_mount(ctx, bytes, &args))
}

/// What a mount forbids, as flags of mount(2).
fn forbidden(mount: MountFlags) -> u64 {
    let flags = [
        (MountFlags::NOSUID, flags::MS_NOSUID),
        (MountFlags::NODEV, flags::MS_NODEV),
        (MountFlags::NOEXEC, flags::MS_NOEXEC),
    ];
    flags.iter().filter(|(flag, _)| mount.contains(*flag)).fold(0, |all, (_, ms)| all | ms)
}

/// Makes a path read-only by a bind mount of itself.
fn read_only(ctx: &CurrentTask, path: &HostPath) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    let Ok(found) = user_path_at(ctx, &At::Cwd, bytes, LookupFlags::FOLLOW) else { return Ok(()) };
    // What the mount forbids already stays forbidden.
    let kept = forbidden(found.mnt.flags());
    let bind = MountArgs { source: Some(bytes), fs_type: None, flags: MS_BIND | MS_REC, data: None };
    let remount = MountArgs { flags: MS_BIND | MS_REMOUNT | MS_RDONLY | kept, ..bind };
    let what = || format!("read-only {}", path.display());
    sys(what, do_mount(ctx, bytes, &bind))?;
    sys(what, do_mount(ctx, bytes, &remount))
}

/// A host directory as a filesystem.
fn hostfs(
    kernel: &Arc<Kernel>,
    fd: OwnedFd,
    mount_flags: HashMap<u64, MountFlags>,
    writable: bool,
    source: &str,
    owners: Option<Arc<dyn HostOwners>>,
) -> Result<Arc<Dentry>> {
    /// Descriptors kept open that nobody uses.
    const MAX_FDS: usize = 512;
    /// Cached contents kept that nobody maps.
    const MAX_CACHED: u64 = 64 << 20;
    let root = HostFs::new_super(
        fd,
        HostFsParams {
            fs_type: "hostfs",
            dev: kernel.vfs.alloc_dev(),
            user_ns: kernel.user_ns.clone(),
            clocks: kernel.clocks.clone(),
            memory: kernel.memory.clone(),
            source: source.as_bytes().to_vec(),
            writable,
            sharing: if writable { Sharing::Shared } else { Sharing::Exclusive },
            owners,
            mount_flags,
            ids_from_host: None,
            ids_to_host: None,
            max_fds: MAX_FDS,
            max_cached: MAX_CACHED,
        },
    );
    sys(|| format!("cannot open {source}"), root)
}

/// An overlay whose upper layer is in memory.
fn overlay(kernel: &Arc<Kernel>, lower: Arc<Dentry>) -> Result<Arc<Dentry>> {
    // The top of an overlay is what its upper layer has there.
    let top = lower.inode().map(|inode| inode.getattr()).transpose();
    let top = sys(|| "cannot look at the root".into(), top)?.context("the root is no directory")?;
    let upper = fs_tmpfs::new_super(TmpfsParams {
        fs_type: "tmpfs",
        dev: kernel.vfs.alloc_dev(),
        user_ns: kernel.user_ns.clone(),
        clocks: kernel.clocks.clone(),
        memory: kernel.memory.clone(),
        flags: SuperFlags::empty(),
        source: b"upper".to_vec(),
        options: TmpfsOptions {
            mode: top.perm,
            uid: top.uid,
            gid: top.gid,
            ..TmpfsOptions::with_memory(kernel.memory.limit())
        },
    });
    let upper = sys(|| "cannot make the upper layer".into(), upper)?;
    let root = fs_overlay::new_super(OverlayParams {
        vfs: kernel.vfs.clone(),
        cred: Arc::new(Cred::root(kernel.user_ns.clone())),
        user_ns: kernel.user_ns.clone(),
        lower: vec![lower],
        upper: Some(upper),
        source: b"overlay".to_vec(),
        options: String::new(),
    });
    sys(|| "cannot make the overlay".into(), root)
}

/// Filesystem types and device drivers.
fn register(kernel: &Arc<Kernel>, cpuinfo: &[u8]) -> Result<()> {
    let vfs = &kernel.vfs;
    let total = kernel.memory.limit();
    let all = || -> Result<(), Errno> {
        vfs.filesystems().register(Arc::new(fs_tmpfs::TmpfsType::new(kernel.memory.clone(), total)))?;
        vfs.filesystems().register(Arc::new(fs_tmpfs::RamfsType::new(kernel.memory.clone())))?;
        vfs.filesystems().register(Arc::new(fs_overlay::OverlayType))?;
        fs_devtmpfs::register_mem_devices(vfs, &kernel.memory)?;
        fs_devpts::register(kernel)?;
        vfs.filesystems().register(Arc::new(sentry_kernel::MqueueType))?;
        let dev = fs_devtmpfs::new_super(fs_devtmpfs::DevtmpfsParams {
            fs_type: "devtmpfs",
            vfs,
            user_ns: kernel.user_ns.clone(),
            memory: kernel.memory.clone(),
            total_memory: total,
        })?;
        vfs.filesystems().register(Arc::new(fs_devtmpfs::DevtmpfsType::new(dev)))?;
        let cpus = u32::try_from(kernel.cpus).unwrap_or(1);
        vfs.filesystems().register(Arc::new(fs_sysfs::SysfsType { cpus }))?;
        let proc = fs_proc::ProcFs::new(
            kernel,
            fs_proc::ProcParams {
                release: syscalls::RELEASE.into(),
                version: syscalls::VERSION.into(),
                cmdline: Vec::new(),
                cpuinfo: cpuinfo.to_vec(),
            },
        );
        vfs.filesystems().register(Arc::new(proc))?;
        Ok(())
    };
    sys(|| "cannot register filesystems".into(), all())
}
