//! The system call conformance suite.
//!
//! A case is a small guest program that states one rule of the kernel and checks it. Linux itself is the oracle: every
//! case passes natively, and what then fails in a sandbox is a defect of the sandbox. See `README.md` beside this crate.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "cases hand C's integer types to the kernel as they are, on x86-64 only"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a case fails; the hook turns it into the case's report"
)]

mod abi;
pub mod case;
mod cases;
pub mod guest;
mod report;
mod stress;
pub mod suite;
pub mod sys;

/// What every case file imports.
mod prelude {
    pub(crate) use crate::abi::*;
    pub(crate) use crate::guest::{
        Child, Guest, PAGE, SigInfo, Status, check, cstr, deadline, expect_eq, iov, msec, peek, poke, touch,
        zeroed,
    };
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
    pub(crate) use test_syscalls_macros::{case, sys};
}
