//! Huge pages behind large private memory. Linux: mm/huge_memory.c, mm/shmem.c.
//!
//! The memory file lies on a filesystem that puts huge pages where a mapping asks for them. Memory of several huge pages
//! gets its frames from the second half of the file, all of which the sentry's window asks for, and the mappings of
//! guests ask for where address and frame are equally aligned. The first huge page's room of a mapping gets small pages,
//! unless the guest has asked for huge ones: a mapping of which only the beginning is used costs what is used.

use crate::memory_file::{HUGE_PAGE, WINDOW};
use crate::mm::map_prot;
use crate::vma::{Pma, Vma, find_pma, find_vma};
use crate::{FrameRange, MemoryFile, MemoryManager, VmFlags, mm::Inner};
use platform::{MapOp, Prot};
use sentry_uapi::Errno;

/// Where the frames of huge pages begin.
pub(crate) const HUGE_ZONE: u64 = WINDOW / 2;

/// The whole huge pages' room between two addresses or offsets.
fn whole(from: u64, to: u64) -> Option<(u64, u64)> {
    let start = from.checked_next_multiple_of(HUGE_PAGE)?;
    let end = to & !(HUGE_PAGE - 1);
    (start < end).then_some((start, end))
}

/// Whether frames come from where huge pages are.
pub(crate) fn is_huge(frames: FrameRange) -> bool {
    (HUGE_ZONE..WINDOW).contains(&frames.start)
}

/// The part of new memory of a VMA, `from..to`, that is to have huge pages.
pub(crate) fn part_for_huge(vma: &Vma, from: u64, to: u64) -> Option<(u64, u64)> {
    let unsuited = VmFlags::NOHUGEPAGE | VmFlags::NORESERVE | VmFlags::GROWSDOWN | VmFlags::SHARED;
    if vma.flags.intersects(unsuited) || vma.file.is_some() || !vma.prot.contains(Prot::WRITE) {
        return None;
    }
    let (start, end) = whole(from, to)?;
    let start = if vma.flags.contains(VmFlags::HUGEPAGE) { start } else { start + HUGE_PAGE };
    (start < end).then_some((start, end))
}

/// Adds the operation that asks for huge pages where a PMA that is being mapped is to have them.
pub(crate) fn push_advice(memory: &MemoryFile, ops: &mut Vec<MapOp>, start: u64, pma: &Pma, vma: &Vma) {
    let frames = FrameRange { start: pma.frame, end: pma.frame + (pma.end - start) };
    let wanted = vma.flags.contains(VmFlags::HUGEPAGE)
        || (is_huge(frames) && !vma.flags.contains(VmFlags::NOHUGEPAGE));
    if wanted
        && memory.has_huge_pages()
        && pma.anonymous
        && pma.frame.wrapping_sub(start).is_multiple_of(HUGE_PAGE)
        && map_prot(vma, pma).contains(Prot::WRITE)
        && let Some((from, to)) = whole(start, pma.end)
    {
        ops.push(MapOp::AdviseHuge { addr: from, len: to - from });
    }
}

impl MemoryManager {
    /// Has the mappings of a part of one VMA ask for huge pages, or no longer do so, as the VMA says. Linux:
    /// `hugepage_madvise`.
    pub(crate) fn advise_huge(&self, inner: &Inner, from: u64, to: u64) -> Result<(), Errno> {
        let Some((_, vma)) = find_vma(&inner.vmas, from) else { return Ok(()) };
        let first = find_pma(&inner.pmas, from).map_or(from, |(start, _)| start);
        let mut ops = Vec::new();
        for (start, pma) in inner.pmas.range(first..to) {
            let at = from.max(*start);
            let part = Pma { end: pma.end.min(to), frame: pma.frame + (at - start), shown: None, ..*pma };
            if pma.shown.is_some() || !pma.anonymous {
                continue;
            }
            if vma.flags.contains(VmFlags::NOHUGEPAGE) {
                // A mapping made anew has no advice.
                crate::mm::push_map(&self.memory, &mut ops, at, &part, vma, false);
            } else {
                push_advice(&self.memory, &mut ops, at, &part, vma);
            }
        }
        self.apply(ops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn vma(flags: VmFlags) -> Vma {
        let prot = Prot::READ | Prot::WRITE;
        Vma { end: 0, prot, max_prot: Prot::all(), flags, file: None, name: None }
    }

    #[test]
    fn the_first_room_has_small_pages_unless_huge_ones_are_asked_for() {
        let plain = vma(VmFlags::empty());
        assert_eq!(part_for_huge(&plain, 4096, 10 * MIB), Some((4 * MIB, 10 * MIB)));
        assert_eq!(part_for_huge(&plain, 2 * MIB, 6 * MIB + 4096), Some((4 * MIB, 6 * MIB)));
        assert_eq!(part_for_huge(&plain, 2 * MIB, 4 * MIB), None);
        let asked = vma(VmFlags::HUGEPAGE);
        assert_eq!(part_for_huge(&asked, 2 * MIB, 4 * MIB), Some((2 * MIB, 4 * MIB)));
        assert_eq!(part_for_huge(&asked, 2 * MIB + 4096, 5 * MIB), None);
        for unsuited in [VmFlags::NOHUGEPAGE, VmFlags::NORESERVE, VmFlags::GROWSDOWN, VmFlags::SHARED] {
            assert_eq!(part_for_huge(&vma(unsuited), 0, 64 * MIB), None);
        }
    }
}
