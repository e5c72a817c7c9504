//! SOCK_DGRAM and SOCK_SEQPACKET: queues of messages.

use super::connection::double_lock;
use super::garbage::Rights;
use super::name::UnixAddr;
use super::{CLOSE, ESTABLISHED, UnixSock};
use crate::control::timestamp;
use crate::proto_ops::{Received, SendMsg};
use crate::sock::{IN_EVENTS, OUT_EVENTS, RCV_SHUTDOWN, SEND_SHUTDOWN, Sock};
use crate::{ControlMsg, ScmCreds, SendControl, SockAddr};
use fs_vfs::{Inode, TaskContext};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::WaitQueue;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, ECONNREFUSED, ECONNRESET, EMSGSIZE, ENOTCONN, EOPNOTSUPP, EPERM, EPIPE};
use sentry_uapi::socket::{AF_UNSPEC, MsgFlags, SOCK_SEQPACKET};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a message costs its sender beyond its bytes. Linux: about `SKB_TRUESIZE(0)`.
const OVERHEAD: usize = 768;

/// A message waiting to be received.
pub(super) struct Dgram {
    data: Vec<u8>,
    from: Option<Arc<UnixAddr>>,
    creds: ScmCreds,
    rights: Option<Rights>,
    /// When it was sent, in nanoseconds of the real-time clock.
    sent: i64,
    /// Given back on drop.
    _charge: Charge,
}

/// Part of a sender's buffer, in use until the message is gone. Linux: `sock_wfree`.
struct Charge {
    sender: Arc<Sock>,
    size: usize,
}

impl Charge {
    fn new(sender: &Arc<Sock>, size: usize) -> Charge {
        sender.wmem.fetch_add(size, Ordering::AcqRel);
        Charge { sender: sender.clone(), size }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let before = self.sender.wmem.fetch_sub(self.size, Ordering::AcqRel);
        let writable = |used: usize| used.saturating_mul(4) <= self.sender.opts.sndbuf();
        if !writable(before) && writable(before - self.size) {
            self.sender.wq.wake_all(OUT_EVENTS);
        }
    }
}

/// Messages in the order in which they came.
#[derive(Default)]
pub(super) struct DgramQueue {
    messages: VecDeque<Dgram>,
}

impl Dgram {
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }
}

impl DgramQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Dgram> {
        self.messages.front()
    }

    pub(super) fn bytes(&self) -> usize {
        self.messages.iter().map(Dgram::len).sum()
    }

    pub(super) fn rights(&self) -> impl Iterator<Item = &Rights> {
        self.messages.iter().filter_map(|m| m.rights.as_ref())
    }

    pub(super) fn take_all_rights(&mut self) -> Vec<Rights> {
        self.messages.iter_mut().filter_map(|m| m.rights.take()).collect()
    }

    /// The message at byte `skip` of the queue, and how far into it that is. Linux: `__skb_try_recv_from_queue`.
    fn at(&self, mut skip: usize) -> Option<(usize, usize)> {
        for (i, message) in self.messages.iter().enumerate() {
            if skip == 0 || skip < message.len() {
                return Some((i, skip));
            }
            skip -= message.len();
        }
        None
    }
}

impl UnixSock {
    pub(super) fn peer_is(&self, other: &UnixSock) -> bool {
        self.state.lock().peer.as_ref().is_some_and(|p| p.is(other))
    }

    /// Linux: `unix_recvq_full`.
    pub(super) fn recvq_full(&self) -> bool {
        let most = self.sock.net.sysctl.max_dgram_qlen.load(Ordering::Relaxed) as usize;
        self.dgrams.lock().messages.len() > most
    }

    /// Linux: `unix_dgram_connect`.
    pub(super) fn dgram_connect(
        &self,
        ctx: &dyn TaskContext,
        addr: &SockAddr,
        inode: Option<&Arc<Inode>>,
    ) -> Result<(), Errno> {
        let Some(family) = addr.family() else { return Err(sentry_uapi::errno::EINVAL) };
        let new = if family == AF_UNSPEC {
            None
        } else {
            let found = self.find_other(&ctx.cred(), addr, inode)?;
            self.autobind_for_creds()?;
            Some(found)
        };
        let old = match new {
            Some(peer) if peer.is(self) => {
                let mut state = self.state.lock();
                if state.peer.as_ref().is_some_and(|p| !p.is(self)) {
                    return Err(EPERM);
                }
                self.phase.store(ESTABLISHED, Ordering::Release);
                state.peer.replace(peer)
            }
            Some(peer) => {
                let (mut mine, theirs) = double_lock(self, &peer);
                if peer.is_dead() {
                    return Err(ECONNREFUSED);
                }
                if theirs.peer.as_ref().is_some_and(|p| !p.is(self)) {
                    return Err(EPERM);
                }
                drop(theirs);
                self.phase.store(ESTABLISHED, Ordering::Release);
                mine.peer.replace(peer.clone())
            }
            None => {
                let mut state = self.state.lock();
                self.phase.store(CLOSE, Ordering::Release);
                state.peer.take()
            }
        };
        if let Some(old) = old
            && !self.peer_is(&old)
        {
            self.disconnected_from(&old);
        }
        Ok(())
    }

