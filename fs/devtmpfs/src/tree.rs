//! What is in `/dev`.

use crate::mem::{FULL, MEM_MAJOR, NULL, RANDOM, URANDOM, ZERO};
use fs_tmpfs::{TmpfsOptions, TmpfsParams, make_node};
use fs_vfs::{Dentry, FileSystemType, MountContext, NewNode, NodeKind, SuperFlags, TaskContext, Vfs};
use sentry_auth::{Kgid, Kuid, UserNamespace};
use sentry_mm::MemoryFile;
use sentry_uapi::Errno;
use sentry_uapi::errno::EIO;
use sentry_uapi::stat::makedev;
use std::sync::Arc;

/// Major number of the terminal devices that stand for others. Linux: `TTYAUX_MAJOR`.
const TTYAUX_MAJOR: u32 = 5;

/// What a new `/dev` needs to know.
pub struct DevtmpfsParams<'a> {
    /// `devtmpfs`, or `tmpfs` where it is to look like what container runtimes mount.
    pub fs_type: &'static str,
    /// The kernel's files.
    pub vfs: &'a Vfs,
    /// The user namespace whose root owns the filesystem.
    pub user_ns: Arc<UserNamespace>,
    /// Where the contents of files are.
    pub memory: Arc<MemoryFile>,
    /// Bytes of memory, which the limits are reckoned from; 0 for none.
    pub total_memory: u64,
}

/// Character devices: name, major and minor number, permission bits.
const DEVICES: [(&str, u32, u32, u32); 8] = [
    ("null", MEM_MAJOR, NULL, 0o666),
    ("zero", MEM_MAJOR, ZERO, 0o666),
    ("full", MEM_MAJOR, FULL, 0o666),
    ("random", MEM_MAJOR, RANDOM, 0o666),
    ("urandom", MEM_MAJOR, URANDOM, 0o666),
    ("tty", TTYAUX_MAJOR, 0, 0o666),
    ("console", TTYAUX_MAJOR, 1, 0o600),
    ("ptmx", TTYAUX_MAJOR, 2, 0o666),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// Directories for others to be mounted on, with their permission bits.
const DIRECTORIES: [(&str, u32); 3] = [("shm", 0o1777), ("pts", 0o755), ("mqueue", 0o1777)];

/// A new `/dev`, filled; returns the root's dentry, which leads to the superblock.
pub fn new_super(params: DevtmpfsParams<'_>) -> Result<Arc<Dentry>, Errno> {
    let root = fs_tmpfs::new_super(TmpfsParams {
        fs_type: params.fs_type,
        dev: params.vfs.alloc_dev(),
        user_ns: params.user_ns,
        clocks: params.vfs.clocks.clone(),
        memory: params.memory,
        flags: SuperFlags::empty(),
        source: params.fs_type.as_bytes().to_vec(),
        options: TmpfsOptions { mode: 0o755, ..TmpfsOptions::with_memory(params.total_memory) },
    })?;
    let dir = root.inode().ok_or(EIO)?;
    let make = |name: &str, kind, perm| {
        let node = NewNode::new(kind, perm, Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT);
        make_node(&dir, name.as_bytes(), node)
    };
    for (name, major, minor, perm) in DEVICES {
        make(name, NodeKind::CharDevice(makedev(major, minor)), perm)?;
    }
    for (name, target) in LINKS {
        make(name, NodeKind::Symlink(target.into()), 0o777)?;
    }
    for (name, perm) in DIRECTORIES {
        make(name, NodeKind::Directory, perm)?;
    }
    Ok(root)
}

/// The type `devtmpfs` for mount(2): there is one, whoever mounts it.
pub struct DevtmpfsType {
    root: Arc<Dentry>,
}

impl DevtmpfsType {
    /// The type whose one instance has this root.
    pub fn new(root: Arc<Dentry>) -> DevtmpfsType {
        DevtmpfsType { root }
    }
}

impl FileSystemType for DevtmpfsType {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn mount(&self, _ctx: &dyn TaskContext, _mount: &MountContext<'_>) -> Result<Arc<Dentry>, Errno> {
        Ok(self.root.clone())
    }
}
