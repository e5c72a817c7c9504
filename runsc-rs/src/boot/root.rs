//! The host's files that the sentry keeps, and the empty directory that it has for a root.

use crate::boot::host_mounts::{HostMounts, TreeFlags};
use crate::container::{ContainerSpec, MountSource};
use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{fchdir, pivot_root};
use platform_host::mount::{attach, clone_tree, mount_new, set_tree_attributes};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

// Linux: include/uapi/linux/mount.h.
const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOSUID: u64 = 2;
const MOUNT_ATTR_NODEV: u64 = 4;
const MOUNT_ATTR_NOEXEC: u64 = 8;

/// A part of the host's files: a directory (`O_PATH`), the root of a detached copy of a mount tree. `..` does not lead out
/// of it, device nodes in it cannot be opened, and where the guest may not write to the host, the host's kernel
/// refuses it too.
#[derive(Debug)]
pub enum HostTree {
    /// The directory itself.
    Directory(OwnedFd),
    /// What is not a directory, as the only entry of one, by the name [`FILE_NAME`].
    File(OwnedFd),
}

/// Name of the entry of a [`HostTree::File`].
pub const FILE_NAME: &str = "file";

impl HostTree {
    pub(super) fn raw_fd(&self) -> RawFd {
        match self {
            HostTree::Directory(fd) | HostTree::File(fd) => fd.as_raw_fd(),
        }
    }
}

/// The host's files a container uses.
#[derive(Debug)]
pub struct HostTrees {
    /// Its root directory, as [`HostTree::Directory`].
    pub root: (OwnedFd, TreeFlags),
    /// For each mount of the specification, in order, what it binds.
    pub binds: Vec<Option<(HostTree, TreeFlags)>>,
}

/// Keeps mounts made from here on from the host, and those made there from here.
pub(super) fn make_private() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .context("cannot change mounts in a namespace of our own (is user namespace creation restricted?)")
}

/// Opens what the specification names of the host. All its paths are absolute; the current directory changes.
pub(super) fn open_trees(spec: &ContainerSpec) -> Result<HostTrees> {
    let mounts = HostMounts::read()?;
    let root = open_tree(&spec.root.path, true)?;
    let flags = mounts.flags_in(&root, &spec.root.path)?;
    restrict(&root, spec.root.writes_to_host())?;
    let mut binds = Vec::with_capacity(spec.mounts.len());
    for mount in &spec.mounts {
        binds.push(match &mount.source {
            MountSource::Bind { path, recursive } => {
                let bind = open_bind(&mounts, path, *recursive, !mount.options.readonly());
                Some(bind.with_context(|| format!("cannot bind {}", path.display()))?)
            }
            MountSource::Filesystem { .. } => None,
        });
    }
    Ok(HostTrees { root: (root, flags), binds })
}

fn open_bind(
    mounts: &HostMounts,
    path: &Path,
    recursive: bool,
    writable: bool,
) -> Result<(HostTree, TreeFlags)> {
    let tree = open_tree(path, recursive)?;
    let stat = fstat(&tree)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
        let flags = mounts.flags_in(&tree, path)?;
        restrict(&tree, writable)?;
        return Ok((HostTree::Directory(tree), flags));
    }
    // Of a file there is nothing beneath.
    let flags = mounts.flags_in(&tree, path)?;
    let directory = directory_of(&tree)?;
    restrict(&directory, writable)?;
    Ok((HostTree::File(directory), flags))
}

fn open_tree(path: &Path, recursive: bool) -> Result<OwnedFd> {
    clone_tree(path, recursive).with_context(|| format!("cannot open {}", path.display()))
}

fn restrict(tree: &OwnedFd, writable: bool) -> Result<()> {
    let mut attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if !writable {
        attributes |= MOUNT_ATTR_RDONLY;
    }
    set_tree_attributes(tree, attributes).context("cannot restrict a mount tree")
}