    /// What the old peer sent is lost, and it hears of that. Linux: `unix_dgram_disconnected`.
    fn disconnected_from(&self, old: &UnixSock) {
        let lost = std::mem::take(&mut *self.dgrams.lock());
        if lost.is_empty() {
            return;
        }
        self.peer_wait.wake_all(OUT_EVENTS);
        if !old.is_dead() && old.peer_is(self) {
            old.sock.report_error(ECONNRESET);
        }
    }

    /// Linux: `unix_seqpacket_sendmsg`.
    pub(super) fn seqpacket_sendmsg(
        &self,
        ctx: &dyn TaskContext,
        msg: &mut SendMsg,
        src: &mut IoSrc<'_>,
        wait: &mut Option<WaitQueue>,
    ) -> Result<usize, Errno> {
        if let Some(e) = self.sock.take_error() {
            return Err(e);
        }
        if self.phase() != ESTABLISHED {
            return Err(ENOTCONN);
        }
        msg.addr = None;
        self.dgram_sendmsg(ctx, msg, src, wait)
    }

    /// Linux: `unix_dgram_sendmsg`.
    pub(super) fn dgram_sendmsg(
        &self,
        ctx: &dyn TaskContext,
        msg: &mut SendMsg,
        src: &mut IoSrc<'_>,
        wait: &mut Option<WaitQueue>,
    ) -> Result<usize, Errno> {
        let explicit = UnixSock::check_control(ctx, msg)?;
        if msg.flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        let connected = match &msg.addr {
            None => Some(self.peer().ok_or(ENOTCONN)?),
            Some(_) => None,
        };
        self.autobind_for_creds()?;
        let len = src.remaining();
        let sndbuf = self.sock.opts.sndbuf();
        if len > sndbuf - 32 {
            return Err(EMSGSIZE);
        }
        if let Some(e) = self.sock.take_error() {
            return Err(e);
        }
        if self.sock.shutdown_bits() & SEND_SHUTDOWN != 0 {
            return Err(EPIPE);
        }
        if self.sock.wmem.load(Ordering::Relaxed) >= sndbuf {
            return Err(EAGAIN);
        }
        let other = match (&connected, &msg.addr) {
            (Some(peer), _) => peer.clone(),
            (None, Some(addr)) => self.find_other(&ctx.cred(), addr, msg.inode.as_ref())?,
            (None, None) => return Err(ENOTCONN),
        };
        let to_self = other.is(self);
        // Waiting ends when the receiver takes a message; the wait is the caller's.
        let blocked =
            |waits_for: &Arc<UnixSock>| !to_self && !waits_for.peer_is(self) && waits_for.recvq_full();
        if blocked(&other) {
            *wait = Some(other.peer_wait.clone());
            return Err(EAGAIN);
        }
        let rights = self.take_rights(ctx, msg)?;
        let data = src.read_vec(len)?;
        if data.len() < len {
            return Err(sentry_uapi::errno::EFAULT);
        }
        let creds = match explicit {
            Some(creds) => creds,
            None if self.sock.attaches_creds(&other.sock) => ScmCreds::current(ctx),
            None => ScmCreds::NONE,
        };
        let dgram = Dgram {
            data,
            from: self.sockaddr(),
            creds,
            rights,
            sent: self.sock.net.clocks().realtime_nanos(),
            _charge: Charge::new(&self.sock, len + OVERHEAD),
        };
        let refused = match other.deliver(self, dgram) {
            Ok(()) => return Ok(len),
            Err(refused) => refused,
        };
        match refused {
            Refused::Full(dgram) => {
                src.revert(len);
                msg.control.extend(dgram.rights.map(|r| SendControl::Rights(r.detach())));
                *wait = Some(other.peer_wait.clone());
                Err(EAGAIN)
            }
            Refused::Dead if connected.is_none() => Err(ECONNREFUSED),
            Refused::Dead if self.sock.ty == SOCK_SEQPACKET => Err(EPIPE),
            Refused::Dead => {
                self.forget_dead_peer(&other);
                Err(ECONNREFUSED)
            }
            Refused::Error(e) => Err(e),
        }
    }

