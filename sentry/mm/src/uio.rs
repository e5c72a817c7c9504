//! Where a read puts its bytes and where a write takes them from. Linux: include/linux/uio.h, `struct iov_iter`.
//!
//! A view is resolved to memory of the sentry's before a file operation begins, and holds a [`Pin`] on the frames; so a
//! filesystem may copy through it while it holds its own locks, and cannot meet a page fault. A view may be shorter than
//! what the caller asked for when guest memory behind it ends early: the call then transfers less. If nothing at all could
//! be resolved, it is as long as asked for and leads to memory nobody can access, so that whoever copies gets `EFAULT`.
//!
//! Frames must not be held while something is waited for: a fork or an unmapping meanwhile leaves others behind the same
//! addresses. So operations that may have to wait go through `attempt`, which lets the frames go when there is nothing to
//! transfer yet, and looks again the next time.

use crate::held::Held;
use crate::memory_file::Pin;
use crate::{MemoryManager, UserAccess, UserRange};
use platform_host::io::HostSeg;
use platform_host::uaccess;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EFAULT};
use smallvec::SmallVec;
use std::marker::PhantomData;

/// Segments of a view.
pub type Segs = SmallVec<[HostSeg; 2]>;

/// Where in guest memory a view is.
struct Origin<'a> {
    mm: &'a MemoryManager,
    ranges: &'a [UserRange],
    access: UserAccess,
}

impl<'a> Origin<'a> {
    /// Has forks leave it alone while it is written to.
    fn hold(&self) -> Option<Held<'a>> {
        self.access.writes().then(|| self.mm.hold_ranges(self.ranges, self.access.is_own())).flatten()
    }
}

struct View<'a> {
    /// Of guest memory: none while the frames are let go.
    segs: Segs,
    /// First segment that is not used up, and how much of it is.
    at: usize,
    used: usize,
    remaining: usize,
    done: usize,
    origin: Option<Origin<'a>>,
    pin: Option<Pin>,
    held: Option<Held<'a>>,
    _memory: PhantomData<&'a mut [u8]>,
}

impl<'a> View<'a> {
    fn new(segs: Segs) -> Self {
        let remaining = length(&segs);
        let (origin, pin, held) = (None, None, None);
        View { segs, at: 0, used: 0, remaining, done: 0, origin, pin, held, _memory: PhantomData }
    }

    /// # Errors
    /// `EFAULT`.
    fn of_user(mm: &'a MemoryManager, ranges: &'a [UserRange], access: UserAccess) -> Result<Self, Errno> {
        let origin = Origin { mm, ranges, access };
        let held = origin.hold();
        let (segs, pin) = mm.pin_segments(ranges, access)?;
        Ok(View { origin: Some(origin), pin: Some(pin), held, ..View::new(segs) })
    }

    /// Finds the frames behind what is left, if they were let go.
    ///
    /// # Errors
    /// `EFAULT` if there are none any more.
    fn hold(&mut self) -> Result<(), Errno> {
        let (Some(origin), None) = (&self.origin, &self.pin) else { return Ok(()) };
        let held = origin.hold();
        let (segs, pin) = origin.mm.pin_segments(origin.ranges, origin.access)?;
        let left = length(&segs).saturating_sub(self.done).min(self.remaining);
        if left == 0 && self.remaining > 0 {
            return Err(EFAULT);
        }
        (self.segs, self.pin, self.held, self.remaining) = (segs, Some(pin), held, left);
        self.skip(self.done);
        Ok(())
    }

    /// Lets the frames go until [`View::hold`].
    fn release(&mut self) {
        if self.origin.is_some() {
            self.segs.clear();
            (self.at, self.used, self.pin, self.held) = (0, 0, None, None);
        }
    }

    fn advance(&mut self, mut n: usize) {
        n = n.min(self.remaining);
        self.remaining -= n;
        self.done += n;
        self.skip(n);
    }

    fn skip(&mut self, mut n: usize) {
        while n > 0 {
            let Some(left) = self.segs.get(self.at).map(|s| s.len() - self.used) else { return };
            if n < left {
                self.used += n;
                return;
            }
            n -= left;
            self.at += 1;
            self.used = 0;
        }
    }

    fn revert(&mut self, n: usize) {
        let mut n = n.min(self.done);
        self.done -= n;
        self.remaining += n;
        while n > 0 {
            if self.used == 0 {
                self.at -= 1;
                self.used = self.segs[self.at].len();
            }
            let step = n.min(self.used);
            self.used -= step;
            n -= step;
        }
    }

