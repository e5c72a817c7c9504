//! Processes, threads, credentials, signals, scheduling.

pub(crate) mod admin;
pub(crate) mod clone;
pub(crate) mod cred;
pub(crate) mod exec;
pub(crate) mod exit;
pub(crate) mod futex;
pub(crate) mod ids;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod prctl;
pub(crate) mod sched;
pub(crate) mod signal;
pub(crate) mod system;
pub(crate) mod unshare;
