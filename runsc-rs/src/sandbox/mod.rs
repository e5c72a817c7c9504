//! The sentry's process as the command sees it: started, spoken with, waited for.

pub mod control;
pub(crate) mod id_maps;
pub mod owners;
mod process;
mod signals;
mod start;
pub mod strace;
mod terminal;

pub use process::{Outcome, Sandbox};
pub use start::start;
use std::time::Duration;

/// When a sandbox has run for so long, what only its start needed is given back.
pub(crate) const SETTLED: Duration = Duration::from_millis(500);

/// How a container's first process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// By exit(2), with this status.
    Exited(u8),
    /// By this signal.
    Signaled(i32),
}

impl ExitStatus {
    /// The status a shell would report: 128 and the signal's number for a death by signal.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Exited(code) => code,
            ExitStatus::Signaled(signo) => u8::try_from(signo).unwrap_or(127).saturating_add(128),
        }
    }
}
