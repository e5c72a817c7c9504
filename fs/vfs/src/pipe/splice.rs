//! What splice(2) and its kin do with the contents of pipes. Linux: fs/splice.c, the parts that hold a pipe's lock.
//!
//! Linux keeps the pipe locked while the other file is read or written. Here the slots concerned are *in transit*
//! meanwhile: they count as used, so that what is not accepted can go back in front, and a reader does not take an empty
//! pipe for its end.

use super::ring::{PIPE_PAGE, PipeBuf, Ring};
use super::{Pipe, PipeEnd, READABLE, WRITABLE};
use crate::{File, TaskContext, wait_event};
use sentry_sync::{MutexGuard, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EPIPE};
use sentry_uapi::signal::SIGPIPE;
use std::collections::VecDeque;
use std::sync::Arc;

/// Buffers taken out of a pipe. Those not consumed go back when it is dropped.
pub(crate) struct Transit {
    pipe: Arc<Pipe>,
    bufs: VecDeque<PipeBuf>,
    slots: usize,
}

/// Free slots of a pipe set aside for what is about to be read. Given back when it is dropped.
pub(crate) struct Reservation {
    pipe: Arc<Pipe>,
    slots: usize,
}

type RingGuard<'a> = MutexGuard<'a, Ring, { level::BUFFER }>;

impl File {
    /// The pipe behind a file, if it is an end of one. Linux: `get_pipe_info`.
    pub(crate) fn pipe(&self) -> Option<&Arc<Pipe>> {
        self.downcast::<PipeEnd>().map(|end| &end.pipe)
    }
}

impl Pipe {
    /// Waits for something to read, or the end. Unlike a read it does not wait exclusively, since it takes nothing.
    pub(crate) fn wait_readable(&self, ctx: &dyn TaskContext) -> Result<(), Errno> {
        let ready = || {
            let ring = self.ring.lock();
            (!ring.is_empty() || ring.at_end()).then_some(())
        };
        wait_event(ctx, &self.readers.io, None, ready).map(|_| ())
    }

    /// Waits for room, or for the readers to be gone.
    pub(crate) fn wait_writable(&self, ctx: &dyn TaskContext) -> Result<(), Errno> {
        let ready = || {
            let ring = self.ring.lock();
            (!ring.is_full() || ring.readers == 0).then_some(())
        };
        wait_event(ctx, &self.writers.io, None, ready).map(|_| ())
    }

    /// Takes buffers out that hold at least `max` bytes together, or all there are; nothing at the end. `EAGAIN` when it
    /// is empty.
    pub(crate) fn take(self: &Arc<Self>, max: usize) -> Result<Transit, Errno> {
        let mut ring = self.ring.lock();
        if ring.is_empty() && !ring.at_end() {
            return Err(EAGAIN);
        }
        let bufs = ring.take(max);
        Ok(Transit { pipe: self.clone(), slots: bufs.len(), bufs })
    }

    /// Sets room for `bytes` aside, or what there is of it. `EAGAIN` when it is full; `EPIPE`, and the signal, when
    /// nobody reads.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        ctx: &dyn TaskContext,
        bytes: usize,
    ) -> Result<Reservation, Errno> {
        let mut ring = self.ring.lock();
        if ring.readers == 0 {
            drop(ring);
            ctx.send_sig(SIGPIPE);
            return Err(EPIPE);
        }
        match ring.reserve(bytes.div_ceil(PIPE_PAGE)) {
            0 => Err(EAGAIN),
            slots => Ok(Reservation { pipe: self.clone(), slots }),
        }
    }

    /// Wakes whom it concerns that slots in transit have come to rest.
    fn settled(&self, ring: RingGuard<'_>) {
        let (data, room) = (!ring.is_empty(), !ring.is_full());
        let end = !data && ring.at_end();
        drop(ring);
        if end {
            self.readers.wake_all();
        }
        if data {
            self.readers.io.wake(READABLE);
            self.readers.poll.wake(READABLE);
        }
        if room {
            self.writers.io.wake(WRITABLE);
            self.writers.poll.wake(WRITABLE);
        }
    }

    /// Moves up to `len` bytes to another pipe; with `copy` they stay here too. Returns how many; none at the end.
    /// `EAGAIN` when this is empty or the other one full. Linux: `splice_pipe_to_pipe`, `link_pipe`.
    pub(crate) fn transfer(
        &self,
        ctx: &dyn TaskContext,
        to: &Pipe,
        len: usize,
        copy: bool,
    ) -> Result<usize, Errno> {
        // Two transfers in opposite directions take the locks in the same order.
        let (mut from_ring, mut to_ring);
        if std::ptr::from_ref(self) < std::ptr::from_ref(to) {
            from_ring = self.ring.lock();
            to_ring = to.ring.lock_nested();
        } else {
            to_ring = to.ring.lock();
            from_ring = self.ring.lock_nested();
        }
        if to_ring.readers == 0 {
            drop((from_ring, to_ring));
            ctx.send_sig(SIGPIPE);
            return Err(EPIPE);
        }
        let (was_full, was_empty) = (from_ring.is_full(), to_ring.is_empty());
        let result = if copy {
            from_ring.copy_to(&mut to_ring, len, &to.limits)
        } else {
            from_ring.move_to(&mut to_ring, len, &to.limits)
        };
        let result = match result {
            Ok(0) if !from_ring.is_empty() || !from_ring.at_end() => Err(EAGAIN),
            done => done,
        };
        let moved = matches!(result, Ok(n) if n > 0);
        self.consumed(from_ring, was_full);
        to.produced(to_ring, was_empty, moved);
        result
    }
}

impl Transit {
    /// What was taken, in order.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.bufs.iter().map(PipeBuf::bytes)
    }

    /// Whether there was nothing: the pipe is at its end.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// Takes the first `n` bytes for good.
    pub(crate) fn consume(&mut self, mut n: usize) {
        for buf in &mut self.bufs {
            let step = n.min(buf.bytes().len());
            buf.consume(step);
            n -= step;
        }
    }
}

impl Drop for Transit {
    fn drop(&mut self) {
        if self.slots == 0 {
            return;
        }
        let mut ring = self.pipe.ring.lock();
        ring.put_back(std::mem::take(&mut self.bufs), self.slots, &self.pipe.limits);
        self.pipe.settled(ring);
    }
}

impl Reservation {
    /// Bytes there is room for.
    pub(crate) fn room(&self) -> usize {
        self.slots * PIPE_PAGE
    }

    /// Puts bytes into the pipe, as many as there is room for; returns how many. Fewer mean that there is no memory.
    pub(crate) fn commit(self, bytes: &[u8]) -> usize {
        let mut ring = self.pipe.ring.lock();
        let was_empty = ring.is_empty();
        let mut total = 0;
        for chunk in bytes.chunks(PIPE_PAGE).take(self.slots) {
            let Ok(mut page) = ring.take_page(&self.pipe.limits) else { break };
            if let Some(room) = page.get_mut(..chunk.len()) {
                room.copy_from_slice(chunk);
            }
            ring.push(PipeBuf::new(page, chunk.len()));
            total += chunk.len();
        }
        self.pipe.produced(ring, was_empty, total > 0);
        total
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut ring = self.pipe.ring.lock();
        ring.release(self.slots);
        let room = !ring.is_full();
        drop(ring);
        if room {
            self.pipe.writers.io.wake(WRITABLE);
            self.pipe.writers.poll.wake(WRITABLE);
        }
    }
}
