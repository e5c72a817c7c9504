//! Which parts of a range of offsets are free. Linux: mm/vmalloc.c, `free_vmap_area_root`.

use crate::FrameRange;
use std::collections::BTreeMap;

/// How many free runs are looked at for one that fits before the end is used.
const FIRST_FIT_SCAN: usize = 32;

/// Offsets from a start up to a limit, free ones and such as are in use.
pub(crate) struct Space {
    /// Free runs by start, coalesced.
    free: BTreeMap<u64, u64>,
    /// Everything from here on was never handed out.
    end: u64,
    limit: u64,
}

impl Space {
    /// `start..limit`, all of it free.
    pub(crate) fn new(start: u64, limit: u64) -> Space {
        Space { free: BTreeMap::new(), end: start, limit }
    }

    /// Takes `len` bytes that begin `phase` behind a multiple of `align`, a power of two.
    pub(crate) fn take(&mut self, len: u64, align: u64, phase: u64) -> Option<FrameRange> {
        let next = |start: u64| start.checked_add(phase.wrapping_sub(start) & (align - 1));
        let found = self.free.iter().take(FIRST_FIT_SCAN).find_map(|(start, end)| {
            let at = next(*start)?;
            (at.checked_add(len)? <= *end).then_some((*start, *end, at))
        });
        if let Some((start, end, at)) = found {
            self.free.remove(&start);
            if start < at {
                self.free.insert(start, at);
            }
            if at + len < end {
                self.free.insert(at + len, end);
            }
            return Some(FrameRange { start: at, end: at + len });
        }
        let start = next(self.end)?;
        let end = start.checked_add(len).filter(|end| *end <= self.limit)?;
        if self.end < start {
            self.free.insert(self.end, start);
        }
        self.end = end;
        Some(FrameRange { start, end })
    }

    /// Makes a range free again.
    pub(crate) fn give_back(&mut self, range: FrameRange) {
        let (mut start, mut end) = (range.start, range.end);
        if let Some((s, e)) = self.free.range(..start).next_back().map(|(s, e)| (*s, *e))
            && e == start
        {
            self.free.remove(&s);
            start = s;
        }
        if let Some(e) = self.free.remove(&end) {
            end = e;
        }
        if end == self.end {
            self.end = start;
        } else {
            self.free.insert(start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_begins_where_it_should_and_the_rest_is_free() {
        let mut space = Space::new(0, 64);
        let range = |start, end| Some(FrameRange { start, end });
        assert_eq!(space.take(8, 16, 4), range(4, 12));
        assert_eq!(space.take(16, 16, 4), range(20, 36));
        assert_eq!(space.take(8, 4, 0), range(12, 20));
        assert_eq!(space.take(4, 4, 0), range(0, 4));
        assert_eq!(space.take(32, 4, 0), None);
        space.give_back(FrameRange { start: 4, end: 20 });
        assert_eq!(space.take(4, 16, 8), range(8, 12));
        assert_eq!(space.take(28, 4, 0), range(36, 64));
    }
}
