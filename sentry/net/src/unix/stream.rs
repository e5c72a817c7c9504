//! SOCK_STREAM: two queues of bytes between two sockets.
//!
//! Linux keeps a list of buffers, one a message; here the bytes lie in a ring and what does not merge is remembered by
//! its place: where the sender changes, and where files travel. A reader sees the same boundaries.

use super::garbage::Rights;
use super::name::UnixAddr;
use super::{ESTABLISHED, UnixSock};
use crate::proto_ops::{Received, SendMsg};
use crate::ring::Ring;
use crate::sock::{IN_EVENTS, OUT_EVENTS, RCV_SHUTDOWN, SEND_SHUTDOWN, Sock};
use crate::{ControlMsg, ScmCreds};
use fs_vfs::TaskContext;
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL, EISCONN, ENOTCONN, EOPNOTSUPP, EPIPE};
use sentry_uapi::socket::MsgFlags;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Both directions, as one end sees them.
pub(super) struct Connection {
    pub(super) rx: Arc<Channel>,
    pub(super) tx: Arc<Channel>,
    peer: Arc<Sock>,
    /// The peer's name, once it has one.
    peer_addr: Arc<OnceLock<Arc<UnixAddr>>>,
}

/// What a read finds.
enum Found {
    Bytes(usize),
    /// Nothing, and whether there will never be anything.
    Nothing {
        closed: bool,
    },
}

/// One direction.
pub(super) struct Channel {
    flow: Mutex<Flow, { level::BUFFER }>,
    /// Length of the ring, to be read without the lock.
    queued: AtomicUsize,
    /// What is in use of the writer's buffer, likewise.
    used: AtomicUsize,
    reader: WaitQueue,
    writer: WaitQueue,
}

#[derive(Default)]
struct Flow {
    ring: Ring,
    /// Place in the stream of the ring's first byte.
    start: u64,
    /// Where each sender's bytes begin; the first entry is the present one.
    senders: VecDeque<(u64, ScmCreds)>,
    /// Files under way.
    rights: VecDeque<Parcel>,
    /// No more will be written.
    closed: bool,
    /// The writer's buffer size when it last wrote.
    sndbuf: usize,
}

/// What a parcel of files takes of the buffer beyond its bytes. Linux: about `SKB_TRUESIZE(0)`.
const PARCEL_SIZE: usize = 768;

impl Flow {
    fn used(&self) -> usize {
        self.ring.len() + self.rights.len() * PARCEL_SIZE
    }
}

/// Files that travel with the bytes from `start` to `end`.
struct Parcel {
    start: u64,
    end: u64,
    rights: Rights,
}

impl Connection {
    pub(super) fn pair(a: &UnixSock, b: &UnixSock) -> (Connection, Connection) {
        let ab = Channel::new(&b.sock.wq, &a.sock.wq);
        let ba = Channel::new(&a.sock.wq, &b.sock.wq);
        (
            Connection { rx: ba.clone(), tx: ab.clone(), peer: b.sock.clone(), peer_addr: b.addr.clone() },
            Connection { rx: ab, tx: ba, peer: a.sock.clone(), peer_addr: a.addr.clone() },
        )
    }

    pub(super) fn shutdown(&self, how: u8) {
        if how & RCV_SHUTDOWN != 0 {
            self.rx.flow.lock().closed = true;
        }
        if how & SEND_SHUTDOWN != 0 {
            self.tx.flow.lock().closed = true;
        }
    }

    /// This end reads no more. Returns whether it left anything unread.
    pub(super) fn abandon(&self) -> bool {
        let mut flow = self.rx.flow.lock();
        flow.closed = true;
        let unread = !flow.ring.is_empty();
        flow.ring.clear();
        let rights = std::mem::take(&mut flow.rights);
        self.rx.publish(&flow);
        drop(flow);
        drop(rights);
        unread
    }
}

