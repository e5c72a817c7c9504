//! Open host descriptors, of which only the recently used stay open.

use sentry_sync::{Mutex, level};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// A place for a descriptor that may be closed at any time between uses. Most files never have one, so there is nothing
/// behind it before.
#[derive(Default)]
pub(crate) struct FdSlot(OnceLock<Arc<Slot>>);

#[derive(Default)]
struct Slot {
    fd: Mutex<Option<Arc<OwnedFd>>, { level::LEAF }>,
    used: AtomicBool,
    queued: AtomicBool,
}

impl FdSlot {
    /// The descriptor, if it is open.
    pub(crate) fn get(&self) -> Option<Arc<OwnedFd>> {
        self.0.get()?.get()
    }
}

impl Slot {
    fn get(&self) -> Option<Arc<OwnedFd>> {
        let fd = self.fd.lock().clone();
        if fd.is_some() {
            self.used.store(true, Ordering::Relaxed);
        }
        fd
    }

    /// Closes it, unless somebody uses it or did since this was asked last.
    fn evict(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        let mut slot = self.fd.lock();
        if slot.as_ref().is_some_and(|fd| Arc::strong_count(fd) > 1) {
            return false;
        }
        let closed = slot.take();
        self.queued.store(false, Ordering::Relaxed);
        drop(slot);
        drop(closed);
        true
    }
}

/// All slots with a descriptor in them, oldest first. Eviction gives each a second chance.
pub(crate) struct FdCache {
    queue: Mutex<VecDeque<Weak<Slot>>, { level::LEAF }>,
    max: usize,
}

/// How many slots are looked at for one to close before the cache is allowed to grow.
const SCAN: usize = 64;

impl FdCache {
    pub(crate) fn new(max: usize) -> FdCache {
        FdCache { queue: Mutex::new(VecDeque::new()), max }
    }

    /// Keeps a descriptor open in a slot for a while.
    pub(crate) fn store(&self, slot: &FdSlot, fd: Arc<OwnedFd>) {
        let slot = slot.0.get_or_init(Arc::default);
        let old = slot.fd.lock().replace(fd);
        drop(old);
        slot.used.store(true, Ordering::Relaxed);
        if slot.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        self.queue.lock().push_back(Arc::downgrade(slot));
        for _ in 0..SCAN {
            let oldest = {
                let mut queue = self.queue.lock();
                if queue.len() <= self.max {
                    return;
                }
                queue.pop_front()
            };
            // An inode that is gone has closed its descriptors itself.
            let Some(oldest) = oldest.and_then(|slot| slot.upgrade()) else { continue };
            if !oldest.evict() {
                self.queue.lock().push_back(Arc::downgrade(&oldest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn old_descriptors_close_but_those_in_use_stay() -> io::Result<()> {
        let cache = FdCache::new(4);
        let open = || -> io::Result<Arc<OwnedFd>> { Ok(Arc::new(std::fs::File::open("/dev/null")?.into())) };
        let slots: Vec<FdSlot> = (0..32).map(|_| FdSlot::default()).collect();
        let held = open()?;
        cache.store(&slots[0], held.clone());
        for slot in &slots[1..] {
            cache.store(slot, open()?);
        }
        let open_now = slots.iter().filter(|s| s.get().is_some()).count();
        assert!(open_now <= 6, "{open_now}");
        assert!(slots[0].get().is_some());
        drop(held);
        Ok(())
    }
}
