//! Linux: include/linux/mm_types.h, `struct vm_area_struct`. What is mapped (VMAs) and what stands behind it so far (PMAs).

use crate::{FrameRange, Mappable, MappedFile, PAGE_SIZE};
use bitflags::bitflags;
use platform::Prot;
use std::collections::BTreeMap;
use std::sync::Arc;

bitflags! {
    /// Properties of a mapping. Linux: `VM_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct VmFlags: u32 {
        /// Writes are seen by everybody who maps the same pages.
        const SHARED = 1 << 0;
        /// Grows towards lower addresses on access below it.
        const GROWSDOWN = 1 << 1;
        /// Pages stay in memory (mlock).
        const LOCKED = 1 << 2;
        /// Not counted against the overcommit limit.
        const NORESERVE = 1 << 3;
        /// Not inherited by fork (MADV_DONTFORK).
        const DONTCOPY = 1 << 4;
        /// Reads as zeros in the child of a fork (MADV_WIPEONFORK).
        const WIPEONFORK = 1 << 5;
        /// Left out of core dumps (MADV_DONTDUMP).
        const DONTDUMP = 1 << 6;
        /// Huge pages wanted (MADV_HUGEPAGE).
        const HUGEPAGE = 1 << 7;
        /// Huge pages not wanted (MADV_NOHUGEPAGE).
        const NOHUGEPAGE = 1 << 8;
        /// Sequential access expected (MADV_SEQUENTIAL).
        const SEQ_READ = 1 << 9;
        /// Random access expected (MADV_RANDOM).
        const RAND_READ = 1 << 10;
        /// Mergeable (MADV_MERGEABLE); nothing is merged here.
        const MERGEABLE = 1 << 11;
    }
}

/// The file behind a mapping.
#[derive(Clone)]
pub struct VmaFile {
    /// Its pages.
    pub mappable: Arc<dyn Mappable>,
    /// The open file, which the mapping keeps open; none for memory that is not a file.
    pub file: Option<Arc<dyn MappedFile>>,
    /// Offset in the file of the first byte mapped.
    pub offset: u64,
}

/// A mapped range with one set of properties.
#[derive(Clone)]
pub(crate) struct Vma {
    pub(crate) end: u64,
    pub(crate) prot: Prot,
    /// The most mprotect(2) may grant.
    pub(crate) max_prot: Prot,
    pub(crate) flags: VmFlags,
    pub(crate) file: Option<VmaFile>,
    /// Shown in `/proc/[pid]/maps` in place of a path: `[stack]`, `[vdso]`.
    pub(crate) name: Option<&'static str>,
}

impl Vma {
    pub(crate) fn is_shared(&self) -> bool {
        self.flags.contains(VmFlags::SHARED)
    }

    /// The file offset behind `addr` of a VMA that starts at `start`.
    pub(crate) fn file_offset(&self, start: u64, addr: u64) -> u64 {
        self.file.as_ref().map_or(0, |f| f.offset + (addr - start))
    }

    /// The same mapping seen from `delta` bytes further on.
    pub(crate) fn advanced(&self, delta: u64) -> Vma {
        let mut vma = self.clone();
        if let Some(f) = &mut vma.file {
            f.offset += delta;
        }
        vma
    }

    /// Whether `next`, which begins where `self` ends, could be the same VMA. Linux: `can_vma_merge_after`.
    pub(crate) fn merges_with(&self, start: u64, next: &Vma) -> bool {
        self.prot == next.prot
            && self.max_prot == next.max_prot
            && self.flags == next.flags
            && self.name == next.name
            && match (&self.file, &next.file) {
                (None, None) => true,
                (Some(a), Some(b)) => {
                    let same_file = match (&a.file, &b.file) {
                        (Some(x), Some(y)) => Arc::ptr_eq(x, y),
                        (None, None) => true,
                        _ => false,
                    };
                    same_file
                        && Arc::ptr_eq(&a.mappable, &b.mappable)
                        && a.offset + (self.end - start) == b.offset
                }
                _ => false,
            }
    }
}

