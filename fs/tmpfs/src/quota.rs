//! Blocks and inodes a filesystem may use. Linux: mm/shmem.c, `shmem_inode_acct_block` and `shmem_reserve_inode`.

use sentry_mm::PAGE_SIZE;
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOSPC;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most bytes of extended attributes in one filesystem, names included.
const XATTR_MAX: u64 = 64 << 20;

/// Limits and use of one filesystem. A limit of 0 is none.
#[derive(Default)]
pub struct Quota {
    max_blocks: AtomicU64,
    blocks: AtomicU64,
    max_inodes: AtomicU64,
    inodes: AtomicU64,
    xattrs: AtomicU64,
}

fn add(counter: &AtomicU64, limit: u64, n: u64) -> Result<(), Errno> {
    let fits = |used: u64| used.checked_add(n).filter(|sum| limit == 0 || *sum <= limit);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map(drop).map_err(|_| ENOSPC)
}

impl Quota {
    /// Limits in blocks of a page and in inodes; 0 for none.
    pub fn new(max_blocks: u64, max_inodes: u64) -> Quota {
        Quota { max_blocks: max_blocks.into(), max_inodes: max_inodes.into(), ..Quota::default() }
    }

    /// Accounts for `bytes` (whole pages, at least one), or for as much of them as there is room for; returns how much.
    ///
    /// # Errors
    /// `ENOSPC` if there is no room at all.
    pub(crate) fn charge_some(&self, bytes: u64) -> Result<u64, Errno> {
        let limit = self.max_blocks.load(Ordering::Relaxed);
        let mut granted = 0;
        let more = |used: u64| {
            let room = if limit == 0 { u64::MAX } else { limit.saturating_sub(used) };
            granted = room.min(bytes / PAGE_SIZE);
            used.checked_add(granted).filter(|_| granted > 0)
        };
        match self.blocks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(granted * PAGE_SIZE),
            Err(_) => Err(ENOSPC),
        }
    }

    /// Takes back [`Quota::charge_some`].
    pub fn uncharge(&self, bytes: u64) {
        self.blocks.fetch_sub(bytes / PAGE_SIZE, Ordering::Relaxed);
    }

    pub(crate) fn reserve_inode(&self) -> Result<(), Errno> {
        add(&self.inodes, self.max_inodes.load(Ordering::Relaxed), 1)
    }

    pub(crate) fn free_inode(&self) {
        self.inodes.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn charge_xattr(&self, bytes: usize) -> Result<(), Errno> {
        add(&self.xattrs, XATTR_MAX, u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    pub(crate) fn uncharge_xattr(&self, bytes: usize) {
        self.xattrs.fetch_sub(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// Blocks: limit and use.
    pub fn blocks(&self) -> (u64, u64) {
        (self.max_blocks.load(Ordering::Relaxed), self.blocks.load(Ordering::Relaxed))
    }

    /// Inodes: limit and use.
    pub fn inodes(&self) -> (u64, u64) {
        (self.max_inodes.load(Ordering::Relaxed), self.inodes.load(Ordering::Relaxed))
    }

    pub(crate) fn set_max_blocks(&self, max: u64) {
        self.max_blocks.store(max, Ordering::Relaxed);
    }

    pub(crate) fn set_max_inodes(&self, max: u64) {
        self.max_inodes.store(max, Ordering::Relaxed);
    }
}
