//! Contents of host files that are mapped, as frames. Linux: mm/filemap.c.
//!
//! Where the platform can map host files, frames are pages of the host's page cache: nothing is copied, and all that
//! happens to the file is seen at once. They are for reading only. From the first shared mapping that may write, and where
//! the host does not let the file be mapped, pages are copied into the memory file instead. A page is the one or the other.
//!
//! Of what is copied, a fault reads a cluster of the file into frames. Pages given out for shared writing count as modified from then on,
//! since nothing tells when a guest writes to them; they are written back by msync(2), fsync(2), when the last such
//! mapping goes, and at close.

use crate::super_block::HostShared;
use fs_vfs::{ExtentAt, Extents};
use platform_host::file_window;
use platform_host::fs::{self, HostStat};
use platform_host::io::{preadv, pwritev};
use sentry_mm::{CallSites, FrameRange, IoDst, IoSrc, MAX_PIECE, MapFault, Mappable, MappingSet, PAGE_SIZE};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EIO, ENOMEM};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Least and most bytes of the file that a fault reads. The cluster grows with the run before it.
const CLUSTER_MIN: u64 = 64 << 10;
const CLUSTER_MAX: u64 = 256 << 10;

/// Bytes read at once on their way into frames; divides a cluster.
const BOUNCE: usize = 64 << 10;

/// A piece of the host's page cache ends at a multiple of this, so that a file may grow within it.
const PIECE_STEP: u64 = 16 << 20;

/// What a piece counts for among cached bytes: a descriptor, mappings, page tables.
const PIECE_COST: u64 = 64 << 10;

/// The mapped contents of one file.
pub(crate) struct HostPages {
    this: Weak<HostPages>,
    fs: Arc<HostShared>,
    data: Mutex<Data, { level::PAGE_CACHE }>,
    generation: AtomicU64,
    mappings: MappingSet,
    call_sites: CallSites,
    has_dirty: AtomicBool,
    /// No page is one of the host's from now on.
    copies: AtomicBool,
}

/// A descriptor to map the file by.
#[derive(Default)]
enum Reader {
    /// Nobody has looked for one, or there was none just then.
    #[default]
    Unknown,
    /// The file cannot be mapped, or not executable.
    Refused,
    /// It cannot be written through.
    Found(Arc<OwnedFd>),
}

#[derive(Default)]
struct Data {
    /// Pages copied into the memory file.
    extents: Extents,
    /// Pages of the host's page cache.
    host: Extents,
    /// How many pieces are counted as cached.
    pieces: u64,
    reader: Reader,
    /// Where the file ended when pages of the host's were last given out.
    host_size: u64,
    /// Address spaces are being told that pages of the host's have gone.
    leaving: bool,
    /// Modified, or perhaps so: disjoint runs of pages, by start.
    dirty: BTreeMap<u64, u64>,
    /// Shared mappings that may write.
    writable: u64,
    fd: Option<(Arc<OwnedFd>, bool)>,
    /// Size and time of last change when pages were read, to see whether others changed the file.
    seen: Option<(u64, (i64, u32))>,
    counted: bool,
}

fn page_down(offset: u64) -> u64 {
    offset & !(PAGE_SIZE - 1)
}

fn page_up(offset: u64) -> u64 {
    page_down(offset.saturating_add(PAGE_SIZE - 1))
}

impl Data {
    fn mark_dirty(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start, end);
        let touching: Vec<(u64, u64)> =
            self.dirty.range(..=end).rev().take_while(|(_, e)| **e >= start).map(|(s, e)| (*s, *e)).collect();
        for (s, e) in touching {
            self.dirty.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        self.dirty.insert(start, end);
    }

    fn clear_dirty(&mut self, start: u64, end: u64) {
        let touching: Vec<(u64, u64)> =
            self.dirty.range(..end).rev().take_while(|(_, e)| **e > start).map(|(s, e)| (*s, *e)).collect();
        for (s, e) in touching {
            self.dirty.remove(&s);
            if s < start {
                self.dirty.insert(s, start);
            }
            if e > end {
                self.dirty.insert(end, e);
            }
        }
    }

