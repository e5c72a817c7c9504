//! The contents of a pipe: a queue of page-sized buffers, and the counts of its ends.
//!
//! As in Linux a pipe has slots rather than bytes: each write takes slots of its own, but for its remainder below a page,
//! which goes into the last one if it fits there whole.

use super::PipeLimits;
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EBUSY, ENOMEM};
use std::collections::VecDeque;

/// Size of a slot.
pub(crate) const PIPE_PAGE: usize = 4096;

/// Slots of a pipe nobody has resized. Linux: `PIPE_DEF_BUFFERS`.
pub(super) const DEF_SLOTS: usize = 16;

/// Free pages a pipe keeps for its next writes, once it has had as many in use.
const POOL_MAX: usize = DEF_SLOTS;

type Page = Box<[u8]>;

/// A slot in use.
pub(crate) struct PipeBuf {
    page: Page,
    offset: usize,
    len: usize,
    /// Further writes may be appended.
    can_merge: bool,
    /// A packet: what a read leaves of it is lost.
    packet: bool,
}

impl PipeBuf {
    /// A buffer of the first `len` bytes of a page, which nothing is appended to.
    pub(super) fn new(page: Page, len: usize) -> PipeBuf {
        PipeBuf { page, offset: 0, len, can_merge: false, packet: false }
    }

    /// What is in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.page.get(self.offset..self.offset + self.len).unwrap_or(&[])
    }

    /// Drops the first `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        let n = n.min(self.len);
        self.offset += n;
        self.len -= n;
    }
}

pub(super) struct Ring {
    bufs: VecDeque<PipeBuf>,
    slots: usize,
    /// Slots that splice(2) has taken out and may put back.
    in_transit: usize,
    pool: Vec<Page>,
    pub(super) readers: usize,
    pub(super) writers: usize,
    /// Readers there have ever been. Linux: `r_counter`.
    pub(super) first_readers: u64,
    /// Writers there have ever been. Linux: `w_counter`.
    pub(super) first_writers: u64,
}

impl Ring {
    pub(super) fn new(slots: usize) -> Ring {
        Ring {
            bufs: VecDeque::new(),
            slots,
            in_transit: 0,
            pool: Vec::new(),
            readers: 0,
            writers: 0,
            first_readers: 0,
            first_writers: 0,
        }
    }

    pub(super) fn add_readers(&mut self) {
        self.readers += 1;
        self.first_readers += 1;
    }

    pub(super) fn add_writers(&mut self) {
        self.writers += 1;
        self.first_writers += 1;
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bufs.is_empty()
    }

    fn used(&self) -> usize {
        self.bufs.len() + self.in_transit
    }

    pub(super) fn is_full(&self) -> bool {
        self.used() >= self.slots
    }

    /// Nothing is left and nobody can write any more.
    pub(super) fn at_end(&self) -> bool {
        self.bufs.is_empty() && self.in_transit == 0 && self.writers == 0
    }

    pub(super) fn len(&self) -> usize {
        self.bufs.iter().map(|b| b.len).sum()
    }

    pub(super) fn resize(&mut self, slots: usize) -> Result<(), Errno> {
        if self.used() > slots {
            return Err(EBUSY);
        }
        self.slots = slots;
        Ok(())
    }

    /// Forgets everything but the counters; returns how many pages that freed.
    pub(super) fn reset(&mut self) -> usize {
        let freed = self.bufs.len() + self.pool.len();
        self.bufs = VecDeque::new();
        self.pool = Vec::new();
        self.slots = self.slots.min(DEF_SLOTS);
        freed
    }

    /// A page with any contents.
    pub(super) fn take_page(&mut self, limits: &PipeLimits) -> Result<Page, Errno> {
        match self.pool.pop() {
            Some(page) => Ok(page),
            None if limits.alloc_page() => Ok(vec![0; PIPE_PAGE].into_boxed_slice()),
            None => Err(ENOMEM),
        }
    }

    /// Gives a page back.
    pub(super) fn give_page(&mut self, page: Page, limits: &PipeLimits) {
        if self.pool.len() < POOL_MAX {
            self.pool.push(page);
        } else {
            limits.free_pages(1);
        }
    }

    /// The read half of `pipe_read`; the caller has seen that `dst` is not empty.
    pub(super) fn read(&mut self, dst: &mut IoDst<'_>, limits: &PipeLimits) -> Result<usize, Errno> {
        let mut total = 0;
        while let Some(buf) = self.bufs.front_mut() {
            let bytes = buf.bytes();
            let chars = bytes.len().min(dst.remaining());
            let n = match dst.write(bytes.get(..chars).unwrap_or(bytes)) {
                Ok(n) => n,
                Err(_) if total > 0 => break,
                Err(e) => return Err(e),
            };
            total += n;
            buf.consume(n);
            let packet = buf.packet;
            if (buf.len == 0 || packet)
                && let Some(used) = self.bufs.pop_front()
            {
                self.give_page(used.page, limits);
            }
            if packet || n < chars || dst.remaining() == 0 {
                break;
            }
        }
        if total > 0 || self.at_end() { Ok(total) } else { Err(EAGAIN) }
    }

