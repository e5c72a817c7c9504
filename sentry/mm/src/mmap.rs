//! Linux: mm/mmap.c.

use crate::fault::{EAGER_ANON, FaultError, STACK_GUARD_GAP};
use crate::mm::{Inner, MAX_MAP_COUNT};
use crate::vma::{Vma, VmaFile, find_vma, page_up, split_vma};
use crate::{FrameRange, MemoryManager, MmLimits, PAGE_SIZE, VmFlags};
use platform::{MapOp, Prot};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EEXIST, EINVAL, ENOMEM, EPERM};

/// File mappings up to this size are entered whole when they are made executable.
const EAGER_TEXT: u64 = 8 << 20;
/// File mappings up to this size are entered whole when they are made.
const EAGER_FILE: u64 = 256 << 10;
/// Lowest address an unprivileged program may ask for. Linux: `mmap_min_addr`.
pub const MMAP_MIN_ADDR: u64 = 65536;

/// Where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Anywhere, near this address if there is room (0: no wish).
    Hint(u64),
    /// In the first 2 GiB.
    Low,
    /// Exactly there, replacing what is mapped.
    Fixed(u64),
    /// Exactly there, or not at all.
    FixedNoReplace(u64),
}

/// A mapping to make. Checks of file modes have been done.
#[derive(Clone)]
pub struct MmapRequest {
    /// Where.
    pub place: Placement,
    /// Length in bytes, not 0; rounded up to pages.
    pub len: u64,
    /// Access.
    pub prot: Prot,
    /// The most mprotect(2) may grant later.
    pub max_prot: Prot,
    /// Properties.
    pub flags: VmFlags,
    /// The file; none for private anonymous memory.
    pub file: Option<VmaFile>,
    /// Name for `/proc/[pid]/maps`.
    pub name: Option<&'static str>,
    /// MAP_POPULATE.
    pub populate: bool,
}

impl MmapRequest {
    /// Private anonymous memory.
    pub fn anonymous(place: Placement, len: u64, prot: Prot) -> MmapRequest {
        MmapRequest {
            place,
            len,
            prot,
            max_prot: Prot::all(),
            flags: VmFlags::empty(),
            file: None,
            name: None,
            populate: false,
        }
    }
}

impl MemoryManager {
    /// mmap(2). Returns the address.
    pub fn mmap(&self, request: &MmapRequest, limits: &MmLimits) -> Result<u64, Errno> {
        let len = page_up(request.len).filter(|l| *l > 0).ok_or(ENOMEM)?;
        let (min, max) = self.platform.user_range();
        if len > max - min {
            return Err(ENOMEM);
        }
        let mut inner = self.inner.write();
        let addr = match request.place {
            Placement::Fixed(addr) | Placement::FixedNoReplace(addr) => {
                if !addr.is_multiple_of(PAGE_SIZE) {
                    return Err(EINVAL);
                }
                if addr < MMAP_MIN_ADDR {
                    return Err(EPERM);
                }
                let end = addr.checked_add(len).filter(|e| *e <= max).ok_or(ENOMEM)?;
                if matches!(request.place, Placement::FixedNoReplace(_)) && inner.overlaps(addr, end) {
                    return Err(EEXIST);
                }
                addr
            }
            Placement::Hint(hint) => self.get_unmapped_area(&inner, hint, len, inner.mmap_base)?,
            Placement::Low => self.get_unmapped_area(&inner, 0, len, 1 << 31)?,
        };
        if inner.vmas.len() >= MAX_MAP_COUNT {
            return Err(ENOMEM);
        }
        let end = addr + len;
        let mut vma = Vma {
            end,
            prot: request.prot,
            max_prot: request.max_prot,
            flags: request.flags | inner.def_flags,
            file: request.file.clone(),
            name: request.name,
        };
        let replaced = inner.mapped_bytes(addr, end);
        self.may_expand(&inner, &vma, len - replaced.min(len), limits)?;
        if vma.flags.contains(VmFlags::LOCKED) && inner.locked + len > limits.memlock {
            return Err(EAGAIN);
        }
        self.note_file(&vma, true)?;
        if let Err(e) = self.unmap_locked(&mut inner, addr, end) {
            let _ = self.note_file(&vma, false);
            return Err(e);
        }
        inner.account(&vma, len, true);
        vma = self.insert_vma(&mut inner, addr, vma);
        let populate = request.populate || vma.flags.contains(VmFlags::LOCKED);
        self.map_new(&mut inner, addr, &vma, addr, end, populate)?;
        Ok(addr)
    }

