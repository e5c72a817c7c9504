//! Linux: kernel/futex/.
//!
//! Waiters are queued in hash buckets by the identity of their word. The word is read under the bucket's lock, so a
//! change that a waker makes before it wakes is never missed.

mod bucket;
mod pi;
mod requeue;
mod robust;
mod wait;

pub use bucket::FutexTable;
pub(crate) use robust::exit_robust_list;
pub use wait::FutexWaitv;

/// `futex(2)` bit: there are waiters on a PI or robust futex.
pub const FUTEX_WAITERS: u32 = 0x8000_0000;
/// The owner has died.
pub const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
/// Where the owner's thread id is.
pub const FUTEX_TID_MASK: u32 = 0x3fff_ffff;
