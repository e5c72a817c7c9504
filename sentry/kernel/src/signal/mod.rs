//! Linux: kernel/signal.c.

mod action;
mod altstack;
mod deliver;
mod pending;
mod send;

pub use action::{DefaultAction, SigHand, default_action, ignored_by_default};
pub use pending::Pending;
pub use send::SigSource;

use sentry_uapi::signal::{SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSTOP, SIGSYS, SIGTRAP, SigSet};
use sentry_uapi::signal::{SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU};

/// Signals that cannot be blocked, caught or ignored.
pub const UNBLOCKABLE: SigSet = SigSet::of(SIGKILL).union(SigSet::of(SIGSTOP));

/// Signals that an instruction causes; taken before others of the same age. Linux: `SYNCHRONOUS_MASK`.
pub(crate) const SYNCHRONOUS: SigSet = SigSet::of(SIGSEGV)
    .union(SigSet::of(SIGBUS))
    .union(SigSet::of(SIGILL))
    .union(SigSet::of(SIGTRAP))
    .union(SigSet::of(SIGFPE))
    .union(SigSet::of(SIGSYS));

/// Signals that stop a process. Linux: `SIG_KERNEL_STOP_MASK`.
pub(crate) const STOP_SIGNALS: SigSet =
    SigSet::of(SIGSTOP).union(SigSet::of(SIGTSTP)).union(SigSet::of(SIGTTIN)).union(SigSet::of(SIGTTOU));

/// The one that makes it go on.
pub(crate) const CONT_SIGNAL: SigSet = SigSet::of(SIGCONT);
