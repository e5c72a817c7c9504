//! How many users each frame has. Linux: include/linux/page_ref.h, with ranges for pages.

use crate::FrameRange;
use std::collections::BTreeMap;

struct Run {
    end: u64,
    refs: u32,
}

/// The counts of the frames handed out.
#[derive(Default)]
pub(crate) struct Counts {
    /// By start: maximal runs of equal count.
    runs: BTreeMap<u64, Run>,
}

impl Counts {
    /// Enters a run, merged with neighbours of the same count.
    pub(crate) fn insert(&mut self, start: u64, end: u64, refs: u32) {
        let (mut start, mut end) = (start, end);
        if let Some((s, run)) = self.runs.range(..start).next_back()
            && run.end == start
            && run.refs == refs
        {
            start = *s;
        }
        if let Some(run) = self.runs.get(&end)
            && run.refs == refs
        {
            let next_end = run.end;
            self.runs.remove(&end);
            end = next_end;
        }
        self.runs.insert(start, Run { end, refs });
    }

    /// Adds `delta` to the counts of a range; returns what fell to zero.
    pub(crate) fn adjust(&mut self, range: FrameRange, delta: i32) -> Vec<FrameRange> {
        let mut pieces = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let found = self.runs.range(..=at).next_back().filter(|(_, r)| r.end > at);
            let Some((start, end, refs)) = found.map(|(s, r)| (*s, r.end, r.refs)) else {
                debug_assert!(false, "frame {at:#x} is not allocated");
                break;
            };
            self.runs.remove(&start);
            if start < at {
                self.runs.insert(start, Run { end: at, refs });
            }
            if range.end < end {
                self.runs.insert(range.end, Run { end, refs });
            }
            let stop = end.min(range.end);
            pieces.push((at, stop, refs.saturating_add_signed(delta)));
            at = stop;
        }
        let mut freed: Vec<FrameRange> = Vec::new();
        for (start, end, refs) in pieces {
            if refs > 0 {
                self.insert(start, end, refs);
            } else {
                match freed.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    _ => freed.push(FrameRange { start, end }),
                }
            }
        }
        freed
    }

    /// As [`crate::MemoryFile::shared_prefix`].
    pub(crate) fn shared_prefix(&self, range: FrameRange) -> (bool, u64) {
        let mut at = range.start;
        let mut answer = None;
        while at < range.end {
            let Some((_, run)) = self.runs.range(..=at).next_back().filter(|(_, r)| r.end > at) else {
                break;
            };
            let shared = run.refs > 1;
            match answer {
                None => answer = Some(shared),
                Some(a) if a != shared => break,
                Some(_) => {}
            }
            at = run.end.min(range.end);
        }
        (answer.unwrap_or(true), at - range.start)
    }

    /// How many runs there are.
    #[cfg(test)]
    pub(crate) fn runs(&self) -> usize {
        self.runs.len()
    }
}