/// A detached directory with `file` as its only entry: a file cannot be opened by its own descriptor, only by a name in a
/// directory, and its own directory would show its neighbours.
fn directory_of(file: &OwnedFd) -> Result<OwnedFd> {
    let directory = mount_new(c"tmpfs", &[], 0)?;
    // Nothing can be mounted in a detached tree, so this one is attached for a while: over the root, as no directory has to
    // be found for it there.
    attach(&directory, c"/")?;
    fchdir(&directory)?;
    std::fs::write(FILE_NAME, "")?;
    attach(file, c"file")?;
    let tree = clone_tree(Path::new("."), true)?;
    nix::mount::umount2(".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")?;
    Ok(tree)
}

/// Makes an empty read-only directory the root, and drops every mount there was.
pub(super) fn pivot_to_empty() -> Result<()> {
    let attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let empty = mount_new(c"tmpfs", &[], attributes).context("cannot mount an empty root")?;
    // It is laid over the old root, and then put beneath it: no directory has to be found for either.
    attach(&empty, c"/").context("cannot mount an empty root")?;
    fchdir(empty.as_fd()).context("fchdir")?;
    pivot_root(".", ".").context("pivot_root")?;
    nix::mount::umount2(".", MntFlags::MNT_DETACH).context("cannot leave the old root")?;
    nix::unistd::chdir("/").context("chdir")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::violation::exit_now;
    use crate::sandbox::id_maps::IdMaps;
    use nix::fcntl::{OFlag, openat};
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::stat::Mode;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork, getegid, geteuid};

    /// Runs a probe in a process with namespaces of its own; it is to return true.
    #[track_caller]
    fn in_namespaces(probe: impl FnOnce() -> Result<bool>) {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        // SAFETY: glibc's fork leaves its allocator usable; the child takes no lock another thread may hold, and leaves
        // by _exit.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let result = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
                    .map_err(anyhow::Error::from)
                    .and_then(|()| IdMaps::write_single(uid, gid))
                    .and_then(|()| make_private())
                    .and_then(|()| probe());
                exit_now(match result {
                    Ok(true) => 0,
                    Ok(false) => 1,
                    Err(_) => 2,
                })
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
            }
        }
    }

    fn bind(path: &Path, recursive: bool, writable: bool) -> Result<HostTree> {
        Ok(open_bind(&HostMounts::read()?, path, recursive, writable)?.0)
    }

    fn opens(tree: &HostTree, name: &str, flags: OFlag) -> bool {
        let (HostTree::Directory(directory) | HostTree::File(directory)) = tree;
        openat(directory, name, flags, Mode::empty()).is_ok()
    }

    #[test]
    fn a_file_is_bound_without_its_neighbours() {
        in_namespaces(|| {
            let tree = bind(Path::new("/etc/passwd"), true, false)?;
            Ok(matches!(tree, HostTree::File(_))
                && opens(&tree, FILE_NAME, OFlag::O_RDONLY)
                && !opens(&tree, FILE_NAME, OFlag::O_RDWR)
                && !opens(&tree, "passwd", OFlag::O_RDONLY)
                && !opens(&tree, "../etc", OFlag::O_RDONLY))
        });
    }

    #[test]
    fn no_name_leads_out_of_a_bound_directory() {
        in_namespaces(|| {
            let tree = bind(Path::new("/etc"), true, false)?;
            Ok(matches!(tree, HostTree::Directory(_))
                && opens(&tree, "passwd", OFlag::O_RDONLY)
                && opens(&tree, "../passwd", OFlag::O_RDONLY)
                && !opens(&tree, "../etc", OFlag::O_RDONLY)
                && !opens(&tree, "new", OFlag::O_CREAT | OFlag::O_RDWR))
        });
    }

    #[test]
    fn devices_cannot_be_opened() {
        in_namespaces(|| {
            let tree = bind(Path::new("/dev"), true, true)?;
            Ok(!opens(&tree, "null", OFlag::O_RDWR) && opens(&tree, "null", OFlag::O_PATH))
        });
    }

    #[test]
    fn the_root_is_empty_once_left() {
        in_namespaces(|| {
            let kept = bind(Path::new("/etc"), true, false)?;
            pivot_to_empty()?;
            Ok(std::fs::read_dir("/")?.count() == 0
                && std::fs::write("/file", "").is_err()
                && opens(&kept, "passwd", OFlag::O_RDONLY))
        });
    }
}
