//! The mount calls that nix does not have: detached trees (open_tree(2), mount_setattr(2)) and new filesystems
//! (fsopen(2), fsmount(2), move_mount(2)).

use nix::errno::Errno;
use std::ffi::{CStr, c_long};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

fn descriptor(result: c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(result)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the host call has just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Copies the mount at `path`, with those below it if `recursive`, into a detached tree. The descriptor (an `O_PATH`
/// one) keeps the tree alive, and `..` does not lead out of it.
///
/// # Errors
/// As open_tree(2); it takes CAP_SYS_ADMIN over the mount namespace.
pub fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= libc::AT_RECURSIVE.cast_unsigned();
    }
    let result = nix::NixPath::with_nix_path(path, |path| {
        // SAFETY: the path is a string that ends in NUL and outlives the call.
        unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) }
    })?;
    descriptor(result)
}

/// Sets `MOUNT_ATTR_*` on every mount of the tree that `tree` is the root of.
///
/// # Errors
/// As mount_setattr(2).
pub fn set_tree_attributes(tree: impl AsFd, attr_set: u64) -> Result<(), Errno> {
    let attr = libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the empty path ends in NUL; the kernel reads one structure of the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Mounts a new filesystem with options, which are pairs of key and value, detached.
///
/// # Errors
/// As fsopen(2), fsconfig(2) and fsmount(2).
pub fn mount_new(fstype: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Result<OwnedFd, Errno> {
    const FSOPEN_CLOEXEC: c_long = 1;
    const FSMOUNT_CLOEXEC: c_long = 1;
    const FSCONFIG_SET_STRING: c_long = 1;
    const FSCONFIG_CMD_CREATE: c_long = 6;
    // SAFETY: the name ends in NUL and outlives the call.
    let context = descriptor(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC) })?;
    let fd = context.as_raw_fd();
    for (key, value) in options {
        let (key, value) = (key.as_ptr(), value.as_ptr());
        // SAFETY: both end in NUL and outlive the call.
        Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_SET_STRING, key, value, 0) })?;
    }
    // SAFETY: this command takes neither key nor value.
    Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, 0, 0, 0) })?;
    // SAFETY: passes numbers only.
    descriptor(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes) })
}

/// Attaches a detached tree at `target`.
///
/// # Errors
/// As move_mount(2).
pub fn attach(tree: impl AsFd, target: &CStr) -> Result<(), Errno> {
    // SAFETY: both strings end in NUL and outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    Errno::result(result).map(drop)
}
