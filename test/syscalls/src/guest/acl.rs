//! POSIX access control lists, as their extended attributes hold them.

use super::{Guest, cstr};
use crate::sys::Ret;
use test_syscalls_macros::sys;

/// An entry: tag, permissions, id.
pub type AclEntry = (u16, u16, u32);

/// Tags of entries. Linux: include/uapi/linux/posix_acl.h.
pub mod acl_tag {
    /// The owner.
    pub const USER_OBJ: u16 = 1;
    /// A user by id.
    pub const USER: u16 = 2;
    /// The file's group.
    pub const GROUP_OBJ: u16 = 4;
    /// A group by id.
    pub const GROUP: u16 = 8;
    /// The most that any but the owner and others get.
    pub const MASK: u16 = 0x10;
    /// Everybody else.
    pub const OTHER: u16 = 0x20;
    /// The id of an entry that names nobody.
    pub const NOBODY: u32 = u32::MAX;
}

/// The list that controls access.
pub const ACL_ACCESS: &str = "system.posix_acl_access";
/// The list that what is made in a directory inherits.
pub const ACL_DEFAULT: &str = "system.posix_acl_default";

/// The attribute's bytes.
#[must_use]
pub fn acl_bytes(version: u32, entries: &[AclEntry]) -> Vec<u8> {
    let mut bytes = version.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        bytes.extend(tag.to_le_bytes().into_iter().chain(perm.to_le_bytes()).chain(id.to_le_bytes()));
    }
    bytes
}

/// A list with one user, one group and a mask besides what every list has; `perms` in the order of the entries: owner,
/// user, file's group, group, mask, others.
#[must_use]
pub fn full_acl(user: u32, group: u32, perms: [u16; 6]) -> Vec<AclEntry> {
    use acl_tag::{GROUP, GROUP_OBJ, MASK, NOBODY, OTHER, USER, USER_OBJ};
    let tags = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];
    let ids = [NOBODY, user, NOBODY, group, NOBODY, NOBODY];
    (0..6).map(|at| (tags[at], perms[at], ids[at])).collect()
}

impl Guest {
    /// Sets list `name` of `path`.
    pub fn set_acl(&self, path: &str, name: &str, entries: &[AclEntry]) -> Ret {
        self.set_acl_bytes(path, name, &acl_bytes(2, entries))
    }

    /// Sets the attribute `name` of `path` to `bytes`.
    pub fn set_acl_bytes(&self, path: &str, name: &str, bytes: &[u8]) -> Ret {
        sys!(setxattr(&cstr(path), &cstr(name), bytes, bytes.len(), 0))
    }

    /// As `set_acl`; skips the case where the filesystem has no lists.
    #[track_caller]
    pub fn try_acl(&self, path: &str, name: &str, entries: &[AclEntry]) {
        self.set_acl(path, name, entries).or_skip(libc::EOPNOTSUPP, "no access control lists here").is(0);
    }

    /// `getxattr` of list `name` of `path`, for its errors.
    pub fn try_get_acl(&self, path: &str, name: &str) -> Ret {
        sys!(getxattr(&cstr(path), &cstr(name), 0, 0))
    }

    /// List `name` of `path`.
    #[track_caller]
    #[must_use]
    pub fn get_acl(&self, path: &str, name: &str) -> Vec<AclEntry> {
        let mut bytes = [0_u8; 1024];
        let length = bytes.len();
        let length = sys!(getxattr(&cstr(path), &cstr(name), &mut bytes, length)).size();
        expect_version(&bytes);
        let entry = |e: &[u8]| {
            let half = |at: usize| u16::from_le_bytes([e[at], e[at + 1]]);
            (half(0), half(2), u32::from(half(4)) | u32::from(half(6)) << 16)
        };
        bytes[4..length].chunks(8).map(entry).collect()
    }
}

#[track_caller]
fn expect_version(bytes: &[u8]) {
    assert!(bytes[..4] == [2, 0, 0, 0], "a list of version 2: expected [2, 0, 0, 0], got {:?}", &bytes[..4]);
}
