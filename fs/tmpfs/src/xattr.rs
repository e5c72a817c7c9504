//! Extended attributes of files in memory. Linux: fs/xattr.c, `simple_xattr_set`.

use crate::quota::Quota;
use fs_vfs::XattrFlags;
use sentry_uapi::Errno;
use sentry_uapi::errno::{E2BIG, EEXIST, ENODATA, ENOSPC, EOPNOTSUPP};
use std::collections::BTreeMap;

/// Most bytes of names and values on one file.
const INODE_MAX: usize = 128 << 10;

/// Longest value. Linux: `XATTR_SIZE_MAX`.
const VALUE_MAX: usize = 64 << 10;

/// What a name and value cost beyond their bytes.
const OVERHEAD: usize = 64;

/// The extended attributes of one file.
#[derive(Default)]
pub(crate) struct Xattrs {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

fn supported(name: &[u8]) -> bool {
    [b"user.".as_slice(), b"trusted.", b"security."]
        .iter()
        .any(|prefix| name.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty()))
}

fn cost(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + OVERHEAD
}

impl Xattrs {
    pub(crate) fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        if !supported(name) {
            return Err(EOPNOTSUPP);
        }
        self.values.get(name).cloned().ok_or(ENODATA)
    }

    pub(crate) fn set(
        &mut self,
        quota: &Quota,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<(), Errno> {
        if !supported(name) {
            return Err(EOPNOTSUPP);
        }
        if value.len() > VALUE_MAX {
            return Err(E2BIG);
        }
        let old = self.values.get(name).map(|v| cost(name, v));
        if old.is_some() && flags.contains(XattrFlags::CREATE) {
            return Err(EEXIST);
        }
        if old.is_none() && flags.contains(XattrFlags::REPLACE) {
            return Err(ENODATA);
        }
        let (old, new) = (old.unwrap_or(0), cost(name, value));
        if self.bytes - old + new > INODE_MAX {
            return Err(ENOSPC);
        }
        quota.charge_xattr(new)?;
        quota.uncharge_xattr(old);
        self.bytes = self.bytes - old + new;
        self.values.insert(name.to_vec(), value.to_vec());
        Ok(())
    }

    pub(crate) fn remove(&mut self, quota: &Quota, name: &[u8]) -> Result<(), Errno> {
        if !supported(name) {
            return Err(EOPNOTSUPP);
        }
        let value = self.values.remove(name).ok_or(ENODATA)?;
        self.bytes -= cost(name, &value);
        quota.uncharge_xattr(cost(name, &value));
        Ok(())
    }

    pub(crate) fn names(&self) -> Vec<Vec<u8>> {
        self.values.keys().cloned().collect()
    }

    /// Takes all of them off the account, before the file goes.
    pub(crate) fn release(&mut self, quota: &Quota) {
        quota.uncharge_xattr(self.bytes);
        self.bytes = 0;
        self.values.clear();
    }
}
