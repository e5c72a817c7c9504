//! File capabilities: the `security.capability` attribute. Linux: include/uapi/linux/capability.h;
//! security/commoncap.c, `get_vfs_caps_from_disk`, `cap_convert_nscap`, `cap_inode_getsecurity`.
//!
//! Version 2 counts in the namespace of the filesystem, version 3 for the user namespaces whose root is the user it names.

use crate::{CapSet, Cred, Kgid, Kuid, UserNamespace, capable_wrt_inode_uidgid, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EOVERFLOW, EPERM};
use std::sync::Arc;

const VFS_CAP_REVISION_MASK: u32 = 0xff00_0000;
const VFS_CAP_REVISION_1: u32 = 0x0100_0000;
const VFS_CAP_REVISION_2: u32 = 0x0200_0000;
const VFS_CAP_REVISION_3: u32 = 0x0300_0000;
/// The permitted capabilities become effective.
const VFS_CAP_FLAGS_EFFECTIVE: u32 = 1;
/// Sizes of the attribute, by version.
const SIZES: [usize; 3] = [12, 20, 24];

/// What a file gives to those who execute it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VfsCaps {
    /// Gained, as far as the bounding set allows.
    pub permitted: CapSet,
    /// Gained by those who have them inheritable.
    pub inheritable: CapSet,
    /// Whether what is gained is in force at once.
    pub effective: bool,
}

/// The attribute's words.
#[derive(Clone, Copy)]
struct Raw {
    magic: u32,
    /// Permitted and inheritable, low words first.
    sets: [u32; 4],
    /// Version 3: the user id that is root where the attribute counts, as the filesystem's namespace numbers it.
    rootid: Option<u32>,
}

impl Raw {
    /// `EINVAL` unless the size fits the version.
    fn parse(value: &[u8]) -> Result<Raw, Errno> {
        let mut words = [0; 6];
        let mut chunks = value.chunks_exact(4);
        for (word, chunk) in words.iter_mut().zip(&mut chunks) {
            *word = u32::from_le_bytes(chunk.try_into().map_err(|_| EINVAL)?);
        }
        let [magic, sets @ .., rootid] = words;
        let rootid = match (magic & VFS_CAP_REVISION_MASK, value.len()) {
            (VFS_CAP_REVISION_1, 12) | (VFS_CAP_REVISION_2, 20) => None,
            (VFS_CAP_REVISION_3, 24) => Some(rootid),
            _ => return Err(EINVAL),
        };
        Ok(Raw { magic, sets, rootid })
    }

    /// As `parse`, for what a program writes or reads: version 2 or 3 without unknown flags. Linux: `validheader`.
    fn parse_strict(value: &[u8]) -> Result<Raw, Errno> {
        let raw = Raw::parse(value)?;
        match raw.magic & !VFS_CAP_FLAGS_EFFECTIVE {
            VFS_CAP_REVISION_2 | VFS_CAP_REVISION_3 => Ok(raw),
            _ => Err(EINVAL),
        }
    }

    /// The attribute as bytes, for the root `rootid` or for the filesystem's own.
    fn encode(&self, rootid: Option<u32>) -> Vec<u8> {
        let revision = if rootid.is_some() { VFS_CAP_REVISION_3 } else { VFS_CAP_REVISION_2 };
        let magic = revision | (self.magic & VFS_CAP_FLAGS_EFFECTIVE);
        let words = [magic].into_iter().chain(self.sets).chain(rootid);
        words.flat_map(u32::to_le_bytes).collect()
    }

    /// The root for whom it counts, on a filesystem of `fs_ns`.
    fn root(&self, fs_ns: &UserNamespace) -> Kuid {
        fs_ns.make_kuid(self.rootid.unwrap_or(0))
    }
}

/// Whether `root` is user 0 of `ns` or of a namespace above it. Linux: `rootid_owns_currentns`.
fn rootid_owns(root: Kuid, ns: &Arc<UserNamespace>) -> bool {
    if !root.is_valid() {
        return false;
    }
    let mut ns = Some(ns);
    while let Some(n) = ns {
        if n.from_kuid(root) == Some(0) {
            return true;
        }
        ns = n.parent();
    }
    false
}

/// The capabilities that count for a task of `ns` who executes a file with this attribute; none if they are meant for
/// another namespace's root. Linux: `get_vfs_caps_from_disk`.
///
/// # Errors
/// `EINVAL` when malformed.
pub fn get_vfs_caps(
    value: &[u8],
    ns: &Arc<UserNamespace>,
    fs_ns: &UserNamespace,
) -> Result<Option<VfsCaps>, Errno> {
    if !SIZES.contains(&value.len()) {
        return Err(EINVAL);
    }
    let raw = Raw::parse(value)?;
    if !rootid_owns(raw.root(fs_ns), ns) {
        return Ok(None);
    }
    let [permitted_low, inheritable_low, permitted_high, inheritable_high] = raw.sets;
    let set = |low: u32, high: u32| CapSet::from_bits_truncate(u64::from(low) | u64::from(high) << 32);
    Ok(Some(VfsCaps {
        permitted: set(permitted_low, permitted_high),
        inheritable: set(inheritable_low, inheritable_high),
        effective: raw.magic & VFS_CAP_FLAGS_EFFECTIVE != 0,
    }))
}

