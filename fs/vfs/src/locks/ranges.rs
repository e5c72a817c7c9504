//! The locks one owner has on one file: ranges that do not overlap, of which adjacent ones of a kind are one.
//!
//! Linux: fs/locks.c, the part of `posix_lock_inode` that splits and merges.

use std::collections::BTreeMap;

/// Last byte there can be. Linux: `OFFSET_MAX`.
pub(crate) const OFFSET_MAX: i64 = i64::MAX;

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// `F_RDLCK`, `LOCK_SH`.
    Read,
    /// `F_WRLCK`, `LOCK_EX`.
    Write,
}

impl LockKind {
    /// Whether locks of these kinds of two owners exclude each other.
    pub(crate) fn conflicts(self, other: LockKind) -> bool {
        self == LockKind::Write || other == LockKind::Write
    }
}

/// Bytes of a file, first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl Range {
    pub(crate) const ALL: Range = Range { start: 0, end: OFFSET_MAX };

    pub(crate) fn overlaps(self, other: Range) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// Locked ranges by their first byte.
#[derive(Default)]
pub(super) struct Ranges {
    map: BTreeMap<i64, (i64, LockKind)>,
}

impl Ranges {
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Range, LockKind)> {
        self.map.iter().map(|(start, (end, kind))| (Range { start: *start, end: *end }, *kind))
    }

    /// The ranges that share a byte with `range`, from the lowest on.
    fn overlapping(&self, range: Range) -> impl Iterator<Item = (Range, LockKind)> {
        let before = self.map.range(..range.start).next_back();
        before
            .into_iter()
            .chain(self.map.range(range.start..=range.end))
            .map(|(start, (end, kind))| (Range { start: *start, end: *end }, *kind))
            .filter(move |(r, _)| r.overlaps(range))
    }

    /// The lowest range that a lock of `kind` on `range` by another owner would conflict with.
    pub(super) fn conflict(&self, range: Range, kind: LockKind) -> Option<(Range, LockKind)> {
        self.overlapping(range).find(|(_, k)| k.conflicts(kind))
    }

    /// Locks `range`, or unlocks it. What was there before is cut off.
    pub(super) fn set(&mut self, range: Range, kind: Option<LockKind>) {
        let first = |ranges: &Ranges| ranges.overlapping(range).next();
        while let Some((old, old_kind)) = first(self) {
            self.map.remove(&old.start);
            if old.start < range.start {
                self.map.insert(old.start, (range.start - 1, old_kind));
            }
            if old.end > range.end {
                self.map.insert(range.end + 1, (old.end, old_kind));
                break;
            }
        }
        let Some(kind) = kind else { return };
        let mut new = range;
        if let Some((start, (end, k))) = self.map.range(..range.start).next_back().map(|(s, v)| (*s, *v))
            && k == kind
            && end == range.start - 1
        {
            self.map.remove(&start);
            new.start = start;
        }
        if let Some(next) = range.end.checked_add(1)
            && let Some((end, k)) = self.map.get(&next).copied()
            && k == kind
        {
            self.map.remove(&next);
            new.end = end;
        }
        self.map.insert(new.start, (new.end, kind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BYTES: usize = 24;
    /// The last position.
    const LAST: i64 = 23;

    /// A range whose last positions stand for the end of what can be locked.
    fn range(start: i64, len: i64) -> Range {
        let end = start + len;
        Range { start, end: if end >= LAST { OFFSET_MAX } else { end } }
    }

    fn bytes(r: Range) -> std::ops::RangeInclusive<usize> {
        let clamp = |n: i64| usize::try_from(n).map_or(BYTES - 1, |n| n.min(BYTES - 1));
        clamp(r.start)..=clamp(r.end)
    }

    proptest! {
        #[test]
        fn ranges_are_what_locking_byte_by_byte_gives(
            steps in prop::collection::vec((0i64..24, 0i64..24, 0u8..3), 1..60),
        ) {
            let mut ranges = Ranges::default();
            let mut model = [None; BYTES];
            for (start, len, what) in steps {
                let r = range(start, len);
                let kind = match what {
                    0 => None,
                    1 => Some(LockKind::Read),
                    _ => Some(LockKind::Write),
                };
                ranges.set(r, kind);
                for at in bytes(r) {
                    model[at] = kind;
                }
                let mut shown = [None; BYTES];
                let mut last: Option<(Range, LockKind)> = None;
                for (r, k) in ranges.iter() {
                    prop_assert!(r.start <= r.end);
                    if let Some((before, kind)) = last {
                        prop_assert!(before.end < r.start);
                        prop_assert!(kind != k || before.end + 1 < r.start, "not merged");
                    }
                    last = Some((r, k));
                    for at in bytes(r) {
                        shown[at] = Some(k);
                    }
                }
                prop_assert_eq!(shown, model);
                for at in 0..=LAST {
                    let one = range(at, 0);
                    let found = ranges.conflict(one, LockKind::Read).is_some();
                    let expected = model[bytes(one)].contains(&Some(LockKind::Write));
                    prop_assert_eq!(found, expected);
                    let found = ranges.conflict(one, LockKind::Write).is_some();
                    prop_assert_eq!(found, model[bytes(one)].iter().any(Option::is_some));
                }
            }
        }
    }
}
