//! The cases, by area. A file is a topic, a function is a rule.

mod cred;
mod events;
mod files;
mod futex;
mod ipc;
mod memory;
mod proc;
mod process;
mod signal;
mod socket;
mod time;
mod tty;
mod userns;
