//! Message queues. Linux: ipc/msg.c, ipc/msgutil.c.

use super::memory::{IpcCharge, IpcMemory};
use super::util::{Found, IpcIds, IpcObject, IpcPerm, S_IRUGO, S_IWUGO};
use super::wait::Waiter;
use crate::CurrentTask;
use crate::pid::PidNumbers;
use fs_vfs::TaskContext;
use sentry_sync::{Mutex, MutexGuard, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{E2BIG, EACCES, EAGAIN, EIDRM, EINVAL, ENOMSG, ERESTARTNOHAND};
use sentry_uapi::ipc::IPC_NOWAIT;
use sentry_uapi::msg::{MSG_COPY, MSG_EXCEPT, MSG_NOERROR, MSGMAX, MSGMNB, MSGMNI};
use std::collections::VecDeque;
use std::sync::Arc;

/// `/proc/sys/kernel/{msgmax,msgmnb,msgmni}`.
#[derive(Clone, Copy, Debug)]
pub struct MsgLimits {
    /// Bytes of a message.
    pub max: i32,
    /// Bytes of a queue.
    pub mnb: i32,
    /// Queues.
    pub mni: i32,
}

/// The message queues of a namespace.
pub struct MsgIds {
    state: Mutex<MsgState, { level::IPC }>,
    memory: IpcMemory,
}

pub(super) struct MsgState {
    pub(super) limits: MsgLimits,
    pub(super) ids: IpcIds<MsgQueue>,
}

/// A message. Linux: `struct msg_msg`.
pub struct Message {
    /// Its type, at least 1.
    pub mtype: i64,
    /// Its text.
    pub text: Vec<u8>,
    _charge: IpcCharge,
}

/// A queue. Linux: `struct msg_queue`.
pub(super) struct MsgQueue {
    pub(super) perm: IpcPerm,
    pub(super) messages: VecDeque<Message>,
    pub(super) cbytes: u64,
    pub(super) qbytes: u64,
    pub(super) lspid: Option<Arc<PidNumbers>>,
    pub(super) lrpid: Option<Arc<PidNumbers>>,
    pub(super) stime: i64,
    pub(super) rtime: i64,
    pub(super) ctime: i64,
    receivers: VecDeque<Receiver>,
    senders: VecDeque<Sender>,
    _charge: IpcCharge,
}

impl IpcObject for MsgQueue {
    fn perm(&self) -> &IpcPerm {
        &self.perm
    }

    fn perm_mut(&mut self) -> &mut IpcPerm {
        &mut self.perm
    }
}

/// Which message is wanted. Linux: `convert_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    Any,
    Equal(i64),
    NotEqual(i64),
    /// The lowest type up to this.
    LessEqual(i64),
    /// The one at this place.
    Number(usize),
}

impl Search {
    fn new(mtype: i64, flags: i32) -> Search {
        if flags & MSG_COPY != 0 {
            return Search::Number(usize::try_from(mtype).unwrap_or(usize::MAX));
        }
        match mtype {
            0 => Search::Any,
            t if t < 0 => Search::LessEqual(t.checked_neg().unwrap_or(i64::MAX)),
            t if flags & MSG_EXCEPT != 0 => Search::NotEqual(t),
            t => Search::Equal(t),
        }
    }

    /// Linux: `testmsg`.
    fn accepts(self, mtype: i64) -> bool {
        match self {
            Search::Any | Search::Number(_) => true,
            Search::Equal(t) => mtype == t,
            Search::NotEqual(t) => mtype != t,
            Search::LessEqual(t) => mtype <= t,
        }
    }

    /// The place of the message. Linux: `find_msg`.
    fn find(self, messages: &VecDeque<Message>) -> Option<usize> {
        let mut types = messages.iter().map(|m| m.mtype).enumerate();
        match self {
            Search::Number(n) => (n < messages.len()).then_some(n),
            Search::LessEqual(_) => {
                types.filter(|(_, t)| self.accepts(*t)).min_by_key(|(_, t)| *t).map(|(at, _)| at)
            }
            _ => types.find(|(_, t)| self.accepts(*t)).map(|(at, _)| at),
        }
    }
}

struct Receiver {
    search: Search,
    max: usize,
    pid: Arc<PidNumbers>,
    waiter: Arc<Waiter<Result<Message, Errno>>>,
}

struct Sender {
    size: usize,
    waiter: Arc<Waiter<()>>,
}

impl MsgQueue {
    fn fits(&self, size: usize) -> bool {
        let count = u64::try_from(self.messages.len()).unwrap_or(u64::MAX);
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        size.saturating_add(self.cbytes) <= self.qbytes && count < self.qbytes
    }

