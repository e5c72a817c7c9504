//! Access control lists of a file in memory. Linux: `inode::i_acl`, `i_default_acl`. They count as extended attributes
//! do.

use crate::quota::Quota;
use fs_vfs::{AclType, NewAcls, PosixAcl};
use sentry_uapi::Errno;
use std::sync::Arc;

/// The lists of one file.
#[derive(Default)]
pub(crate) struct Acls {
    lists: NewAcls,
}

fn cost(acl: Option<&Arc<PosixAcl>>) -> usize {
    acl.map_or(0, |acl| acl.xattr_size())
}

impl Acls {
    /// `ENOSPC` where there are too many.
    pub(crate) fn new(quota: &Quota, lists: NewAcls) -> Result<Acls, Errno> {
        let acls = Acls { lists };
        if acls.bytes() > 0 {
            quota.charge_xattr(acls.bytes())?;
        }
        Ok(acls)
    }

    fn bytes(&self) -> usize {
        cost(self.lists.access.as_ref()) + cost(self.lists.default.as_ref())
    }

    pub(crate) fn get(&self, kind: AclType) -> Option<Arc<PosixAcl>> {
        match kind {
            AclType::Access => self.lists.access.clone(),
            AclType::Default => self.lists.default.clone(),
        }
    }

    pub(crate) fn set(
        &mut self,
        quota: &Quota,
        kind: AclType,
        acl: Option<Arc<PosixAcl>>,
    ) -> Result<(), Errno> {
        quota.charge_xattr(cost(acl.as_ref()))?;
        let list = match kind {
            AclType::Access => &mut self.lists.access,
            AclType::Default => &mut self.lists.default,
        };
        let old = std::mem::replace(list, acl);
        quota.uncharge_xattr(cost(old.as_ref()));
        Ok(())
    }

    /// The permission bits change. Linux: `posix_acl_chmod`.
    pub(crate) fn chmod(&mut self, perm: u32) {
        if let Some(acl) = &mut self.lists.access {
            *acl = Arc::new(acl.chmod(perm));
        }
    }

    /// Takes all of them off the account, before the file goes.
    pub(crate) fn release(&mut self, quota: &Quota) {
        quota.uncharge_xattr(self.bytes());
        self.lists = NewAcls::default();
    }
}
