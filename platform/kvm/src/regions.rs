//! What is mapped where, as the sentry has said it: the source from which page table entries are made.
//!
//! Linux: mm/mmap.c. A large mapping is entered into the page tables only as it is touched, so they cannot be asked.

use platform::Prot;
use std::collections::BTreeMap;

/// A mapped range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Offset in the memory file.
    pub(crate) offset: u64,
    pub(crate) prot: Prot,
}

impl Region {
    /// The part of the region in `start..end`.
    fn part(&self, start: u64, end: u64) -> Option<Region> {
        let (from, to) = (self.start.max(start), self.end.min(end));
        let part = Region { start: from, end: to, offset: self.offset_of(from), prot: self.prot };
        (from < to).then_some(part)
    }

    /// The offset in the memory file of an address, which is not below the region's start.
    pub(crate) fn offset_of(&self, addr: u64) -> u64 {
        self.offset.wrapping_add(addr.wrapping_sub(self.start))
    }

    fn joins(&self, next: &Region) -> bool {
        self.end == next.start && self.prot == next.prot && self.offset_of(self.end) == next.offset
    }
}

/// The regions of an address space, apart from each other.
#[derive(Default)]
pub(crate) struct Regions {
    by_start: BTreeMap<u64, Region>,
}

impl Regions {
    /// The region an address lies in.
    pub(crate) fn find(&self, addr: u64) -> Option<Region> {
        let (_, region) = self.by_start.range(..=addr).next_back()?;
        (addr < region.end).then_some(*region)
    }

    /// The parts of regions in a range, in order.
    pub(crate) fn parts(&self, start: u64, end: u64) -> Vec<Region> {
        let first = self.find(start).map_or(start, |region| region.start);
        self.by_start.range(first..end).filter_map(|(_, region)| region.part(start, end)).collect()
    }

    /// Forgets a range.
    pub(crate) fn remove(&mut self, start: u64, end: u64) {
        for part in self.parts(start, end) {
            let Some(whole) = self.find(part.start) else { continue };
            self.by_start.remove(&whole.start);
            for rest in [whole.part(whole.start, start), whole.part(end, whole.end)].into_iter().flatten() {
                self.by_start.insert(rest.start, rest);
            }
        }
    }

    /// Enters a region in the place of what was there.
    pub(crate) fn insert(&mut self, region: Region) {
        self.remove(region.start, region.end);
        let mut joined = region;
        if let Some(before) = region.start.checked_sub(1).and_then(|addr| self.find(addr))
            && before.joins(&joined)
        {
            self.by_start.remove(&before.start);
            joined = Region { end: joined.end, ..before };
        }
        if let Some(after) = self.by_start.get(&region.end).copied()
            && joined.joins(&after)
        {
            self.by_start.remove(&after.start);
            joined.end = after.end;
        }
        self.by_start.insert(joined.start, joined);
    }

    /// Changes the access of what is mapped in a range, and returns it.
    pub(crate) fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Vec<Region> {
        let parts: Vec<Region> =
            self.parts(start, end).into_iter().map(|part| Region { prot, ..part }).collect();
        parts.iter().for_each(|part| self.insert(*part));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: Prot = Prot::READ.union(Prot::WRITE);

    fn region(start: u64, end: u64, offset: u64, prot: Prot) -> Region {
        Region { start, end, offset, prot }
    }

    #[test]
    fn ranges_are_cut_and_joined() {
        let mut regions = Regions::default();
        regions.insert(region(10, 20, 110, RW));
        regions.insert(region(20, 30, 120, RW));
        assert_eq!(regions.parts(0, 100), [region(10, 30, 110, RW)]);
        regions.remove(15, 18);
        assert_eq!(regions.parts(0, 100), [region(10, 15, 110, RW), region(18, 30, 118, RW)]);
        assert_eq!(regions.protect(12, 20, Prot::READ).len(), 2);
        assert_eq!(regions.find(13), Some(region(12, 15, 112, Prot::READ)));
        assert_eq!(regions.find(15), None);
        regions.protect(0, 100, RW);
        regions.insert(region(15, 18, 115, RW));
        assert_eq!(regions.parts(0, 100), [region(10, 30, 110, RW)]);
        regions.insert(region(0, 100, 0, RW));
        assert_eq!(regions.parts(5, 6), [region(5, 6, 5, RW)]);
    }
}
