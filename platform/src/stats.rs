//! Counters of a back-end. They cost one relaxed addition each.

use std::sync::atomic::{AtomicU64, Ordering};

/// Events counted by a back-end since it was made.
#[derive(Default)]
pub struct PlatformStats {
    /// Entries into guest code.
    pub switches: AtomicU64,
    /// Batches of map operations carried out.
    pub map_batches: AtomicU64,
    /// Map operations carried out.
    pub map_ops: AtomicU64,
    /// Host processes made for address spaces.
    pub address_spaces: AtomicU64,
    /// Host threads or virtual processors made for contexts.
    pub stub_threads: AtomicU64,
    /// Exits of virtual processors; 0 where there are none.
    pub exits: AtomicU64,
    /// System calls answered without a trap, as [`crate::Context::set_answers`] allows.
    pub answered: AtomicU64,
}

impl PlatformStats {
    /// Adds one to a counter.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