    /// The write half of `pipe_write`; the caller has seen that there are readers and that `src` is not empty.
    pub(super) fn write(
        &mut self,
        src: &mut IoSrc<'_>,
        packet: bool,
        limits: &PipeLimits,
    ) -> Result<usize, Errno> {
        let mut total = 0;
        let tail = src.remaining() % PIPE_PAGE;
        if tail > 0
            && let Some(last) = self.bufs.back_mut()
            && last.can_merge
        {
            let end = last.offset + last.len;
            if let Some(room) = last.page.get_mut(end..end + tail) {
                let n = src.read(room)?;
                last.len += n;
                total += n;
                if n < tail {
                    return Ok(total);
                }
            }
        }
        while src.remaining() > 0 && !self.is_full() {
            let mut page = match self.take_page(limits) {
                Ok(page) => page,
                Err(_) if total > 0 => break,
                Err(e) => return Err(e),
            };
            let want = src.remaining().min(PIPE_PAGE);
            let n = match src.read(page.get_mut(..want).unwrap_or_default()) {
                Ok(n) if n > 0 => n,
                failed => {
                    self.give_page(page, limits);
                    if total > 0 {
                        break;
                    }
                    return failed;
                }
            };
            self.bufs.push_back(PipeBuf { page, offset: 0, len: n, can_merge: !packet, packet });
            total += n;
            if n < want {
                break;
            }
        }
        if total > 0 { Ok(total) } else { Err(EAGAIN) }
    }
    /// Appends a buffer to a slot that is free or was set aside.
    pub(super) fn push(&mut self, buf: PipeBuf) {
        self.bufs.push_back(buf);
    }

    /// Sets up to `slots` free slots aside; returns how many.
    pub(super) fn reserve(&mut self, slots: usize) -> usize {
        let slots = slots.min(self.slots.saturating_sub(self.used()));
        self.in_transit += slots;
        slots
    }

    /// Ends [`Ring::reserve`].
    pub(super) fn release(&mut self, slots: usize) {
        self.in_transit -= slots;
    }

    /// Takes the first buffers out, up to the one with byte number `max`. They stay counted.
    pub(super) fn take(&mut self, max: usize) -> VecDeque<PipeBuf> {
        let mut bytes = 0;
        let mut out = VecDeque::new();
        while bytes < max
            && let Some(buf) = self.bufs.pop_front()
        {
            bytes += buf.len;
            out.push_back(buf);
        }
        self.in_transit += out.len();
        out
    }

    /// Ends [`Ring::take`] of `slots` buffers: what is left in them goes back in front.
    pub(super) fn put_back(&mut self, bufs: VecDeque<PipeBuf>, slots: usize, limits: &PipeLimits) {
        self.in_transit -= slots;
        for buf in bufs.into_iter().rev() {
            if buf.len > 0 {
                self.bufs.push_front(buf);
            } else {
                self.give_page(buf.page, limits);
            }
        }
    }

    /// A copy of the first `len` bytes of a buffer.
    fn copy(&mut self, from: &PipeBuf, len: usize, limits: &PipeLimits) -> Result<PipeBuf, Errno> {
        let mut page = self.take_page(limits)?;
        let bytes = from.bytes();
        let bytes = bytes.get(..len).unwrap_or(bytes);
        if let Some(room) = page.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
        Ok(PipeBuf { packet: from.packet, ..PipeBuf::new(page, bytes.len()) })
    }

    /// Moves up to `len` bytes to the end of another ring; returns how many.
    pub(super) fn move_to(&mut self, to: &mut Ring, len: usize, limits: &PipeLimits) -> Result<usize, Errno> {
        let mut total = 0;
        while total < len && !to.is_full() {
            let Some(mut buf) = self.bufs.pop_front() else { break };
            let want = len - total;
            if buf.len <= want {
                total += buf.len;
                to.bufs.push_back(buf);
                continue;
            }
            let part = to.copy(&buf, want, limits);
            if part.is_ok() {
                buf.consume(want);
            }
            self.bufs.push_front(buf);
            match part {
                Ok(part) => to.bufs.push_back(part),
                Err(e) if total == 0 => return Err(e),
                Err(_) => break,
            }
            total += want;
        }
        Ok(total)
    }

    /// Appends copies of the first `len` bytes to another ring; returns how many.
    pub(super) fn copy_to(&self, to: &mut Ring, len: usize, limits: &PipeLimits) -> Result<usize, Errno> {
        let mut total = 0;
        for buf in &self.bufs {
            if total == len || to.is_full() {
                break;
            }
            match to.copy(buf, len - total, limits) {
                Ok(part) => {
                    total += part.len;
                    to.bufs.push_back(part);
                }
                Err(e) if total == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(total)
    }
}