/// The attribute as it is stored when `cred` sets it on a file of `uid` and `gid`: who is privileged only in a namespace of
/// its own gets version 3 with that namespace's root. Linux: `cap_convert_nscap`.
///
/// # Errors
/// `EINVAL` when malformed or for a root without a mapping, `EPERM` without CAP_SETFCAP over the file.
pub fn cap_convert_nscap(
    value: &[u8],
    cred: &Cred,
    fs_ns: &Arc<UserNamespace>,
    uid: Kuid,
    gid: Kgid,
) -> Result<Vec<u8>, Errno> {
    let raw = Raw::parse_strict(value)?;
    if !capable_wrt_inode_uidgid(cred, uid, gid, CapSet::SETFCAP) {
        return Err(EPERM);
    }
    if raw.rootid.is_none() && ns_capable(cred, fs_ns, CapSet::SETFCAP) {
        return Ok(value.to_vec());
    }
    let root = raw.root(&cred.user_ns);
    if !root.is_valid() {
        return Err(EINVAL);
    }
    Ok(raw.encode(Some(fs_ns.from_kuid(root).ok_or(EINVAL)?)))
}

/// The attribute as a task of `ns` reads it: version 3 names a root by the reader's numbers, version 2 means the reader's
/// own or one above. Linux: `cap_inode_getsecurity`.
///
/// # Errors
/// `EINVAL` when malformed; `EOVERFLOW` for a root that the reader cannot name.
pub fn cap_inode_getsecurity(
    value: &[u8],
    ns: &Arc<UserNamespace>,
    fs_ns: &UserNamespace,
) -> Result<Vec<u8>, Errno> {
    let raw = Raw::parse_strict(value)?;
    let root = raw.root(fs_ns);
    match ns.from_kuid(root) {
        Some(id) if id != 0 => Ok(raw.encode(Some(id))),
        _ if rootid_owns(root, ns) => Ok(raw.encode(None)),
        _ => Err(EOVERFLOW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `magic`, permitted 0x2000 (net_raw), nothing inheritable, and a root id.
    fn attribute(magic: u32, root: Option<u32>) -> Vec<u8> {
        [magic, 0x2000, 0, 0, 0].into_iter().chain(root).flat_map(u32::to_le_bytes).collect()
    }

    fn init() -> Arc<UserNamespace> {
        UserNamespace::new_initial()
    }

    #[test]
    fn both_versions_are_read_where_they_count() {
        let ns = init();
        let caps = VfsCaps { permitted: CapSet::NET_RAW, effective: true, ..VfsCaps::default() };
        assert_eq!(get_vfs_caps(&attribute(0x0200_0001, None), &ns, &ns), Ok(Some(caps)));
        assert_eq!(get_vfs_caps(&attribute(0x0300_0001, Some(0)), &ns, &ns), Ok(Some(caps)));
        assert_eq!(get_vfs_caps(&attribute(0x0300_0001, Some(1000)), &ns, &ns), Ok(None));
    }

    #[test]
    fn malformed_attributes_are_refused() {
        let ns = init();
        let cred = Cred::root(ns.clone());
        let bad = [
            Vec::new(),
            vec![0; 20],
            attribute(0x0200_0000, Some(0)),
            attribute(0x0300_0000, None),
            attribute(0x0400_0000, None),
        ];
        for value in bad {
            assert_eq!(get_vfs_caps(&value, &ns, &ns), Err(EINVAL), "{value:x?}");
            let set = cap_convert_nscap(&value, &cred, &ns, Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT);
            assert_eq!(set, Err(EINVAL), "{value:x?}");
        }
        // A flag nobody knows is only for what is on disk.
        let odd = attribute(0x0200_0002, None);
        assert!(get_vfs_caps(&odd, &ns, &ns).is_ok());
        assert_eq!(cap_inode_getsecurity(&odd, &ns, &ns), Err(EINVAL));
    }

    #[test]
    fn whoever_may_sets_version_2_as_it_is() {
        let ns = init();
        let value = attribute(0x0200_0001, None);
        let root = Cred::root(ns.clone());
        let set = |cred: &Cred| cap_convert_nscap(&value, cred, &ns, Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT);
        assert_eq!(set(&root).as_ref(), Ok(&value));
        let powerless = Cred { cap_effective: CapSet::empty(), ..root };
        assert_eq!(set(&powerless), Err(EPERM));
        assert_eq!(cap_inode_getsecurity(&value, &ns, &ns), Ok(value.clone()));
        let named = attribute(0x0300_0001, Some(1000));
        assert_eq!(cap_inode_getsecurity(&named, &ns, &ns), Ok(named));
    }
}
