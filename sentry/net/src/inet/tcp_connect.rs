//! Linux: net/ipv4/af_inet.c, inet_connection_sock.c, tcp_ipv4.c: bind, listen, connect, accept, close.
//!
//! A connect finds the listener in the namespace's table and joins the two ends at once. As on Linux, a connect that may
//! not wait says `EINPROGRESS` all the same. If the listener's queue is full, the connecting socket waits in line (Linux
//! would send its request again and again), until there is room or the listener goes.

use super::addr::{Endpoint, any, is_broadcast, source_for};
use super::channel::Channel;
use super::ports::{Bound, Sharing};
use super::tcp::{Connection, Phase, Progress, State, TcpSock};
use super::{Binding, check_bind};
use crate::SockAddr;
use crate::proto_ops::Connect;
use crate::sock::{IN_EVENTS, RCV_SHUTDOWN, STATE_EVENTS};
use fs_vfs::TaskContext;
use sentry_auth::{Cred, Kuid};
use sentry_sync::{MutexGuard, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{
    EAGAIN, EALREADY, ECONNABORTED, ECONNREFUSED, ECONNRESET, EINPROGRESS, EINVAL, EISCONN, ENETUNREACH,
};
use sentry_uapi::socket::{AF_INET, AF_UNSPEC};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

/// Connections that came to a listening socket.
#[derive(Default)]
pub(super) struct Listener {
    /// Made, to be accepted.
    queue: VecDeque<Arc<TcpSock>>,
    max: usize,
    /// Asked for, while the queue is full: who, and to which address.
    waiting: VecDeque<(Weak<TcpSock>, Endpoint)>,
}

impl Listener {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Linux: `sk_acceptq_is_full`.
    fn is_full(&self) -> bool {
        self.queue.len() > self.max
    }
}

type Guard<'a> = MutexGuard<'a, State, { level::SOCKET }>;

fn double_lock<'a>(a: &'a TcpSock, b: &'a TcpSock) -> (Guard<'a>, Guard<'a>) {
    if std::ptr::from_ref(a) < std::ptr::from_ref(b) {
        let first = a.state.lock();
        (first, b.state.lock_nested())
    } else {
        let first = b.state.lock();
        (a.state.lock_nested(), first)
    }
}

impl TcpSock {
    fn sharing(&self, ip: IpAddr, cred: &Cred) -> Sharing {
        Sharing {
            ip,
            v6only: self.ip.v6only(),
            reuse: self.sock.opts.reuse(),
            reuseport: self.sock.opts.reuseport(),
            uid: cred.euid,
        }
    }

    /// Linux: `inet_bind`, `inet6_bind`.
    pub(super) fn inet_bind(&self, ctx: &dyn TaskContext, addr: &SockAddr) -> Result<(), Errno> {
        let at = Endpoint::for_bind(self.sock.family, addr)?;
        if at.ip.is_ipv4() && self.ip.v6only() && self.sock.family != AF_INET {
            return Err(EINVAL);
        }
        let cred = ctx.cred();
        check_bind(&self.sock, &cred, at, self.ip.freebind())?;
        {
            let state = self.state.lock();
            if !matches!(state.phase, Phase::Close) || state.binding.is_some() {
                return Err(EINVAL);
            }
        }
        self.bind_port(&cred, at)
    }

    fn bind_port(&self, cred: &Cred, at: Endpoint) -> Result<(), Errno> {
        let net = &self.sock.net;
        let bound = Bound {
            sock: self.this.clone(),
            sharing: self.sharing(at.ip, cred),
            listening: false,
            remote: None,
        };
        let port = net.tcp.bind(at.port, &net.sysctl.local_port_range(), bound)?;
        let mut state = self.state.lock();
        if state.binding.is_some() {
            // Another thread was faster.
            drop(state);
            net.tcp.unbind(port, &self.this);
            return Err(EINVAL);
        }
        state.binding =
            Some(Binding { asked: at.ip, ip: at.ip, port, in_table: true, explicit_port: at.port != 0 });
        Ok(())
    }

