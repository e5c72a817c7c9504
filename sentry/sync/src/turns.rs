//! Notices two threads that take turns: each wakes the other and sleeps at once, again and again. They lose nothing by
//! sharing a processor and gain the way from one to the other, which costs several times what the turn itself does. Linux
//! learns the same from the waker, which says that it is about to sleep (`WF_SYNC`).

use std::cell::Cell;
use std::time::{Duration, Instant};

/// So soon after waking somebody a thread must sleep.
const AT_ONCE: Duration = Duration::from_micros(50);
/// So many turns in a row each of the two must have taken.
const TURNS: u32 = 64;

/// What a thread knows of its own turns.
#[derive(Clone, Copy)]
struct Turns {
    /// Whom it woke last, as an address that only serves to compare.
    partner: usize,
    /// When, unless it has slept since.
    woke: Option<Instant>,
    /// Turns in a row that it took with the partner.
    taken: u32,
    /// Turns in a row that somebody had taken with it when it slept last.
    given: u32,
}

thread_local! {
    static TURNS_OF_THREAD: Cell<Turns> =
        const { Cell::new(Turns { partner: 0, woke: None, taken: 0, given: 0 }) };
}

/// The calling thread wakes `partner`, who sleeps. Returns how many turns it has taken with it, and whether the other has
/// taken as many.
pub(crate) fn wakes(partner: usize) -> (u32, bool) {
    TURNS_OF_THREAD.with(|cell| {
        let mut turns = cell.get();
        if turns.partner != partner {
            turns = Turns { partner, taken: 0, ..turns };
        }
        turns.woke = Some(Instant::now());
        let mutual = turns.taken >= TURNS && turns.given >= TURNS;
        let taken = turns.taken;
        if mutual {
            turns.taken = 0;
        }
        cell.set(turns);
        (taken, mutual)
    })
}

/// The calling thread is about to sleep; somebody has taken `given` turns with it.
pub(crate) fn sleeps(given: u32) {
    TURNS_OF_THREAD.with(|cell| {
        let mut turns = cell.get();
        if let Some(woke) = turns.woke.take() {
            turns.taken = if woke.elapsed() < AT_ONCE { turns.taken.saturating_add(1) } else { 0 };
        }
        turns.given = given;
        cell.set(turns);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_turns_of_both_count() {
        for (given, expected) in [(TURNS, true), (TURNS - 1, false)] {
            let mut mutual = false;
            for _ in 0..=TURNS {
                mutual |= wakes(8).1;
                sleeps(given);
            }
            assert_eq!(wakes(8).1 || mutual, expected);
            wakes(16);
        }
    }

    #[test]
    fn who_does_not_sleep_at_once_or_wakes_another_takes_no_turn() {
        for _ in 0..2 * TURNS {
            assert!(!wakes(8).1);
            sleeps(TURNS);
            assert!(!wakes(16).1);
            sleeps(TURNS);
        }
        for _ in 0..TURNS {
            wakes(8);
            sleeps(TURNS);
        }
        wakes(8);
        std::thread::sleep(2 * AT_ONCE);
        sleeps(TURNS);
        assert_eq!(wakes(8), (0, false));
    }
}
