//! Telling a process that a message has come. Linux: ipc/mqueue.c, `__do_notify`, `remove_notification`.

use crate::signal::SigSource;
use crate::{CurrentTask, ThreadGroup};
use fs_vfs::TaskContext;
use sentry_auth::UserNamespace;
use sentry_net::NetlinkSink;
use sentry_uapi::mqueue::{NOTIFY_COOKIE_LEN, NOTIFY_REMOVED, NOTIFY_WOKENUP};
use sentry_uapi::signal::{SI_MESGQ, SigInfo};
use std::sync::Arc;

/// How a process wants to be told.
pub enum MqNotify {
    /// Not at all, but nobody else is either.
    None,
    /// By a signal with this value; none for signal 0.
    Signal(i32, u64),
    /// By these bytes on a netlink socket, which a thread of the C library reads.
    Thread(NetlinkSink, [u8; NOTIFY_COOKIE_LEN]),
}

/// A process that waits for a message on an empty queue.
pub(super) struct Registered {
    pub(super) group: Arc<ThreadGroup>,
    user_ns: Arc<UserNamespace>,
    pub(super) how: MqNotify,
}

fn cookie(bytes: &[u8; NOTIFY_COOKIE_LEN], state: u8) -> Vec<u8> {
    let mut cookie = bytes.to_vec();
    if let Some(last) = cookie.last_mut() {
        *last = state;
    }
    cookie
}

impl Registered {
    pub(super) fn new(task: &CurrentTask, how: MqNotify) -> Registered {
        let user_ns = TaskContext::cred(task).user_ns.clone();
        Registered { group: task.group.clone(), user_ns, how }
    }

    /// What `/proc` and reading the file show: kind, signal.
    pub(super) fn shown(&self) -> (i32, i32) {
        match &self.how {
            MqNotify::Signal(signo, _) => (0, *signo),
            MqNotify::None => (1, 0),
            MqNotify::Thread(..) => (2, 0),
        }
    }

    /// A message has come, sent by `sender`. No lock is held.
    pub(super) fn tell(self, sender: &CurrentTask) {
        match self.how {
            MqNotify::None | MqNotify::Signal(0, _) => {}
            MqNotify::Signal(signo, value) => {
                let ns = self.group.pid.namespace().cloned();
                let pid = ns.map_or(0, |ns| sender.group.pid.nr_in(&ns));
                let uid = self.user_ns.from_kuid_munged(TaskContext::cred(sender).uid);
                let mut info = SigInfo::from_process(signo, SI_MESGQ, i32::try_from(pid).unwrap_or(0), uid);
                info.put(8, value.to_ne_bytes());
                // A process that has too many signals pending learns nothing, as in Linux.
                let _ = self.group.send_signal(info, SigSource::Inside);
            }
            MqNotify::Thread(sink, bytes) => sink.deliver(cookie(&bytes, NOTIFY_WOKENUP)),
        }
    }

    /// It does not want to know any more. No lock is held.
    pub(super) fn cancel(self) {
        if let MqNotify::Thread(sink, bytes) = self.how {
            sink.deliver(cookie(&bytes, NOTIFY_REMOVED));
        }
    }
}