    /// Hands the message to whoever waits for it, else queues it. Linux: `pipelined_send`.
    fn send(&mut self, message: Message, now: i64) {
        let mut at = 0;
        while let Some(r) = self.receivers.get(at) {
            if !r.search.accepts(message.mtype) {
                at += 1;
                continue;
            }
            let Some(r) = self.receivers.remove(at) else { break };
            if r.max < message.text.len() {
                r.waiter.complete(Err(E2BIG));
                continue;
            }
            self.lrpid = Some(r.pid);
            self.rtime = now;
            r.waiter.complete(Ok(message));
            return;
        }
        self.cbytes = self.cbytes.saturating_add(u64::try_from(message.text.len()).unwrap_or(0));
        self.messages.push_back(message);
    }

    /// Wakes senders whose messages fit now. Linux: `ss_wakeup`.
    pub(super) fn wake_senders(&mut self) {
        for sender in std::mem::take(&mut self.senders) {
            if self.fits(sender.size) {
                sender.waiter.complete(());
            } else {
                self.senders.push_back(sender);
            }
        }
    }

    /// Wakes all receivers with an error. Linux: `expunge_all`.
    pub(super) fn expunge_all(&mut self, error: Errno) {
        for r in self.receivers.drain(..) {
            r.waiter.complete(Err(error));
        }
    }

    /// The queue goes: wakes everybody.
    pub(super) fn destroyed(&mut self) {
        self.expunge_all(EIDRM);
        for sender in self.senders.drain(..) {
            sender.waiter.complete(());
        }
    }
}

impl MsgIds {
    pub(crate) fn new(memory: IpcMemory) -> MsgIds {
        let limits = MsgLimits { max: MSGMAX, mnb: MSGMNB, mni: MSGMNI };
        MsgIds { state: Mutex::new(MsgState { limits, ids: IpcIds::new() }), memory }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, MsgState, { level::IPC }> {
        self.state.lock()
    }

    /// The limits.
    pub fn limits(&self) -> MsgLimits {
        self.state.lock().limits
    }

    /// Changes the limits.
    pub fn set_limits(&self, limits: MsgLimits) {
        self.state.lock().limits = limits;
    }

    /// The id the next queue is to get; -1 for any.
    pub fn next_id(&self) -> i32 {
        self.state.lock().ids.next_id
    }

    /// Sets the id the next queue is to get.
    pub fn set_next_id(&self, id: i32) {
        self.state.lock().ids.next_id = id;
    }
}

impl CurrentTask {
    /// msgget(2). Returns the id.
    ///
    /// # Errors
    /// `ENOENT`, `EEXIST`, `EACCES`, `ENOSPC`, `ENOMEM`.
    pub fn msgget(&self, key: i32, flags: i32) -> Result<i32, Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let now = self.real_seconds();
        let mut state = ns.msg.lock();
        if let Found::Id(id) = state.ids.find(key, flags)? {
            let queue = state.ids.get(id)?;
            return if queue.perm.permits(&cred, &ns.user_ns, flags) { Ok(id) } else { Err(EACCES) };
        }
        let queue = MsgQueue {
            perm: IpcPerm::new(key, flags, &cred),
            messages: VecDeque::new(),
            cbytes: 0,
            qbytes: u64::try_from(state.limits.mnb).unwrap_or(0),
            lspid: None,
            lrpid: None,
            stime: 0,
            rtime: 0,
            ctime: now,
            receivers: VecDeque::new(),
            senders: VecDeque::new(),
            _charge: ns.msg.memory.charge(size_of::<MsgQueue>())?,
        };
        let limit = state.limits.mni;
        state.ids.add(queue, limit)
    }

