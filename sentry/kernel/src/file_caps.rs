//! File capabilities: the `security.capability` attribute. Linux: security/commoncap.c, `get_vfs_caps_from_disk`.

use fs_vfs::File;
use sentry_auth::{CapSet, Cred};

/// Capabilities a file carries.
pub(crate) struct FileCaps {
    pub(crate) permitted: CapSet,
    pub(crate) inheritable: CapSet,
    /// All that is permitted becomes effective.
    pub(crate) effective: bool,
}

const VFS_CAP_REVISION_MASK: u32 = 0xff00_0000;
const VFS_CAP_REVISION_2: u32 = 0x0200_0000;
const VFS_CAP_REVISION_3: u32 = 0x0300_0000;
const VFS_CAP_FLAGS_EFFECTIVE: u32 = 1;

/// The capabilities of a file that count for a task with `cred`; none if the attribute is missing, malformed, or made
/// for another user namespace's root.
pub(crate) fn read(file: &File, cred: &Cred) -> Option<FileCaps> {
    let value = file.inode().ops().getxattr(file.inode(), b"security.capability").ok()?;
    let word = |i: usize| Some(u32::from_le_bytes(value.get(i * 4..i * 4 + 4)?.try_into().ok()?));
    let magic = word(0)?;
    let set = |lo: u32, hi: u32| CapSet::from_bits_truncate(u64::from(lo) | u64::from(hi) << 32);
    let rootid = match (magic & VFS_CAP_REVISION_MASK, value.len()) {
        (VFS_CAP_REVISION_2, 20) => 0,
        (VFS_CAP_REVISION_3, 24) => word(5)?,
        _ => return None,
    };
    // The attribute works in the namespace whose root it names, and below.
    let mut ns = Some(&cred.user_ns);
    let mut found = false;
    while let Some(n) = ns {
        if n.from_kuid(sentry_auth::Kuid::from_global(rootid)) == Some(0) {
            found = true;
            break;
        }
        ns = n.parent();
    }
    if !found {
        return None;
    }
    Some(FileCaps {
        permitted: set(word(1)?, word(3)?),
        inheritable: set(word(2)?, word(4)?),
        effective: magic & VFS_CAP_FLAGS_EFFECTIVE != 0,
    })
}
