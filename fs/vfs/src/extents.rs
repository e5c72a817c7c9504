//! Which frames hold which part of a file. Linux: the `i_pages` of `struct address_space`, with runs for pages.

use sentry_mm::FrameRange;
use std::collections::BTreeMap;

/// Page-aligned runs of a file's bytes, each with the frames that hold it. Neighbours that continue each other both in
/// the file and in the memory file are one run.
#[derive(Default)]
pub struct Extents {
    runs: BTreeMap<u64, FrameRange>,
    bytes: u64,
}

/// What is at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentAt {
    /// Frames that hold the bytes from the offset on; the first byte of the range is that of the offset.
    Data(FrameRange),
    /// Nothing, up to this offset (`u64::MAX`: for good).
    Hole(u64),
}

impl Extents {
    /// Bytes that have frames.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is at `offset`, which need not be aligned.
    pub fn at(&self, offset: u64) -> ExtentAt {
        if let Some((start, frames)) = self.runs.range(..=offset).next_back()
            && offset - start < frames.len()
        {
            return ExtentAt::Data(frames.slice(offset - start, u64::MAX));
        }
        ExtentAt::Hole(self.runs.range(offset..).next().map_or(u64::MAX, |(start, _)| *start))
    }

    /// The run that ends exactly at `offset`.
    pub fn ending_at(&self, offset: u64) -> Option<FrameRange> {
        let (start, frames) = self.runs.range(..offset).next_back()?;
        (start + frames.len() == offset).then_some(*frames)
    }

    /// Whether nothing lies at or behind `offset`.
    pub fn is_end(&self, offset: u64) -> bool {
        matches!(self.at(offset), ExtentAt::Hole(u64::MAX))
    }

    /// Enters frames for a hole at `offset`.
    pub fn insert(&mut self, offset: u64, frames: FrameRange) {
        self.bytes += frames.len();
        let mut start = offset;
        let mut run = frames;
        if let Some((s, before)) = self.runs.range(..offset).next_back().map(|(s, f)| (*s, *f))
            && s + before.len() == offset
            && before.end == run.start
        {
            start = s;
            run.start = before.start;
        }
        let end = offset + frames.len();
        if let Some(after) = self.runs.get(&end).copied()
            && after.start == run.end
        {
            self.runs.remove(&end);
            run.end = after.end;
        }
        self.runs.insert(start, run);
    }

    /// Takes out what lies in `start..end`, which are aligned, and gives back its frames.
    pub fn remove(&mut self, start: u64, end: u64) -> Vec<FrameRange> {
        let mut gone = Vec::new();
        if start >= end {
            return gone;
        }
        let first = self.runs.range(..start).next_back().map_or(start, |(s, _)| *s);
        let keys: Vec<u64> = self.runs.range(first..end).map(|(s, _)| *s).collect();
        for key in keys {
            let Some(frames) = self.runs.get(&key).copied() else { continue };
            let run_end = key + frames.len();
            if run_end <= start {
                continue;
            }
            self.runs.remove(&key);
            let from = start.saturating_sub(key);
            let to = end.min(run_end) - key;
            if from > 0 {
                self.runs.insert(key, frames.slice(0, from));
            }
            if to < frames.len() {
                self.runs.insert(key + to, frames.slice(to, u64::MAX));
            }
            let cut = frames.slice(from, to - from);
            self.bytes -= cut.len();
            gone.push(cut);
        }
        gone
    }

    /// The first offset from `offset` on that has frames (`hole` false) or has none.
    pub fn seek(&self, offset: u64, hole: bool) -> u64 {
        let mut at = offset;
        loop {
            match self.at(at) {
                ExtentAt::Data(_) if !hole => return at,
                ExtentAt::Data(frames) => at += frames.len(),
                ExtentAt::Hole(_) if hole => return at,
                ExtentAt::Hole(u64::MAX) => return u64::MAX,
                ExtentAt::Hole(next) => at = next,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn frames(start: u64, len: u64) -> FrameRange {
        FrameRange { start, end: start + len }
    }

    #[test]
    fn agrees_with_a_map_of_single_units() {
        let mut seed = 1u64;
        let mut random = move |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % n
        };
        let mut extents = Extents::default();
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let mut next = 0;
        for _ in 0..5000 {
            let (start, len) = (random(64), random(12) + 1);
            if random(2) == 0 {
                for unit in start..start + len {
                    model.entry(unit).or_insert_with(|| {
                        next += random(2) + 1;
                        extents.insert(unit, frames(next, 1));
                        next
                    });
                }
            } else {
                let gone = extents.remove(start, start + len);
                let expected: Vec<u64> = model.range(start..start + len).map(|(_, f)| *f).collect();
                model.retain(|k, _| !(start..start + len).contains(k));
                let got: Vec<u64> = gone.iter().flat_map(|r| r.start..r.end).collect();
                assert_eq!(got, expected);
            }
            assert_eq!(extents.bytes(), model.len() as u64);
            for unit in 0..80 {
                match (extents.at(unit), model.get(&unit)) {
                    (ExtentAt::Data(r), Some(f)) => assert_eq!(r.start, *f),
                    (ExtentAt::Hole(end), None) => {
                        assert_eq!(model.range(unit..).next().map_or(u64::MAX, |(k, _)| *k), end);
                    }
                    (got, expected) => unreachable!("{unit}: {got:?}, model has {expected:?}"),
                }
                let hole = (unit..).find(|u| !model.contains_key(u));
                assert_eq!(Some(extents.seek(unit, true)), hole);
            }
        }
    }
}
