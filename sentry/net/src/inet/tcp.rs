//! Linux: net/ipv4/tcp.c. Data, shutdown, poll; connections are made in `tcp_connect.rs`.

use super::addr::{Endpoint, any};
use super::channel::{Channel, Sent};
use super::ip_options::IpOptions;
use super::tcp_options::TcpOptions;
use super::{Binding, tcp_connect::Listener};
use crate::proto_ops::{Connect, ProtoOps, Received, SendMsg};
use crate::sock::{RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK, STATE_EVENTS, Sock};
use crate::{GetOptError, NetNamespace, SockAddr};
use fs_vfs::{Inode, PollTable, TaskContext};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, ECONNRESET, EINVAL, ENOTCONN, EOPNOTSUPP, EPIPE};
use sentry_uapi::in_::IPPROTO_TCP;
use sentry_uapi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM, POLLWRNORM};
use sentry_uapi::socket::{MsgFlags, SOCK_STREAM};
use sentry_uapi::tcp::{
    SOL_TCP, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_ESTABLISHED, TCP_FIN_WAIT2, TCP_LISTEN, TCP_SYN_SENT,
};
use std::any::Any;
use std::sync::{Arc, Weak};

/// Default sizes of the buffers. Linux: the middle values of `tcp_wmem` and `tcp_rmem`.
const TCP_WMEM: u32 = 16384;
const TCP_RMEM: u32 = 131_072;

/// A TCP socket.
pub(crate) struct TcpSock {
    pub(super) this: Weak<TcpSock>,
    pub(super) sock: Arc<Sock>,
    pub(super) ip: IpOptions,
    pub(super) options: TcpOptions,
    pub(super) state: Mutex<State, { level::SOCKET }>,
}

/// What has become of a TCP socket. Linux: `sk_state`.
#[derive(Default)]
pub(super) enum Phase {
    /// Not connected, or no longer.
    #[default]
    Close,
    /// Asked for a connection that the listener has no room for yet.
    SynSent,
    Listen(Listener),
    /// Connected, in at least one direction.
    Established(Arc<Connection>),
}

/// What connect(2) has said so far. Linux: `sock->state`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Progress {
    #[default]
    Unconnected,
    Connecting,
    Connected,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) progress: Progress,
    pub(super) binding: Option<Binding>,
    /// The address bind(2) asked for and the port that was in use, when a dissolved connection has given the port back.
    pub(super) stale: Option<Endpoint>,
    pub(super) remote: Option<Endpoint>,
    /// The connection is in the table of ports.
    pub(super) entered: bool,
    /// The connection that has ended, whose bytes may still be read.
    pub(super) ended: Option<Arc<Connection>>,
}

/// Both directions of a connection, as one end sees them.
pub(super) struct Connection {
    pub(super) rx: Arc<Channel>,
    pub(super) tx: Arc<Channel>,
    pub(super) peer: Weak<TcpSock>,
}

impl TcpSock {
    pub(crate) fn new(net: &Arc<NetNamespace>, family: u16) -> Arc<TcpSock> {
        let sock = Sock::new(net, family, SOCK_STREAM, IPPROTO_TCP);
        sock.opts.default_buffers(TCP_WMEM, TCP_RMEM);
        Arc::new_cyclic(|this| TcpSock {
            this: this.clone(),
            ip: IpOptions::new(net),
            options: TcpOptions::default(),
            sock: Arc::new(sock),
            state: Mutex::new(State::default()),
        })
    }

    /// The connection, also one that has ended.
    fn connection(&self) -> Option<Arc<Connection>> {
        let state = self.state.lock();
        match &state.phase {
            Phase::Established(connection) => Some(connection.clone()),
            _ => state.ended.clone(),
        }
    }

    /// The state as TCP_INFO shows it.
    pub(super) fn tcp_state(&self) -> u8 {
        match &self.state.lock().phase {
            Phase::Close => TCP_CLOSE,
            Phase::SynSent => TCP_SYN_SENT,
            Phase::Listen(_) => TCP_LISTEN,
            Phase::Established(c) => match (c.tx.has_fin(), c.rx.has_fin()) {
                (false, false) => TCP_ESTABLISHED,
                (true, false) => TCP_FIN_WAIT2,
                (false, true) => TCP_CLOSE_WAIT,
                (true, true) => TCP_CLOSE,
            },
        }
    }

    /// The connection is over: by a reset, or because both ends have said so. What was received stays readable. Linux:
    /// `tcp_done`.
    pub(super) fn done(&self, err: Option<Errno>) {
        let mut state = self.state.lock();
        match std::mem::take(&mut state.phase) {
            Phase::Established(connection) => state.ended = Some(connection),
            Phase::SynSent => {}
            other => {
                state.phase = other;
                return;
            }
        }
        if let Some(err) = err {
            self.sock.set_error(err);
        }
        self.sock.add_shutdown(SHUTDOWN_MASK);
        drop(state);
        self.leave_port();
        self.sock.wq.wake_all(STATE_EVENTS);
    }

