//! Making connections: listen, connect, accept, socketpair.

use super::peercred::PeerCred;
use super::stream::Connection;
use super::{CLOSE, ESTABLISHED, LISTEN, UnixSock};
use crate::SockAddr;
use crate::proto_ops::Connect;
use crate::sock::{IN_EVENTS, OUT_EVENTS, RCV_SHUTDOWN};
use fs_vfs::{Inode, TaskContext};
use sentry_sync::{MutexGuard, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, ECONNREFUSED, EINVAL, EISCONN, EOPNOTSUPP};
use sentry_uapi::socket::{SOCK_DGRAM, SOCK_STREAM};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What changes about a socket as it is connected.
#[derive(Default)]
pub(super) struct State {
    /// The other end. Two ends hold each other until either is released.
    pub(super) peer: Option<Arc<UnixSock>>,
    pub(super) peer_cred: Option<PeerCred>,
    /// Connections not yet accepted.
    pub(super) backlog: VecDeque<Arc<UnixSock>>,
    max_backlog: usize,
}

type Guard<'a> = MutexGuard<'a, State, { level::SOCKET }>;

/// The states of two different sockets, locked in the order of their addresses. Linux: `unix_state_double_lock`.
pub(super) fn double_lock<'a>(a: &'a UnixSock, b: &'a UnixSock) -> (Guard<'a>, Guard<'a>) {
    if std::ptr::from_ref(a) < std::ptr::from_ref(b) {
        let first = a.state.lock();
        (first, b.state.lock_nested())
    } else {
        let first = b.state.lock();
        (a.state.lock_nested(), first)
    }
}

impl UnixSock {
    fn establish(&self, state: &mut State, peer: Arc<UnixSock>, peer_cred: Option<PeerCred>) {
        state.peer = Some(peer);
        state.peer_cred = peer_cred;
        self.phase.store(ESTABLISHED, Ordering::Release);
    }

    /// Linux: `unix_listen`.
    pub(super) fn unix_listen(&self, ctx: &dyn TaskContext, backlog: u32) -> Result<(), Errno> {
        if self.sock.ty == SOCK_DGRAM {
            return Err(EOPNOTSUPP);
        }
        if self.addr.get().is_none() {
            return Err(EINVAL);
        }
        let mut state = self.state.lock();
        if self.phase() != CLOSE && self.phase() != LISTEN {
            return Err(EINVAL);
        }
        let backlog = usize::try_from(backlog).unwrap_or(usize::MAX);
        let grown = backlog > state.max_backlog;
        state.max_backlog = backlog;
        state.peer_cred = Some(PeerCred::current(ctx));
        self.phase.store(LISTEN, Ordering::Release);
        drop(state);
        if grown {
            self.peer_wait.wake_all(OUT_EVENTS);
        }
        Ok(())
    }

    /// Linux: `unix_stream_connect`, which serves sequenced packets as well.
    pub(super) fn stream_connect(
        &self,
        ctx: &dyn TaskContext,
        addr: &SockAddr,
        inode: Option<&Arc<Inode>>,
    ) -> Result<Connect, Errno> {
        let listener = self.find_other(&ctx.cred(), addr, inode)?;
        self.autobind_for_creds()?;
        if listener.is(self) {
            return Err(if self.phase() == LISTEN { EINVAL } else { ECONNREFUSED });
        }
        let child = UnixSock::new(&listener.sock.net, listener.sock.ty);
        let (mut mine, mut theirs) = double_lock(self, &listener);
        if listener.phase() != LISTEN
            || listener.is_dead()
            || listener.sock.shutdown_bits() & RCV_SHUTDOWN != 0
        {
            return Err(ECONNREFUSED);
        }
        if theirs.backlog.len() > theirs.max_backlog {
            return Ok(Connect::Full(listener.peer_wait.clone()));
        }
        match self.phase() {
            CLOSE => {}
            ESTABLISHED => return Err(EISCONN),
            _ => return Err(EINVAL),
        }
        child.sock.orphan.store(true, Ordering::Relaxed);
        child.share_addr(&listener);
        let listener_cred = theirs.peer_cred.clone();
        // Nobody else knows the child yet.
        let mut newborn = child.state.lock_nested();
        child.establish(&mut newborn, self.arc()?, Some(PeerCred::current(ctx)));
        drop(newborn);
        self.establish(&mut mine, child.clone(), listener_cred);
        self.join(&child);
        theirs.backlog.push_back(child);
        drop((mine, theirs));
        listener.sock.wq.wake(IN_EVENTS);
        Ok(Connect::Done)
    }

    /// Gives two ends of a stream the two byte queues between them.
    fn join(&self, peer: &UnixSock) {
        if self.sock.ty == SOCK_STREAM {
            let (a, b) = Connection::pair(self, peer);
            // Both are set once: a stream that was connected never becomes unconnected.
            let _ = self.connection.set(a);
            let _ = peer.connection.set(b);
        }
    }

    /// Linux: `unix_accept`.
    pub(super) fn unix_accept(&self) -> Result<Arc<UnixSock>, Errno> {
        if self.sock.ty == SOCK_DGRAM {
            return Err(EOPNOTSUPP);
        }
        if self.phase() != LISTEN {
            return Err(EINVAL);
        }
        let next = self.state.lock().backlog.pop_front();
        match next {
            Some(child) => {
                child.sock.orphan.store(false, Ordering::Relaxed);
                self.peer_wait.wake_all(OUT_EVENTS);
                Ok(child)
            }
            None if self.sock.shutdown_bits() & RCV_SHUTDOWN != 0 => Err(EINVAL),
            None => Err(EAGAIN),
        }
    }

    /// Linux: `unix_socketpair`.
    pub(super) fn socketpair(&self, ctx: &dyn TaskContext, peer: &UnixSock) -> Result<(), Errno> {
        let (me, other) = (self.arc()?, peer.arc()?);
        let cred = PeerCred::current(ctx);
        let (mut mine, mut theirs) = double_lock(self, peer);
        self.establish(&mut mine, other, Some(cred.clone()));
        peer.establish(&mut theirs, me, Some(cred));
        self.join(peer);
        Ok(())
    }
}
