//! Linux: include/uapi/linux/posix_acl.h, include/uapi/linux/posix_acl_xattr.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The only version of the attribute.
pub const POSIX_ACL_XATTR_VERSION: u32 = 2;

/// Tag of the owner's entry.
pub const ACL_USER_OBJ: u16 = 0x01;
/// Tag of a user's entry.
pub const ACL_USER: u16 = 0x02;
/// Tag of the entry of the file's group.
pub const ACL_GROUP_OBJ: u16 = 0x04;
/// Tag of a group's entry.
pub const ACL_GROUP: u16 = 0x08;
/// Tag of the entry that limits all but the owner's and others'.
pub const ACL_MASK: u16 = 0x10;
/// Tag of the entry for everybody else.
pub const ACL_OTHER: u16 = 0x20;

/// The id of an entry that needs none.
pub const ACL_UNDEFINED_ID: u32 = u32::MAX;

/// What the value of the attribute begins with. All numbers are little-endian.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PosixAclXattrHeader {
    /// [`POSIX_ACL_XATTR_VERSION`].
    pub a_version: u32,
}

/// An entry; any number of them follow the header.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PosixAclXattrEntry {
    /// What kind of entry this is: an `ACL_*` tag.
    pub e_tag: u16,
    /// Permissions: read 4, write 2, execute 1.
    pub e_perm: u16,
    /// User or group it is for.
    pub e_id: u32,
}

const _: () = assert!(size_of::<PosixAclXattrHeader>() == 4 && size_of::<PosixAclXattrEntry>() == 8);