    /// Resets the other end of a connection that this end gives up. Linux: `tcp_send_active_reset`, `tcp_reset`.
    pub(super) fn reset_peer(connection: &Connection) {
        if let Some(peer) = connection.peer.upgrade() {
            let heard_fin = peer.tcp_state() == TCP_CLOSE_WAIT;
            peer.done(Some(if heard_fin { EPIPE } else { ECONNRESET }));
        }
    }

    /// Tells the peer that no more comes. Linux: `tcp_send_fin` here, `tcp_fin` there.
    pub(super) fn send_fin(&self, connection: &Connection) {
        if !connection.tx.fin() {
            return;
        }
        let both = connection.rx.has_fin();
        if let Some(peer) = connection.peer.upgrade() {
            peer.sock.add_shutdown(RCV_SHUTDOWN);
            if both {
                peer.done(None);
            }
            peer.sock.wq.wake_all(STATE_EVENTS);
        }
        if both {
            self.done(None);
        }
    }
}

impl ProtoOps for TcpSock {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn sock(&self) -> &Sock {
        &self.sock
    }

    fn bind(&self, ctx: &dyn TaskContext, addr: &SockAddr, _: Option<&Arc<Inode>>) -> Result<(), Errno> {
        self.inet_bind(ctx, addr)
    }

    fn connect(
        &self,
        ctx: &dyn TaskContext,
        addr: &SockAddr,
        _: Option<&Arc<Inode>>,
        nonblock: bool,
    ) -> Result<Connect, Errno> {
        self.inet_connect(ctx, addr, nonblock)
    }

    fn connect_result(&self) -> Result<(), Errno> {
        self.inet_connect_result()
    }

    fn listen(&self, ctx: &dyn TaskContext, backlog: u32) -> Result<(), Errno> {
        self.inet_listen(ctx, backlog)
    }

    fn accept(&self) -> Result<Arc<dyn ProtoOps>, Errno> {
        self.inet_accept().map(|s| s as Arc<dyn ProtoOps>)
    }

