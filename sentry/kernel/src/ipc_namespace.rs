//! Linux: ipc/namespace.c.

use crate::ipc::{IpcMemory, MsgIds, SemIds, ShmIds};
use crate::mqueue::{MqueueIds, MqueueUsage};
use crate::nsproxy::count;
use fs_vfs::{Mount, Namespace, NsKind};
use sentry_auth::{Kuid, Ucount, UcountType, UserNamespace};
use sentry_uapi::Errno;
use std::sync::{Arc, OnceLock};

/// Number of the first one. Linux: include/linux/proc_ns.h, `PROC_IPC_INIT_INO`.
const IPC_INIT_INO: u64 = 0xefff_ffff;

/// System V IPC objects and message queues.
pub struct IpcNamespace {
    inum: u64,
    /// Owner.
    pub user_ns: Arc<UserNamespace>,
    /// Semaphore sets.
    pub sem: SemIds,
    /// Message queues.
    pub msg: MsgIds,
    /// Segments of shared memory. Attachments hold them too, whoever is still in the namespace.
    pub shm: Arc<ShmIds>,
    /// POSIX message queues.
    pub mq: Arc<MqueueIds>,
    /// Their filesystem, once it is needed.
    pub(crate) mq_mnt: OnceLock<Arc<Mount>>,
    memory: IpcMemory,
    _ucount: Option<Ucount>,
}

impl IpcNamespace {
    pub(crate) fn new_initial(user_ns: Arc<UserNamespace>) -> Arc<IpcNamespace> {
        IpcNamespace::new(IPC_INIT_INO, user_ns, IpcMemory::default(), MqueueUsage::default(), None)
    }

    fn new(
        inum: u64,
        user_ns: Arc<UserNamespace>,
        memory: IpcMemory,
        mq_usage: MqueueUsage,
        _ucount: Option<Ucount>,
    ) -> Arc<IpcNamespace> {
        Arc::new(IpcNamespace {
            inum,
            user_ns,
            sem: SemIds::new(memory.clone()),
            msg: MsgIds::new(memory.clone()),
            shm: ShmIds::new(memory.clone()),
            mq: MqueueIds::new(mq_usage, memory.clone()),
            mq_mnt: OnceLock::new(),
            memory,
            _ucount,
        })
    }

    /// An empty one of the same kernel, made by `creator` and owned by `user_ns`. Linux: `create_ipc_ns`.
    pub(crate) fn create_ipc_ns(
        &self,
        user_ns: &Arc<UserNamespace>,
        creator: Kuid,
    ) -> Result<Arc<IpcNamespace>, Errno> {
        let ucount = count(user_ns, creator, UcountType::IpcNamespaces)?;
        let (memory, mq_usage) = (self.memory.clone(), self.mq.usage());
        Ok(IpcNamespace::new(user_ns.alloc_inum(), user_ns.clone(), memory, mq_usage, ucount))
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
