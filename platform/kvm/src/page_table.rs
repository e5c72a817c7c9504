//! Linux: arch/x86/include/asm/pgtable_types.h, mm/memory.c. Four-level page tables in the arena.
//!
//! Processors walk the tables while they change: every entry is stored whole, and a table that is taken out goes back to
//! the arena only after a shoot-down. Accessed and dirty bits are set from the start, so that processors write nothing.

use crate::arena::{Arena, PAGE, PhysPage};
use platform::{PlatformError, Prot};
use std::sync::atomic::Ordering;

pub(crate) const PTE_PRESENT: u64 = 1;
pub(crate) const PTE_WRITE: u64 = 1 << 1;
pub(crate) const PTE_USER: u64 = 1 << 2;
pub(crate) const PTE_ACCESSED: u64 = 1 << 5;
pub(crate) const PTE_DIRTY: u64 = 1 << 6;
pub(crate) const PTE_GLOBAL: u64 = 1 << 8;
pub(crate) const PTE_NX: u64 = 1 << 63;
const PTE_ADDR: u64 = 0x000f_ffff_ffff_f000;

/// Words of a table.
const WORDS: u64 = 512;
/// The root's entry for ring 0, the last one.
pub(crate) const KERNEL_ENTRY: u64 = 511;
/// Bytes that one last-level table maps.
pub(crate) const TABLE_SPAN: u64 = WORDS * PAGE;

/// The levels above the last, root first, as shifts of the address.
const UPPER_SHIFTS: [u32; 3] = [39, 30, 21];
const TABLE_LINK: u64 = PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED;

/// The entry of a page that user code may access as `prot` says; 0 for one it may not access.
fn pte(gpa: u64, prot: Prot) -> u64 {
    if prot.is_empty() {
        return 0;
    }
    let write = if prot.contains(Prot::WRITE) { PTE_WRITE } else { 0 };
    let no_exec = if prot.contains(Prot::EXEC) { 0 } else { PTE_NX };
    gpa | PTE_PRESENT | PTE_USER | PTE_ACCESSED | PTE_DIRTY | write | no_exec
}

/// Whether a processor that still has the old entry would allow what the new one does not, or reach another page.
fn is_stale(old: u64, new: u64) -> bool {
    let loses_write = old & !new & PTE_WRITE != 0;
    let loses_exec = new & !old & PTE_NX != 0;
    old & PTE_PRESENT != 0 && (old & PTE_ADDR != new & PTE_ADDR || new == 0 || loses_write || loses_exec)
}

fn index(addr: u64, shift: u32) -> u64 {
    addr >> shift & (WORDS - 1)
}

fn table_of(entry: u64) -> Option<PhysPage> {
    if entry & PTE_PRESENT == 0 { None } else { PhysPage::at(entry & PTE_ADDR) }
}

/// The page tables of an address space. The methods that change them are called under the address space's lock.
#[derive(Clone, Copy)]
pub(crate) struct PageTable<'a> {
    pub(crate) arena: &'a Arena,
    pub(crate) root: PhysPage,
}

