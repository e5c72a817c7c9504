//! Linux: net/unix/af_unix.c. MSG_OOB is not supported (as without CONFIG_AF_UNIX_OOB).
//!
//! Lock order: the table of names or the in-flight table, then the state of one socket or, by address, of two, then the
//! queue of one.

mod connection;
mod dgram;
mod garbage;
mod name;
mod peercred;
mod stream;

pub(crate) use garbage::Inflight;
pub(crate) use name::UnixNames;
pub use name::unix_path;

use crate::proto_ops::{Connect, ProtoOps, Received, SendMsg};
use crate::sock::{OUT_EVENTS, RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK, STATE_EVENTS, Sock};
use crate::{GetOptError, NetNamespace, SendControl, SockAddr};
use connection::State;
use dgram::{Dgram, DgramQueue};
use fs_vfs::{Inode, PollTable, TaskContext};
use garbage::Rights;
use name::UnixAddr;
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOTCONN, EOPNOTSUPP, EPROTONOSUPPORT, ESOCKTNOSUPPORT};
use sentry_uapi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRBAND, POLLWRNORM};
use sentry_uapi::socket::*;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use stream::Connection;

/// Not connected. Linux: `TCP_CLOSE`, as the next two.
const CLOSE: u8 = 0;
const LISTEN: u8 = 1;
const ESTABLISHED: u8 = 2;

/// A local socket.
pub(crate) struct UnixSock {
    this: Weak<UnixSock>,
    sock: Arc<Sock>,
    /// Name; set once.
    addr: Arc<OnceLock<Arc<UnixAddr>>>,
    /// [`CLOSE`], [`LISTEN`] or [`ESTABLISHED`]. Changed under the state's lock.
    phase: AtomicU8,
    /// Released. Linux: `SOCK_DEAD`. Changed under the state's lock.
    dead: AtomicBool,
    state: Mutex<State, { level::SOCKET }>,
    /// Both directions of a connected stream.
    connection: OnceLock<Connection>,
    /// Messages received, of the other types.
    dgrams: Mutex<DgramQueue, { level::BUFFER }>,
    /// Senders that found the queue or the backlog full wait here. Linux: `peer_wait`.
    peer_wait: WaitQueue,
}

/// Linux: `unix_create`.
pub(crate) fn create(net: &Arc<NetNamespace>, ty: u32, protocol: i32) -> Result<Arc<dyn ProtoOps>, Errno> {
    if protocol != 0 && protocol != i32::from(AF_UNIX) {
        return Err(EPROTONOSUPPORT);
    }
    let ty = match ty {
        SOCK_RAW => SOCK_DGRAM,
        SOCK_STREAM | SOCK_DGRAM | SOCK_SEQPACKET => ty,
        _ => return Err(ESOCKTNOSUPPORT),
    };
    Ok(UnixSock::new(net, ty))
}

impl UnixSock {
    fn new(net: &Arc<NetNamespace>, ty: u32) -> Arc<UnixSock> {
        Arc::new_cyclic(|this| UnixSock {
            this: this.clone(),
            sock: Arc::new(Sock::new(net, AF_UNIX, ty, 0)),
            addr: Arc::default(),
            phase: AtomicU8::new(CLOSE),
            dead: AtomicBool::new(false),
            state: Mutex::new(State::default()),
            connection: OnceLock::new(),
            dgrams: Mutex::new(DgramQueue::default()),
            peer_wait: WaitQueue::new(),
        })
    }

    pub(crate) fn of(ops: &dyn ProtoOps) -> Option<&UnixSock> {
        ops.as_any().downcast_ref()
    }

    fn arc(&self) -> Result<Arc<UnixSock>, Errno> {
        self.this.upgrade().ok_or(EINVAL)
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    fn peer(&self) -> Option<Arc<UnixSock>> {
        self.state.lock().peer.clone()
    }

    fn is(&self, other: &UnixSock) -> bool {
        std::ptr::eq(self, other)
    }

    /// The control messages of a message to send, checked. The files stay where they are. Linux: `scm_send`.
    fn check_control(ctx: &dyn TaskContext, msg: &SendMsg) -> Result<Option<crate::ScmCreds>, Errno> {
        let mut creds = None;
        for control in &msg.control {
            match control {
                SendControl::Credentials(c) => {
                    c.check(ctx)?;
                    creds = Some(*c);
                }
                SendControl::Other { level: SOL_SOCKET, .. } => return Err(EINVAL),
                SendControl::Rights(_) | SendControl::Other { .. } => {}
            }
        }
        Ok(creds)
    }

    /// Takes the files to send out of the message, and counts them as in flight. They go back if that is refused.
    ///
    /// # Errors
    /// `ETOOMANYREFS` if the sender has too many in flight.
    fn take_rights(&self, ctx: &dyn TaskContext, msg: &mut SendMsg) -> Result<Option<Rights>, Errno> {
        let files: Vec<_> = msg
            .control
            .iter()
            .filter_map(|c| if let SendControl::Rights(files) = c { Some(files) } else { None })
            .flatten()
            .cloned()
            .collect();
        if files.is_empty() {
            return Ok(None);
        }
        if files.len() > SCM_MAX_FD {
            return Err(EINVAL);
        }
        let rights = Rights::attach(ctx, &self.sock.net, files)?;
        msg.control.retain(|c| !matches!(c, SendControl::Rights(_)));
        Ok(Some(rights))
    }
}

impl ProtoOps for UnixSock {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn sock(&self) -> &Sock {
        &self.sock
    }

