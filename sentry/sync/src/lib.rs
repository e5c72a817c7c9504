//! Locks with an order, wait queues, and the parker a task thread sleeps on.
//!
//! Every lock carries a level from [`level`]. A thread may take a lock only if its level is above that of every lock it
//! holds already; debug builds check this at each acquisition.

pub mod level;
mod lock;
mod order;
mod parker;
mod turns;
mod wait_queue;
mod wake_list;

pub use lock::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use parker::Parker;
pub use wait_queue::{ANY_EVENT, Registration, WaitQueue, Wake, Woken};
pub use wake_list::WakeList;
