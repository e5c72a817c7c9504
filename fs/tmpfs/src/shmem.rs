//! The contents of a file in memory. Linux: mm/shmem.c, `shmem_file_read_iter`, `shmem_get_folio_gfp`,
//! `shmem_undo_range`, `shmem_fallocate`.

use crate::memfd::Seals;
use crate::quota::Quota;
use fs_vfs::{ExtentAt as At, Extents};
use sentry_mm::{CallSites, FrameRange, IoDst, IoSrc, MappingSet, MemoryFile, PAGE_SIZE};
use sentry_sync::{RwLock, RwLockWriteGuard, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, EFAULT, EFBIG, EINVAL, ENOMEM, ENOSPC, EPERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// From this size on new pages are written by a host call: each that the sentry has not touched yet would cost a fault
/// in the window, several times the price of the host's copy. Pages that have been written are copied through the window,
/// where the host maps sixteen of them at the first read.
const HOST_COPY_MIN: usize = 2048;

/// Most frames reserved behind the end of a growing file.
const RESERVE_MAX: u64 = 8 << 20;

/// How much of a hole a fault fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAround {
    /// A cluster that grows while faults follow each other: for files with a size somebody may look at.
    Cluster,
    /// All that is asked for: for memory that only one mapping gives a meaning to.
    All,
}

/// A file's contents.
pub struct ShmemFile {
    pub(crate) memory: Arc<MemoryFile>,
    pub(crate) quota: Arc<Quota>,
    pub(crate) around: FaultAround,
    pub(crate) data: RwLock<Data, { level::INODE }>,
    pub(crate) generation: AtomicU64,
    pub(crate) mappings: MappingSet,
    pub(crate) call_sites: CallSites,
}

pub(crate) struct Data {
    pub(crate) size: u64,
    pub(crate) extents: Extents,
    /// Frames for the file to grow into: the offset they are for, and they.
    reserve: Option<(u64, FrameRange)>,
    pub(crate) seals: Seals,
    /// Shared mappings that may write.
    pub(crate) writable_mappings: u64,
}

pub(crate) fn page_down(offset: u64) -> u64 {
    offset & !(PAGE_SIZE - 1)
}

pub(crate) fn page_up(offset: u64) -> u64 {
    page_down(offset.saturating_add(PAGE_SIZE - 1))
}

impl ShmemFile {
    /// An empty file, whose pages count against `quota`.
    pub fn new(memory: Arc<MemoryFile>, quota: Arc<Quota>, around: FaultAround) -> Arc<ShmemFile> {
        Arc::new(ShmemFile {
            memory,
            quota,
            around,
            data: RwLock::new(Data {
                size: 0,
                extents: Extents::default(),
                reserve: None,
                seals: Seals::SEAL,
                writable_mappings: 0,
            }),
            generation: AtomicU64::new(0),
            mappings: MappingSet::default(),
            call_sites: CallSites::default(),
        })
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.data.read().size
    }

    /// Bytes of frames in use.
    pub fn allocated(&self) -> u64 {
        self.data.read().extents.bytes()
    }

    /// Reads at `pos`.
    pub fn read(&self, dst: &mut IoDst<'_>, pos: u64) -> Result<usize, Errno> {
        let data = self.data.read();
        let want = u64::try_from(dst.remaining()).unwrap_or(u64::MAX);
        let end = pos.saturating_add(want).min(data.size);
        let mut at = pos;
        while at < end {
            let left = end - at;
            let step = match data.extents.at(at) {
                At::Data(frames) => {
                    let part = frames.slice(0, left);
                    dst.write_seg(self.memory.segment(part.start, part.len())?)
                }
                At::Hole(until) => {
                    dst.write_zeros(usize::try_from(left.min(until - at)).unwrap_or(usize::MAX))
                }
            };
            match step {
                Ok(0) => break,
                Ok(n) => at = at.saturating_add(u64::try_from(n).unwrap_or(0)),
                Err(e) if at == pos => return Err(e),
                Err(_) => break,
            }
        }
        usize::try_from(at.saturating_sub(pos)).map_err(|_| EINVAL)
    }

