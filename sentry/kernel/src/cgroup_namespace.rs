//! Linux: kernel/cgroup/namespace.c. All tasks are in the root cgroup, so every namespace's view of the tree is the same.

use crate::nsproxy::count;
use fs_vfs::{Namespace, NsKind};
use sentry_auth::{Kuid, Ucount, UcountType, UserNamespace};
use sentry_uapi::Errno;
use std::sync::Arc;

/// Number of the first one. Linux: include/linux/proc_ns.h, `PROC_CGROUP_INIT_INO`.
const CGROUP_INIT_INO: u64 = 0xefff_fffb;

/// A view of the cgroup tree.
pub struct CgroupNamespace {
    inum: u64,
    /// Owner.
    pub user_ns: Arc<UserNamespace>,
    _ucount: Option<Ucount>,
}

impl CgroupNamespace {
    pub(crate) fn new_initial(user_ns: Arc<UserNamespace>) -> Arc<CgroupNamespace> {
        Arc::new(CgroupNamespace { inum: CGROUP_INIT_INO, user_ns, _ucount: None })
    }

    /// A view from the creator's cgroup, owned by `user_ns`. Linux: `copy_cgroup_ns`.
    pub(crate) fn create(user_ns: &Arc<UserNamespace>, creator: Kuid) -> Result<Arc<CgroupNamespace>, Errno> {
        let _ucount = count(user_ns, creator, UcountType::CgroupNamespaces)?;
        Ok(Arc::new(CgroupNamespace { inum: user_ns.alloc_inum(), user_ns: user_ns.clone(), _ucount }))
    }
}

impl Namespace for CgroupNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Cgroup
    }

    fn inum(&self) -> u64 {
        self.inum
    }

    fn owner(&self) -> Option<Arc<UserNamespace>> {
        Some(self.user_ns.clone())
    }
}
