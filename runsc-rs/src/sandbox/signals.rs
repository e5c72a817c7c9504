//! The signals the command passes on to the container.

use anyhow::{Context, Result};
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Not passed on: those that mean this process alone, or that it must die of.
const KEPT: [Signal; 14] = [
    Signal::SIGKILL,
    Signal::SIGSTOP,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
    Signal::SIGABRT,
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGURG,
    // In the background, using the terminal has to stop this process, as it would any.
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// A signal sent to the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) signo: i32,
    /// It comes from the kernel, which is to say from the terminal, and so for the whole foreground group.
    pub(crate) from_terminal: bool,
}

/// Holds back the signals that are passed on, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    previous: SigSet,
}

impl Signals {
    /// Starts to hold signals back.
    pub(crate) fn hold() -> Result<Signals> {
        let mut held = SigSet::all();
        for signal in KEPT {
            held.remove(signal);
        }
        let mut previous = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut previous)).context("sigprocmask")?;
        let fd = SignalFd::with_flags(&held, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("signalfd")?;
        Ok(Signals { fd, previous })
    }

    /// Lets signals through again as before; for the sentry, which has inherited what its parent holds back.
    pub(crate) fn release(&self) {
        // Setting a mask that was in force before cannot fail.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.previous), None);
    }

    /// The next signal held back, if there is one.
    pub(crate) fn next(&self) -> Option<Received> {
        let info = self.fd.read_signal().ok()??;
        let signo = i32::try_from(info.ssi_signo).ok()?;
        Some(Received { signo, from_terminal: info.ssi_code == libc::SI_KERNEL })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.release();
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
