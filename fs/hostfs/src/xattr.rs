//! Extended attributes: the user's own, and file capabilities to read. All others are the host's business.

use crate::inode::HostInode;
use fs_vfs::{FileType, XattrFlags};
use platform_host::fs;
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENODATA, EOPNOTSUPP, EPERM};
use std::os::fd::AsFd;

const CAPABILITY: &[u8] = b"security.capability";

fn is_user(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}

fn has_contents(file_type: FileType) -> bool {
    matches!(file_type, FileType::Regular | FileType::Directory)
}

pub(crate) fn get(node: &HostInode, file_type: FileType, name: &[u8]) -> Result<Vec<u8>, Errno> {
    if !has_contents(file_type) || !(is_user(name) || name == CAPABILITY) {
        return Err(ENODATA);
    }
    if name == CAPABILITY && node.fs.exclusive() {
        if let Some(known) = node.capability.lock().clone() {
            return known.ok_or(ENODATA);
        }
        let found = fs::getxattr(node.io_fd(false)?.as_fd(), name);
        // A host filesystem without attributes has no capabilities either.
        let known = match &found {
            Ok(value) => Some(Some(value.clone())),
            Err(ENODATA | EOPNOTSUPP) => Some(None),
            Err(_) => None,
        };
        *node.capability.lock() = known;
        return found.map_err(|e| if e == EOPNOTSUPP { ENODATA } else { e });
    }
    fs::getxattr(node.io_fd(false)?.as_fd(), name)
}

fn check_set(node: &HostInode, file_type: FileType, name: &[u8]) -> Result<(), Errno> {
    node.check_writable()?;
    if !is_user(name) {
        return Err(EOPNOTSUPP);
    }
    if has_contents(file_type) { Ok(()) } else { Err(EPERM) }
}

pub(crate) fn set(
    node: &HostInode,
    file_type: FileType,
    name: &[u8],
    value: &[u8],
    flags: XattrFlags,
) -> Result<(), Errno> {
    check_set(node, file_type, name)?;
    node.changed();
    fs::setxattr(node.io_fd(false)?.as_fd(), name, value, flags.bits())
}

/// File capabilities may be taken away, but not given.
pub(crate) fn remove(node: &HostInode, file_type: FileType, name: &[u8]) -> Result<(), Errno> {
    if name == CAPABILITY {
        node.check_writable()?;
        *node.capability.lock() = None;
    } else {
        check_set(node, file_type, name)?;
    }
    node.changed();
    fs::removexattr(node.io_fd(false)?.as_fd(), name)
}

pub(crate) fn list(node: &HostInode, file_type: FileType) -> Result<Vec<Vec<u8>>, Errno> {
    if !has_contents(file_type) {
        return Ok(Vec::new());
    }
    let mut names = match fs::listxattr(node.io_fd(false)?.as_fd()) {
        Err(EOPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    names.retain(|name| is_user(name) || name == CAPABILITY);
    Ok(names)
}
