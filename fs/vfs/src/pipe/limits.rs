//! How much memory pipes may take. Linux: fs/pipe.c, `account_pipe_buffers` and the `fs.pipe-*` sysctls.

use super::ring::{DEF_SLOTS, PIPE_PAGE};
use sentry_auth::{CapSet, Cred, Kuid};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENFILE, EPERM};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pages that all pipes of a kernel may hold together: 1 GiB.
const MAX_PAGES: usize = 1 << 18;

/// Slots of a new pipe of a user who has reached the soft limit. Linux: `PIPE_MIN_DEF_BUFFERS`.
const MIN_SLOTS: usize = 2;

/// `/proc/sys/fs/pipe-*`, and what is in use.
pub struct PipeLimits {
    /// `pipe-max-size`, in bytes.
    pub max_size: AtomicUsize,
    /// `pipe-user-pages-soft`; 0 for no limit.
    pub user_pages_soft: AtomicUsize,
    /// `pipe-user-pages-hard`; 0 for no limit.
    pub user_pages_hard: AtomicUsize,
    users: Mutex<HashMap<Kuid, usize>, { level::LEAF }>,
    pages: AtomicUsize,
}

/// Slots of a pipe for at least `bytes`: a power of two. None for a size beyond 2 GiB. Linux: `round_pipe_size`.
pub(super) fn slots_for(bytes: u32) -> Option<usize> {
    let size = bytes.max(1).checked_next_power_of_two().filter(|s| *s <= 1 << 31)?;
    usize::try_from(size).ok().map(|s| s.div_ceil(PIPE_PAGE))
}

/// Linux: `pipe_is_unprivileged_user`. Limits of the whole kernel are lifted for those of the first user namespace only.
fn unprivileged(cred: &Cred) -> bool {
    let first = cred.user_ns.level() == 0;
    !(first && (cred.capable(CapSet::SYS_RESOURCE) || cred.capable(CapSet::SYS_ADMIN)))
}

impl PipeLimits {
    pub(crate) fn new() -> PipeLimits {
        PipeLimits {
            max_size: AtomicUsize::new(1 << 20),
            user_pages_soft: AtomicUsize::new(DEF_SLOTS * 1024),
            user_pages_hard: AtomicUsize::new(0),
            users: Mutex::new(HashMap::new()),
            pages: AtomicUsize::new(0),
        }
    }

    fn over(limit: &AtomicUsize, pages: usize) -> bool {
        let limit = limit.load(Ordering::Relaxed);
        limit != 0 && pages > limit
    }

    fn in_use(&self, owner: Kuid) -> usize {
        self.users.lock().get(&owner).copied().unwrap_or(0)
    }

    /// Charges a new pipe; returns its slots. Linux: `alloc_pipe_info`.
    pub(super) fn charge_new(&self, owner: Kuid, cred: &Cred) -> Result<usize, Errno> {
        let mut slots = DEF_SLOTS.min(self.max_size.load(Ordering::Relaxed) / PIPE_PAGE).max(1);
        let used = self.in_use(owner);
        if Self::over(&self.user_pages_soft, used + slots) && unprivileged(cred) {
            slots = slots.min(MIN_SLOTS);
        }
        if Self::over(&self.user_pages_hard, used + slots) && unprivileged(cred) {
            return Err(ENFILE);
        }
        self.charge(owner, 0, slots);
        Ok(slots)
    }

    /// Whether a pipe may go from `old` to `new` slots.
    pub(super) fn may_resize(&self, owner: Kuid, cred: &Cred, old: usize, new: usize) -> Result<(), Errno> {
        if new <= old {
            return Ok(());
        }
        if new.saturating_mul(PIPE_PAGE) > self.max_size.load(Ordering::Relaxed) {
            return Err(EPERM);
        }
        let used = self.in_use(owner).saturating_sub(old).saturating_add(new);
        let over = Self::over(&self.user_pages_hard, used) || Self::over(&self.user_pages_soft, used);
        if over && unprivileged(cred) { Err(EPERM) } else { Ok(()) }
    }

    /// Moves the charge for a pipe from `old` to `new` slots.
    pub(super) fn charge(&self, owner: Kuid, old: usize, new: usize) {
        if old == new {
            return;
        }
        let mut users = self.users.lock();
        let used = users.entry(owner).or_default();
        *used = used.saturating_sub(old).saturating_add(new);
        if *used == 0 {
            users.remove(&owner);
        }
    }

    /// Counts a page in, unless there are too many.
    pub(super) fn alloc_page(&self) -> bool {
        if self.pages.fetch_add(1, Ordering::Relaxed) >= MAX_PAGES {
            self.pages.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Counts pages out.
    pub(super) fn free_pages(&self, n: usize) {
        self.pages.fetch_sub(n, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn pages(&self) -> usize {
        self.pages.load(Ordering::Relaxed)
    }
}
