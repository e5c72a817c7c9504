//! One direction of a TCP connection.

use crate::ring::Ring;
use crate::sock::{IN_EVENTS, OUT_EVENTS, Sock};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL, EPIPE};
use sentry_uapi::poll::{POLLPRI, POLLRDBAND};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What each end adds to the capacity when nobody has set its buffer size.
const DEFAULT_SHARE: usize = 128 << 10;

/// Bytes under way from one socket to the other.
pub(super) struct Channel {
    flow: Mutex<Flow, { level::BUFFER }>,
    /// Length of the ring, to be read without the lock.
    queued: AtomicUsize,
    /// Room for this many bytes; fixed when the connection is made.
    capacity: usize,
    reader: Arc<Sock>,
    writer: Arc<Sock>,
}

#[derive(Default)]
struct Flow {
    ring: Ring,
    /// Place in the stream of the ring's first byte.
    start: u64,
    /// The writer has sent its FIN.
    fin: bool,
    /// The reader is gone, or the connection was reset: bytes lead nowhere.
    broken: bool,
    urgent: Option<Urgent>,
}

/// The last byte sent with MSG_OOB.
#[derive(Clone, Copy)]
struct Urgent {
    /// Its place in the stream.
    at: u64,
    byte: u8,
    /// Has been received with MSG_OOB.
    taken: bool,
}

/// What a send met.
pub(super) enum Sent {
    Bytes(usize),
    /// The bytes went to a socket that is closed: the connection is to be reset.
    Reset(usize),
}

impl Channel {
    pub(super) fn new(reader: &Arc<Sock>, writer: &Arc<Sock>) -> Arc<Channel> {
        let share = |set: bool, size: usize| if set { size / 2 } else { DEFAULT_SHARE };
        let capacity = share(writer.opts.sndbuf_set(), writer.opts.sndbuf())
            + share(reader.opts.rcvbuf_set(), reader.opts.rcvbuf());
        Arc::new(Channel {
            flow: Mutex::new(Flow::default()),
            queued: AtomicUsize::new(0),
            capacity,
            reader: reader.clone(),
            writer: writer.clone(),
        })
    }

    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Acquire)
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether poll(2) reports room: a third of the buffer. Linux: `__sk_stream_is_writeable`.
    pub(super) fn writable(&self) -> bool {
        self.has_space(self.queued())
    }

    fn has_space(&self, queued: usize) -> bool {
        queued.saturating_mul(3) <= self.capacity * 2
    }

    /// Appends bytes. With `urgent`, the last one is marked.
    pub(super) fn send(&self, src: &mut IoSrc<'_>, urgent: bool) -> Result<Sent, Errno> {
        let mut flow = self.flow.lock();
        if flow.fin {
            return Err(EPIPE);
        }
        if flow.broken {
            let n = src.remaining();
            src.advance(n);
            return Ok(Sent::Reset(n));
        }
        let room = self.capacity.saturating_sub(flow.ring.len());
        if room == 0 {
            return Err(EAGAIN);
        }
        let n = flow.ring.push_from(src, room)?;
        let mut events = IN_EVENTS;
        if urgent && n > 0 && src.remaining() == 0 {
            let mut byte = [0];
            flow.ring.copy_to(&mut IoDst::from_slice(&mut byte), flow.ring.len() - 1, 1)?;
            let at = flow.start + flow.ring.len() as u64 - 1;
            flow.urgent = Some(Urgent { at, byte: byte[0], taken: false });
            events |= POLLPRI | POLLRDBAND;
        }
        self.queued.store(flow.ring.len(), Ordering::Release);
        drop(flow);
        self.reader.wq.wake(events);
        Ok(Sent::Bytes(n))
    }

    /// Takes bytes, up to an urgent one; with `peek` it leaves them. `discard`: they go nowhere (MSG_TRUNC).
    ///
    /// # Errors
    /// `EAGAIN` if there are none.
    pub(super) fn recv(
        &self,
        dst: &mut IoDst<'_>,
        peek: bool,
        discard: bool,
        inline: bool,
    ) -> Result<usize, Errno> {
        let mut flow = self.flow.lock();
        let mut skip = 0;
        let mut limit = flow.ring.len();
        if let Some(urgent) = flow.urgent {
            if urgent.at > flow.start {
                limit = limit.min(usize::try_from(urgent.at - flow.start).unwrap_or(usize::MAX));
            } else if urgent.at == flow.start && !inline {
                skip = 1;
            }
        }
        if limit <= skip {
            if skip == 1 && limit == 1 && !peek {
                self.consume(&mut flow, 1);
            }
            return Err(EAGAIN);
        }
        let n = if discard {
            let n = (limit - skip).min(dst.remaining());
            dst.advance(n);
            n
        } else {
            flow.ring.copy_to(dst, skip, limit - skip)?
        };
        if peek {
            return Ok(n);
        }
        let before = flow.ring.len();
        self.consume(&mut flow, skip + n);
        let after = flow.ring.len();
        drop(flow);
        if !self.has_space(before) && self.has_space(after) {
            self.writer.wq.wake_all(OUT_EVENTS);
        }
        Ok(n)
    }

    fn consume(&self, flow: &mut Flow, n: usize) {
        flow.ring.consume(n);
        flow.start += n as u64;
        if flow.urgent.is_some_and(|u| u.at < flow.start) {
            flow.urgent = None;
        }
        self.queued.store(flow.ring.len(), Ordering::Release);
    }

    /// The urgent byte. Linux: `tcp_recv_urg`.
    ///
    /// # Errors
    /// `EINVAL` if there is none, it was taken, or it is read in line.
    pub(super) fn recv_urgent(&self, dst: &mut IoDst<'_>, peek: bool, inline: bool) -> Result<usize, Errno> {
        let mut flow = self.flow.lock();
        let urgent = flow.urgent.as_mut().filter(|u| !u.taken && !inline).ok_or(EINVAL)?;
        urgent.taken = !peek;
        let byte = [urgent.byte];
        dst.write(&byte)
    }

    /// Whether an urgent byte waits to be taken.
    pub(super) fn has_urgent(&self) -> bool {
        self.flow.lock().urgent.is_some_and(|u| !u.taken)
    }

    /// Whether the next byte is the urgent one.
    pub(super) fn at_mark(&self) -> bool {
        let flow = self.flow.lock();
        flow.urgent.is_some_and(|u| u.at == flow.start)
    }

    /// Bytes FIONREAD tells of: those up to the urgent one. Linux: `tcp_inq`.
    pub(super) fn inq(&self, inline: bool) -> usize {
        let flow = self.flow.lock();
        match flow.urgent {
            Some(urgent) if !inline => usize::try_from(urgent.at - flow.start).unwrap_or(usize::MAX),
            _ => flow.ring.len(),
        }
    }

    /// Sends the FIN. Returns whether it had not been sent before.
    pub(super) fn fin(&self) -> bool {
        !std::mem::replace(&mut self.flow.lock().fin, true)
    }

    pub(super) fn has_fin(&self) -> bool {
        self.flow.lock().fin
    }

    /// The reader is gone. Returns whether it left anything unread.
    pub(super) fn abandon(&self) -> bool {
        let mut flow = self.flow.lock();
        flow.broken = true;
        let unread = !flow.ring.is_empty();
        flow.ring.clear();
        self.queued.store(0, Ordering::Release);
        unread
    }
}
