//! What queues there may be. Linux: ipc/mqueue.c, `mqueue_get_inode`; ipc/mq_sysctl.c.

use crate::ipc::IpcMemory;
use sentry_auth::{CapSet, Cred, Kuid};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EMFILE, ENOSPC, EOVERFLOW};
use sentry_uapi::mqueue::{MQ_PRIO_MAX, MqAttr};
use std::collections::HashMap;
use std::sync::Arc;

/// Messages of a queue, for the privileged. Linux: `HARD_MSGMAX`.
pub(crate) const HARD_MSGMAX: i64 = 65536;
/// Bytes of a message, for the privileged. Linux: `HARD_MSGSIZEMAX`.
pub(crate) const HARD_MSGSIZEMAX: i64 = 16 << 20;
/// What RLIMIT_MSGQUEUE counts for a message besides its bytes. Linux: `struct msg_msg`.
const MESSAGE_OVERHEAD: i64 = 48;
/// … and for a priority. Linux: `struct posix_msg_tree_node`.
const PRIORITY_OVERHEAD: i64 = 48;

/// `/proc/sys/fs/mqueue`.
#[derive(Clone, Copy, Debug)]
pub struct MqueueLimits {
    /// Queues.
    pub queues_max: i32,
    /// Messages of a queue.
    pub msg_max: i32,
    /// Bytes of a message.
    pub msgsize_max: i32,
    /// Messages of a queue that is made without saying how many.
    pub msg_default: i32,
    /// Bytes of a message of a queue that is made without saying.
    pub msgsize_default: i32,
}

/// Bytes of queues by user, for RLIMIT_MSGQUEUE. Linux: `UCOUNT_RLIMIT_MSGQUEUE`.
#[derive(Clone, Default)]
pub(crate) struct MqueueUsage {
    bytes: Arc<Mutex<HashMap<Kuid, u64>, { level::LEAF }>>,
}

/// The queues of a namespace, as far as they are counted.
pub struct MqueueIds {
    state: Mutex<State, { level::LEAF }>,
    usage: MqueueUsage,
    pub(super) memory: IpcMemory,
}

struct State {
    limits: MqueueLimits,
    count: i64,
}

/// A queue that is counted, until it is dropped.
pub(super) struct Counted {
    ids: Arc<MqueueIds>,
    uid: Kuid,
    bytes: u64,
}

impl MqueueIds {
    pub(crate) fn new(usage: MqueueUsage, memory: IpcMemory) -> Arc<MqueueIds> {
        let limits = MqueueLimits {
            queues_max: 256,
            msg_max: 10,
            msgsize_max: 8192,
            msg_default: 10,
            msgsize_default: 8192,
        };
        Arc::new(MqueueIds { state: Mutex::new(State { limits, count: 0 }), usage, memory })
    }

    /// The user counts, for another namespace.
    pub(crate) fn usage(&self) -> MqueueUsage {
        self.usage.clone()
    }

    /// The limits.
    pub fn limits(&self) -> MqueueLimits {
        self.state.lock().limits
    }

    /// Changes the limits.
    pub fn set_limits(&self, limits: MqueueLimits) {
        self.state.lock().limits = limits;
    }

    /// Counts a new queue. `privileged`: CAP_SYS_RESOURCE in the first user namespace; `rlimit`: RLIMIT_MSGQUEUE.
    ///
    /// # Errors
    /// `ENOSPC` for too many; `EINVAL` and `EOVERFLOW` for what was asked for; `EMFILE` beyond the resource limit.
    pub(super) fn count(
        self: &Arc<Self>,
        cred: &Cred,
        privileged: bool,
        rlimit: u64,
        attr: Option<&MqAttr>,
    ) -> Result<(Counted, MqAttr), Errno> {
        let limits = self.limits();
        let attr = MqAttr {
            mq_maxmsg: attr.map_or(limits.msg_max.min(limits.msg_default).into(), |a| a.mq_maxmsg),
            mq_msgsize: attr.map_or(limits.msgsize_max.min(limits.msgsize_default).into(), |a| a.mq_msgsize),
            ..MqAttr::default()
        };
        if self.state.lock().count >= limits.queues_max.into() && !privileged {
            return Err(ENOSPC);
        }
        let (max, size) = if privileged {
            (HARD_MSGMAX, HARD_MSGSIZEMAX)
        } else {
            (limits.msg_max.into(), limits.msgsize_max.into())
        };
        if !(1..=max).contains(&attr.mq_maxmsg) || !(1..=size).contains(&attr.mq_msgsize) {
            return Err(EINVAL);
        }
        let tree =
            attr.mq_maxmsg * MESSAGE_OVERHEAD + attr.mq_maxmsg.min(MQ_PRIO_MAX.into()) * PRIORITY_OVERHEAD;
        let bytes = attr.mq_maxmsg.checked_mul(attr.mq_msgsize).and_then(|b| b.checked_add(tree));
        let bytes = bytes.and_then(|b| u64::try_from(b).ok()).ok_or(EOVERFLOW)?;
        {
            let mut all = self.usage.bytes.lock();
            let used = all.get(&cred.euid).copied().unwrap_or(0);
            let used = used.checked_add(bytes).filter(|used| *used <= rlimit).ok_or(EMFILE)?;
            all.insert(cred.euid, used);
        }
        self.state.lock().count += 1;
        Ok((Counted { ids: self.clone(), uid: cred.euid, bytes }, attr))
    }

    /// Whether `cred` is above the limits.
    pub(super) fn privileged(cred: &Cred) -> bool {
        cred.user_ns.parent().is_none() && cred.capable(CapSet::SYS_RESOURCE)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ids.state.lock().count -= 1;
        let mut all = self.ids.usage.bytes.lock();
        if let Some(used) = all.get_mut(&self.uid) {
            *used = used.saturating_sub(self.bytes);
            if *used == 0 {
                all.remove(&self.uid);
            }
        }
    }
}
