//! Processes and threads.

mod admin;
mod clone;
mod exec;
mod exit;
mod fork;
mod group;
mod hot_call;
mod identity;
mod limits;
mod misc;
mod pid_namespace;
mod pidfd;
mod prctl;
mod sched;
mod thread;
mod usage;
mod vdso;
mod wait;