    fn fd(&self) -> Result<Arc<OwnedFd>, Errno> {
        self.fd.as_ref().map(|(fd, _)| fd.clone()).ok_or(EBADF)
    }
}

/// Frames that are no longer the file's.
struct Gone {
    frames: Vec<FrameRange>,
    /// Bytes that were counted as cached for them.
    counted: u64,
}

impl Gone {
    fn take(data: &mut Data, start: u64, end: u64) -> Gone {
        let mut gone = Gone::take_host(data, start, end);
        let copied = data.extents.remove(start, end);
        gone.counted += copied.iter().map(|frames| frames.len()).sum::<u64>();
        gone.frames.extend(copied);
        gone
    }

    fn take_host(data: &mut Data, start: u64, end: u64) -> Gone {
        data.host_size = 0;
        let frames = data.host.remove(start, end);
        // A piece counts until all of them have gone.
        let pieces = if data.host.is_end(0) { std::mem::take(&mut data.pieces) } else { 0 };
        Gone { frames, counted: pieces * PIECE_COST }
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl HostPages {
    pub(crate) fn new(fs: Arc<HostShared>) -> Arc<HostPages> {
        Arc::new_cyclic(|this| HostPages {
            this: this.clone(),
            fs,
            data: Mutex::default(),
            generation: AtomicU64::new(0),
            mappings: MappingSet::default(),
            call_sites: CallSites::default(),
            has_dirty: AtomicBool::new(false),
            copies: AtomicBool::new(false),
        })
    }

    /// The file is about to be mapped. `open` gives a descriptor that is for reading only.
    pub(crate) fn use_reader(&self, open: impl FnOnce() -> Result<Arc<OwnedFd>, Errno>) {
        let is_known = |data: &Data| !matches!(data.reader, Reader::Unknown);
        if !self.is_host_mapped() || is_known(&self.data.lock()) {
            return;
        }
        // A stub that cannot map what it is told to is lost, so this is found out first.
        let Ok(fd) = open() else { return };
        let reader = if file_window::may_execute(fd.as_fd()) { Reader::Found(fd) } else { Reader::Refused };
        let mut data = self.data.lock();
        if !is_known(&data) {
            data.reader = reader;
        }
    }

    /// Pages of the host's page cache from `offset` on, with a reference for the caller; beside them how many bytes count
    /// as cached that did not before. `None` if they cannot be had.
    fn host_pages(
        &self,
        data: &mut Data,
        offset: u64,
        max: u64,
    ) -> Result<Option<(FrameRange, u64)>, MapFault> {
        let Reader::Found(fd) = &data.reader else { return Ok(None) };
        if self.copies.load(Ordering::SeqCst) {
            return Ok(None);
        }
        if offset >= page_up(data.host_size) {
            let stat = fs::stat(fd.as_fd()).map_err(|_| MapFault::Bus)?;
            data.host_size = stat.size;
            if !self.fs.exclusive() {
                data.seen.get_or_insert((stat.size, stat.mtime));
            }
        }
        let end = page_up(data.host_size);
        if offset >= end {
            return Err(MapFault::Bus);
        }
        let mut cost = 0;
        let frames = match data.host.at(offset) {
            ExtentAt::Data(frames) => frames,
            ExtentAt::Hole(until) => {
                let ExtentAt::Hole(copied) = data.extents.at(offset) else { return Ok(None) };
                let most = (offset & !(MAX_PIECE - 1)).saturating_add(MAX_PIECE);
                let room = end.checked_next_multiple_of(PIECE_STEP).unwrap_or(end);
                let len = until.min(copied).min(most).min(room) - offset;
                let frames = match self.fs.memory.map_host_file(fd, offset, len) {
                    Ok(frames) => frames,
                    Err(e) => {
                        if e != ENOMEM {
                            data.reader = Reader::Refused;
                        }
                        return Ok(None);
                    }
                };
                data.host.insert(offset, frames);
                data.pieces += 1;
                cost = PIECE_COST;
                frames
            }
        };
        let frames = frames.slice(0, max.min(end - offset));
        self.fs.memory.inc_ref(frames);
        Ok(Some((frames, cost)))
    }

    /// Pages are read, and if it is for that, written through this descriptor from now on.
    pub(crate) fn use_fd(&self, fd: &Arc<OwnedFd>, writable: bool) {
        let mut data = self.data.lock();
        let old = match &data.fd {
            Some((_, true)) if !writable => None,
            _ => data.fd.replace((fd.clone(), writable)),
        };
        drop(data);
        drop(old);
    }

    /// Whether frames may hold something the host does not.
    pub(crate) fn has_dirty(&self) -> bool {
        self.has_dirty.load(Ordering::SeqCst)
    }

    /// A shared mapping that may write comes or goes. False when the last one has gone.
    pub(crate) fn map_writable(&self, come: bool) -> bool {
        self.call_sites.refuse_all();
        let mut data = self.data.lock();
        data.writable = if come { data.writable + 1 } else { data.writable.saturating_sub(1) };
        data.writable > 0
    }

    /// Reads a cluster at `offset` (aligned), where nothing is cached. Returns the bytes cached, none at the end.
    fn fill(&self, data: &mut Data, offset: u64, max: u64) -> Result<u64, Errno> {
        let ExtentAt::Hole(mut until) = data.extents.at(offset) else { return Ok(0) };
        if let ExtentAt::Hole(mapped) = data.host.at(offset) {
            until = until.min(mapped);
        }
        let before = data.extents.ending_at(offset).map_or(0, FrameRange::len);
        let cluster = max.max(before).clamp(CLUSTER_MIN, CLUSTER_MAX).min(until - offset);
        let fd = data.fd()?;
        let frames = self.fs.memory.allocate(cluster, PAGE_SIZE)?;
        let read = self.read_into(fd.as_fd(), frames, offset);
        let kept = page_up(*read.as_ref().unwrap_or(&0));
        self.fs.memory.dec_ref(frames.slice(kept, u64::MAX));
        read?;
        if kept > 0 {
            data.extents.insert(offset, frames.slice(0, kept));
        }
        if data.seen.is_none() && !self.fs.exclusive() {
            let stat = fs::stat(fd.as_fd())?;
            data.seen = Some((stat.size, stat.mtime));
        }
        Ok(kept)
    }

    /// Reads the file into fresh frames. Through a buffer and two copies by the host, since a read straight into the
    /// window would fault at every page, which costs more than the second copy.
    fn read_into(&self, fd: BorrowedFd<'_>, frames: FrameRange, offset: u64) -> Result<u64, Errno> {
        let mut buf = vec![0u8; BOUNCE];
        let mut done = 0;
        while done < frames.len() {
            let at = offset.saturating_add(done);
            // No more than there are frames for: what follows them in the memory file is somebody else's.
            let room = usize::try_from(frames.len() - done).unwrap_or(BOUNCE).min(BOUNCE);
            let n = preadv(fd, &IoDst::from_slice(&mut buf).segs(room), at)?;
            if n == 0 {
                break;
            }
            let part = frames.slice(done, u64::try_from(n).map_err(|_| EIO)?);
            let mut src = IoSrc::from_slice(buf.get(..n).ok_or(EIO)?);
            let mut filled = 0;
            while src.remaining() > 0 && filled < part.len() {
                let n = self.fs.memory.fill(part.slice(filled, u64::MAX), &mut src)?;
                filled = filled.saturating_add(u64::try_from(n).map_err(|_| EIO)?);
            }
            done += part.len();
        }
        Ok(done)
    }

    /// Reads, taking what frames may hold that the host does not from them.
    pub(crate) fn read(&self, fd: BorrowedFd<'_>, dst: &mut IoDst<'_>, pos: u64) -> Result<usize, Errno> {
        let data = self.data.lock();
        let size = fs::stat(fd)?.size;
        let before = dst.done();
        let end = pos.saturating_add(u64::try_from(dst.remaining()).unwrap_or(u64::MAX)).min(size);
        let mut at = pos;
        while at < end {
            let n = match data.extents.at(at) {
                ExtentAt::Data(frames) => {
                    let part = frames.slice(0, end - at);
                    dst.write_seg(self.fs.memory.segment(part.start, part.len())?)
                }
                ExtentAt::Hole(until) => {
                    let len = usize::try_from(until.min(end) - at).map_err(|_| EIO)?;
                    let segs = dst.segs(len);
                    let n = preadv(fd, crate::file::one_call(&segs), at);
                    if let Ok(n) = n {
                        dst.advance(n);
                    }
                    n
                }
            };
            match n {
                Ok(0) => break,
                Ok(n) => at = at.saturating_add(u64::try_from(n).map_err(|_| EIO)?),
                Err(e) if dst.done() == before => return Err(e),
                Err(_) => break,
            }
        }
        Ok(dst.done() - before)
    }

    /// The host's bytes of a range were written: brings frames up to date.
    pub(crate) fn written(&self, fd: BorrowedFd<'_>, pos: u64, len: u64) -> Result<(), Errno> {
        self.call_sites.forget();
        let data = self.data.lock();
        let end = pos.saturating_add(len);
        let mut at = pos;
        while at < end {
            match data.extents.at(at) {
                ExtentAt::Data(frames) => {
                    let part = frames.slice(0, end - at);
                    let n = preadv(fd, &[self.fs.memory.segment(part.start, part.len())?], at)?;
                    if n == 0 {
                        return Ok(());
                    }
                    at = at.saturating_add(u64::try_from(n).map_err(|_| EIO)?);
                }
                ExtentAt::Hole(until) => at = until,
            }
        }
        Ok(())
    }

    /// Writes modified pages of a range to the host.
    pub(crate) fn write_back(&self, offset: u64, len: u64) -> Result<(), Errno> {
        if !self.has_dirty() {
            return Ok(());
        }
        let mut data = self.data.lock();
        let end = page_up(offset.saturating_add(len));
        let Some((fd, true)) = data.fd.clone() else { return Ok(()) };
        let size = fs::stat(fd.as_fd())?.size;
        let runs: Vec<(u64, u64)> = data
            .dirty
            .range(..end)
            .rev()
            .take_while(|(_, e)| **e > offset)
            .map(|(s, e)| ((*s).max(page_down(offset)), (*e).min(end).min(size)))
            .collect();
        for (start, stop) in runs {
            self.write_run(&data, fd.as_fd(), start, stop)?;
        }
        // Pages that are still mapped for writing may change again at any time.
        if data.writable == 0 {
            data.clear_dirty(page_down(offset), end);
            self.has_dirty.store(!data.dirty.is_empty(), Ordering::SeqCst);
        }
        Ok(())
    }

    fn write_run(&self, data: &Data, fd: BorrowedFd<'_>, start: u64, end: u64) -> Result<(), Errno> {
        let mut at = start;
        while at < end {
            match data.extents.at(at) {
                ExtentAt::Data(frames) => {
                    let part = frames.slice(0, end - at);
                    let n = pwritev(fd, &[self.fs.memory.segment(part.start, part.len())?], at)?;
                    if n == 0 {
                        return Err(EIO);
                    }
                    at = at.saturating_add(u64::try_from(n).map_err(|_| EIO)?);
                }
                ExtentAt::Hole(until) => at = until,
            }
        }
        Ok(())
    }

    /// The file was truncated, or extended, to `size`.
    pub(crate) fn truncated(&self, size: u64) -> Result<(), Errno> {
        self.call_sites.forget();
        {
            let data = self.data.lock();
            if let ExtentAt::Data(frames) = data.extents.at(size) {
                let part = frames.slice(0, page_up(size) - size);
                self.fs.memory.zero(part.start, part.len())?;
            }
        }
        self.forget(page_up(size), u64::MAX - page_up(size), true);
        Ok(())
    }

    /// Drops the frames of a range, modified or not, and takes them out of all address spaces; with `even_private` also what
    /// was copied from them there.
    pub(crate) fn forget(&self, offset: u64, len: u64, even_private: bool) {
        self.call_sites.forget();
        let end = page_up(offset.saturating_add(len));
        let gone = {
            let mut data = self.data.lock();
            data.clear_dirty(page_down(offset), end);
            self.has_dirty.store(!data.dirty.is_empty(), Ordering::SeqCst);
            data.seen = None;
            self.generation.fetch_add(1, Ordering::SeqCst);
            Gone::take(&mut data, page_down(offset), end)
        };
        if gone.is_empty() {
            return;
        }
        self.mappings.invalidate(self, page_down(offset), end - page_down(offset), even_private);
        self.free(&gone);
    }

    fn free(&self, gone: &Gone) {
        self.fs.uncount_cached(gone.counted);
        for frames in &gone.frames {
            self.fs.memory.dec_ref(*frames);
        }
    }

    /// Drops everything if nothing is modified. False if something is.
    ///
    /// For files that nobody maps: address spaces are not told, since this runs in a fault, under the lock of one. A
    /// mapping that comes in between keeps clean frames the cache no longer knows, which is harmless.
    pub(crate) fn drop_clean(&self) -> bool {
        let (gone, reader) = {
            let mut data = self.data.lock();
            if !data.dirty.is_empty() {
                return false;
            }
            data.seen = None;
            data.counted = false;
            self.generation.fetch_add(1, Ordering::SeqCst);
            (Gone::take(&mut data, 0, u64::MAX), std::mem::take(&mut data.reader))
        };
        drop(reader);
        self.free(&gone);
        true
    }

    /// Forgets what was read if the host's file has changed since.
    pub(crate) fn revalidate(&self, stat: &HostStat) {
        let seen = self.data.lock().seen;
        if seen.is_some_and(|seen| seen != (stat.size, stat.mtime)) && !self.has_dirty() {
            self.forget(0, u64::MAX, false);
        }
    }

    fn find(&self, data: &mut Data, offset: u64, max: u64, write: bool) -> Option<FrameRange> {
        let ExtentAt::Data(frames) = data.extents.at(offset) else { return None };
        let frames = frames.slice(0, max);
        self.fs.memory.inc_ref(frames);
        if write {
            data.mark_dirty(offset, offset + frames.len());
            self.has_dirty.store(true, Ordering::SeqCst);
        }
        Some(frames)
    }
}

impl Mappable for HostPages {
    fn map_pages(&self, offset: u64, max: u64, write: bool) -> Result<FrameRange, MapFault> {
        let (frames, filled, first) = {
            let mut data = self.data.lock();
            if let Some(frames) = self.find(&mut data, offset, max, write) {
                return Ok(frames);
            }
            let host = if write { None } else { self.host_pages(&mut data, offset, max)? };
            let (frames, filled) = match host {
                Some((frames, 0)) => return Ok(frames),
                Some(mapped) => mapped,
                None => {
                    let filled = self.fill(&mut data, offset, max).map_err(|e| match e {
                        ENOMEM => MapFault::OutOfMemory,
                        _ => MapFault::Bus,
                    })?;
                    (self.find(&mut data, offset, max, write).ok_or(MapFault::Bus)?, filled)
                }
            };
            let first = !std::mem::replace(&mut data.counted, true);
            (frames, filled, first)
        };
        if let Some(this) = self.this.upgrade() {
            self.fs.count_cached(filled, &this, first);
        }
        Ok(frames)
    }

    fn is_host_mapped(&self) -> bool {
        self.fs.memory.uses_host_files() && !self.copies.load(Ordering::SeqCst)
    }

    fn before_map_writable(&self) {
        let gone = {
            let mut data = self.data.lock();
            if self.copies.swap(true, Ordering::SeqCst) && !data.leaving {
                return;
            }
            let gone = Gone::take_host(&mut data, 0, u64::MAX);
            data.leaving |= !gone.is_empty();
            if !data.leaving {
                return;
            }
            self.generation.fetch_add(1, Ordering::SeqCst);
            gone
        };
        // Whoever comes second while this goes on does the same, and so waits until it is done.
        self.mappings.invalidate(self, 0, u64::MAX, false);
        self.data.lock().leaving = false;
        self.free(&gone);
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn mappings(&self) -> &MappingSet {
        &self.mappings
    }

    fn call_sites(&self) -> Option<&CallSites> {
        Some(&self.call_sites)
    }

    fn msync(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.write_back(offset, len)?;
        let fd = self.data.lock().fd()?;
        fs::sync(fd.as_fd(), true)
    }
}

impl Drop for HostPages {
    fn drop(&mut self) {
        let gone = Gone::take(self.data.get_mut(), 0, u64::MAX);
        self.free(&gone);
    }
}
