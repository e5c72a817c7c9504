//! Where views are open through which the sentry writes to guest memory.
//!
//! A view goes to the frames that were there when it was opened. If a fork shared these, and the guest then wrote to a page
//! beside, the parent would get a copy and what the view still brings would be the child's alone. So a fork gives the
//! child copies of what is held. Linux: mm/memory.c, `page_needs_cow_for_dma`.

use crate::mm::Inner;
use crate::vma::{page_down, page_up, split_pma};
use crate::{MemoryManager, UserRange};
use std::sync::atomic::Ordering;

/// The address ranges, each with the number of its view.
#[derive(Clone, Default)]
pub(crate) struct HeldRanges {
    next: u64,
    ranges: Vec<(u64, u64, u64)>,
}

impl HeldRanges {
    /// Whether a part of `start..end` is held.
    pub(crate) fn overlaps(&self, start: u64, end: u64) -> bool {
        self.ranges.iter().any(|(_, from, to)| *from < end && start < *to)
    }

    /// Makes what is held PMAs of its own.
    pub(crate) fn cut_out(&self, inner: &mut Inner) {
        for (_, from, to) in &self.ranges {
            split_pma(&mut inner.pmas, *from);
            split_pma(&mut inner.pmas, *to);
        }
    }
}

/// Ranges that are held until this is dropped.
pub(crate) struct Held<'a> {
    mm: &'a MemoryManager,
    view: u64,
}

impl MemoryManager {
    /// Holds the pages of ranges, to be called before the frames behind them are looked for. `None` where nobody can fork
    /// meanwhile: `is_own` says that the caller's own address space is meant.
    pub(crate) fn hold_ranges(&self, ranges: &[UserRange], is_own: bool) -> Option<Held<'_>> {
        if is_own && !self.has_siblings.load(Ordering::Relaxed) {
            return None;
        }
        let mut held = self.held.lock();
        let view = held.next;
        held.next = view.wrapping_add(1);
        let pages = ranges.iter().filter_map(|range| {
            Some((view, page_down(range.addr), page_up(range.addr.checked_add(range.len as u64)?)?))
        });
        held.ranges.extend(pages);
        Some(Held { mm: self, view })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.mm.held.lock().ranges.retain(|(view, ..)| *view != self.view);
    }
}