impl PageTable<'_> {
    /// The last-level table for an address, made if `create` says so.
    fn leaf(&self, addr: u64, create: bool) -> Result<Option<PhysPage>, PlatformError> {
        let mut table = self.root;
        for shift in UPPER_SHIFTS {
            let entry = self.arena.word(table, index(addr, shift));
            table = match table_of(entry.load(Ordering::Relaxed)) {
                Some(next) => next,
                None if !create => return Ok(None),
                None => {
                    let next = self.arena.alloc()?;
                    entry.store(next.gpa() | TABLE_LINK, Ordering::Release);
                    next
                }
            };
        }
        Ok(Some(table))
    }

    /// Makes the entries of `start..end` those of `prot`; `gpa` tells where a page is. Pages that have no entry get one
    /// only if `fill` says so. Tells whether processors may have kept what is no longer true.
    pub(crate) fn set(
        &self,
        start: u64,
        end: u64,
        prot: Prot,
        fill: bool,
        gpa: &mut dyn FnMut(u64) -> Result<u64, PlatformError>,
    ) -> Result<bool, PlatformError> {
        let mut stale = false;
        let mut at = start;
        while at < end {
            let stop = end.min((at / TABLE_SPAN + 1) * TABLE_SPAN);
            if let Some(table) = self.leaf(at, fill && !prot.is_empty())? {
                for addr in (at..stop).step_by(usize::try_from(PAGE).unwrap_or(4096)) {
                    let entry = self.arena.word(table, index(addr, 12));
                    let old = entry.load(Ordering::Relaxed);
                    if old & PTE_PRESENT == 0 && !fill {
                        continue;
                    }
                    let new = if prot.is_empty() { 0 } else { pte(gpa(addr)?, prot) };
                    entry.store(new, Ordering::Release);
                    stale |= is_stale(old, new);
                }
            }
            at = stop;
        }
        Ok(stale)
    }

    /// Takes the entries of `start..end` away. Tables that map nothing else are added to `garbage`. Tells whether
    /// processors may have kept anything.
    pub(crate) fn clear(&self, start: u64, end: u64, garbage: &mut Vec<PhysPage>) -> bool {
        self.clear_below(self.root, 0, start, end, garbage)
    }

    /// [`PageTable::clear`] for the part of the range that a table of the given level covers.
    fn clear_below(
        &self,
        table: PhysPage,
        level: usize,
        start: u64,
        end: u64,
        garbage: &mut Vec<PhysPage>,
    ) -> bool {
        let shift = UPPER_SHIFTS.get(level).copied().unwrap_or(12);
        let span = 1_u64 << shift;
        let mut found = false;
        let mut at = start;
        while at < end {
            let stop = end.min((at / span + 1) * span);
            let entry = self.arena.word(table, index(at, shift));
            let old = entry.load(Ordering::Relaxed);
            if old & PTE_PRESENT != 0 {
                match table_of(old).filter(|_| level < UPPER_SHIFTS.len()) {
                    Some(next) => {
                        found |= self.clear_below(next, level + 1, at, stop, garbage);
                        if stop - at == span {
                            entry.store(0, Ordering::Release);
                            garbage.push(next);
                            found = true;
                        }
                    }
                    None => {
                        entry.store(0, Ordering::Release);
                        found = true;
                    }
                }
            }
            at = stop;
        }
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FRAMES: u64 = 1 << 32;

    fn set(table: &PageTable<'_>, start: u64, pages: u64, prot: Prot) -> bool {
        table.set(start, start + pages * PAGE, prot, true, &mut |addr| Ok(FRAMES + addr)).unwrap()
    }

    #[test]
    fn only_what_is_lost_is_stale() {
        let arena = Arena::new().unwrap();
        let table = PageTable { arena: &arena, root: arena.alloc().unwrap() };
        let rw = Prot::READ | Prot::WRITE;
        assert!(!set(&table, 0x1f_f000, 2, Prot::READ), "two tables, nothing there before");
        assert!(!set(&table, 0x1f_f000, 2, rw));
        assert!(!set(&table, 0x1f_f000, 2, rw | Prot::EXEC));
        assert!(set(&table, 0x1f_f000, 2, rw));
        assert!(set(&table, 0x20_0000, 1, Prot::READ));
        assert!(set(&table, 0x20_0000, 1, Prot::empty()));
        assert!(!set(&table, 0x20_0000, 1, rw));
    }

    #[test]
    fn whole_tables_are_given_back() {
        let arena = Arena::new().unwrap();
        let table = PageTable { arena: &arena, root: arena.alloc().unwrap() };
        set(&table, 0x4000_0000 - PAGE, 1 + 512 + 1, Prot::READ);
        // The root, two tables of the second level, and of the third and fourth as many as the range touches.
        assert_eq!(arena.in_use(), 1 + 1 + 2 + 3);
        let mut garbage = Vec::new();
        assert!(table.clear(0x4000_0000 - PAGE, 0x4000_0000 + 513 * PAGE, &mut garbage));
        assert_eq!(garbage.len(), 1, "the table in the middle");
        assert!(table.clear(0, 1 << 39, &mut garbage));
        assert_eq!(garbage.len(), 1 + 2 + 2 + 1);
        assert!(!table.clear(0, 1 << 40, &mut garbage));
        arena.free(garbage);
        assert_eq!(arena.in_use(), 1);
    }
}
