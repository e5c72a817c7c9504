//! The sentry's process as the command holds it: what comes from it and what goes to it.

use super::ExitStatus;
use super::SETTLED;
use super::control::{Channel, Event, FailureKind, Request};
use super::owners::OwnersServer;
use super::signals::{Received, Signals};
use super::strace::FilesServer;
use super::terminal::{Endpoint, TerminalProxy};
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::socket::MsgFlags;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};

/// How a sandbox ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container ran; its first process ended like this.
    Ended(ExitStatus),
    /// The container could not be started, or the sentry gave up or was killed.
    Failed {
        /// One line.
        message: String,
        /// What kind of failure.
        kind: FailureKind,
    },
}

/// A running sandbox. Dropping it kills it.
#[derive(Debug)]
pub struct Sandbox {
    pid: Pid,
    pidfd: OwnedFd,
    control: Channel,
    signals: Signals,
    strace: Option<FilesServer>,
    owners: Option<OwnersServer>,
    terminal: Option<TerminalProxy>,
    started: bool,
    /// How long nothing has to happen until start-up counts as over; no limit when it is.
    patience: PollTimeout,
    /// The control socket has been closed at the other end.
    hung_up: bool,
    outcome: Option<Outcome>,
    /// How the host says that the process ended, once it has and has been reaped.
    reaped: Option<WaitStatus>,
}

/// What a wait may be about.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Control,
    Gone,
    Strace,
    Owners,
    Terminal(Endpoint),
}

impl Sandbox {
    pub(super) fn new(
        pid: Pid,
        pidfd: OwnedFd,
        control: Channel,
        signals: Signals,
        strace: Option<FilesServer>,
        owners: Option<OwnersServer>,
    ) -> Sandbox {
        Sandbox {
            pid,
            pidfd,
            control,
            signals,
            strace,
            owners,
            terminal: None,
            started: false,
            patience: PollTimeout::try_from(SETTLED).unwrap_or(PollTimeout::NONE),
            hung_up: false,
            outcome: None,
            reaped: None,
        }
    }

    pub(super) fn request(&self, request: &Request) -> Result<()> {
        self.control.send(request)
    }

    pub(super) fn connect_terminal(&mut self, mut terminal: TerminalProxy) -> Result<()> {
        terminal.connect()?;
        self.terminal = Some(terminal);
        Ok(())
    }

    /// The sentry's process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Serves the sandbox until its first process runs. Whether it does.
    ///
    /// # Errors
    /// When waiting fails.
    pub fn wait_started(&mut self) -> Result<bool> {
        while !self.started && self.reaped.is_none() {
            self.serve()?;
        }
        Ok(self.started)
    }

    /// Serves the sandbox until nothing of it is left.
    ///
    /// # Errors
    /// When waiting fails; the sandbox is killed then.
    pub fn wait(mut self) -> Result<Outcome> {
        while self.reaped.is_none() {
            self.serve()?;
        }
        // What was sent last may not have been read yet.
        while !self.hung_up && self.receive(MsgFlags::MSG_DONTWAIT).unwrap_or(false) {}
        if let Some(terminal) = self.terminal.take() {
            terminal.finish();
        }
        Ok(self.outcome.take().unwrap_or_else(|| died(self.reaped)))
    }

