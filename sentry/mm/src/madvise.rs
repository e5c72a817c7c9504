//! Linux: mm/madvise.c, mm/mincore.c, mm/msync.c.

use crate::mm::Inner;
use crate::vma::{find_vma, page_up};
use crate::{FrameRange, MemoryManager, PAGE_SIZE, VmFlags};
use platform::Prot;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, EFAULT, EINVAL, ENOMEM};

/// Advice that madvise(2) takes. Linux: include/uapi/asm-generic/mman-common.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Hints without effect here, which are remembered as flags to set and to clear.
    Flags {
        /// Flags to set.
        set: VmFlags,
        /// Flags to clear.
        clear: VmFlags,
    },
    /// MADV_DONTNEED and MADV_DONTNEED_LOCKED (`true`).
    DontNeed(bool),
    /// MADV_FREE.
    Free,
    /// MADV_REMOVE.
    Remove,
    /// MADV_WILLNEED and MADV_POPULATE_READ.
    WillNeed,
    /// MADV_POPULATE_READ (`false`) and MADV_POPULATE_WRITE (`true`).
    Populate(bool),
    /// MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE: nothing happens beyond the checks.
    Nothing,
}

impl MemoryManager {
    /// madvise(2). Unmapped parts are passed over, and make it `ENOMEM` in the end.
    pub fn madvise(&self, addr: u64, len: u64, advice: Advice) -> Result<(), Errno> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let aligned = page_up(len).ok_or(EINVAL)?;
        let end = addr.checked_add(aligned).ok_or(EINVAL)?;
        if aligned == 0 {
            return Ok(());
        }
        let mut inner = self.inner.write();
        let mut unmapped = false;
        let mut at = addr;
        while at < end {
            let Some((start, vma)) = find_vma(&inner.vmas, at) else {
                unmapped = true;
                let Some(next) = inner.vmas.range(at..end).next().map(|(s, _)| *s) else { break };
                at = next;
                continue;
            };
            let stop = vma.end.min(end);
            debug_assert!(start <= at);
            self.advise_one(&mut inner, at, stop, advice)?;
            at = stop;
        }
        if unmapped { Err(ENOMEM) } else { Ok(()) }
    }

    fn advise_one(&self, inner: &mut Inner, at: u64, stop: u64, advice: Advice) -> Result<(), Errno> {
        let Some((start, vma)) = find_vma(&inner.vmas, at).map(|(s, v)| (s, v.clone())) else {
            return Ok(());
        };
        match advice {
            Advice::Flags { set, clear } => {
                if set.contains(VmFlags::WIPEONFORK) && (vma.file.is_some() || vma.is_shared()) {
                    return Err(EINVAL);
                }
                self.split_at(inner, at)?;
                self.split_at(inner, stop)?;
                if let Some(v) = inner.vmas.get_mut(&at) {
                    v.flags = (v.flags - clear) | set;
                }
                if (set | clear).intersects(VmFlags::HUGEPAGE) && self.memory.has_huge_pages() {
                    self.advise_huge(inner, at, stop)?;
                }
                self.merge_around(inner, at, stop);
            }
            Advice::DontNeed(even_locked) => {
                if vma.flags.contains(VmFlags::LOCKED) && !even_locked {
                    return Err(EINVAL);
                }
                self.zap(inner, at, stop)?;
            }
            Advice::Free => {
                if vma.file.is_some() {
                    return Err(EINVAL);
                }
                self.zap(inner, at, stop)?;
            }
            Advice::Remove => {
                if vma.flags.contains(VmFlags::LOCKED) {
                    return Err(EINVAL);
                }
                let Some(f) = &vma.file else { return Err(EINVAL) };
                if !vma.is_shared() || !vma.prot.contains(Prot::WRITE) || f.file.is_some() {
                    // Punching a hole in a real file goes through fallocate(2).
                    return Err(sentry_uapi::errno::EOPNOTSUPP);
                }
                let offset = vma.file_offset(start, at);
                if let Ok(frames) = f.mappable.map_pages(offset, stop - at, true) {
                    let punched = self.memory.punch(frames);
                    self.memory.dec_ref(frames);
                    punched?;
                }
            }
            Advice::WillNeed if vma.file.as_ref().is_some_and(|f| f.mappable.is_host_mapped()) => {
                inner.host_frames(at, stop).for_each(|frames| self.memory.will_need(frames));
            }
            Advice::WillNeed => {
                let _ = self.populate_locked(inner, at, stop, false);
            }
            Advice::Populate(write) => {
                if write && !vma.prot.contains(Prot::WRITE) || vma.prot.is_empty() {
                    return Err(EINVAL);
                }
                self.populate_locked(inner, at, stop, true).map_err(|_| EFAULT)?;
            }
            Advice::Nothing => {}
        }
        Ok(())
    }

    /// Drops the pages of a part of one VMA; private memory reads as zeros or as its file afterwards. Linux:
    /// `zap_page_range_single`.
    fn zap(&self, inner: &mut Inner, start: u64, end: u64) -> Result<(), Errno> {
        let Some((_, vma)) = find_vma(&inner.vmas, start).map(|(s, v)| (s, v.clone())) else { return Ok(()) };
        if vma.file.is_none() && !vma.is_shared() {
            // Frames nobody shares are emptied where they are: the mapping stays.
            crate::vma::split_pma(&mut inner.pmas, start);
            crate::vma::split_pma(&mut inner.pmas, end);
            let pmas: Vec<_> = inner.pmas.range(start..end).map(|(s, p)| (*s, *p)).collect();
            for (s, pma) in pmas {
                let frames = FrameRange { start: pma.frame, end: pma.frame + (pma.end - s) };
                let (shared, len) = self.memory.shared_prefix(frames);
                if !shared && len == frames.len() && !pma.write_protected {
                    self.memory.punch(frames)?;
                } else {
                    let old = inner.take_frames(s, pma.end);
                    self.drop_frames(old, s, pma.end)?;
                    if !vma.prot.is_empty() {
                        self.map_anonymous(inner, &vma, s, pma.end).map_err(|_| ENOMEM)?;
                    }
                }
            }
            return Ok(());
        }
        let frames = inner.take_frames(start, end);
        self.drop_frames(frames, start, end)
    }

    /// mincore(2): one byte a page. `ENOMEM` if a part is not mapped.
    pub fn mincore(&self, addr: u64, len: u64) -> Result<Vec<u8>, Errno> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let end = page_up(len).and_then(|l| addr.checked_add(l)).ok_or(ENOMEM)?;
        if end > self.platform.user_range().1 {
            return Err(ENOMEM);
        }
        let inner = self.inner.read();
        let mut out = vec![0u8; usize::try_from((end - addr) / PAGE_SIZE).map_err(|_| ENOMEM)?];
        let mut at = addr;
        while at < end {
            let Some((_, vma)) = find_vma(&inner.vmas, at) else { return Err(ENOMEM) };
            at = vma.end;
        }
        for (present, page) in self.present_pages(&inner, addr, end) {
            if present
                && let Some(byte) =
                    out.get_mut(usize::try_from((page - addr) / PAGE_SIZE).unwrap_or(usize::MAX))
            {
                *byte = 1;
            }
        }
        Ok(out)
    }

    /// The pages of a range that have frames, and whether the host has memory behind each.
    pub(crate) fn present_pages(&self, inner: &Inner, start: u64, end: u64) -> Vec<(bool, u64)> {
        let first = crate::vma::find_pma(&inner.pmas, start).map_or(start, |(s, _)| s);
        let mut out = Vec::new();
        for (s, pma) in inner.pmas.range(first..end) {
            let from = (*s).max(start);
            let to = pma.end.min(end);
            let frame = pma.frame + (from - s);
            let present = self.memory.mincore(FrameRange { start: frame, end: frame + (to - from) });
            out.extend(present.into_iter().zip((from..to).step_by(4096)));
        }
        out
    }

    /// msync(2). `invalidate` is MS_INVALIDATE, `sync` MS_SYNC.
    pub fn msync(&self, addr: u64, len: u64, invalidate: bool, sync: bool) -> Result<(), Errno> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let end = page_up(len).and_then(|l| addr.checked_add(l)).ok_or(ENOMEM)?;
        let mut files = Vec::new();
        let mut unmapped = false;
        {
            let inner = self.inner.read();
            let mut at = addr;
            while at < end {
                let Some((start, vma)) = find_vma(&inner.vmas, at) else {
                    unmapped = true;
                    let Some(next) = inner.vmas.range(at..end).next().map(|(s, _)| *s) else { break };
                    at = next;
                    continue;
                };
                if invalidate && vma.flags.contains(VmFlags::LOCKED) {
                    return Err(EBUSY);
                }
                let stop = vma.end.min(end);
                if sync
                    && vma.is_shared()
                    && let Some(f) = &vma.file
                {
                    files.push((f.mappable.clone(), vma.file_offset(start, at), stop - at));
                }
                at = stop;
            }
        }
        for (mappable, offset, len) in files {
            mappable.msync(offset, len)?;
        }
        if unmapped { Err(ENOMEM) } else { Ok(()) }
    }
}