    fn bind(&self, _ctx: &dyn TaskContext, addr: &SockAddr, inode: Option<&Arc<Inode>>) -> Result<(), Errno> {
        self.unix_bind(addr, inode)
    }

    fn connect(
        &self,
        ctx: &dyn TaskContext,
        addr: &SockAddr,
        inode: Option<&Arc<Inode>>,
        _nonblock: bool,
    ) -> Result<Connect, Errno> {
        if self.sock.ty == SOCK_DGRAM {
            self.dgram_connect(ctx, addr, inode).map(|()| Connect::Done)
        } else {
            self.stream_connect(ctx, addr, inode)
        }
    }

    fn pair(&self, ctx: &dyn TaskContext, peer: &Arc<dyn ProtoOps>) -> Result<(), Errno> {
        let peer = UnixSock::of(&**peer).ok_or(EOPNOTSUPP)?;
        self.socketpair(ctx, peer)
    }

    fn listen(&self, ctx: &dyn TaskContext, backlog: u32) -> Result<(), Errno> {
        self.unix_listen(ctx, backlog)
    }

    fn accept(&self) -> Result<Arc<dyn ProtoOps>, Errno> {
        self.unix_accept().map(|s| s as Arc<dyn ProtoOps>)
    }

    fn listening(&self) -> bool {
        self.phase() == LISTEN
    }

    fn getname(&self) -> SockAddr {
        self.addr.get().map_or_else(UnixAddr::unnamed, |a| a.to_sockaddr())
    }

    fn getpeername(&self) -> Result<SockAddr, Errno> {
        Ok(self.peer().ok_or(ENOTCONN)?.getname())
    }

    fn sendmsg(
        &self,
        ctx: &dyn TaskContext,
        msg: &mut SendMsg,
        src: &mut IoSrc<'_>,
        wait: &mut Option<WaitQueue>,
    ) -> Result<usize, Errno> {
        match self.sock.ty {
            SOCK_STREAM => self.stream_sendmsg(ctx, msg, src),
            SOCK_SEQPACKET => self.seqpacket_sendmsg(ctx, msg, src, wait),
            _ => self.dgram_sendmsg(ctx, msg, src, wait),
        }
    }

    fn recvmsg(
        &self,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        flags: MsgFlags,
        out: &mut Received,
    ) -> Result<usize, Errno> {
        match self.sock.ty {
            SOCK_STREAM => self.stream_recvmsg(dst, flags, out),
            SOCK_SEQPACKET if self.phase() != ESTABLISHED => Err(ENOTCONN),
            _ => self.dgram_recvmsg(dst, flags, out),
        }
    }

    /// Linux: `unix_shutdown`.
    fn shutdown(&self, how: u8) -> Result<(), Errno> {
        self.sock.add_shutdown(how);
        let peer = self.peer();
        if let (Some(peer), SOCK_STREAM | SOCK_SEQPACKET) = (&peer, self.sock.ty) {
            let mirrored = (if how & RCV_SHUTDOWN != 0 { SEND_SHUTDOWN } else { 0 })
                | (if how & SEND_SHUTDOWN != 0 { RCV_SHUTDOWN } else { 0 });
            peer.sock.add_shutdown(mirrored);
        }
        if let Some(connection) = self.connection.get() {
            connection.shutdown(how);
        }
        if let Some(peer) = &peer {
            peer.sock.wq.wake_all(STATE_EVENTS);
        }
        self.sock.wq.wake_all(STATE_EVENTS);
        Ok(())
    }

