//! System V semaphores, message queues and shared memory. Linux: ipc/.
//!
//! Differs: one lock a kind and namespace rather than one an object; what objects hold of the kernel's own memory is
//! bounded for all namespaces together, since there are no memory control groups.

mod memory;
mod msg;
mod msgctl;
mod sem;
mod sem_undo;
mod semctl;
mod shm;
mod shm_attach;
mod shmctl;
mod util;
mod wait;

pub(crate) use memory::{IpcCharge, IpcMemory};
pub use msg::{MsgIds, MsgLimits};
pub use sem::{SemIds, SemLimits};
pub(crate) use sem_undo::SemUndoList;
pub use shm::{ShmIds, ShmLimits};
pub use util::{IPCMNI, IpcPerm, PermUpdate};
pub(crate) use wait::Waiter;
