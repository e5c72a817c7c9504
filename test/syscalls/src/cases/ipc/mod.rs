//! System V IPC and POSIX message queues.

mod mqueue;
mod msg;
mod perm;
mod sem;
mod shm;
