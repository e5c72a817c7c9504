//! The host's files that the sentry keeps, and the empty directory that it has for a root.

use crate::container::{ContainerSpec, MountSource};
use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{fchdir, pivot_root};
use platform_host::mount::{attach, clone_tree, mount_new, set_tree_attributes};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

// Linux: include/uapi/linux/mount.h.
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOSUID: u64 = 2;
const MOUNT_ATTR_NODEV: u64 = 4;
const MOUNT_ATTR_NOEXEC: u64 = 8;

/// A part of the host's files.
#[derive(Debug)]
pub enum HostTree {
    /// The root (`O_PATH`) of a detached copy of a mount tree. `..` does not lead out of it, device nodes in it cannot
    /// be opened, and where the guest may not write to the host, the host's kernel refuses it too.
    Directory(OwnedFd),
    /// An open regular file, for reading or, where the guest may write, for both.
    File(OwnedFd),
    /// Anything else (`O_PATH`): can be looked at but not opened.
    Node(OwnedFd),
}

impl HostTree {
    pub(super) fn raw_fd(&self) -> RawFd {
        match self {
            HostTree::Directory(fd) | HostTree::File(fd) | HostTree::Node(fd) => fd.as_raw_fd(),
        }
    }
}

/// The host's files a container uses.
#[derive(Debug)]
pub struct HostTrees {
    /// Its root directory (`O_PATH`), as [`HostTree::Directory`].
    pub root: OwnedFd,
    /// For each mount of the specification, in order, what it binds.
    pub binds: Vec<Option<HostTree>>,
}

/// Keeps mounts made from here on from the host, and those made there from here.
pub(super) fn make_private() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .context("cannot change mounts in a namespace of our own (is user namespace creation restricted?)")
}

/// Opens what the specification names of the host.
pub(super) fn open_trees(spec: &ContainerSpec) -> Result<HostTrees> {
    let root = open_directory(&spec.root.path, true, spec.root.writes_to_host())?;
    let mut binds = Vec::with_capacity(spec.mounts.len());
    for mount in &spec.mounts {
        binds.push(match &mount.source {
            MountSource::Bind { path, recursive } => {
                let tree = open_tree(path, *recursive, !mount.options.readonly())?;
                Some(tree)
            }
            MountSource::Filesystem { .. } => None,
        });
    }
    Ok(HostTrees { root, binds })
}

fn open_directory(path: &Path, recursive: bool, writable: bool) -> Result<OwnedFd> {
    let tree = clone_tree(path, recursive).with_context(|| format!("cannot open {}", path.display()))?;
    let mut attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if !writable {
        attributes |= MOUNT_ATTR_RDONLY;
    }
    set_tree_attributes(&tree, attributes).with_context(|| format!("cannot restrict {}", path.display()))?;
    Ok(tree)
}

fn open_tree(path: &Path, recursive: bool, writable: bool) -> Result<HostTree> {
    let failed = || format!("cannot open {}", path.display());
    let stat = nix::sys::stat::stat(path).with_context(failed)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind == SFlag::S_IFDIR {
        return Ok(HostTree::Directory(open_directory(path, recursive, writable)?));
    }
    let open =
        |flags: OFlag| nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, Mode::empty()).with_context(failed);
    if kind == SFlag::S_IFREG {
        return Ok(HostTree::File(open(if writable { OFlag::O_RDWR } else { OFlag::O_RDONLY })?));
    }
    Ok(HostTree::Node(open(OFlag::O_PATH)?))
}

/// Makes an empty read-only directory the root, and drops every mount there was.
pub(super) fn pivot_to_empty() -> Result<()> {
    let attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let empty = mount_new(c"tmpfs", attributes).context("cannot mount an empty root")?;
    // It is laid over the old root, and then put beneath it: no directory has to be found for either.
    attach(&empty, c"/").context("cannot mount an empty root")?;
    fchdir(empty.as_fd()).context("fchdir")?;
    pivot_root(".", ".").context("pivot_root")?;
    nix::mount::umount2(".", MntFlags::MNT_DETACH).context("cannot leave the old root")?;
    nix::unistd::chdir("/").context("chdir")
}