    /// Enters what can be known to be wanted of a fresh mapping. `start` is where the (perhaps merged) VMA begins.
    fn map_new(
        &self,
        inner: &mut Inner,
        start: u64,
        vma: &Vma,
        from: u64,
        to: u64,
        populate: bool,
    ) -> Result<(), Errno> {
        if vma.prot.is_empty() {
            return Ok(());
        }
        let len = to - from;
        let result = if vma.file.is_none() {
            let mapped = if len > EAGER_ANON { Ok(()) } else { self.map_anonymous(inner, vma, from, to) };
            if populate && mapped.is_ok() {
                let _ = self.populate_locked(inner, from, to, false);
            }
            mapped
        } else if MemoryManager::is_small_data(inner, vma, from, len) {
            match self.map_copies(inner, start, vma, from, to) {
                Err(FaultError::Signal { .. }) => Ok(()),
                other => other,
            }
        } else {
            let eager = populate || len <= EAGER_FILE || (vma.prot.contains(Prot::EXEC) && len <= EAGER_TEXT);
            if eager {
                let write = vma.is_shared() && vma.prot.contains(Prot::WRITE) && populate;
                // Pages beyond the end of the file are no error of mmap(2).
                match self.map_file(inner, start, vma, from, to, write) {
                    Err(FaultError::Signal { .. }) => Ok(()),
                    other => other,
                }
            } else {
                Ok(())
            }
        };
        result.map_err(|_| ENOMEM)
    }

    /// Enters a VMA where none is, merged with its neighbours where it continues them. Returns it as passed in.
    fn insert_vma(&self, inner: &mut Inner, start: u64, vma: Vma) -> Vma {
        inner.vmas.insert(start, vma.clone());
        self.merge_around(inner, start, vma.end);
        vma
    }

    /// Merges the VMAs that meet at the borders of a range, and within it.
    pub(crate) fn merge_around(&self, inner: &mut Inner, start: u64, end: u64) {
        let mut keys: Vec<u64> = inner.vmas.range(start..=end).map(|(s, _)| *s).collect();
        keys.dedup();
        for key in keys {
            let Some((prev_start, prev)) = inner.vmas.range(..key).next_back() else { continue };
            let prev_start = *prev_start;
            if prev.end != key || !inner.vmas.get(&key).is_some_and(|v| prev.merges_with(prev_start, v)) {
                continue;
            }
            if let Some(gone) = inner.vmas.remove(&key) {
                // The file has counted two; one is left.
                let _ = self.note_file(&gone, false);
                if let Some(prev) = inner.vmas.get_mut(&prev_start) {
                    prev.end = gone.end;
                }
            }
        }
    }

    /// Makes `addr` a border between VMAs; the file behind is told of the new one.
    pub(crate) fn split_at(&self, inner: &mut Inner, addr: u64) -> Result<(), Errno> {
        if inner.vmas.len() >= MAX_MAP_COUNT {
            return Err(ENOMEM);
        }
        if split_vma(&mut inner.vmas, addr)
            && let Some(vma) = inner.vmas.get(&addr)
        {
            self.note_file(&vma.clone(), true)?;
        }
        Ok(())
    }