    /// Writes at `pos`, or at the end if `append`; returns how much, and the position behind it.
    pub fn write(&self, src: &mut IoSrc<'_>, pos: u64, append: bool) -> Result<(usize, u64), Errno> {
        let mut data = self.data.write();
        let pos = if append { data.size } else { pos };
        let count = src.remaining();
        if count == 0 {
            return Ok((0, pos));
        }
        if data.seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
            return Err(EPERM);
        }
        self.call_sites.forget();
        let count = u64::try_from(count).map_err(|_| EFBIG)?;
        let mut end = pos.checked_add(count).filter(|end| i64::try_from(*end).is_ok()).ok_or(EFBIG)?;
        if data.seals.contains(Seals::GROW) && end > data.size {
            // Linux goes page by page and refuses the first one that would reach beyond the end.
            end = page_down(data.size);
            if end <= pos {
                return Err(EPERM);
            }
        }
        let mut at = pos;
        let mut failure = None;
        while at < end {
            match self.write_piece(&mut data, src, at, end) {
                Ok(n) => at = at.saturating_add(n),
                Err(e) => {
                    failure = Some(e);
                    break;
                }
            }
        }
        if at == pos {
            return Err(failure.unwrap_or(EFAULT));
        }
        data.size = data.size.max(at);
        Ok((usize::try_from(at - pos).map_err(|_| EINVAL)?, at))
    }

    fn write_piece(
        &self,
        data: &mut RwLockWriteGuard<'_, Data, { level::INODE }>,
        src: &mut IoSrc<'_>,
        at: u64,
        end: u64,
    ) -> Result<u64, Errno> {
        let n = match data.extents.at(at) {
            At::Data(frames) => {
                let frames = frames.slice(0, end - at);
                src.read_seg(self.memory.segment(frames.start, frames.len())?)?
            }
            At::Hole(until) => {
                let start = page_down(at);
                let frames = self.fill_hole(data, start, page_up(end).min(until) - start)?;
                self.write_new(src, frames.slice(at - start, end - at))?
            }
        };
        let n = u64::try_from(n).map_err(|_| EINVAL)?;
        if n == 0 { Err(EFAULT) } else { Ok(n) }
    }

    /// Gives a hole of `len` bytes (aligned) at `offset` frames: all of it, or as much as there is room for.
    pub(crate) fn fill_hole(&self, data: &mut Data, offset: u64, len: u64) -> Result<FrameRange, Errno> {
        let len = self.quota.charge_some(len)?;
        let frames = match self.take_frames(data, offset, len) {
            Ok(frames) => frames,
            Err(e) => {
                self.quota.uncharge(len);
                return Err(e);
            }
        };
        self.quota.uncharge(len - frames.len());
        data.extents.insert(offset, frames);
        Ok(frames)
    }

    fn take_frames(&self, data: &mut Data, offset: u64, len: u64) -> Result<FrameRange, Errno> {
        if let Some((at, frames)) = data.reserve {
            if at == offset {
                let taken = frames.slice(0, len);
                let rest = frames.slice(taken.len(), u64::MAX);
                data.reserve = (!rest.is_empty()).then_some((offset + taken.len(), rest));
                return Ok(taken);
            }
            // The file grows elsewhere now.
            self.drop_reserve(data);
        }
        // A file that keeps growing at its end gets as much again as it has, so that its frames follow each other.
        let growing = data.extents.is_end(offset) && data.extents.ending_at(offset).is_some();
        let ahead = if growing { data.extents.bytes().min(RESERVE_MAX) } else { 0 };
        let frames = self.memory.allocate(len.checked_add(ahead).ok_or(ENOMEM)?, PAGE_SIZE)?;
        if ahead > 0 {
            data.reserve = Some((offset + len, frames.slice(len, u64::MAX)));
        }
        Ok(frames.slice(0, len))
    }

    fn drop_reserve(&self, data: &mut Data) {
        if let Some((_, frames)) = data.reserve.take() {
            self.memory.dec_ref(frames);
        }
    }

    /// Gives back what was kept for growth: nobody is writing any more.
    pub fn trim(&self) {
        self.drop_reserve(&mut self.data.write());
    }

    /// Fills frames that nobody has touched.
    fn write_new(&self, src: &mut IoSrc<'_>, frames: FrameRange) -> Result<usize, Errno> {
        let len = usize::try_from(frames.len()).map_err(|_| EINVAL)?;
        if len.min(src.remaining()) < HOST_COPY_MIN {
            return src.read_seg(self.memory.segment(frames.start, frames.len())?);
        }
        self.memory.fill(frames, src)
    }

    /// Changes the size. Linux: `shmem_setattr` and `shmem_truncate_range`.
    ///
    /// # Errors
    /// `EPERM` when sealed against it; `EFBIG` above the largest offset.
    pub fn truncate(&self, size: u64) -> Result<(), Errno> {
        if i64::try_from(size).is_err() {
            return Err(EFBIG);
        }
        let gone = {
            let mut data = self.data.write();
            if (size < data.size && data.seals.contains(Seals::SHRINK))
                || (size > data.size && data.seals.contains(Seals::GROW))
            {
                return Err(EPERM);
            }
            if size >= data.size {
                data.size = size;
                return Ok(());
            }
            data.size = size;
            self.call_sites.forget();
            self.drop_reserve(&mut data);
            self.zero_part(&data, size, page_up(size))?;
            self.generation.fetch_add(1, Ordering::SeqCst);
            data.extents.remove(page_up(size), u64::MAX)
        };
        self.mappings.invalidate(self, page_up(size), u64::MAX - page_up(size), true);
        self.free(&gone);
        Ok(())
    }

    /// Makes the bytes of a range read as zeros and frees their frames. The size stays.
    ///
    /// # Errors
    /// `EPERM` when sealed against writing.
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.checked_add(len).ok_or(EFBIG)?;
        let (first, last) = (page_up(offset), page_down(end));
        let gone = {
            let mut data = self.data.write();
            if data.seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
                return Err(EPERM);
            }
            self.call_sites.forget();
            if first > last {
                return self.zero_part(&data, offset, end);
            }
            self.zero_part(&data, offset, first)?;
            self.zero_part(&data, last, end)?;
            if first == last {
                return Ok(());
            }
            self.generation.fetch_add(1, Ordering::SeqCst);
            data.extents.remove(first, last)
        };
        self.mappings.invalidate(self, first, last - first, false);
        self.free(&gone);
        Ok(())
    }

    fn free(&self, gone: &[FrameRange]) {
        for frames in gone {
            self.quota.uncharge(frames.len());
            self.memory.dec_ref(*frames);
        }
    }

    /// Zeroes bytes that lie within one page.
    fn zero_part(&self, data: &Data, start: u64, end: u64) -> Result<(), Errno> {
        if start < end
            && let At::Data(frames) = data.extents.at(start)
        {
            let part = frames.slice(0, end - start);
            self.memory.zero(part.start, part.len())?;
        }
        Ok(())
    }

    /// Gives a range frames, so that later writes cannot fail for want of room.
    ///
    /// # Errors
    /// `ENOSPC` without room, in which case nothing has changed; `EPERM` when sealed against growing.
    pub fn allocate(&self, offset: u64, len: u64, keep_size: bool) -> Result<(), Errno> {
        let end = offset.checked_add(len).filter(|end| i64::try_from(*end).is_ok()).ok_or(EFBIG)?;
        let mut data = self.data.write();
        if data.seals.contains(Seals::GROW) && end > data.size {
            return Err(EPERM);
        }
        let last = page_up(end);
        let (max_blocks, _) = self.quota.blocks();
        if max_blocks != 0 && (last - page_down(offset)) / PAGE_SIZE > max_blocks {
            return Err(ENOSPC);
        }
        let mut filled: Vec<(u64, u64)> = Vec::new();
        let mut at = page_down(offset);
        while at < last {
            match data.extents.at(at) {
                At::Data(frames) => at += frames.len(),
                At::Hole(until) => match self.fill_hole(&mut data, at, until.min(last) - at) {
                    Ok(frames) => {
                        filled.push((at, at + frames.len()));
                        at += frames.len();
                    }
                    Err(e) => {
                        for (start, end) in filled {
                            let gone = data.extents.remove(start, end);
                            self.free(&gone);
                        }
                        return Err(e);
                    }
                },
            }
        }
        if !keep_size {
            data.size = data.size.max(end);
        }
        Ok(())
    }

    /// SEEK_DATA, or SEEK_HOLE if `hole`. `None`: at or beyond the end, or no more data.
    pub fn seek(&self, pos: u64, hole: bool) -> Option<u64> {
        let data = self.data.read();
        if pos >= data.size {
            return None;
        }
        let found = data.extents.seek(pos, hole);
        if hole { Some(found.min(data.size)) } else { Some(found).filter(|at| *at < data.size) }
    }

    /// Seals on the file; [`Seals::SEAL`] alone on one that cannot be sealed.
    pub fn seals(&self) -> Seals {
        self.data.read().seals
    }

    /// Adds seals.
    ///
    /// # Errors
    /// `EPERM` when sealed against it; `EBUSY` for [`Seals::WRITE`] while it is mapped shared and writable.
    pub fn add_seals(&self, seals: Seals) -> Result<(), Errno> {
        let mut data = self.data.write();
        if data.seals.contains(Seals::SEAL) {
            return Err(EPERM);
        }
        if seals.contains(Seals::WRITE) && !data.seals.contains(Seals::WRITE) && data.writable_mappings > 0 {
            return Err(EBUSY);
        }
        data.seals |= seals;
        Ok(())
    }

    /// Makes a new file sealable.
    pub(crate) fn set_seals(&self, seals: Seals) {
        self.data.write().seals = seals;
    }

    /// A shared mapping that may write comes or goes. `EPERM`: sealed.
    pub fn map_writable(&self, come: bool) -> Result<(), Errno> {
        let mut data = self.data.write();
        if !come {
            data.writable_mappings = data.writable_mappings.saturating_sub(1);
            return Ok(());
        }
        if data.seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
            return Err(EPERM);
        }
        data.writable_mappings += 1;
        self.call_sites.refuse_all();
        Ok(())
    }
}

impl Drop for ShmemFile {
    fn drop(&mut self) {
        let data = self.data.get_mut();
        let gone = data.extents.remove(0, u64::MAX);
        let reserve = data.reserve.take();
        self.free(&gone);
        if let Some((_, frames)) = reserve {
            self.memory.dec_ref(frames);
        }
    }
}