impl Channel {
    fn new(reader: &WaitQueue, writer: &WaitQueue) -> Arc<Channel> {
        Arc::new(Channel {
            flow: Mutex::new(Flow::default()),
            queued: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            reader: reader.clone(),
            writer: writer.clone(),
        })
    }

    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    /// Whether poll(2) reports room: not before three quarters of the buffer are free. Linux: `unix_writable`.
    pub(super) fn writable(&self, sndbuf: usize) -> bool {
        self.used.load(Ordering::Acquire).saturating_mul(4) <= sndbuf
    }

    fn publish(&self, flow: &Flow) {
        self.queued.store(flow.ring.len(), Ordering::Release);
        self.used.store(flow.used(), Ordering::Release);
    }

    /// Lets `f` see the sets of files under way. For the garbage collector.
    pub(super) fn for_each_rights(&self, mut f: impl FnMut(&Rights)) {
        for parcel in &self.flow.lock().rights {
            f(&parcel.rights);
        }
    }

    /// Takes all files under way out of the queue.
    pub(super) fn take_all_rights(&self) -> Vec<Rights> {
        self.flow.lock().rights.drain(..).map(|p| p.rights).collect()
    }

    fn send(
        &self,
        src: &mut IoSrc<'_>,
        sndbuf: usize,
        creds: ScmCreds,
        rights: &mut Option<Rights>,
    ) -> Result<usize, Errno> {
        let mut flow = self.flow.lock();
        if flow.closed {
            return Err(EPIPE);
        }
        flow.sndbuf = sndbuf;
        let room = sndbuf.saturating_sub(flow.used());
        if room == 0 {
            return Err(EAGAIN);
        }
        let start = flow.start + flow.ring.len() as u64;
        let n = flow.ring.push_from(src, room)?;
        if n > 0 {
            if flow.senders.back().is_none_or(|(_, last)| *last != creds) {
                flow.senders.push_back((start, creds));
            }
            if let Some(rights) = rights.take() {
                flow.rights.push_back(Parcel { start, end: start + n as u64, rights });
            }
        }
        self.publish(&flow);
        drop(flow);
        self.reader.wake(IN_EVENTS);
        Ok(n)
    }

    /// Reads up to the next boundary.
    fn recv(&self, dst: &mut IoDst<'_>, how: &RecvHow, out: &mut Received) -> Result<Found, Errno> {
        let mut flow = self.flow.lock();
        let skip = how.peek_off.unwrap_or(0);
        let available = flow.ring.len().saturating_sub(skip);
        if available == 0 {
            return Ok(Found::Nothing { closed: flow.closed });
        }
        let at = flow.start + skip as u64;
        let mut limit = available.min(dst.remaining());
        let distance = |to: u64| usize::try_from(to - at).unwrap_or(usize::MAX);
        if how.pass_cred {
            let next = flow.senders.partition_point(|(start, _)| *start <= at);
            let sender =
                next.checked_sub(1).and_then(|i| flow.senders.get(i)).map_or(ScmCreds::NONE, |s| s.1);
            let earlier = out.control.iter().find_map(|c| match c {
                ControlMsg::Credentials(creds) => Some(*creds),
                _ => None,
            });
            match earlier {
                Some(creds) if creds != sender => {
                    out.stop = true;
                    return Ok(Found::Bytes(0));
                }
                Some(_) => {}
                None => out.control.push(ControlMsg::Credentials(sender)),
            }
            if let Some((start, _)) = flow.senders.get(next) {
                limit = limit.min(distance(*start));
            }
        }
        // Bytes with files end the call; those before them may come along.
        let parcel = flow.rights.iter().position(|p| p.end > at);
        if let Some(parcel) = parcel.and_then(|i| flow.rights.get(i)) {
            limit = limit.min(distance(parcel.end));
        }
        let before = flow.used();
        let n = flow.ring.copy_to(dst, skip, limit)?;
        let end = at + n as u64;
        let mut rights = None;
        if let Some(i) = parcel
            && n > 0
            && flow.rights.get(i).is_some_and(|p| p.start < end)
        {
            out.stop = true;
            if how.peek {
                out.control.extend(flow.rights.get(i).map(|p| ControlMsg::Rights(p.rights.peek())));
            } else {
                rights = flow.rights.remove(i);
            }
        }
        if how.peek {
            return Ok(Found::Bytes(n));
        }
        flow.ring.consume(n);
        flow.start = end;
        while flow.senders.get(1).is_some_and(|(start, _)| *start <= end) {
            flow.senders.pop_front();
        }
        let (after, sndbuf) = (flow.used(), flow.sndbuf);
        self.publish(&flow);
        drop(flow);
        if let Some(parcel) = rights {
            out.control.push(ControlMsg::Rights(parcel.rights.detach()));
        }
        // Writers wait for three quarters of the room; wake them once, when it is there.
        if before.saturating_mul(4) > sndbuf && after.saturating_mul(4) <= sndbuf {
            self.writer.wake_all(OUT_EVENTS);
        }
        Ok(Found::Bytes(n))
    }
}

