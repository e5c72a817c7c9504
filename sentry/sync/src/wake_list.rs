//! Linux: `struct wake_q_head`, kernel/sched/core.c.

use crate::{Wake, Woken};
use smallvec::SmallVec;
use std::sync::Arc;

/// So many are kept in place.
const FEW: usize = 4;

/// Those who have been woken under a lock, and are roused when the list is dropped: declared before the lock is taken, it
/// goes after it has been released. Who is roused on the processor of its waker runs there at once, and would wait for that
/// lock.
#[derive(Default)]
pub struct WakeList {
    sleepers: SmallVec<[Arc<dyn Wake>; FEW]>,
}

impl WakeList {
    /// An empty list.
    pub fn new() -> WakeList {
        WakeList::default()
    }

    /// Wakes `waker`, and remembers to rouse it. Returns whether it counts.
    pub fn wake(&mut self, waker: &Arc<dyn Wake>, events: u32) -> bool {
        let Woken { counts, sleeps } = waker.wake(events);
        if sleeps {
            self.sleepers.push(waker.clone());
        }
        counts
    }
}

impl Drop for WakeList {
    fn drop(&mut self) {
        for sleeper in self.sleepers.drain(..) {
            sleeper.rouse();
        }
    }
}
