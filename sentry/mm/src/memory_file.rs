//! The sandbox's memory: every frame a guest can see is a page of one host memory file, or of a host file
//! ([`crate::host_frames`]).
//!
//! Frames are handed out in ranges and counted by range: an interval map holds one run per stretch of equal count, so a
//! large mapping that was never shared costs one entry. A frame whose count falls to zero goes back to the host, but
//! not before every [`Pin`] taken earlier has been dropped: a pinned view may still be copying from or into it.
//!
//! Linux: mm/page_alloc.c, with ranges for pages; the pins play the part of RCU.

use crate::counts::Counts;
use crate::host_frames::{Piece, Pieces, in_window, is_host};
use crate::huge::{HUGE_ZONE, is_huge};
use crate::space::Space;
use crate::warm::{MAX_RUN, Warm};
use crate::{FrameRange, IoSrc, MAX_VIEW};
use platform_host::file_window::FileWindow;
use platform_host::io::{HostSeg, MAX_SEGS, pwritev};
use platform_host::memfd::{MemoryWindow, NOWHERE};
use platform_host::uaccess;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, ENOMEM};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Size of a page.
pub const PAGE_SIZE: u64 = 4096;

/// Size of a huge page. Linux: `PMD_SIZE`.
pub(crate) const HUGE_PAGE: u64 = 2 << 20;

/// Size of the sparse file. The window costs address space only.
pub(crate) const WINDOW: u64 = 1 << 44;

const _: () = assert!(MAX_VIEW <= NOWHERE);

/// From this size on, bytes of a host file are read by a call: it costs less than the faults on pages that the sentry has not
/// looked at yet, and does not have it keep them mapped.
const HOST_READ: usize = 4096;

/// Bytes whose presence is asked for at once.
const MINCORE_CHUNK: u64 = 64 << 20;

pub(crate) struct Frames {
    counts: Counts,
    /// The free frames of the memory file are zero.
    space: Space,
    /// Those among them that huge pages are for.
    huge: Space,
    /// Freed, but perhaps still seen through a pin taken in this or an earlier epoch.
    limbo: Vec<(u64, FrameRange)>,
    allocated: u64,
    /// Free frames that are not zero.
    warm: Warm,
    pub(crate) host: Pieces,
}

/// The memory file of a sandbox.
pub struct MemoryFile {
    window: MemoryWindow,
    has_huge_pages: bool,
    /// Where host files are seen, if they may be.
    pub(crate) host: OnceLock<FileWindow>,
    pub(crate) frames: Mutex<Frames, { level::MEMORY_FILE }>,
    epoch: AtomicU64,
    /// Pins alive that were taken in an even and in an odd epoch.
    pins: [AtomicUsize; 2],
    limit: AtomicU64,
    next_id: AtomicU64,
}

/// Keeps frames that were in use when it was taken from being given to somebody else.
pub struct Pin {
    file: Arc<MemoryFile>,
    parity: usize,
}

impl MemoryFile {
    /// A new, empty memory file.
    pub fn new() -> Result<Arc<MemoryFile>, Errno> {
        Ok(MemoryFile::with_window(MemoryWindow::new("runsc-memory", WINDOW)?, false))
    }

    /// A memory file in an empty host file that gives huge pages where a mapping asks for them
    /// ([`platform_host::memfd::huge_file`]).
    pub fn with_huge_pages(file: OwnedFd) -> Result<Arc<MemoryFile>, Errno> {
        let window = MemoryWindow::over(file, WINDOW)?;
        let asked = window.advise_huge(HUGE_ZONE, WINDOW - HUGE_ZONE);
        Ok(MemoryFile::with_window(window, asked.is_ok()))
    }

    fn with_window(window: MemoryWindow, has_huge_pages: bool) -> Arc<MemoryFile> {
        uaccess::install_fault_handlers();
        Arc::new(MemoryFile {
            window,
            has_huge_pages,
            host: OnceLock::new(),
            frames: Mutex::new(Frames::new()),
            epoch: AtomicU64::new(2),
            pins: [AtomicUsize::new(0), AtomicUsize::new(0)],
            limit: AtomicU64::new(u64::MAX),
            next_id: AtomicU64::new(1),
        })
    }

    /// Allocates `len` bytes (page-aligned) of zeroed frames with a count of one, contiguous in the file and aligned to
    /// `align` (a power of two, at least a page).
    ///
    /// # Errors
    /// `ENOMEM` when the window is exhausted. That the host has memory behind the frames is not promised.
    pub fn allocate(&self, len: u64, align: u64) -> Result<FrameRange, Errno> {
        self.take(len, align, 0)
    }

