//! Extended attributes: the user's own, file capabilities to read, and access control lists. All others are the host's
//! business.

use crate::inode::HostInode;
use fs_vfs::{AclType, FileType, PosixAcl, XattrFlags};
use platform_host::fs;
use sentry_auth::{Kgid, Kuid};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, ENODATA, EOPNOTSUPP, EPERM};
use sentry_uapi::posix_acl_xattr::ACL_UNDEFINED_ID;
use std::os::fd::AsFd;
use std::sync::Arc;

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

/// A list of the file. One that the sentry may not read, or that no list can be on, is none.
pub(crate) fn get_acl(
    node: &HostInode,
    file_type: FileType,
    kind: AclType,
) -> Result<Option<Arc<PosixAcl>>, Errno> {
    if !has_contents(file_type) || (kind == AclType::Default && file_type != FileType::Directory) {
        return Ok(None);
    }
    let known = || node.acls.lock().get(kind);
    if node.fs.exclusive()
        && let Some(known) = known()
    {
        return Ok(known);
    }
    let value = node.io_fd(false).and_then(|fd| fs::getxattr(fd.as_fd(), kind.xattr_name()));
    let acl = match value {
        // An id that the sentry's namespace does not map reads as none, and is nobody's here either.
        Ok(value) => {
            let uid = |id| {
                if id == ACL_UNDEFINED_ID {
                    Kuid::INVALID
                } else {
                    Kuid::from_global(node.fs.uid_from_host(id))
                }
            };
            let gid = |id| {
                if id == ACL_UNDEFINED_ID {
                    Kgid::INVALID
                } else {
                    Kgid::from_global(node.fs.gid_from_host(id))
                }
            };
            PosixAcl::from_xattr(&value, uid, gid)?.map(Arc::new)
        }
        Err(ENODATA | EOPNOTSUPP | EACCES | EPERM) => None,
        Err(e) => return Err(e),
    };
    if node.fs.exclusive() {
        node.acls.lock().set(kind, Some(acl.clone()));
    }
    Ok(acl)
}

/// Sets a list, or removes it, on the host. The host makes the file's permission bits follow it.
pub(crate) fn set_acl(
    node: &HostInode,
    file_type: FileType,
    kind: AclType,
    acl: Option<&PosixAcl>,
) -> Result<(), Errno> {
    node.check_writable()?;
    if !has_contents(file_type) {
        return Err(EOPNOTSUPP);
    }
    node.changed();
    let fd = node.io_fd(false)?;
    match acl {
        Some(acl) => {
            let value = acl.to_xattr(
                |uid| node.fs.uid_to_host(uid.to_global()),
                |gid| node.fs.gid_to_host(gid.to_global()),
            );
            fs::setxattr(fd.as_fd(), kind.xattr_name(), &value, 0)
        }
        None => match fs::removexattr(fd.as_fd(), kind.xattr_name()) {
            Err(ENODATA) => Ok(()),
            done => done,
        },
    }
}

/// What is known of a file's lists, where nobody else changes them; the outer `None`: not known.
#[derive(Default)]
pub(crate) struct KnownAcls {
    access: Option<Option<Arc<PosixAcl>>>,
    default: Option<Option<Arc<PosixAcl>>>,
}

impl KnownAcls {
    fn get(&self, kind: AclType) -> Option<Option<Arc<PosixAcl>>> {
        match kind {
            AclType::Access => self.access.clone(),
            AclType::Default => self.default.clone(),
        }
    }

    fn set(&mut self, kind: AclType, acl: Option<Option<Arc<PosixAcl>>>) {
        match kind {
            AclType::Access => self.access = acl,
            AclType::Default => self.default = acl,
        }
    }

    /// No longer.
    pub(crate) fn forget(&mut self) {
        *self = KnownAcls::default();
    }
}