    /// Linux: `inet_listen`.
    pub(super) fn inet_listen(&self, ctx: &dyn TaskContext, backlog: u32) -> Result<(), Errno> {
        let max = usize::try_from(backlog).unwrap_or(usize::MAX);
        let bound = {
            let mut state = self.state.lock();
            if state.progress != Progress::Unconnected {
                return Err(EINVAL);
            }
            match &mut state.phase {
                Phase::Close => {}
                Phase::Listen(listener) => {
                    listener.max = max;
                    drop(state);
                    self.admit_waiting();
                    return Ok(());
                }
                _ => return Err(EINVAL),
            }
            state.binding.is_some()
        };
        if !bound {
            let ip = self.state.lock().stale.map_or(any(self.sock.family), |s| s.ip);
            self.bind_port(&ctx.cred(), Endpoint::new(ip, 0))?;
        }
        let port = self.state.lock().binding.map(|b| b.port).ok_or(EINVAL)?;
        self.sock.net.tcp.listen(port, &self.this)?;
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Close) {
            return Err(EINVAL);
        }
        self.sock.clear_shutdown();
        state.ended = None;
        state.phase = Phase::Listen(Listener { max, ..Listener::default() });
        Ok(())
    }

    /// Linux: `__inet_stream_connect`, `tcp_v4_connect`, `tcp_v6_connect`.
    pub(super) fn inet_connect(
        &self,
        ctx: &dyn TaskContext,
        addr: &SockAddr,
        nonblock: bool,
    ) -> Result<Connect, Errno> {
        if addr.family().ok_or(EINVAL)? == AF_UNSPEC {
            self.disconnect();
            return Ok(Connect::Done);
        }
        {
            let mut state = self.state.lock();
            match (state.progress, &state.phase) {
                (Progress::Connecting, Phase::SynSent) if nonblock => return Err(EALREADY),
                (Progress::Connecting, Phase::SynSent) => return Ok(Connect::Pending),
                (Progress::Connecting, _) => {
                    drop(state);
                    return self.inet_connect_result().map(|()| Connect::Done);
                }
                (Progress::Unconnected, Phase::Close) => {}
                (Progress::Unconnected | Progress::Connected, _) => return Err(EISCONN),
            }
            // Keeps other threads from connecting it meanwhile.
            state.progress = Progress::Connecting;
        }
        if let Err(e) = self.start_connect(ctx, addr) {
            self.state.lock().progress = Progress::Unconnected;
            return Err(e);
        }
        if nonblock { Err(EINPROGRESS) } else { Ok(Connect::Pending) }
    }

    fn start_connect(&self, ctx: &dyn TaskContext, addr: &SockAddr) -> Result<(), Errno> {
        let net = &self.sock.net;
        let to = Endpoint::for_connect(self.sock.family, addr, false)?;
        let v4_from_v6 = to.ip.is_ipv4() && self.sock.family != sentry_uapi::socket::AF_INET;
        if (v4_from_v6 && self.ip.v6only()) || to.ip.is_multicast() || is_broadcast(to.ip) {
            return Err(ENETUNREACH);
        }
        let remote = Endpoint::new(net.route(to.ip, self.sock.opts.bound_dev())?, to.port);
        let (before, stale) = {
            let state = self.state.lock();
            (state.binding, state.stale)
        };
        let named = before.map(|b| b.asked).or(stale.map(|s| s.ip));
        let asked = named.filter(|ip| !ip.is_unspecified());
        if asked.is_some_and(|ip| ip.is_ipv4() != remote.ip.is_ipv4()) {
            return Err(if remote.ip.is_ipv4() { ENETUNREACH } else { EINVAL });
        }
        let local = asked.unwrap_or_else(|| source_for(remote.ip));
        let sharing = self.sharing(local, &ctx.cred());
        let port = before.map_or(0, |b| b.port);
        let port = net.tcp.connect(port, &net.sysctl.local_port_range(), sharing, remote)?;
        {
            let mut state = self.state.lock();
            let none = Binding {
                asked: named.unwrap_or(any(self.sock.family)),
                ip: local,
                port,
                in_table: false,
                explicit_port: false,
            };
            state.binding = Some(Binding { ip: local, ..before.unwrap_or(none) });
            state.remote = Some(remote);
            state.entered = true;
            state.phase = Phase::SynSent;
            state.ended = None;
            self.sock.clear_shutdown();
            self.sock.take_error();
        }
        let from = Endpoint::new(local, port);
        let joined = match net.tcp.lookup(remote, from, true) {
            Some(listener) if listener.sock.opts.hears_loopback() => self.join(&listener),
            _ => false,
        };
        if !joined {
            self.done(Some(ECONNREFUSED));
        }
        Ok(())
    }

    /// Joins this socket with a new one in the listener's queue, or gets in line. False if it does not listen any more.
    fn join(&self, listener: &TcpSock) -> bool {
        let child = TcpSock::new(&self.sock.net, listener.sock.family);
        child.sock.opts.inherit(&listener.sock.opts);
        child.ip.inherit(&listener.ip);
        child.options.inherit(&listener.options);
        let (mut mine, mut theirs) = double_lock(self, listener);
        let (Some(binding), Some(remote)) = (mine.binding, mine.remote) else { return false };
        if !matches!(mine.phase, Phase::SynSent) {
            return true;
        }
        let explicit_port = theirs.binding.is_some_and(|b| b.explicit_port);
        let Phase::Listen(queue) = &mut theirs.phase else { return false };
        if queue.is_full() {
            // A socket stands in line once, however often it gives up and comes back.
            queue.waiting.retain(|(w, _)| !w.ptr_eq(&self.this) && w.strong_count() > 0);
            queue.waiting.push_back((self.this.clone(), remote));
            return true;
        }
        let up = Channel::new(&child.sock, &self.sock);
        let down = Channel::new(&self.sock, &child.sock);
        {
            // Nobody else knows the child yet.
            let mut newborn = child.state.lock_nested();
            newborn.progress = Progress::Connected;
            newborn.binding = Some(Binding {
                asked: any(child.sock.family),
                ip: remote.ip,
                port: remote.port,
                in_table: false,
                explicit_port,
            });
            newborn.remote = Some(Endpoint::new(binding.ip, binding.port));
            newborn.phase = Phase::Established(Arc::new(Connection {
                rx: up.clone(),
                tx: down.clone(),
                peer: self.this.clone(),
            }));
        }
        mine.phase =
            Phase::Established(Arc::new(Connection { rx: down, tx: up, peer: Arc::downgrade(&child) }));
        queue.queue.push_back(child);
        drop((mine, theirs));
        listener.sock.wq.wake(IN_EVENTS);
        self.sock.wq.wake_all(STATE_EVENTS);
        true
    }

    /// Lets those in who wait for room in the queue.
    fn admit_waiting(&self) {
        loop {
            let next = match &mut self.state.lock().phase {
                Phase::Listen(listener) if !listener.is_full() => listener.waiting.pop_front(),
                _ => None,
            };
            let Some((next, to)) = next else { return };
            if let Some(client) = next.upgrade()
                && client.is_going_to(to)
                && !client.join(self)
            {
                client.refused();
            }
        }
    }

    /// Whether a connect to `to` is under way.
    fn is_going_to(&self, to: Endpoint) -> bool {
        let state = self.state.lock();
        matches!(state.phase, Phase::SynSent) && state.remote == Some(to)
    }

    /// Ends a connect that was begun, if it has not ended yet.
    fn refused(&self) {
        if matches!(self.state.lock().phase, Phase::SynSent) {
            self.done(Some(ECONNREFUSED));
        }
    }

    /// The outcome of a connect that was begun.
    pub(super) fn inet_connect_result(&self) -> Result<(), Errno> {
        let mut state = self.state.lock();
        match &state.phase {
            Phase::SynSent => return Err(EAGAIN),
            Phase::Established(_) => {
                state.progress = Progress::Connected;
                return Ok(());
            }
            _ => {}
        }
        if state.ended.is_some() && !self.sock.has_error() {
            // Made and already over.
            state.progress = Progress::Connected;
            return Ok(());
        }
        state.progress = Progress::Unconnected;
        drop(state);
        let err = self.sock.take_error().unwrap_or(ECONNABORTED);
        self.disconnect();
        Err(err)
    }

    /// Linux: `inet_csk_accept`.
    pub(super) fn inet_accept(&self) -> Result<Arc<TcpSock>, Errno> {
        let child = {
            let mut state = self.state.lock();
            let Phase::Listen(listener) = &mut state.phase else { return Err(EINVAL) };
            listener.queue.pop_front().ok_or(EAGAIN)?
        };
        self.admit_waiting();
        child.enter_port();
        Ok(child)
    }

    /// Enters an accepted connection into the table of ports, so that its port stays taken when the listener goes.
    fn enter_port(&self) {
        let state = self.state.lock();
        let (binding, remote) = (state.binding, state.remote);
        drop(state);
        let (Some(binding), Some(remote)) = (binding, remote) else { return };
        let sharing = Sharing {
            ip: binding.ip,
            v6only: self.ip.v6only(),
            reuse: self.sock.opts.reuse(),
            reuseport: self.sock.opts.reuseport(),
            uid: Kuid::INVALID,
        };
        let range = self.sock.net.sysctl.local_port_range();
        if self.sock.net.tcp.connect(binding.port, &range, sharing, remote).is_ok() {
            let mut state = self.state.lock();
            state.entered = true;
            let over = !matches!(state.phase, Phase::Established(_));
            drop(state);
            if over {
                self.leave_port();
            }
        }
    }

    /// Takes the connection out of the table of ports. What bind(2) asked for stays.
    pub(super) fn leave_port(&self) {
        let mut state = self.state.lock();
        let entered = std::mem::take(&mut state.entered);
        let (binding, remote) = (state.binding, state.remote);
        drop(state);
        if let (true, Some(binding), Some(remote)) = (entered, binding, remote) {
            self.sock.net.tcp.disconnect(binding.port, binding.ip, remote);
        }
    }

    /// Dissolves whatever there is, so that the socket can be used anew. Linux: `tcp_disconnect`.
    pub(super) fn disconnect(&self) {
        self.leave_port();
        let mut state = self.state.lock();
        let phase = std::mem::take(&mut state.phase);
        let ended = state.ended.take();
        let binding = state.binding;
        state.remote = None;
        state.progress = Progress::Unconnected;
        if let Some(b) = &mut state.binding {
            b.ip = b.asked;
        }
        if let Some(b) = binding.filter(|b| !b.explicit_port) {
            state.binding = None;
            state.stale = Some(Endpoint::new(b.asked, b.port));
        }
        drop(state);
        drop(ended);
        let aborted = matches!(phase, Phase::Established(_) | Phase::SynSent);
        self.end(phase, true);
        if let Some(binding) = binding.filter(|b| b.in_table) {
            self.sock.net.tcp.update(binding.port, &self.this, |b| b.listening = false);
            if !binding.explicit_port {
                self.sock.net.tcp.unbind(binding.port, &self.this);
            }
        }
        if aborted {
            self.sock.set_error(ECONNRESET);
        } else {
            self.sock.take_error();
        }
        self.sock.clear_shutdown();
        self.sock.wq.wake_all(STATE_EVENTS);
    }

    /// What follows for others from the end of a phase. `abort`: a connection is reset, not closed.
    fn end(&self, phase: Phase, abort: bool) {
        match phase {
            Phase::Close | Phase::SynSent => {}
            Phase::Listen(listener) => {
                for child in listener.queue {
                    child.abort();
                }
                for (client, to) in listener.waiting {
                    if let Some(client) = client.upgrade()
                        && client.is_going_to(to)
                    {
                        client.refused();
                    }
                }
            }
            Phase::Established(connection) => {
                let unread = connection.rx.abandon();
                if abort || unread {
                    TcpSock::reset_peer(&connection);
                } else {
                    self.send_fin(&connection);
                }
            }
        }
    }

    /// Resets a connection that nobody has accepted.
    fn abort(&self) {
        let phase = std::mem::take(&mut self.state.lock().phase);
        self.end(phase, true);
    }

    /// Linux: `tcp_close`. Nothing lingers: what was sent is with the receiver.
    pub(super) fn tcp_close(&self) {
        let abort = self.sock.opts.linger() == Some(0);
        self.leave_port();
        let mut state = self.state.lock();
        let phase = std::mem::take(&mut state.phase);
        let ended = state.ended.take();
        let binding = state.binding.take();
        drop(state);
        if let Some(ended) = ended {
            ended.rx.abandon();
        }
        self.sock.add_shutdown(RCV_SHUTDOWN);
        self.end(phase, abort);
        if let Some(binding) = binding.filter(|b| b.in_table) {
            self.sock.net.tcp.unbind(binding.port, &self.this);
        }
    }
}
