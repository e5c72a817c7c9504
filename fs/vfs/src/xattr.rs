//! Linux: fs/xattr.c.

use crate::notify::{NotifyMask, fsnotify_dentry};
use crate::posix_acl_xattr::{acl_get_xattr, acl_set_xattr};
use crate::security_xattr::XATTR_NAME_CAPS;
use crate::{Access, AclType, FileType, Inode, Path, TaskContext, XattrFlags};
use sentry_auth::{
    CapSet, cap_convert_nscap, cap_inode_getsecurity, capable_wrt_inode_uidgid, inode_owner_or_capable,
    ns_capable,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{E2BIG, EINVAL, ENODATA, ENOENT, EOPNOTSUPP, EPERM, ERANGE};
use sentry_uapi::stat::S_ISVTX;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Longest name, without its terminating zero. Linux: include/uapi/linux/limits.h.
pub const XATTR_NAME_MAX: usize = 255;
/// Longest value.
pub const XATTR_SIZE_MAX: usize = 65536;
/// Longest list of names.
pub const XATTR_LIST_MAX: usize = 65536;

/// Whether the caller may access an attribute, as far as its name decides. Linux: `xattr_permission`.
fn xattr_permission(ctx: &dyn TaskContext, inode: &Inode, name: &[u8], access: Access) -> Result<(), Errno> {
    let writes = access.contains(Access::WRITE);
    let cred = ctx.cred();
    if writes {
        inode.sb().may_write(inode.file_type())?;
    }
    if name.starts_with(b"security.") || name.starts_with(b"system.") {
        return Ok(());
    }
    let refused = if writes { EPERM } else { ENODATA };
    if name.starts_with(b"trusted.") {
        return if ctx.vfs().capable(&cred, CapSet::SYS_ADMIN) { Ok(()) } else { Err(refused) };
    }
    if name.starts_with(b"user.") {
        if !matches!(inode.file_type(), FileType::Regular | FileType::Directory) {
            return Err(refused);
        }
        if writes && inode.is_dir() {
            let attr = inode.getattr()?;
            if attr.perm & S_ISVTX != 0 && !inode_owner_or_capable(&cred, attr.uid) {
                return Err(EPERM);
            }
        }
    }
    inode.permission(&cred, access)
}

/// Whether the caller may change a `security.` attribute. Linux: `cap_inode_setxattr`, `cap_inode_removexattr`.
fn may_change_security(ctx: &dyn TaskContext, inode: &Inode, name: &[u8]) -> Result<(), Errno> {
    if !name.starts_with(b"security.") {
        return Ok(());
    }
    let cred = ctx.cred();
    let allowed = if name == XATTR_NAME_CAPS {
        let attr = inode.getattr()?;
        capable_wrt_inode_uidgid(&cred, attr.uid, attr.gid, CapSet::SETFCAP)
    } else {
        ns_capable(&cred, &inode.sb().user_ns, CapSet::SYS_ADMIN)
    };
    if allowed { Ok(()) } else { Err(EPERM) }
}

/// `EOPNOTSUPP` for a name of no known kind. Linux: `xattr_resolve_name`.
fn resolve_name(name: &[u8]) -> Result<(), Errno> {
    let known: [&[u8]; 3] = [b"security.", b"trusted.", b"user."];
    match known.iter().find(|prefix| name.starts_with(prefix)) {
        Some(prefix) if name.len() > prefix.len() => Ok(()),
        Some(_) => Err(EINVAL),
        None => Err(EOPNOTSUPP),
    }
}

/// Checks the length of a name. Linux: `strncpy_from_user` in `setxattr_copy` and others.
fn check_name(name: &[u8]) -> Result<(), Errno> {
    if name.is_empty() || name.len() > XATTR_NAME_MAX { Err(ERANGE) } else { Ok(()) }
}

/// setxattr(2) at a path. Linux: `setxattr`, `vfs_setxattr`.
///
/// # Errors
/// `EROFS`; `EINVAL` for flags; `ERANGE` for the name; `E2BIG`; `EPERM`, `EACCES`; `EOPNOTSUPP`; the filesystem's.
pub fn vfs_setxattr(
    ctx: &dyn TaskContext,
    path: &Path,
    name: &[u8],
    value: &[u8],
    flags: u32,
) -> Result<(), Errno> {
    let inode: &Arc<Inode> = path.inode().ok_or(ENOENT)?;
    let _write = path.mnt.want_write()?;
    let flags = XattrFlags::from_bits(flags).ok_or(EINVAL)?;
    check_name(name)?;
    if value.len() > XATTR_SIZE_MAX {
        return Err(E2BIG);
    }
    let converted;
    let value = if name == XATTR_NAME_CAPS && !value.is_empty() {
        let attr = inode.getattr()?;
        converted = cap_convert_nscap(value, &ctx.cred(), &inode.sb().user_ns, attr.uid, attr.gid)?;
        &converted
    } else {
        value
    };
    xattr_permission(ctx, inode, name, Access::WRITE)?;
    if name != XATTR_NAME_CAPS {
        may_change_security(ctx, inode, name)?;
    }
    if let Some(kind) = AclType::from_xattr_name(name) {
        acl_set_xattr(ctx, inode, kind, Some(value))?;
    } else {
        resolve_name(name)?;
        if name.starts_with(b"security.") {
            inode.nosec.store(false, Ordering::Release);
        }
        inode.ops().setxattr(inode, name, value, flags)?;
    }
    fsnotify_dentry(&path.dentry, NotifyMask::ATTRIB);
    Ok(())
}

/// getxattr(2) at a path. The caller compares with its buffer's size (`ERANGE`). Linux: `vfs_getxattr`.
///
/// # Errors
/// `ERANGE` for the name; `ENODATA`, `EACCES`, `EOPNOTSUPP`.
pub fn vfs_getxattr(ctx: &dyn TaskContext, path: &Path, name: &[u8]) -> Result<Vec<u8>, Errno> {
    check_name(name)?;
    let inode = path.inode().ok_or(ENOENT)?;
    xattr_permission(ctx, inode, name, Access::READ)?;
    if let Some(kind) = AclType::from_xattr_name(name) {
        return acl_get_xattr(ctx, inode, kind);
    }
    resolve_name(name)?;
    let value = inode.ops().getxattr(inode, name)?;
    if name == XATTR_NAME_CAPS {
        return cap_inode_getsecurity(&value, &ctx.cred().user_ns, &inode.sb().user_ns);
    }
    Ok(value)
}

/// listxattr(2) at a path: the names, each with a zero behind it. Linux: `vfs_listxattr`.
///
/// # Errors
/// `E2BIG` for a list no buffer can take.
pub fn vfs_listxattr(ctx: &dyn TaskContext, path: &Path) -> Result<Vec<u8>, Errno> {
    let inode = path.inode().ok_or(ENOENT)?;
    let trusted = ctx.vfs().capable(&ctx.cred(), CapSet::SYS_ADMIN);
    let mut list = Vec::new();
    for kind in [AclType::Access, AclType::Default] {
        if inode.get_acl(kind)?.is_some() {
            list.extend_from_slice(kind.xattr_name());
            list.push(0);
        }
    }
    for name in inode.ops().listxattr(inode)? {
        if trusted || !name.starts_with(b"trusted.") {
            list.extend_from_slice(&name);
            list.push(0);
        }
    }
    if list.len() > XATTR_LIST_MAX { Err(E2BIG) } else { Ok(list) }
}

/// removexattr(2) at a path. Linux: `vfs_removexattr`.
///
/// # Errors
/// `EROFS`; `ERANGE` for the name; `EPERM`, `EACCES`; `ENODATA`; `EOPNOTSUPP`.
pub fn vfs_removexattr(ctx: &dyn TaskContext, path: &Path, name: &[u8]) -> Result<(), Errno> {
    let inode = path.inode().ok_or(ENOENT)?;
    let _write = path.mnt.want_write()?;
    check_name(name)?;
    xattr_permission(ctx, inode, name, Access::WRITE)?;
    may_change_security(ctx, inode, name)?;
    if let Some(kind) = AclType::from_xattr_name(name) {
        acl_set_xattr(ctx, inode, kind, None)?;
    } else {
        resolve_name(name)?;
        inode.ops().removexattr(inode, name)?;
    }
    fsnotify_dentry(&path.dentry, NotifyMask::ATTRIB);
    Ok(())
}