    fn listening(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Listen(_))
    }

    fn getname(&self) -> SockAddr {
        let state = self.state.lock();
        let unnamed = state.stale.unwrap_or(Endpoint::new(any(self.sock.family), 0));
        let at = state.binding.map_or(unnamed, |b| Endpoint::new(b.ip, b.port));
        at.to_sockaddr(self.sock.family)
    }

    fn getpeername(&self) -> Result<SockAddr, Errno> {
        let state = self.state.lock();
        match (&state.phase, state.remote) {
            (Phase::Established(_), Some(remote)) => Ok(remote.to_sockaddr(self.sock.family)),
            _ => Err(ENOTCONN),
        }
    }

    fn accepted_from(&self) -> Result<SockAddr, Errno> {
        Ok(self.state.lock().remote.ok_or(ENOTCONN)?.to_sockaddr(self.sock.family))
    }

    /// Linux: `tcp_sendmsg_locked`. An address is ignored.
    fn sendmsg(
        &self,
        _ctx: &dyn TaskContext,
        msg: &mut SendMsg,
        src: &mut IoSrc<'_>,
        _wait: &mut Option<WaitQueue>,
    ) -> Result<usize, Errno> {
        let connection = {
            let state = self.state.lock();
            match &state.phase {
                Phase::Established(connection) => Ok(connection.clone()),
                Phase::Close if msg.flags.contains(MsgFlags::FASTOPEN) => return Err(EOPNOTSUPP),
                Phase::SynSent => Err(EAGAIN),
                Phase::Close | Phase::Listen(_) => Err(EPIPE),
            }
        };
        if let Some(e) = self.sock.take_error() {
            return Err(e);
        }
        let connection = connection?;
        if self.sock.shutdown_bits() & SEND_SHUTDOWN != 0 {
            return Err(EPIPE);
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        match connection.tx.send(src, msg.flags.contains(MsgFlags::OOB))? {
            Sent::Bytes(n) => Ok(n),
            Sent::Reset(n) => {
                // The peer closed before: it answers with a reset, which the next call hears of.
                let heard_fin = connection.rx.has_fin();
                self.done(Some(if heard_fin { EPIPE } else { ECONNRESET }));
                Ok(n)
            }
        }
    }

    /// Linux: `tcp_recvmsg_locked`.
    fn recvmsg(
        &self,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        flags: MsgFlags,
        _out: &mut Received,
    ) -> Result<usize, Errno> {
        if flags.contains(MsgFlags::ERRQUEUE) {
            return Err(EAGAIN);
        }
        let connection = self.connection();
        let Some(connection) = connection else {
            if let Some(e) = self.sock.take_error() {
                return Err(e);
            }
            return match self.state.lock().phase {
                Phase::SynSent => Err(EAGAIN),
                Phase::Close if self.sock.shutdown_bits() & RCV_SHUTDOWN != 0 => Ok(0),
                _ => Err(ENOTCONN),
            };
        };
        let peek = flags.contains(MsgFlags::PEEK);
        let inline = self.sock.opts.oob_inline();
        if flags.contains(MsgFlags::OOB) {
            return connection.rx.recv_urgent(dst, peek, inline);
        }
        if dst.remaining() == 0 {
            return Ok(0);
        }
        match connection.rx.recv(dst, peek, flags.contains(MsgFlags::TRUNC), inline) {
            Err(EAGAIN) => {}
            done => return done,
        }
        // Bytes that came before the end are read before it is seen.
        let ended = connection.rx.has_fin() || self.sock.shutdown_bits() & RCV_SHUTDOWN != 0;
        if ended && connection.rx.queued() > 0 {
            return connection.rx.recv(dst, peek, flags.contains(MsgFlags::TRUNC), inline);
        }
        if connection.rx.has_fin() {
            return Ok(0);
        }
        match self.sock.take_error() {
            Some(e) => Err(e),
            None if ended => Ok(0),
            None => Err(EAGAIN),
        }
    }

    /// Linux: `inet_shutdown`.
    fn shutdown(&self, how: u8) -> Result<(), Errno> {
        enum What {
            NotConnected,
            Stop,
            Nothing,
            Connected(Arc<Connection>),
        }
        let what = match &self.state.lock().phase {
            Phase::Close => What::NotConnected,
            Phase::Listen(_) if how & RCV_SHUTDOWN == 0 => What::Nothing,
            Phase::Listen(_) | Phase::SynSent => What::Stop,
            Phase::Established(connection) => What::Connected(connection.clone()),
        };
        let result = match what {
            What::NotConnected => {
                self.sock.add_shutdown(how);
                Err(ENOTCONN)
            }
            What::Nothing => Ok(()),
            What::Stop => {
                self.disconnect();
                Ok(())
            }
            What::Connected(connection) => {
                self.sock.add_shutdown(how);
                if how & SEND_SHUTDOWN != 0 {
                    self.send_fin(&connection);
                }
                Ok(())
            }
        };
        self.sock.wq.wake_all(STATE_EVENTS);
        result
    }

    /// Linux: `tcp_poll`.
    fn poll(&self, _table: &mut PollTable) -> u32 {
        let mut mask = if self.sock.has_error() { POLLERR } else { 0 };
        let shutdown = self.sock.shutdown_bits();
        let state = self.state.lock();
        let connection = match &state.phase {
            Phase::Listen(listener) => return if listener.is_empty() { 0 } else { POLLIN | POLLRDNORM },
            Phase::SynSent => return mask,
            Phase::Close => {
                mask |= POLLHUP;
                state.ended.clone()
            }
            Phase::Established(connection) => Some(connection.clone()),
        };
        drop(state);
        if shutdown == SHUTDOWN_MASK {
            mask |= POLLHUP;
        }
        if shutdown & RCV_SHUTDOWN != 0 {
            mask |= POLLIN | POLLRDNORM | POLLRDHUP;
        }
        if let Some(connection) = &connection {
            let queued = connection.rx.queued();
            if queued > 0 {
                let skipped = usize::from(connection.rx.at_mark() && !self.sock.opts.oob_inline());
                if queued >= self.sock.opts.rcvlowat().min(connection.rx.capacity()) + skipped {
                    mask |= POLLIN | POLLRDNORM;
                }
                if connection.rx.has_urgent() {
                    mask |= POLLPRI;
                }
            }
        }
        let room = connection.is_none_or(|c| c.tx.writable());
        if room || shutdown & SEND_SHUTDOWN != 0 {
            mask |= POLLOUT | POLLWRNORM;
        }
        mask
    }

    fn setsockopt(&self, ctx: &dyn TaskContext, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if level == SOL_TCP {
            self.options.set(name, value)
        } else {
            self.ip.set(ctx, &self.sock, self.state.lock().binding.is_some(), level, name, value)
        }
    }

    fn getsockopt(
        &self,
        _: &dyn TaskContext,
        level: i32,
        name: i32,
        len: usize,
    ) -> Result<Vec<u8>, GetOptError> {
        if level == SOL_TCP {
            return Ok(self.options.get(self, name, len)?);
        }
        let connected = self.connection().is_some();
        Ok(self.ip.get(&self.sock, connected, level, name, len)?)
    }

    /// Linux: `tcp_ioctl`.
    fn inq(&self) -> Result<usize, Errno> {
        if self.listening() {
            return Err(EINVAL);
        }
        Ok(self.connection().map_or(0, |c| c.rx.inq(self.sock.opts.oob_inline())))
    }

    fn outq(&self) -> Result<usize, Errno> {
        if self.listening() { Err(EINVAL) } else { Ok(0) }
    }

    fn at_mark(&self) -> Result<bool, Errno> {
        Ok(self.connection().is_some_and(|c| c.rx.at_mark()))
    }

    fn release(&self) {
        self.tcp_close();
    }
}