    /// Whether a VMA may grow the address space by `len`. Linux: `may_expand_vm`, `security_vm_enough_memory_mm`.
    pub(crate) fn may_expand(
        &self,
        inner: &Inner,
        vma: &Vma,
        len: u64,
        limits: &MmLimits,
    ) -> Result<(), Errno> {
        if inner.total.saturating_add(len) > limits.address_space {
            return Err(ENOMEM);
        }
        if !vma.is_shared() && vma.prot.contains(Prot::WRITE) {
            let stack = vma.flags.contains(VmFlags::GROWSDOWN);
            if !stack && inner.data.saturating_add(len) > limits.data {
                return Err(ENOMEM);
            }
            // Linux's heuristic overcommit: only what can never be had is refused.
            if !vma.flags.contains(VmFlags::NORESERVE) && vma.file.is_none() && len > self.memory.limit() {
                return Err(ENOMEM);
            }
        }
        Ok(())
    }

    /// Finds room for `len` bytes: at the hint if it is free, else as high as possible below `top`. Linux:
    /// `arch_get_unmapped_area_topdown`.
    pub(crate) fn get_unmapped_area(
        &self,
        inner: &Inner,
        hint: u64,
        len: u64,
        top: u64,
    ) -> Result<u64, Errno> {
        let (min, max) = self.platform.user_range();
        let min = min.max(MMAP_MIN_ADDR);
        if hint != 0
            && let Some(addr) = page_up(hint).map(|a| a.max(min))
            && let Some(end) = addr.checked_add(len).filter(|e| *e <= max)
            && !inner.overlaps(addr, end)
            && inner.vmas.range(end..).next().is_none_or(|(s, v)| end <= guarded_start(*s, v))
        {
            return Ok(addr);
        }
        inner.gap_below(top, min, len).or_else(|| inner.gap_below(max, min, len)).ok_or(ENOMEM)
    }

    /// munmap(2).
    pub fn munmap(&self, addr: u64, len: u64) -> Result<(), Errno> {
        let max = self.platform.user_range().1;
        let len = page_up(len).filter(|l| *l > 0).ok_or(EINVAL)?;
        let end = addr.checked_add(len).filter(|e| *e <= max).ok_or(EINVAL)?;
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let mut inner = self.inner.write();
        self.unmap_locked(&mut inner, addr, end)
    }

    /// Removes whatever is mapped in a range. Linux: `do_vmi_munmap`.
    pub(crate) fn unmap_locked(&self, inner: &mut Inner, start: u64, end: u64) -> Result<(), Errno> {
        if !inner.overlaps(start, end) {
            return Ok(());
        }
        self.split_at(inner, start)?;
        self.split_at(inner, end)?;
        let keys: Vec<u64> = inner.vmas.range(start..end).map(|(s, _)| *s).collect();
        for key in keys {
            if let Some(vma) = inner.vmas.remove(&key) {
                inner.account(&vma, vma.end - key, false);
                let _ = self.note_file(&vma, false);
            }
        }
        let frames = inner.take_frames(start, end);
        self.drop_frames(frames, start, end)
    }

    /// Unmaps a range from the address space, then drops the frames that were behind it.
    pub(crate) fn drop_frames(&self, frames: Vec<FrameRange>, start: u64, end: u64) -> Result<(), Errno> {
        let ops =
            if frames.is_empty() { Vec::new() } else { vec![MapOp::Unmap { addr: start, len: end - start }] };
        let result = self.apply(ops);
        for range in frames {
            self.memory.dec_ref(range);
        }
        result
    }