    /// Linux: `unix_poll` and `unix_dgram_poll`.
    fn poll(&self, table: &mut PollTable) -> u32 {
        let mut mask = 0;
        let shutdown = self.sock.shutdown_bits();
        if self.sock.has_error() {
            mask |= POLLERR;
        }
        if shutdown == SHUTDOWN_MASK {
            mask |= POLLHUP;
        }
        if shutdown & RCV_SHUTDOWN != 0 {
            mask |= POLLRDHUP | POLLIN | POLLRDNORM;
        }
        let phase = self.phase();
        if self.readable(phase) {
            mask |= POLLIN | POLLRDNORM;
        }
        if phase == CLOSE && self.sock.ty != SOCK_DGRAM {
            mask |= POLLHUP;
        }
        if phase != LISTEN && self.writable(table) {
            mask |= POLLOUT | POLLWRNORM | POLLWRBAND;
        }
        mask
    }

    fn setsockopt(&self, _: &dyn TaskContext, _: i32, _: i32, _: &[u8]) -> Result<(), Errno> {
        Err(EOPNOTSUPP)
    }

    fn getsockopt(
        &self,
        ctx: &dyn TaskContext,
        level: i32,
        name: i32,
        len: usize,
    ) -> Result<Vec<u8>, GetOptError> {
        if level == SOL_SOCKET { self.peercred_option(ctx, name, len) } else { Err(EOPNOTSUPP.into()) }
    }

    /// Linux: `unix_inq_len`.
    fn inq(&self) -> Result<usize, Errno> {
        if self.phase() == LISTEN {
            return Err(EINVAL);
        }
        if let Some(connection) = self.connection.get() {
            return Ok(connection.rx.queued());
        }
        let dgrams = self.dgrams.lock();
        Ok(match self.sock.ty {
            SOCK_SEQPACKET => dgrams.bytes(),
            _ => dgrams.front().map_or(0, Dgram::len),
        })
    }

    fn outq(&self) -> Result<usize, Errno> {
        Ok(self.connection.get().map_or_else(|| self.sock.wmem.load(Ordering::Relaxed), |c| c.tx.queued()))
    }

    /// There is no urgent data.
    fn at_mark(&self) -> Result<bool, Errno> {
        Ok(false)
    }

    /// Linux: `unix_show_fdinfo`.
    fn show_fdinfo(&self) -> String {
        let mut files = 0;
        self.for_each_rights(&mut |rights| files += rights.count());
        format!("scm_fds: {files}\n")
    }

    /// Linux: `unix_release_sock`.
    fn release(&self) {
        self.release_sock(false);
        self.sock.net.kernelwide.inflight.collect_if_needed();
    }
}

impl UnixSock {
    fn readable(&self, phase: u8) -> bool {
        match (phase, self.connection.get()) {
            (LISTEN, _) => !self.state.lock().backlog.is_empty(),
            (_, Some(connection)) => connection.rx.queued() != 0,
            (..) => !self.dgrams.lock().is_empty(),
        }
    }

    fn writable(&self, table: &mut PollTable) -> bool {
        if let Some(connection) = self.connection.get() {
            return connection.tx.writable(self.sock.opts.sndbuf());
        }
        if self.sock.wmem.load(Ordering::Relaxed).saturating_mul(4) > self.sock.opts.sndbuf() {
            return false;
        }
        if self.sock.ty == SOCK_STREAM {
            return true;
        }
        match self.peer() {
            Some(peer) if !peer.peer_is(self) => {
                table.wait(&peer.peer_wait);
                !peer.recvq_full()
            }
            _ => true,
        }
    }

    /// Takes the socket out of everything. `embryo`: it was never accepted.
    fn release_sock(&self, embryo: bool) {
        self.unbind();
        let mut state = self.state.lock();
        self.dead.store(true, Ordering::Release);
        self.sock.add_shutdown(SHUTDOWN_MASK);
        self.phase.store(CLOSE, Ordering::Release);
        let peer = state.peer.take();
        let backlog = std::mem::take(&mut state.backlog);
        drop(state);
        let unread_dgrams = std::mem::take(&mut *self.dgrams.lock());
        let mut unread = !unread_dgrams.is_empty();
        if let Some(connection) = self.connection.get() {
            unread |= connection.abandon();
        }
        if let Some(peer) = peer
            && self.sock.ty != SOCK_DGRAM
        {
            peer.sock.add_shutdown(SHUTDOWN_MASK);
            if unread || embryo {
                peer.sock.set_error(sentry_uapi::errno::ECONNRESET);
            }
            // After the error, so that a reader who sees the end has seen the error first.
            if let Some(connection) = self.connection.get() {
                connection.shutdown(SHUTDOWN_MASK);
            }
            peer.sock.wq.wake_all(STATE_EVENTS);
        }
        drop(unread_dgrams);
        for waiting in backlog {
            waiting.release_sock(true);
        }
        self.peer_wait.wake_all(OUT_EVENTS | STATE_EVENTS);
    }
}
