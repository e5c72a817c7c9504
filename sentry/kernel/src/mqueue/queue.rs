//! A queue. Linux: ipc/mqueue.c, `struct mqueue_inode_info`.

use super::limits::{Counted, MqueueIds};
use super::notify::{MqNotify, Registered};
use crate::CurrentTask;
use crate::ipc::{IpcCharge, Waiter};
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EBUSY, EMSGSIZE, ERESTARTSYS, ETIMEDOUT};
use sentry_uapi::mqueue::MqAttr;
use sentry_uapi::poll::{POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// A message.
pub(crate) struct MqMessage {
    pub(crate) priority: u32,
    pub(crate) text: Vec<u8>,
    _charge: IpcCharge,
}

/// A queue.
pub(super) struct Mqueue {
    ids: Arc<MqueueIds>,
    maxmsg: usize,
    pub(super) msgsize: usize,
    state: Mutex<State, { level::BUFFER }>,
    /// Those who poll.
    pub(super) wait: WaitQueue,
    _counted: Counted,
}

#[derive(Default)]
struct State {
    /// By priority; of one, in the order they came.
    messages: BTreeMap<u32, VecDeque<MqMessage>>,
    curmsgs: usize,
    /// Bytes in all messages.
    qsize: usize,
    notify: Option<Registered>,
    receivers: VecDeque<Arc<Waiter<MqMessage>>>,
    senders: VecDeque<(MqMessage, Arc<Waiter<()>>)>,
}

impl State {
    fn insert(&mut self, message: MqMessage) {
        self.curmsgs += 1;
        self.qsize += message.text.len();
        self.messages.entry(message.priority).or_default().push_back(message);
    }

    /// The oldest of the highest priority. Linux: `msg_get`.
    fn take(&mut self) -> Option<MqMessage> {
        let mut highest = self.messages.last_entry()?;
        let message = highest.get_mut().pop_front()?;
        if highest.get().is_empty() {
            highest.remove();
        }
        self.curmsgs -= 1;
        self.qsize -= message.text.len();
        Some(message)
    }
}

/// What reading the file shows.
pub(super) struct MqStatus {
    pub(super) qsize: usize,
    pub(super) notify: Option<(i32, i32, Arc<crate::Pid>)>,
}

impl Mqueue {
    pub(super) fn new(ids: Arc<MqueueIds>, counted: Counted, attr: &MqAttr) -> Mqueue {
        Mqueue {
            ids,
            maxmsg: usize::try_from(attr.mq_maxmsg).unwrap_or(1),
            msgsize: usize::try_from(attr.mq_msgsize).unwrap_or(1),
            state: Mutex::new(State::default()),
            wait: WaitQueue::new(),
            _counted: counted,
        }
    }

    /// Limits and number of messages.
    pub(super) fn attr(&self) -> MqAttr {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        MqAttr {
            mq_maxmsg: number(self.maxmsg),
            mq_msgsize: number(self.msgsize),
            mq_curmsgs: number(self.state.lock().curmsgs),
            ..MqAttr::default()
        }
    }

    pub(super) fn status(&self) -> MqStatus {
        let state = self.state.lock();
        let notify = state.notify.as_ref().map(|n| {
            let (kind, signo) = n.shown();
            (kind, signo, n.group.pid.clone())
        });
        MqStatus { qsize: state.qsize, notify }
    }

    pub(super) fn poll_events(&self) -> u32 {
        let curmsgs = self.state.lock().curmsgs;
        let mut events = 0;
        if curmsgs > 0 {
            events |= POLLIN | POLLRDNORM;
        }
        if curmsgs < self.maxmsg {
            events |= POLLOUT | POLLWRNORM;
        }
        events
    }

    /// mq_timedsend(2). Linux: `do_mq_timedsend`.
    ///
    /// # Errors
    /// `EMSGSIZE`, `EAGAIN`, `ETIMEDOUT`, `ENOMEM`; `ERESTARTSYS` when a signal is pending.
    pub(super) fn send(
        &self,
        task: &CurrentTask,
        priority: u32,
        text: Vec<u8>,
        nonblock: bool,
        deadline: Option<Instant>,
    ) -> Result<(), Errno> {
        if text.len() > self.msgsize {
            return Err(EMSGSIZE);
        }
        let _charge = self.ids.memory.charge(text.len().saturating_add(size_of::<MqMessage>()))?;
        let message = MqMessage { priority, text, _charge };
        let waiter = Waiter::new(task);
        let told = {
            let mut state = self.state.lock();
            if state.curmsgs >= self.maxmsg {
                if nonblock {
                    return Err(EAGAIN);
                }
                state.senders.push_back((message, waiter.clone()));
                None
            } else if let Some(receiver) = state.receivers.pop_front() {
                receiver.complete(message);
                return Ok(());
            } else {
                state.insert(message);
                Some(if state.curmsgs == 1 { state.notify.take() } else { None })
            }
        };
        if let Some(told) = told {
            if let Some(registered) = told {
                registered.tell(task);
            }
            self.wait.wake(POLLIN | POLLRDNORM);
            return Ok(());
        }
        let failure = match waiter.wait(task, deadline) {
            Ok(Some(())) => return Ok(()),
            Ok(None) => ETIMEDOUT,
            Err(_) => ERESTARTSYS,
        };
        let mut state = self.state.lock();
        if waiter.take().is_some() {
            return Ok(());
        }
        state.senders.retain(|(_, w)| !Arc::ptr_eq(w, &waiter));
        Err(failure)
    }

    /// mq_timedreceive(2). Linux: `do_mq_timedreceive`.
    ///
    /// # Errors
    /// `EMSGSIZE` for a buffer that a message might not fit into; `EAGAIN`, `ETIMEDOUT`; `ERESTARTSYS` when a signal is
    /// pending.
    pub(super) fn receive(
        &self,
        task: &CurrentTask,
        max: usize,
        nonblock: bool,
        deadline: Option<Instant>,
    ) -> Result<MqMessage, Errno> {
        if max < self.msgsize {
            return Err(EMSGSIZE);
        }
        let waiter = Waiter::new(task);
        let taken = {
            let mut state = self.state.lock();
            let taken = state.take();
            if taken.is_some() {
                // Whoever waits to send does so now.
                if let Some((message, sender)) = state.senders.pop_front() {
                    state.insert(message);
                    sender.complete(());
                }
            } else if nonblock {
                return Err(EAGAIN);
            } else {
                state.receivers.push_back(waiter.clone());
            }
            taken
        };
        if let Some(message) = taken {
            self.wait.wake(POLLOUT | POLLWRNORM);
            return Ok(message);
        }
        let failure = match waiter.wait(task, deadline) {
            Ok(Some(message)) => return Ok(message),
            Ok(None) => ETIMEDOUT,
            Err(_) => ERESTARTSYS,
        };
        let mut state = self.state.lock();
        if let Some(message) = waiter.take() {
            return Ok(message);
        }
        state.receivers.retain(|w| !Arc::ptr_eq(w, &waiter));
        Err(failure)
    }

    /// mq_notify(2): `None` gives up what the caller has asked for. Linux: `do_mq_notify`.
    ///
    /// # Errors
    /// `EBUSY` when a process is registered.
    pub(super) fn notify(&self, task: &CurrentTask, how: Option<MqNotify>) -> Result<(), Errno> {
        let Some(how) = how else {
            self.forget(task);
            return Ok(());
        };
        let registered = Registered::new(task, how);
        let mut state = self.state.lock();
        if state.notify.is_some() {
            return Err(EBUSY);
        }
        state.notify = Some(registered);
        Ok(())
    }

    /// The caller's process wants to be told nothing any more. Linux: `mqueue_flush_file`.
    pub(super) fn forget(&self, task: &CurrentTask) {
        let gone = {
            let mut state = self.state.lock();
            match &state.notify {
                Some(n) if Arc::ptr_eq(&n.group, &task.group) => state.notify.take(),
                _ => None,
            }
        };
        if let Some(registered) = gone {
            registered.cancel();
        }
    }
}