    /// Allocates as [`Self::allocate`] does, for memory at `addr`: so that the host can put a huge page behind both where
    /// there is room for one.
    pub(crate) fn allocate_at(&self, len: u64, addr: u64) -> Result<FrameRange, Errno> {
        let align = if len >= HUGE_PAGE { HUGE_PAGE } else { PAGE_SIZE };
        self.take(len, align, addr & (align - 1))
    }

    /// Whether there are huge pages for who asks.
    pub(crate) fn has_huge_pages(&self) -> bool {
        self.has_huge_pages
    }

    /// Allocates as [`Self::allocate`] does, whole huge pages.
    pub(crate) fn allocate_huge(&self, len: u64) -> Result<FrameRange, Errno> {
        debug_assert!(len > 0 && len.is_multiple_of(HUGE_PAGE));
        let mut f = self.frames.lock();
        let frames = f.huge.take(len, HUGE_PAGE, 0).ok_or(ENOMEM)?;
        Ok(f.hand_out(frames))
    }

    fn take(&self, len: u64, align: u64, phase: u64) -> Result<FrameRange, Errno> {
        debug_assert!(len > 0 && len.is_multiple_of(PAGE_SIZE) && align.is_power_of_two());
        let mut f = self.frames.lock();
        let frames = f.space.take(len, align, phase).ok_or(ENOMEM)?;
        Ok(f.hand_out(frames))
    }

    /// Allocates as [`Self::allocate`] does, but frames that have host memory behind them; `None` if there are none at hand.
    pub fn allocate_present(&self, len: u64) -> Option<FrameRange> {
        let frames = self.take_warm(len)?;
        if self.zero(frames.start, len).is_err() {
            self.dec_ref(frames);
            return None;
        }
        Some(frames)
    }

    /// Allocates frames with the contents of `len` bytes from `from` on (page-aligned).
    ///
    /// # Errors
    /// As [`Self::allocate`]; `ENOMEM` also when the host has no memory, `EFAULT` when it cannot read the file that `from`
    /// is of.
    pub(crate) fn allocate_copy(&self, from: u64, len: u64) -> Result<FrameRange, Errno> {
        let warm = self.take_warm(len);
        let present = warm.is_some();
        let frames = warm.map_or_else(|| self.allocate(len, PAGE_SIZE), Ok)?;
        let copied =
            if present { self.copy(from, frames.start, len) } else { self.write_pages(from, frames) };
        if copied.is_err() {
            self.dec_ref(frames);
            return Err(if is_host(from) { EFAULT } else { ENOMEM });
        }
        Ok(frames)
    }

    /// Copies into frames without memory: the host puts pages behind them as it writes, for a fraction of what a fault for
    /// each costs.
    fn write_pages(&self, from: u64, to: FrameRange) -> Result<(), Errno> {
        let mut done = 0;
        while done < to.len() {
            let src = self.segment(from + done, to.len() - done)?;
            let n = pwritev(self.window.as_fd(), &[src], to.start + done)?;
            done += u64::try_from(n).ok().filter(|n| *n > 0).ok_or(ENOMEM)?;
        }
        Ok(())
    }

    /// How many of `count` pages from `offset` on have host memory behind them before one has none.
    pub(crate) fn present_run(&self, offset: u64, count: u64) -> u64 {
        let there = self.window.mincore(offset, count * PAGE_SIZE);
        there.iter().take_while(|there| **there).count() as u64
    }

    fn take_warm(&self, len: u64) -> Option<FrameRange> {
        if len > MAX_RUN {
            return None;
        }
        let mut f = self.frames.lock();
        let frames = f.warm.take(len)?;
        Some(f.hand_out(frames))
    }

    /// Gives the host back what was kept for later use.
    pub fn trim(&self) {
        let mut f = self.frames.lock();
        for range in f.warm.drain() {
            if self.window.punch_hole(range.start, range.len()).is_ok() {
                f.give_back(range);
            }
        }
    }

    /// Adds one to the count of every frame of the range, all of which are allocated.
    pub fn inc_ref(&self, range: FrameRange) {
        if !range.is_empty() {
            self.frames.lock().counts.adjust(range, 1);
        }
    }