    fn serve(&mut self) -> Result<()> {
        let sources = self.poll()?;
        if sources.is_empty() && self.patience != PollTimeout::NONE {
            platform_host::program::forget_start_up();
            self.patience = PollTimeout::NONE;
        }
        for source in sources {
            match source {
                Source::Signals => {
                    while let Some(signal) = self.signals.next() {
                        self.forward(signal);
                    }
                }
                Source::Control => {
                    // Its end is the end of the process, of which the pidfd tells.
                    self.receive(MsgFlags::MSG_DONTWAIT)?;
                }
                Source::Strace => {
                    if !self.strace.as_mut().is_some_and(|strace| strace.answer().unwrap_or(false)) {
                        self.strace = None;
                    }
                }
                Source::Owners => {
                    if !self.owners.as_ref().is_some_and(|owners| owners.answer().unwrap_or(false)) {
                        self.owners = None;
                    }
                }
                Source::Terminal(endpoint) => {
                    if let Some(terminal) = &mut self.terminal {
                        terminal.ready(endpoint);
                    }
                }
                Source::Gone => {
                    self.reaped = Some(waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED)?);
                }
            }
        }
        Ok(())
    }

    fn poll(&self) -> Result<Vec<Source>> {
        let input = PollFlags::POLLIN;
        let mut fds = vec![
            (Source::Signals, PollFd::new(self.signals.as_fd(), input)),
            (Source::Gone, PollFd::new(self.pidfd.as_fd(), input)),
        ];
        if !self.hung_up {
            fds.push((Source::Control, PollFd::new(self.control.as_fd(), input)));
        }
        if let Some(strace) = &self.strace {
            fds.push((Source::Strace, PollFd::new(strace.as_fd(), input)));
        }
        if let Some(owners) = &self.owners {
            fds.push((Source::Owners, PollFd::new(owners.as_fd(), input)));
        }
        if let Some(terminal) = &self.terminal {
            let wanted = terminal.interests().into_iter().filter(|(_, flags)| !flags.is_empty());
            fds.extend(
                wanted
                    .map(|(endpoint, flags)| (Source::Terminal(endpoint), terminal.poll_fd(endpoint, flags))),
            );
        }
        let (sources, mut fds): (Vec<_>, Vec<_>) = fds.into_iter().unzip();
        match poll(&mut fds, self.patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e).context("poll"),
        }
        let ready = sources.into_iter().zip(&fds).filter(|(_, fd)| fd.any().unwrap_or(true));
        Ok(ready.map(|(source, _)| source).collect())
    }

    /// Takes one message. Whether there was one.
    fn receive(&mut self, flags: MsgFlags) -> Result<bool> {
        let Some((event, _)) = self.control.recv_with::<Event>(flags)? else {
            // It is ending, or else beyond control. Its exit status stays what it is if it is ending.
            self.hung_up = true;
            if self.reaped.is_none() {
                let _ = kill(self.pid, Signal::SIGKILL);
            }
            return Ok(false);
        };
        tracing::debug!(?event, "from the sentry");
        match event {
            Event::Started => self.started = true,
            Event::Exited(status) => self.outcome = Some(Outcome::Ended(status)),
            Event::Failed { message, kind } => self.outcome = Some(Outcome::Failed { message, kind }),
        }
        Ok(true)
    }

    /// Passes a signal on. That the sandbox may just have ended is no error.
    fn forward(&mut self, signal: Received) {
        let request = match (signal.signo, &self.terminal) {
            (nix::libc::SIGWINCH, Some(terminal)) => match terminal.window_size() {
                Some(size) => Request::WindowSize { rows: size.rows, cols: size.cols },
                None => return,
            },
            (nix::libc::SIGWINCH, None) => return,
            // The container's own terminal hangs up, too, and that is for its kernel to tell.
            (nix::libc::SIGHUP, Some(terminal)) if signal.from_terminal && terminal.has_hung_up() => return,
            (signo, _) => Request::Signal { signo, to_group: signal.from_terminal },
        };
        tracing::debug!(?request, "passing on");
        let _ = self.request(&request);
        if signal.signo == nix::libc::SIGTSTP {
            self.stop();
        }
    }

    /// Stops this process until somebody continues it: the caller's shell waits for that, not for a stop in the container.
    fn stop(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.disconnect();
        }
        let _ = raise(Signal::SIGSTOP);
        if let Some(terminal) = &mut self.terminal {
            // It may have hung up in the meantime, which its input will tell.
            let _ = terminal.connect();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.reaped.is_none() {
            // Not reaped yet, so the number is still its own.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED);
        }
    }
}

/// A sentry that ended without a word.
fn died(how: Option<WaitStatus>) -> Outcome {
    let message = match how {
        Some(WaitStatus::Signaled(_, signal, _)) => format!("the sandbox was killed by {signal}"),
        _ => "the sandbox ended unexpectedly".to_owned(),
    };
    Outcome::Failed { message, kind: FailureKind::Runtime }
}
