//! Access control lists as extended attributes. Linux: fs/posix_acl.c, the part about `posix_acl_xattr_get` and
//! `posix_acl_xattr_set`. Differs in nothing visible.

use crate::posix_acl::posix_acl_update_mode;
use crate::{AclEntry, AclTag, AclType, Inode, PosixAcl, TaskContext};
use sentry_auth::{Kgid, Kuid, inode_owner_or_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, ENODATA, EOPNOTSUPP, EPERM};
use sentry_uapi::posix_acl_xattr::{
    ACL_GROUP, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER, ACL_UNDEFINED_ID, ACL_USER, ACL_USER_OBJ,
    POSIX_ACL_XATTR_VERSION, PosixAclXattrEntry, PosixAclXattrHeader,
};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

impl AclType {
    /// The attribute's name.
    pub const fn xattr_name(self) -> &'static [u8] {
        match self {
            AclType::Access => b"system.posix_acl_access",
            AclType::Default => b"system.posix_acl_default",
        }
    }

    /// The list an attribute of this name holds. Linux: `posix_acl_type`.
    pub(crate) fn from_xattr_name(name: &[u8]) -> Option<AclType> {
        [AclType::Access, AclType::Default].into_iter().find(|kind| kind.xattr_name() == name)
    }
}

impl PosixAcl {
    /// Reads an attribute's value; its ids become kernel ids by `uid` and `gid`. None for a list without entries.
    /// Linux: `posix_acl_from_xattr`.
    ///
    /// # Errors
    /// `EINVAL`; `EOPNOTSUPP` for another version.
    pub fn from_xattr(
        value: &[u8],
        uid: impl Fn(u32) -> Kuid,
        gid: impl Fn(u32) -> Kgid,
    ) -> Result<Option<PosixAcl>, Errno> {
        let (header, rest) = PosixAclXattrHeader::read_from_prefix(value).map_err(|_| EINVAL)?;
        if u32::from_le(header.a_version) != POSIX_ACL_XATTR_VERSION {
            return Err(EOPNOTSUPP);
        }
        let parts = rest.chunks_exact(size_of::<PosixAclXattrEntry>());
        if !parts.remainder().is_empty() {
            return Err(EINVAL);
        }
        let mut entries = Vec::with_capacity(parts.len());
        for part in parts {
            let raw = PosixAclXattrEntry::read_from_bytes(part).map_err(|_| EINVAL)?;
            let id = u32::from_le(raw.e_id);
            let tag = match u16::from_le(raw.e_tag) {
                ACL_USER_OBJ => AclTag::UserObj,
                ACL_USER => AclTag::User(uid(id)),
                ACL_GROUP_OBJ => AclTag::GroupObj,
                ACL_GROUP => AclTag::Group(gid(id)),
                ACL_MASK => AclTag::Mask,
                ACL_OTHER => AclTag::Other,
                _ => return Err(EINVAL),
            };
            entries.push(AclEntry { tag, perm: u16::from_le(raw.e_perm) });
        }
        Ok(if entries.is_empty() { None } else { Some(PosixAcl::new(entries)) })
    }

    /// The attribute's value; kernel ids become what `uid` and `gid` say. Linux: `posix_acl_to_xattr`.
    pub fn to_xattr(&self, uid: impl Fn(Kuid) -> u32, gid: impl Fn(Kgid) -> u32) -> Vec<u8> {
        let mut value =
            PosixAclXattrHeader { a_version: POSIX_ACL_XATTR_VERSION.to_le() }.as_bytes().to_vec();
        for entry in self.entries() {
            let (tag, id) = match entry.tag {
                AclTag::UserObj => (ACL_USER_OBJ, ACL_UNDEFINED_ID),
                AclTag::User(id) => (ACL_USER, uid(id)),
                AclTag::GroupObj => (ACL_GROUP_OBJ, ACL_UNDEFINED_ID),
                AclTag::Group(id) => (ACL_GROUP, gid(id)),
                AclTag::Mask => (ACL_MASK, ACL_UNDEFINED_ID),
                AclTag::Other => (ACL_OTHER, ACL_UNDEFINED_ID),
            };
            let raw = PosixAclXattrEntry { e_tag: tag.to_le(), e_perm: entry.perm.to_le(), e_id: id.to_le() };
            value.extend_from_slice(raw.as_bytes());
        }
        value
    }

    /// Bytes of the attribute's value.
    pub fn xattr_size(&self) -> usize {
        size_of::<PosixAclXattrHeader>() + self.entries().len() * size_of::<PosixAclXattrEntry>()
    }

    fn names_no_invalid_id(&self) -> bool {
        self.entries().iter().all(|entry| match entry.tag {
            AclTag::User(uid) => uid.is_valid(),
            AclTag::Group(gid) => gid.is_valid(),
            _ => true,
        })
    }
}

/// A list as the caller's namespace sees it: an id without a mapping is no id, not the overflow id. Linux:
/// `posix_acl_xattr_get`, `posix_acl_fix_xattr_to_user`.
///
/// # Errors
/// `EOPNOTSUPP` where there can be none; `ENODATA`.
pub(crate) fn acl_get_xattr(ctx: &dyn TaskContext, inode: &Inode, kind: AclType) -> Result<Vec<u8>, Errno> {
    if !inode.has_acls() {
        return Err(EOPNOTSUPP);
    }
    let acl = inode.get_acl(kind)?.ok_or(ENODATA)?;
    let ns = &ctx.cred().user_ns;
    Ok(acl.to_xattr(
        |uid| ns.from_kuid(uid).unwrap_or(ACL_UNDEFINED_ID),
        |gid| ns.from_kgid(gid).unwrap_or(ACL_UNDEFINED_ID),
    ))
}

/// Sets a list from what the caller gave, or removes it. Linux: `posix_acl_fix_xattr_from_user`, `posix_acl_xattr_set`,
/// `set_posix_acl`, `simple_set_acl`.
///
/// # Errors
/// `EOPNOTSUPP` where there can be none; `EINVAL`; `EACCES` for a default list of what is no directory; `EPERM` for whom
/// the file does not belong to.
pub(crate) fn acl_set_xattr(
    ctx: &dyn TaskContext,
    inode: &Arc<Inode>,
    kind: AclType,
    value: Option<&[u8]>,
) -> Result<(), Errno> {
    if !inode.has_acls() {
        return Err(EOPNOTSUPP);
    }
    let cred = ctx.cred();
    let ns = &cred.user_ns;
    let acl = match value {
        Some(value) => PosixAcl::from_xattr(value, |uid| ns.make_kuid(uid), |gid| ns.make_kgid(gid))?,
        None => None,
    };
    if acl.as_ref().is_some_and(|acl| !acl.names_no_invalid_id()) {
        return Err(EINVAL);
    }
    if kind == AclType::Default && !inode.is_dir() {
        return if acl.is_some() { Err(EACCES) } else { Ok(()) };
    }
    let attr = inode.getattr()?;
    if !inode_owner_or_capable(&cred, attr.uid) {
        return Err(EPERM);
    }
    if let Some(acl) = &acl {
        acl.valid(&inode.sb().user_ns)?;
    }
    let (perm, acl) = match (kind, acl) {
        (AclType::Access, Some(acl)) => {
            let (perm, acl) = posix_acl_update_mode(&attr, &cred, acl);
            (Some(perm), acl)
        }
        (_, acl) => (None, acl.map(Arc::new)),
    };
    inode.ops().set_acl(inode, kind, acl, perm)
}