    /// Takes one off the count of every frame of the range, and frees those that reach zero.
    pub fn dec_ref(&self, range: FrameRange) {
        if range.is_empty() {
            return;
        }
        let mut f = self.frames.lock();
        let freed = f.counts.adjust(range, -1);
        if freed.is_empty() {
            return;
        }
        let now = self.epoch.load(Ordering::SeqCst);
        for r in freed {
            if !is_host(r.start) {
                f.allocated -= r.len();
            }
            f.limbo.push((now, r));
        }
        let gone = self.reclaim(&mut f);
        drop(f);
        // Files are closed here, without the lock.
        drop(gone);
    }

    /// The frames of the range that have more than one user, as the first run of equal answer: `(shared, length)`.
    pub fn shared_prefix(&self, range: FrameRange) -> (bool, u64) {
        self.frames.lock().counts.shared_prefix(range)
    }

    /// Frees what no pin can see any more; gives what is left of host files of which nothing is. An epoch ends when no pin
    /// of the one before it is left.
    fn reclaim(&self, f: &mut Frames) -> Vec<Piece> {
        for _ in 0..2 {
            let now = self.epoch.load(Ordering::SeqCst);
            let previous = usize::from((now - 1) & 1 == 1);
            if self.pins[previous].load(Ordering::SeqCst) != 0 {
                break;
            }
            self.epoch.store(now + 1, Ordering::SeqCst);
        }
        let now = self.epoch.load(Ordering::SeqCst);
        let mut keep = Vec::new();
        let mut gone = Vec::new();
        for (epoch, range) in std::mem::take(&mut f.limbo) {
            if epoch + 2 > now {
                keep.push((epoch, range));
            } else if is_host(range.start) {
                gone.extend(self.host.get().and_then(|window| f.host.unmap(window, range)));
            } else if !is_huge(range)
                && f.warm.wants(range)
                && self.window.mincore(range.start, range.len()).iter().all(|there| *there)
            {
                f.warm.keep(range);
            } else if self.window.punch_hole(range.start, range.len()).is_ok() {
                f.give_back(range);
            }
        }
        f.limbo = keep;
        gone
    }