    fn current(&self, max: usize) -> Option<HostSeg> {
        let mut at = self.at;
        let mut used = self.used;
        loop {
            let seg = self.segs.get(at)?.slice(used, max);
            if !seg.is_empty() || max == 0 {
                return Some(seg);
            }
            at += 1;
            used = 0;
        }
    }

    fn rest(&self, max: usize) -> Segs {
        let mut out = Segs::new();
        let mut used = self.used;
        let mut left = max.min(self.remaining);
        for seg in self.segs.iter().skip(self.at) {
            let part = seg.slice(used, left);
            used = 0;
            left -= part.len();
            if !part.is_empty() {
                out.push(part);
            }
            if left == 0 {
                break;
            }
        }
        out
    }

    fn each(&mut self, max: usize, mut f: impl FnMut(HostSeg, usize) -> usize) -> Result<usize, Errno> {
        let mut total = 0;
        let max = max.min(self.remaining);
        while total < max {
            let Some(seg) = self.current(max - total) else { break };
            let left = f(seg, total);
            let n = seg.len() - left;
            self.advance(n);
            total += n;
            if left > 0 {
                return if total > 0 { Ok(total) } else { Err(EFAULT) };
            }
        }
        Ok(total)
    }
}

fn length(segs: &Segs) -> usize {
    segs.iter().map(|s| s.len()).sum()
}

/// The destination of a read.
pub struct IoDst<'a>(View<'a>);

/// The source of a write.
pub struct IoSrc<'a>(View<'a>);

impl<'a> IoDst<'a> {
    /// A buffer of the sentry's.
    pub fn from_slice(buf: &'a mut [u8]) -> IoDst<'a> {
        // SAFETY: the slice is borrowed exclusively for as long as the view lives.
        let seg = unsafe { HostSeg::new(buf.as_mut_ptr(), buf.len()) };
        IoDst(View::new(SmallVec::from_slice(&[seg])))
    }

    pub(crate) fn of_user(
        mm: &'a MemoryManager,
        ranges: &'a [UserRange],
        access: UserAccess,
    ) -> Result<IoDst<'a>, Errno> {
        View::of_user(mm, ranges, access).map(IoDst)
    }

    /// One try of an operation that says `EAGAIN` while it has to wait. Until the next try the view must not be used but
    /// for its lengths.
    ///
    /// # Errors
    /// Those of the operation; `EFAULT` if the memory has gone since the last try.
    pub fn attempt<T>(&mut self, op: impl FnOnce(&mut Self) -> Result<T, Errno>) -> Result<T, Errno> {
        self.0.hold()?;
        let result = op(self);
        if matches!(result, Err(EAGAIN)) {
            self.0.release();
        }
        result
    }

    /// Bytes there is room for.
    pub fn remaining(&self) -> usize {
        self.0.remaining
    }

    /// Bytes written so far.
    pub fn done(&self) -> usize {
        self.0.done
    }

    /// Copies as much of `src` as there is room for; returns how much.
    ///
    /// # Errors
    /// `EFAULT` if not a byte could be copied.
    pub fn write(&mut self, src: &[u8]) -> Result<usize, Errno> {
        // SAFETY: the segment is memory the view holds; `src` is a live slice that is at least `at + seg.len()` long.
        self.0.each(src.len(), |seg, at| unsafe { uaccess::copy(seg.ptr(), src.as_ptr().add(at), seg.len()) })
    }

    /// Writes `n` zeros, or as many as there is room for.
    pub fn write_zeros(&mut self, n: usize) -> Result<usize, Errno> {
        // SAFETY: the segment is memory the view holds.
        self.0.each(n, |seg, _| unsafe { uaccess::zero(seg.ptr(), seg.len()) })
    }

    /// Copies from other pinned or owned memory, such as frames of a page cache the caller holds a reference to.
    pub fn write_seg(&mut self, src: HostSeg) -> Result<usize, Errno> {
        // SAFETY: both are memory vouched for when the segments were made; at + seg.len() is within src.
        self.0.each(src.len(), |seg, at| unsafe { uaccess::copy(seg.ptr(), src.ptr().add(at), seg.len()) })
    }

    /// The next `max` bytes of room as segments for a host call; follow it with [`IoDst::advance`].
    pub fn segs(&self, max: usize) -> Segs {
        self.0.rest(max)
    }