/// Frames behind a part of a VMA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pma {
    pub(crate) end: u64,
    /// Offset in the memory file of the first byte.
    pub(crate) frame: u64,
    /// Mapped without write access although the VMA may have it: a write must be asked for first, because the frames
    /// are shared copy-on-write, or because the file wants to know.
    pub(crate) write_protected: bool,
    /// The frames belong to this address space alone (or are shared with forked ones): not to a file.
    pub(crate) anonymous: bool,
    /// What guest code sees in place of `frame`: program text with rewritten call sites. The sentry's own accesses go to
    /// `frame`.
    pub(crate) shown: Option<u64>,
}

impl Pma {
    /// The frames it holds references to; it begins at `start`.
    pub(crate) fn frames(&self, start: u64) -> impl Iterator<Item = FrameRange> + use<> {
        let len = self.end - start;
        std::iter::once(self.frame).chain(self.shown).map(move |at| FrameRange { start: at, end: at + len })
    }

    fn merges_with(&self, start: u64, next: &Pma) -> bool {
        self.shown.is_none()
            && next.shown.is_none()
            && self.frame + (self.end - start) == next.frame
            && self.write_protected == next.write_protected
            && self.anonymous == next.anonymous
    }
}

/// VMAs by start address.
pub(crate) type VmaMap = BTreeMap<u64, Vma>;
/// PMAs by start address.
pub(crate) type PmaMap = BTreeMap<u64, Pma>;

/// The VMA that holds `addr`.
pub(crate) fn find_vma(vmas: &VmaMap, addr: u64) -> Option<(u64, &Vma)> {
    vmas.range(..=addr).next_back().filter(|(_, v)| v.end > addr).map(|(s, v)| (*s, v))
}

/// The PMA that holds `addr`.
pub(crate) fn find_pma(pmas: &PmaMap, addr: u64) -> Option<(u64, Pma)> {
    pmas.range(..=addr).next_back().filter(|(_, p)| p.end > addr).map(|(s, p)| (*s, *p))
}

/// Makes `addr` a border between VMAs.
pub(crate) fn split_vma(vmas: &mut VmaMap, addr: u64) -> bool {
    let Some((start, end)) =
        vmas.range(..addr).next_back().filter(|(_, v)| v.end > addr).map(|(s, v)| (*s, v.end))
    else {
        return false;
    };
    let Some(first) = vmas.get_mut(&start) else { return false };
    let mut second = first.advanced(addr - start);
    second.end = end;
    first.end = addr;
    vmas.insert(addr, second);
    true
}

/// Makes `addr` a border between PMAs.
pub(crate) fn split_pma(pmas: &mut PmaMap, addr: u64) {
    let Some((start, pma)) = pmas.range_mut(..addr).next_back().filter(|(_, p)| p.end > addr) else { return };
    let delta = addr - start;
    let second = Pma { frame: pma.frame + delta, shown: pma.shown.map(|at| at + delta), ..*pma };
    pma.end = addr;
    pmas.insert(addr, second);
}

/// Takes the PMAs of a range out of the map.
pub(crate) fn take_pmas(pmas: &mut PmaMap, start: u64, end: u64) -> Vec<(u64, Pma)> {
    split_pma(pmas, start);
    split_pma(pmas, end);
    let keys: Vec<u64> = pmas.range(start..end).map(|(s, _)| *s).collect();
    keys.into_iter().filter_map(|k| pmas.remove(&k).map(|p| (k, p))).collect()
}

/// Enters a PMA where none is, merged with its neighbours where they continue each other.
pub(crate) fn insert_pma(pmas: &mut PmaMap, start: u64, pma: Pma) {
    let (mut start, mut pma) = (start, pma);
    if let Some((s, p)) = pmas.range(..start).next_back()
        && p.end == start
        && p.merges_with(*s, &pma)
    {
        pma = Pma { frame: p.frame, ..pma };
        start = *s;
    }
    if let Some(next) = pmas.get(&pma.end).copied()
        && pma.merges_with(start, &next)
    {
        pmas.remove(&pma.end);
        pma.end = next.end;
    }
    pmas.insert(start, pma);
}

/// Rounds up to a page; `None` on overflow.
pub(crate) fn page_up(n: u64) -> Option<u64> {
    n.checked_next_multiple_of(PAGE_SIZE)
}

/// Rounds down to a page.
pub(crate) fn page_down(n: u64) -> u64 {
    n & !(PAGE_SIZE - 1)
}