    /// Pins the frames in use now.
    pub fn pin(self: &Arc<Self>) -> Pin {
        loop {
            let epoch = self.epoch.load(Ordering::SeqCst);
            let parity = usize::from(epoch & 1 == 1);
            self.pins[parity].fetch_add(1, Ordering::SeqCst);
            if self.epoch.load(Ordering::SeqCst) == epoch {
                return Pin { file: self.clone(), parity };
            }
            self.pins[parity].fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A number for an address space or another user of the file.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Bytes of frames handed out and not freed, with or without host memory behind them.
    pub fn allocated(&self) -> u64 {
        self.frames.lock().allocated
    }

    /// Bytes of host memory in use.
    pub fn resident(&self) -> u64 {
        self.window.resident()
    }

    /// Whether each page of the range has host memory behind it.
    pub fn mincore(&self, range: FrameRange) -> Vec<bool> {
        match self.host.get().filter(|_| is_host(range.start)) {
            Some(window) => window.mincore(in_window(range.start), range.len()),
            None => self.window.mincore(range.start, range.len()),
        }
    }

    /// Bytes of the range that have host memory behind them.
    pub(crate) fn resident_in(&self, range: FrameRange) -> u64 {
        let chunks = (0..range.len()).step_by(usize::try_from(MINCORE_CHUNK).unwrap_or(usize::MAX));
        chunks
            .map(|at| self.mincore(range.slice(at, MINCORE_CHUNK)).into_iter().filter(|there| *there).count())
            .sum::<usize>() as u64
            * PAGE_SIZE
    }

    /// Memory the sandbox may use, for `/proc/meminfo` and the overcommit check; `u64::MAX` without a limit.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets [`MemoryFile::limit`].
    pub fn set_limit(&self, bytes: u64) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// The host descriptor, for a platform to map. Nobody else has business with it: what is read or written through it
    /// is not held to any range of frames.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.window.as_fd()
    }

    /// The bytes from `offset` on, as memory the sentry may hand to the host. Valid while the caller holds a reference
    /// to the frames or a [`Pin`] taken while it did. Those of a host file can only be read.
    pub fn segment(&self, offset: u64, len: u64) -> Result<HostSeg, Errno> {
        let ptr = match self.host.get().filter(|_| is_host(offset)) {
            Some(window) => window.ptr(in_window(offset), len),
            None => self.window.ptr(offset, len),
        };
        let ptr = ptr.ok_or(EFAULT)?;
        // SAFETY: the range lies in one of the windows, which live as long as the file.
        Ok(unsafe { HostSeg::new(ptr, usize::try_from(len).map_err(|_| EFAULT)?) })
    }

    /// `len` bytes (at most [`MAX_VIEW`]) that nobody can access, in place of guest memory that is not there: who copies
    /// from or to it finds out when Linux would.
    pub(crate) fn nowhere(&self, len: usize) -> HostSeg {
        // SAFETY: a part of what lies behind the window, which lives as long as the file.
        unsafe { HostSeg::new(self.window.nowhere(), len.min(MAX_VIEW)) }
    }

    /// Copies out of the file.
    ///
    /// # Errors
    /// `EFAULT` outside the window, or when the host has no memory for a page.
    pub fn read_at(&self, offset: u64, dst: &mut [u8]) -> Result<(), Errno> {
        if is_host(offset) && dst.len() >= HOST_READ {
            return self.read_host(offset, dst);
        }
        let src = self.segment(offset, dst.len() as u64)?;
        // SAFETY: the destination is a live slice, the source part of the window; they cannot overlap.
        let left = unsafe { uaccess::copy(dst.as_mut_ptr(), src.ptr(), dst.len()) };
        if left == 0 { Ok(()) } else { Err(EFAULT) }
    }

    /// Copies into the file. Errors as [`MemoryFile::read_at`].
    pub fn write_at(&self, offset: u64, src: &[u8]) -> Result<(), Errno> {
        let dst = self.segment(offset, src.len() as u64)?;
        // SAFETY: the source is a live slice, the destination part of the window; they cannot overlap.
        let left = unsafe { uaccess::copy(dst.ptr(), src.as_ptr(), src.len()) };
        if left == 0 { Ok(()) } else { Err(EFAULT) }
    }

    /// Fills frames from their start on with as much of `src` as there is room for, and takes it from there; the host
    /// puts pages behind frames nobody has touched as it copies. Returns the bytes written.
    ///
    /// # Errors
    /// `EFAULT` for a source that cannot be read, and for frames of a host file; `ENOMEM`.
    pub fn fill(&self, frames: FrameRange, src: &mut IoSrc<'_>) -> Result<usize, Errno> {
        own(frames)?;
        let room = usize::try_from(frames.len()).map_err(|_| EFAULT)?;
        let segs = src.segs(room);
        let n = pwritev(self.window.as_fd(), segs.get(..MAX_SEGS).unwrap_or(&segs), frames.start)?;
        src.advance(n);
        Ok(n)
    }

    /// Zeroes bytes of the file. Whole ranges of pages are better freed and allocated anew.
    pub fn zero(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let dst = self.segment(offset, len)?;
        // SAFETY: part of the window.
        let left = unsafe { uaccess::zero(dst.ptr(), dst.len()) };
        if left == 0 { Ok(()) } else { Err(EFAULT) }
    }

    /// Zeroes whole pages by giving them back to the host.
    pub fn punch(&self, range: FrameRange) -> Result<(), Errno> {
        own(range)?;
        if range.is_empty() { Ok(()) } else { self.window.punch_hole(range.start, range.len()) }
    }

    /// Has the host put memory behind every page of the range, or read it in.
    pub fn populate(&self, range: FrameRange) -> Result<(), Errno> {
        match self.host.get().filter(|_| is_host(range.start)) {
            _ if range.is_empty() => Ok(()),
            Some(window) => window.populate(in_window(range.start), range.len()),
            None => self.window.populate(range.start, range.len()),
        }
    }

    /// Copies pages within the file; the ranges do not overlap.
    pub fn copy(&self, from: u64, to: u64, len: u64) -> Result<(), Errno> {
        let src = self.segment(from, len)?;
        let dst = self.segment(to, len)?;
        // SAFETY: both are parts of the window, and the caller vouches that they are apart.
        let left = unsafe { uaccess::copy(dst.ptr(), src.ptr(), src.len()) };
        if left == 0 { Ok(()) } else { Err(EFAULT) }
    }

    /// Loads an aligned word atomically.
    pub fn load32(&self, offset: u64) -> Result<u32, Errno> {
        let at = self.segment(offset, 4)?;
        // SAFETY: part of the window, aligned because the caller's offset is.
        unsafe { uaccess::load32(at.ptr().cast()) }.map_err(|_| EFAULT)
    }

    /// Compares and exchanges an aligned word atomically; returns the previous value.
    pub fn cmpxchg32(&self, offset: u64, old: u32, new: u32) -> Result<u32, Errno> {
        let at = self.segment(offset, 4)?;
        // SAFETY: part of the window, aligned because the caller's offset is.
        unsafe { uaccess::cmpxchg32(at.ptr().cast(), old, new) }.map_err(|_| EFAULT)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.file.pins[self.parity].fetch_sub(1, Ordering::SeqCst);
    }
}

/// `EFAULT` for frames of a host file, which nothing may change.
fn own(frames: FrameRange) -> Result<(), Errno> {
    if is_host(frames.start) { Err(EFAULT) } else { Ok(()) }
}

impl Frames {
    fn new() -> Frames {
        Frames {
            counts: Counts::default(),
            // No run reaches from one into the other.
            space: Space::new(0, HUGE_ZONE - HUGE_PAGE),
            huge: Space::new(HUGE_ZONE, WINDOW),
            limbo: Vec::new(),
            allocated: 0,
            warm: Warm::default(),
            host: Pieces::new(),
        }
    }

