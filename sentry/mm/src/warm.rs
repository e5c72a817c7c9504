//! Freed frames that keep their host memory for a while: a page the host puts behind a frame anew costs ten times what
//! zeroing it does. Linux: the per-processor lists of mm/page_alloc.c.

use crate::FrameRange;

/// Most bytes kept.
const MAX_KEPT: u64 = 4 << 20;
/// Longest run kept or handed out.
pub(crate) const MAX_RUN: u64 = 256 << 10;
/// Runs looked at for one that is long enough.
const SCAN: usize = 16;

/// The frames. What is in them is what their last users left.
#[derive(Default)]
pub(crate) struct Warm {
    runs: Vec<FrameRange>,
    bytes: u64,
}

impl Warm {
    /// Whether a run should be kept, if it has host memory.
    pub(crate) fn wants(&self, range: FrameRange) -> bool {
        range.len() <= MAX_RUN && self.bytes + range.len() <= MAX_KEPT
    }

    /// Keeps a run.
    pub(crate) fn keep(&mut self, range: FrameRange) {
        self.bytes += range.len();
        self.runs.push(range);
    }

    /// Takes `len` bytes out; those kept last first, whose memory is most likely in a cache.
    pub(crate) fn take(&mut self, len: u64) -> Option<FrameRange> {
        let first = self.runs.len().saturating_sub(SCAN);
        let index =
            (first..self.runs.len()).rev().find(|at| self.runs.get(*at).is_some_and(|r| r.len() >= len))?;
        let run = self.runs.get_mut(index)?;
        let taken = run.slice(0, len);
        run.start = taken.end;
        if run.is_empty() {
            self.runs.remove(index);
        }
        self.bytes -= len;
        Some(taken)
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> Vec<FrameRange> {
        self.bytes = 0;
        std::mem::take(&mut self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(start: u64, end: u64) -> FrameRange {
        FrameRange { start: start << 12, end: end << 12 }
    }

    #[test]
    fn what_is_kept_is_handed_out_once() {
        let mut warm = Warm::default();
        warm.keep(pages(0, 4));
        warm.keep(pages(8, 10));
        assert_eq!(warm.take(2 << 12), Some(pages(8, 10)));
        assert_eq!(warm.take(3 << 12), Some(pages(0, 3)));
        assert_eq!(warm.take(2 << 12), None);
        assert_eq!(warm.take(1 << 12), Some(pages(3, 4)));
        assert_eq!(warm.take(1 << 12), None);
    }

    #[test]
    fn no_more_is_kept_than_agreed() {
        let mut warm = Warm::default();
        assert!(!warm.wants(pages(0, 65)));
        for index in 0..MAX_KEPT / MAX_RUN {
            let run = pages(index * 64, (index + 1) * 64);
            assert!(warm.wants(run));
            warm.keep(run);
        }
        assert!(!warm.wants(pages(0, 1)));
        assert_eq!(warm.drain().len(), 16);
        assert!(warm.wants(pages(0, 1)));
    }
}