    /// Makes the pages of a range present, as MAP_POPULATE and mlock do; for writing where the VMA is private and
    /// writable. Stops silently at what cannot be had, except that `strict` reports it.
    pub(crate) fn populate_locked(
        &self,
        inner: &mut Inner,
        start: u64,
        end: u64,
        strict: bool,
    ) -> Result<(), FaultError> {
        let mut at = start;
        while at < end {
            let Some((_, vma)) = find_vma(&inner.vmas, at) else {
                at += PAGE_SIZE;
                continue;
            };
            let (vma_end, prot) = (vma.end, vma.prot);
            let wants = if !vma.is_shared() && prot.contains(Prot::WRITE) { Prot::WRITE } else { Prot::READ };
            let present = crate::vma::find_pma(&inner.pmas, at);
            match present {
                Some((s, p)) if wants != Prot::WRITE || !p.write_protected => {
                    let stop = p.end.min(vma_end).min(end);
                    if p.anonymous {
                        let frames = FrameRange { start: p.frame + (at - s), end: p.frame + (stop - s) };
                        let populated = self.memory.populate(frames);
                        if strict {
                            populated.map_err(|_| FaultError::OutOfMemory)?;
                        }
                    }
                    at = stop;
                }
                _ if prot.is_empty() => at = vma_end,
                _ => {
                    let result = self.fault_locked(inner, at, wants, &MmLimits::NONE);
                    if strict {
                        result?;
                    }
                    at += PAGE_SIZE;
                }
            }
        }
        Ok(())
    }

    /// Removes pages of a file from this address space, because they no longer belong to it.
    pub(crate) fn unmap_file_range(
        &self,
        file: &dyn crate::Mappable,
        offset: u64,
        len: u64,
        even_private: bool,
    ) {
        let mut inner = self.inner.write();
        let end_offset = offset.saturating_add(len);
        let file_ptr = std::ptr::from_ref(file).cast::<()>();
        let hits: Vec<(u64, u64)> = inner
            .vmas
            .iter()
            .filter_map(|(start, vma)| {
                let f = vma.file.as_ref()?;
                if std::ptr::from_ref(&*f.mappable).cast::<()>() != file_ptr {
                    return None;
                }
                let from = offset.max(f.offset);
                let to = end_offset.min(f.offset + (vma.end - start));
                (from < to).then(|| (start + (from - f.offset), start + (to - f.offset)))
            })
            .collect();
        for (start, end) in hits {
            crate::vma::split_pma(&mut inner.pmas, start);
            crate::vma::split_pma(&mut inner.pmas, end);
            let keys: Vec<(u64, u64)> = inner
                .pmas
                .range(start..end)
                .filter(|(_, p)| even_private || !p.anonymous)
                .map(|(s, p)| (*s, p.end))
                .collect();
            for (s, e) in keys {
                let frames = inner.take_frames(s, e);
                // An address space that cannot be told any more has lost its host process.
                let _ = self.drop_frames(frames, s, e);
            }
        }
    }
}

/// Where the room kept free below a VMA begins. Linux: `vm_start_gap`.
fn guarded_start(start: u64, vma: &Vma) -> u64 {
    if vma.flags.contains(VmFlags::GROWSDOWN) { start.saturating_sub(STACK_GUARD_GAP) } else { start }
}

impl Inner {
    /// Whether anything is mapped in a range.
    pub(crate) fn overlaps(&self, start: u64, end: u64) -> bool {
        self.vmas.range(..end).next_back().is_some_and(|(_, v)| v.end > start)
    }

    /// Bytes of a range that are mapped.
    pub(crate) fn mapped_bytes(&self, start: u64, end: u64) -> u64 {
        let first = find_vma(&self.vmas, start).map(|(s, v)| (s, v.end));
        let rest = self.vmas.range(start..end).map(|(s, v)| (*s, v.end));
        first
            .into_iter()
            .filter(|(s, _)| *s < start)
            .chain(rest)
            .map(|(s, e)| e.min(end) - s.max(start))
            .sum()
    }

    /// The highest free range of `len` bytes between `min` and `top`.
    fn gap_below(&self, top: u64, min: u64, len: u64) -> Option<u64> {
        let mut high = top;
        for (start, vma) in self.vmas.range(..top).rev() {
            if vma.end < high && high - vma.end >= len {
                return Some(high - len);
            }
            high = high.min(guarded_start(*start, vma));
        }
        (high >= min && high - min >= len).then(|| high - len)
    }
}