struct RecvHow {
    peek: bool,
    /// Where MSG_PEEK begins; none unless peeking.
    peek_off: Option<usize>,
    pass_cred: bool,
}

impl UnixSock {
    /// Linux: `unix_stream_sendmsg`.
    pub(super) fn stream_sendmsg(
        &self,
        ctx: &dyn TaskContext,
        msg: &mut SendMsg,
        src: &mut IoSrc<'_>,
    ) -> Result<usize, Errno> {
        let explicit = UnixSock::check_control(ctx, msg)?;
        if msg.flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        if msg.addr.is_some() {
            return Err(if self.phase() == ESTABLISHED { EISCONN } else { EOPNOTSUPP });
        }
        let connection = self.connection.get().ok_or(ENOTCONN)?;
        if self.sock.shutdown_bits() & SEND_SHUTDOWN != 0 {
            return Err(EPIPE);
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        if let Some(e) = self.sock.take_error() {
            return Err(e);
        }
        let creds = match explicit {
            Some(creds) => creds,
            None if self.sock.attaches_creds(&connection.peer) => ScmCreds::current(ctx),
            None => ScmCreds::NONE,
        };
        if msg.control.is_empty() {
            return connection.tx.send(src, self.sock.opts.sndbuf(), creds, &mut None);
        }
        if connection.tx.used.load(Ordering::Acquire) >= self.sock.opts.sndbuf() {
            return Err(EAGAIN);
        }
        let mut rights = self.take_rights(ctx, msg)?;
        let sent = connection.tx.send(src, self.sock.opts.sndbuf(), creds, &mut rights);
        if let (Err(EAGAIN), Some(rights)) = (sent, rights) {
            // Another writer was faster; the files go with the next try.
            msg.control.push(crate::SendControl::Rights(rights.detach()));
        }
        sent
    }

    /// Linux: `unix_stream_read_generic`.
    pub(super) fn stream_recvmsg(
        &self,
        dst: &mut IoDst<'_>,
        flags: MsgFlags,
        out: &mut Received,
    ) -> Result<usize, Errno> {
        let Some(connection) = self.connection.get() else { return Err(EINVAL) };
        if flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        let peek = flags.contains(MsgFlags::PEEK);
        let offset = self.sock.opts.peek_off.load(Ordering::Relaxed);
        let peek_off = if peek { usize::try_from(offset).ok() } else { None };
        let how = RecvHow { peek, peek_off, pass_cred: self.sock.opts.pass_cred() };
        match connection.rx.recv(dst, &how, out)? {
            Found::Bytes(n) => {
                self.move_peek_off(peek, offset, n);
                if out.addr.is_none() {
                    out.addr = connection.peer_addr.get().map(|a| a.to_sockaddr());
                }
                Ok(n)
            }
            Found::Nothing { closed } => match self.sock.take_error() {
                Some(e) => Err(e),
                None if closed => Ok(0),
                None => Err(EAGAIN),
            },
        }
    }

    /// SO_PEEK_OFF moves with what is peeked, and back with what is read. Linux: `sk_peek_offset_fwd` and `_bwd`.
    pub(super) fn move_peek_off(&self, peek: bool, offset: i32, n: usize) {
        if offset < 0 {
            return;
        }
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        let new = if peek { offset.saturating_add(n) } else { (offset - n.min(offset)).max(0) };
        self.sock.opts.peek_off.store(new, Ordering::Relaxed);
    }
}