    fn forget_dead_peer(&self, other: &UnixSock) {
        let mut state = self.state.lock();
        if state.peer.as_ref().is_some_and(|p| p.is(other)) {
            let old = state.peer.take();
            self.phase.store(CLOSE, Ordering::Release);
            drop(state);
            drop(old);
            self.disconnected_from(other);
        }
    }

    fn deliver(&self, sender: &UnixSock, dgram: Dgram) -> Result<(), Refused> {
        let state = self.state.lock();
        let peer_is_sender = state.peer.as_ref().is_some_and(|p| p.is(sender));
        if state.peer.is_some() && !peer_is_sender {
            return Err(Refused::Error(EPERM));
        }
        if self.is_dead() {
            return Err(Refused::Dead);
        }
        if self.sock.shutdown_bits() & RCV_SHUTDOWN != 0 {
            return Err(Refused::Error(EPIPE));
        }
        if !self.is(sender) && !peer_is_sender && self.recvq_full() {
            return Err(Refused::Full(Box::new(dgram)));
        }
        self.dgrams.lock().messages.push_back(dgram);
        drop(state);
        self.sock.wq.wake(IN_EVENTS);
        Ok(())
    }

    /// Linux: `__unix_dgram_recvmsg`.
    pub(super) fn dgram_recvmsg(
        &self,
        dst: &mut IoDst<'_>,
        flags: MsgFlags,
        out: &mut Received,
    ) -> Result<usize, Errno> {
        if flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        if let Some(e) = self.sock.take_error() {
            return Err(e);
        }
        let peek = flags.contains(MsgFlags::PEEK);
        let offset = self.sock.opts.peek_off.load(Ordering::Relaxed);
        let skip = if peek { usize::try_from(offset).unwrap_or(0) } else { 0 };
        let mut dgrams = self.dgrams.lock();
        let Some((index, skip)) = dgrams.at(skip) else {
            drop(dgrams);
            let shut = self.sock.shutdown_bits() & RCV_SHUTDOWN != 0;
            let ends = self.sock.ty == SOCK_SEQPACKET || !flags.contains(MsgFlags::DONTWAIT);
            return if shut && ends { Ok(0) } else { Err(EAGAIN) };
        };
        let copied;
        let len;
        if peek {
            let Some(message) = dgrams.messages.get(index) else { return Err(EAGAIN) };
            copied = self.copy_out(message, skip, dst, out)?;
            len = message.len() - skip;
            out.control.extend(message.rights.as_ref().map(|r| ControlMsg::Rights(r.peek())));
            self.move_peek_off(true, offset, copied);
        } else {
            let Some(mut message) = dgrams.messages.pop_front() else { return Err(EAGAIN) };
            drop(dgrams);
            self.peer_wait.wake_all(OUT_EVENTS);
            copied = self.copy_out(&message, 0, dst, out)?;
            len = message.len();
            out.control.extend(message.rights.take().map(|r| ControlMsg::Rights(r.detach())));
            self.move_peek_off(false, offset, len);
        }
        Ok(if flags.contains(MsgFlags::TRUNC) { len } else { copied })
    }

    fn copy_out(
        &self,
        message: &Dgram,
        skip: usize,
        dst: &mut IoDst<'_>,
        out: &mut Received,
    ) -> Result<usize, Errno> {
        let data = message.data.get(skip..).unwrap_or_default();
        let copied = dst.write(data)?;
        if copied < data.len() {
            if dst.remaining() > 0 {
                return Err(sentry_uapi::errno::EFAULT);
            }
            out.flags |= MsgFlags::TRUNC;
        }
        out.addr = message.from.as_ref().map(|a| a.to_sockaddr());
        out.control.extend(timestamp(&self.sock, message.sent));
        if self.sock.opts.pass_cred() {
            out.control.push(ControlMsg::Credentials(message.creds));
        }
        if self.sock.opts.pass_pidfd() {
            out.control.push(ControlMsg::Pidfd(message.creds.pid));
        }
        Ok(copied)
    }
}

/// Why a message was not taken.
enum Refused {
    Full(Box<Dgram>),
    Dead,
    Error(Errno),
}
