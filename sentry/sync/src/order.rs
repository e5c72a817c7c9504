//! The lock-order check of debug builds.

#[cfg(debug_assertions)]
mod checked {
    use std::cell::RefCell;

    thread_local! {
        static HELD: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
    }

    #[track_caller]
    #[allow(clippy::panic)]
    pub(crate) fn acquire(level: u16, nested: bool) {
        let place = std::panic::Location::caller();
        HELD.with_borrow_mut(|held| {
            if let Some(top) = held.iter().max()
                && (*top > level || (*top == level && !nested))
            {
                panic!("lock order: {place}: level {level} taken while holding {held:?}");
            }
            held.push(level);
        });
    }

    pub(crate) fn release(level: u16) {
        // During thread exit the list may be gone already; there is nothing left to check then.
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(at) = held.iter().rposition(|l| *l == level) {
                held.remove(at);
            }
        });
    }
}

#[cfg(not(debug_assertions))]
mod checked {
    #[inline(always)]
    pub(crate) fn acquire(_level: u16, _nested: bool) {}
    #[inline(always)]
    pub(crate) fn release(_level: u16) {}
}

pub(crate) use checked::{acquire, release};
