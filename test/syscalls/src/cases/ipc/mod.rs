//! System V IPC and POSIX message queues.

mod msg;
mod perm;
mod sem;
mod shm;