    /// Counts `n` bytes as written.
    pub fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }

    /// Takes back the last `n` bytes written.
    pub fn revert(&mut self, n: usize) {
        self.0.revert(n);
    }

    /// Makes the view at most `n` more bytes long.
    pub fn truncate(&mut self, n: usize) {
        self.0.remaining = self.0.remaining.min(n);
    }
}

impl<'a> IoSrc<'a> {
    /// A buffer of the sentry's.
    pub fn from_slice(buf: &'a [u8]) -> IoSrc<'a> {
        // SAFETY: the slice is borrowed for as long as the view lives, and a source is never written to.
        let seg = unsafe { HostSeg::new(buf.as_ptr().cast_mut(), buf.len()) };
        IoSrc(View::new(SmallVec::from_slice(&[seg])))
    }

    pub(crate) fn of_user(
        mm: &'a MemoryManager,
        ranges: &'a [UserRange],
        access: UserAccess,
    ) -> Result<IoSrc<'a>, Errno> {
        View::of_user(mm, ranges, access).map(IoSrc)
    }

    /// One try of an operation that says `EAGAIN` while it has to wait. Until the next try the view must not be used but
    /// for its lengths.
    ///
    /// # Errors
    /// Those of the operation; `EFAULT` if the memory has gone since the last try.
    pub fn attempt<T>(&mut self, op: impl FnOnce(&mut Self) -> Result<T, Errno>) -> Result<T, Errno> {
        self.0.hold()?;
        let result = op(self);
        if matches!(result, Err(EAGAIN)) {
            self.0.release();
        }
        result
    }

    /// Bytes left to take.
    pub fn remaining(&self) -> usize {
        self.0.remaining
    }

    /// Bytes taken so far.
    pub fn done(&self) -> usize {
        self.0.done
    }

    /// Fills as much of `dst` as there are bytes left; returns how much.
    ///
    /// # Errors
    /// `EFAULT` if not a byte could be copied.
    pub fn read(&mut self, dst: &mut [u8]) -> Result<usize, Errno> {
        let base = dst.as_mut_ptr();
        // SAFETY: the segment is memory the view holds; `dst` is a live slice that is at least `at + seg.len()` long.
        self.0.each(dst.len(), |seg, at| unsafe { uaccess::copy(base.add(at), seg.ptr(), seg.len()) })
    }

    /// All that is left, at most `max` bytes.
    pub fn read_vec(&mut self, max: usize) -> Result<Vec<u8>, Errno> {
        let mut buf = vec![0; self.remaining().min(max)];
        let n = self.read(&mut buf)?;
        buf.truncate(n);
        Ok(buf)
    }

    /// Copies into other pinned or owned memory.
    pub fn read_seg(&mut self, dst: HostSeg) -> Result<usize, Errno> {
        // SAFETY: both are memory vouched for when the segments were made; at + seg.len() is within dst.
        self.0.each(dst.len(), |seg, at| unsafe { uaccess::copy(dst.ptr().add(at), seg.ptr(), seg.len()) })
    }

    /// The next `max` bytes as segments for a host call; follow it with [`IoSrc::advance`].
    pub fn segs(&self, max: usize) -> Segs {
        self.0.rest(max)
    }

    /// Counts `n` bytes as taken.
    pub fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }

    /// Gives back the last `n` bytes taken.
    pub fn revert(&mut self, n: usize) {
        self.0.revert(n);
    }

    /// Makes the view at most `n` more bytes long.
    pub fn truncate(&mut self, n: usize) {
        self.0.remaining = self.0.remaining.min(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_advances_and_reverts_over_segments() {
        let mut buf = [0u8; 10];
        let mut dst = IoDst::from_slice(&mut buf);
        assert_eq!(dst.write(b"abc"), Ok(3));
        dst.revert(1);
        assert_eq!(dst.write(b"XYZ"), Ok(3));
        assert_eq!(dst.write_zeros(100), Ok(5));
        assert_eq!(dst.write(b"no room"), Ok(0));
        assert_eq!((dst.remaining(), dst.done()), (0, 10));
        drop(dst);
        assert_eq!(&buf, b"abXYZ\0\0\0\0\0");
        let mut src = IoSrc::from_slice(b"hello world");
        let mut word = [0; 5];
        assert_eq!(src.read(&mut word), Ok(5));
        assert_eq!(&word, b"hello");
        src.revert(2);
        assert_eq!(src.read_vec(100), Ok(b"lo world".to_vec()));
    }
}
