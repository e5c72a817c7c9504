//! Linux: include/net/sock.h, `struct sock`: what sockets of every family have.

use crate::NetNamespace;
use crate::sockopt::SockOpts;
use fs_vfs::TaskContext;
use sentry_sync::WaitQueue;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINTR, EINVAL, ERESTARTSYS};
use sentry_uapi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRBAND, POLLWRNORM};
use sentry_uapi::socket::{SHUT_RDWR, SOCK_STREAM};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The socket receives no more. Linux: `RCV_SHUTDOWN`.
pub(crate) const RCV_SHUTDOWN: u8 = 1;
/// The socket sends no more. Linux: `SEND_SHUTDOWN`.
pub(crate) const SEND_SHUTDOWN: u8 = 2;
/// Both.
pub(crate) const SHUTDOWN_MASK: u8 = 3;

/// Data has come.
pub(crate) const IN_EVENTS: u32 = POLLIN | POLLRDNORM;
/// There is room again.
pub(crate) const OUT_EVENTS: u32 = POLLOUT | POLLWRNORM | POLLWRBAND;
/// The state has changed: everybody looks again.
pub(crate) const STATE_EVENTS: u32 = IN_EVENTS | OUT_EVENTS | POLLERR | POLLHUP | POLLRDHUP;

/// What a socket of any family has.
pub struct Sock {
    /// The namespace it was made in.
    pub net: Arc<NetNamespace>,
    /// `AF_*`.
    pub family: u16,
    /// `SOCK_*`.
    pub ty: u32,
    /// Protocol, as SO_PROTOCOL tells it.
    pub protocol: i32,
    /// Where readers, writers and pollers wait.
    pub wq: WaitQueue,
    /// Options of level SOL_SOCKET.
    pub opts: SockOpts,
    /// Pending error, 0 for none. Linux: `sk_err`.
    err: AtomicI32,
    shutdown: AtomicU8,
    /// No file refers to it yet: a connection not accepted. Linux: `sk_socket` is null.
    pub(crate) orphan: AtomicBool,
    /// Bytes sent that the receiver has not taken, for datagrams. Linux: `sk_wmem_alloc`.
    pub(crate) wmem: AtomicUsize,
    pub(crate) cookie: OnceLock<u64>,
}

/// The direction in which a call waits, which decides its time-out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Receive,
    Send,
}

impl Sock {
    pub(crate) fn new(net: &Arc<NetNamespace>, family: u16, ty: u32, protocol: i32) -> Sock {
        Sock {
            net: net.clone(),
            family,
            ty,
            protocol,
            wq: WaitQueue::new(),
            opts: SockOpts::new(net),
            err: AtomicI32::new(0),
            shutdown: AtomicU8::new(0),
            orphan: AtomicBool::new(false),
            wmem: AtomicUsize::new(0),
            cookie: OnceLock::new(),
        }
    }

    /// Whether a reader sees bytes rather than messages.
    pub(crate) fn is_stream(&self) -> bool {
        self.ty == SOCK_STREAM
    }

    /// Takes the pending error. Linux: `sock_error`.
    pub(crate) fn take_error(&self) -> Option<Errno> {
        if self.err.load(Ordering::Relaxed) == 0 {
            return None;
        }
        match self.err.swap(0, Ordering::AcqRel) {
            0 => None,
            raw => Some(Errno::from_raw(raw)),
        }
    }

    /// Whether an error is pending.
    pub(crate) fn has_error(&self) -> bool {
        self.err.load(Ordering::Acquire) != 0
    }

    /// Leaves an error for the next call. The caller wakes.
    pub(crate) fn set_error(&self, err: Errno) {
        self.err.store(err.raw(), Ordering::Release);
    }

    /// Whether messages from `self` to `to` carry credentials unasked. Linux: `maybe_add_creds`.
    pub(crate) fn attaches_creds(&self, to: &Sock) -> bool {
        let asks = |sock: &Sock| sock.opts.pass_cred() || sock.opts.pass_pidfd();
        asks(self) || asks(to) || to.orphan.load(Ordering::Relaxed)
    }

    /// Leaves an error for the next call and tells everybody who waits. Linux: `sk_error_report`.
    pub(crate) fn report_error(&self, err: Errno) {
        self.set_error(err);
        self.wq.wake_all(STATE_EVENTS);
    }

    pub(crate) fn shutdown_bits(&self) -> u8 {
        self.shutdown.load(Ordering::Acquire)
    }

    pub(crate) fn add_shutdown(&self, bits: u8) {
        self.shutdown.fetch_or(bits, Ordering::AcqRel);
    }

    pub(crate) fn clear_shutdown(&self) {
        self.shutdown.store(0, Ordering::Release);
    }

    /// When a call that starts now gives up; `None` is never. `Err` if it may not wait at all.
    pub(crate) fn deadline(&self, direction: Direction) -> Option<Instant> {
        let nanos = self.opts.timeout(direction);
        (nanos >= 0).then(|| Instant::now().checked_add(Duration::from_nanos(nanos.unsigned_abs()))).flatten()
    }

    /// Repeats `op` until it no longer says `EAGAIN`, sleeping in between until the socket, or a queue that `op` has
    /// left in its argument, is woken for one of `events`.
    ///
    /// # Errors
    /// Those of `op`; `EAGAIN` when the time-out of the socket for this direction passes. When a signal is pending,
    /// `ERESTARTSYS` without a time-out, `EINTR` with one: a restart would begin the time anew. Linux: `sock_intr_errno`.
    pub(crate) fn block<T>(
        &self,
        ctx: &dyn TaskContext,
        events: u32,
        deadline: Option<Instant>,
        mut op: impl FnMut(&mut Option<WaitQueue>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let events = events | POLLERR | POLLHUP;
        let mut other = None;
        loop {
            match op(&mut other) {
                Err(EAGAIN) => {}
                done => return done,
            }
            let waiting_on = other.take();
            let _own = self.wq.register(events, ctx.waker());
            let _other = waiting_on.as_ref().map(|q: &WaitQueue| q.register(events, ctx.waker()));
            match op(&mut other) {
                Err(EAGAIN) => {}
                done => return done,
            }
            if other.is_some() && waiting_on.is_none() {
                continue;
            }
            if let Some(deadline) = deadline
                && Instant::now() >= deadline
            {
                return Err(EAGAIN);
            }
            ctx.sleep(deadline).map_err(|e| match e {
                ERESTARTSYS if deadline.is_some() => EINTR,
                e => e,
            })?;
        }
    }
}

/// shutdown(2)'s argument as shutdown bits.
pub(crate) fn shutdown_mask(how: u32) -> Result<u8, Errno> {
    if how > SHUT_RDWR {
        return Err(EINVAL);
    }
    u8::try_from(how + 1).map_err(|_| EINVAL)
}