    /// msgsnd(2). The type and the length have been checked.
    ///
    /// # Errors
    /// `EINVAL`, `EACCES`, `EAGAIN`, `EIDRM`, `ENOMEM`; `ERESTARTNOHAND` when a signal is pending.
    pub fn msgsnd(&self, msqid: i32, mtype: i64, text: Vec<u8>, flags: i32) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let size = text.len();
        let _charge = ns.msg.memory.charge(size.saturating_add(size_of::<Message>()))?;
        let message = Message { mtype, text, _charge };
        let mut gone = EINVAL;
        loop {
            let waiter = Waiter::new(self);
            {
                let mut state = ns.msg.lock();
                let queue = state.ids.get_mut(msqid).map_err(|_| gone)?;
                if !queue.perm.permits(&cred, &ns.user_ns, S_IWUGO) {
                    return Err(EACCES);
                }
                if queue.fits(size) {
                    let now = self.real_seconds();
                    queue.lspid = Some(self.ipc_pid());
                    queue.stime = now;
                    queue.send(message, now);
                    return Ok(());
                }
                if flags & IPC_NOWAIT != 0 {
                    return Err(EAGAIN);
                }
                queue.senders.push_back(Sender { size, waiter: waiter.clone() });
            }
            gone = EIDRM;
            let slept = waiter.wait(self, None);
            if slept.is_err() {
                let mut state = ns.msg.lock();
                let queue = state.ids.get_mut(msqid).map_err(|_| gone)?;
                queue.senders.retain(|s| !Arc::ptr_eq(&s.waiter, &waiter));
                return Err(ERESTARTNOHAND);
            }
        }
    }

    /// msgrcv(2): takes a message, or with MSG_COPY copies one. `max` is the size of the caller's buffer; a longer message
    /// comes whole, to be cut by the caller, if MSG_NOERROR allows it.
    ///
    /// # Errors
    /// `EINVAL`, `EACCES`, `E2BIG`, `ENOMSG`, `EIDRM`, `ENOMEM`; `ERESTARTNOHAND` when a signal is pending.
    pub fn msgrcv(&self, msqid: i32, max: usize, mtype: i64, flags: i32) -> Result<Message, Errno> {
        let copy = flags & MSG_COPY != 0;
        if copy && (flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0) {
            return Err(EINVAL);
        }
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let search = Search::new(mtype, flags);
        let cut = flags & MSG_NOERROR != 0;
        let mut gone = EINVAL;
        loop {
            let waiter = Waiter::new(self);
            {
                let mut state = ns.msg.lock();
                let limit = usize::try_from(state.limits.max).unwrap_or(0);
                let queue = state.ids.get_mut(msqid).map_err(|_| gone)?;
                if !queue.perm.permits(&cred, &ns.user_ns, S_IRUGO) {
                    return Err(EACCES);
                }
                if let Some(at) = search.find(&queue.messages) {
                    let found = queue.messages.get(at).ok_or(ENOMSG)?;
                    let size = found.text.len();
                    if max < size && !cut {
                        return Err(E2BIG);
                    }
                    if copy {
                        if size > max.min(limit) {
                            return Err(EINVAL);
                        }
                        let _charge = ns.msg.memory.charge(size)?;
                        return Ok(Message { mtype: found.mtype, text: found.text.clone(), _charge });
                    }
                    let message = queue.messages.remove(at).ok_or(ENOMSG)?;
                    queue.rtime = self.real_seconds();
                    queue.lrpid = Some(self.ipc_pid());
                    queue.cbytes = queue.cbytes.saturating_sub(u64::try_from(size).unwrap_or(0));
                    queue.wake_senders();
                    return Ok(message);
                }
                if flags & IPC_NOWAIT != 0 {
                    return Err(ENOMSG);
                }
                let max = if cut { usize::MAX } else { max };
                let pid = self.ipc_pid();
                queue.receivers.push_back(Receiver { search, max, pid, waiter: waiter.clone() });
            }
            gone = EIDRM;
            let outcome = match waiter.wait(self, None) {
                Ok(outcome) => outcome,
                Err(_) => {
                    let mut state = ns.msg.lock();
                    let outcome = waiter.take();
                    if outcome.is_none() {
                        let queue = state.ids.get_mut(msqid).map_err(|_| gone)?;
                        queue.receivers.retain(|r| !Arc::ptr_eq(&r.waiter, &waiter));
                        return Err(ERESTARTNOHAND);
                    }
                    outcome
                }
            };
            match outcome {
                // Modes have changed: it may not be allowed any more.
                Some(Err(EAGAIN)) | None => {}
                Some(outcome) => return outcome,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(types: &[i64]) -> VecDeque<Message> {
        let memory = IpcMemory::default();
        let message =
            |t: &i64| Some(Message { mtype: *t, text: Vec::new(), _charge: memory.charge(0).ok()? });
        types.iter().filter_map(message).collect()
    }

    #[test]
    fn a_negative_type_finds_the_lowest_and_of_those_the_first() {
        let q = queue(&[7, 3, 5, 3, 9]);
        assert_eq!(Search::new(-6, 0).find(&q), Some(1));
        assert_eq!(Search::new(-2, 0).find(&q), None);
        assert_eq!(Search::new(i64::MIN, 0), Search::LessEqual(i64::MAX));
        assert_eq!(Search::new(5, 0).find(&q), Some(2));
        assert_eq!(Search::new(7, MSG_EXCEPT).find(&q), Some(1));
        assert_eq!(Search::new(4, MSG_COPY).find(&q), Some(4));
        assert_eq!(Search::new(5, MSG_COPY).find(&q), None);
        assert_eq!(Search::new(0, 0).find(&q), Some(0));
    }
}
