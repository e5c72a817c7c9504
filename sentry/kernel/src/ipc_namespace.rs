//! Linux: ipc/namespace.c. There are no System V objects and no message queues yet that one could hold.

use crate::nsproxy::count;
use fs_vfs::{Namespace, NsKind};
use sentry_auth::{Kuid, Ucount, UcountType, UserNamespace};
use sentry_uapi::Errno;
use std::sync::Arc;

/// Number of the first one. Linux: include/linux/proc_ns.h, `PROC_IPC_INIT_INO`.
const IPC_INIT_INO: u64 = 0xefff_ffff;

/// System V IPC objects and message queues.
pub struct IpcNamespace {
    inum: u64,
    /// Owner.
    pub user_ns: Arc<UserNamespace>,
    _ucount: Option<Ucount>,
}

impl IpcNamespace {
    pub(crate) fn new_initial(user_ns: Arc<UserNamespace>) -> Arc<IpcNamespace> {
        Arc::new(IpcNamespace { inum: IPC_INIT_INO, user_ns, _ucount: None })
    }

    /// An empty one, made by `creator` and owned by `user_ns`. Linux: `create_ipc_ns`.
    pub(crate) fn create(user_ns: &Arc<UserNamespace>, creator: Kuid) -> Result<Arc<IpcNamespace>, Errno> {
        let _ucount = count(user_ns, creator, UcountType::IpcNamespaces)?;
        Ok(Arc::new(IpcNamespace { inum: user_ns.alloc_inum(), user_ns: user_ns.clone(), _ucount }))
    }
}

impl Namespace for IpcNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Ipc
    }

    fn inum(&self) -> u64 {
        self.inum
    }

    fn owner(&self) -> Option<Arc<UserNamespace>> {
        Some(self.user_ns.clone())
    }
}