    /// Makes frames free that are zero again.
    fn give_back(&mut self, frames: FrameRange) {
        let space = if is_huge(frames) { &mut self.huge } else { &mut self.space };
        space.give_back(frames);
    }

    fn hand_out(&mut self, frames: FrameRange) -> FrameRange {
        self.enter(frames);
        self.allocated += frames.len();
        frames
    }

    /// Enters frames of a host file that were just mapped.
    pub(crate) fn enter(&mut self, frames: FrameRange) {
        self.counts.insert(frames.start, frames.end, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> FrameRange {
        FrameRange { start: start * PAGE_SIZE, end: end * PAGE_SIZE }
    }

    #[test]
    fn counts_split_and_merge_and_freed_frames_read_as_zero() -> Result<(), Errno> {
        let file = MemoryFile::new()?;
        let r = file.allocate(8 * PAGE_SIZE, PAGE_SIZE)?;
        assert_eq!(r, range(0, 8));
        file.write_at(3 * PAGE_SIZE, &[1; 16])?;
        file.inc_ref(range(2, 4));
        assert_eq!(file.shared_prefix(r), (false, 2 * PAGE_SIZE));
        assert_eq!(file.shared_prefix(range(2, 8)), (true, 2 * PAGE_SIZE));
        file.dec_ref(range(2, 4));
        assert_eq!(file.frames.lock().counts.runs(), 1);
        file.dec_ref(r);
        assert_eq!(file.allocated(), 0);
        let again = file.allocate(PAGE_SIZE * 4, PAGE_SIZE)?;
        let mut buf = [9; 16];
        file.read_at(again.start + 3 * PAGE_SIZE, &mut buf)?;
        assert_eq!(buf, [0; 16]);
        Ok(())
    }

    #[test]
    fn a_pinned_frame_is_not_reused() -> Result<(), Errno> {
        let file = MemoryFile::new()?;
        let r = file.allocate(PAGE_SIZE, PAGE_SIZE)?;
        file.write_at(r.start, &[5])?;
        let pin = file.pin();
        file.dec_ref(r);
        let mut byte = [0];
        file.read_at(r.start, &mut byte)?;
        assert_eq!(byte, [5]);
        assert_ne!(file.allocate(PAGE_SIZE, PAGE_SIZE)?, r);
        drop(pin);
        let other = file.allocate(PAGE_SIZE, PAGE_SIZE)?;
        file.dec_ref(other);
        assert_eq!(file.allocate_present(PAGE_SIZE), Some(r));
        file.read_at(r.start, &mut byte)?;
        assert_eq!(byte, [0]);
        Ok(())
    }

    #[test]
    fn a_source_longer_than_its_frames_does_not_reach_what_follows() -> Result<(), Errno> {
        let file = MemoryFile::new()?;
        let r = file.allocate(3 * PAGE_SIZE, PAGE_SIZE)?;
        let long = vec![7; 4 * 4096];
        let mut src = IoSrc::from_slice(&long);
        assert_eq!(file.fill(r.slice(PAGE_SIZE, PAGE_SIZE), &mut src)?, 4096);
        assert_eq!((src.done(), src.remaining()), (4096, 3 * 4096));
        let mut seen = vec![0; 3 * 4096];
        file.read_at(r.start, &mut seen)?;
        assert!(seen.iter().enumerate().all(|(at, byte)| (*byte == 7) == (at / 4096 == 1)));
        Ok(())
    }
}
