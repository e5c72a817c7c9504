//! The caller's terminal in raw mode, and the bytes between it and the container's own.
//!
//! The container's pty does all that a terminal does: echo, line editing, signals for control characters, job control.
//! So the caller's must do none of it.

use crate::boot::Terminal;
use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{read, write};
use platform_host::tty::{WindowSize, window_size};
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Puts a terminal back as it was found, whatever happens.
#[derive(Debug)]
struct RawMode {
    tty: File,
    before: Termios,
}

impl RawMode {
    fn enter(tty: File) -> Result<RawMode> {
        let before = tcgetattr(&tty).context("tcgetattr")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&tty, SetArg::TCSADRAIN, &raw).context("tcsetattr")?;
        Ok(RawMode { tty, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that has hung up needs nothing put back.
        let _ = tcsetattr(&self.tty, SetArg::TCSADRAIN, &self.before);
    }
}

/// Bytes on their way in one direction.
#[derive(Debug, Default)]
struct Pipe {
    buffer: Vec<u8>,
    closed: bool,
}

impl Pipe {
    fn fill(&mut self, from: impl AsFd) {
        let mut chunk = [0; 4096];
        match read(from, &mut chunk) {
            Ok(0) => self.closed = true,
            Ok(n) => self.buffer.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.closed = true,
        }
    }

    fn drain(&mut self, to: impl AsFd) {
        match write(to, &self.buffer) {
            Ok(n) => drop(self.buffer.drain(..n)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                self.closed = true;
                self.buffer.clear();
            }
        }
    }

    fn may_fill(&self) -> bool {
        !self.closed && self.buffer.is_empty()
    }
}

/// The caller's side of a container's terminal.
#[derive(Debug)]
pub(super) struct TerminalProxy {
    tty: File,
    raw: Option<RawMode>,
    stdin: OwnedFd,
    /// Whether standard input was a terminal; one that has hung up no longer says so.
    typed_at: bool,
    stdout: OwnedFd,
    stream: OwnedFd,
    input: Pipe,
    output: Pipe,
}

impl TerminalProxy {
    /// Finds the caller's terminal and makes the stream to the container's.
    ///
    /// # Errors
    /// When the caller has no terminal.
    pub(super) fn open(size: Option<WindowSize>) -> Result<(TerminalProxy, Terminal)> {
        let tty = find_terminal()?;
        let size = match size {
            Some(size) => size,
            None => window_size(&tty).unwrap_or_default(),
        };
        let (stream, sentry_stream) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
                .context("socketpair")?;
        fcntl(&stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("fcntl(F_SETFL)")?;
        let proxy = TerminalProxy {
            tty,
            raw: None,
            typed_at: std::io::stdin().is_terminal(),
            stdin: std::io::stdin().as_fd().try_clone_to_owned()?,
            stdout: std::io::stdout().as_fd().try_clone_to_owned()?,
            stream,
            input: Pipe::default(),
            output: Pipe::default(),
        };
        Ok((proxy, Terminal { stream: sentry_stream, size }))
    }

    /// From here on the caller's terminal is raw.
    pub(super) fn connect(&mut self) -> Result<()> {
        self.raw = Some(RawMode::enter(self.tty.try_clone()?)?);
        Ok(())
    }

    /// Gives the caller's terminal back for a while, until [`TerminalProxy::connect`].
    pub(super) fn disconnect(&mut self) {
        self.raw = None;
    }

    /// The size of the caller's terminal.
    pub(super) fn window_size(&self) -> Option<WindowSize> {
        window_size(&self.tty).ok()
    }

    /// Whether the caller's terminal is gone. Its end of input tells the container, then.
    pub(super) fn has_hung_up(&self) -> bool {
        let mut input = [PollFd::new(self.stdin.as_fd(), PollFlags::empty())];
        let _ = poll(&mut input, PollTimeout::ZERO);
        self.typed_at && input.iter().any(|fd| fd.revents().is_some_and(|r| r.contains(PollFlags::POLLHUP)))
    }

    /// What to wait for: input, output, and the stream.
    pub(super) fn interests(&self) -> [(Endpoint, PollFlags); 3] {
        let flag = |wanted: bool, flag: PollFlags| if wanted { flag } else { PollFlags::empty() };
        [
            (Endpoint::Input, flag(self.input.may_fill(), PollFlags::POLLIN)),
            (Endpoint::Output, flag(!self.output.buffer.is_empty(), PollFlags::POLLOUT)),
            (
                Endpoint::Stream,
                flag(self.output.may_fill(), PollFlags::POLLIN)
                    | flag(!self.input.buffer.is_empty(), PollFlags::POLLOUT),
            ),
        ]
    }

    /// The descriptor to wait on.
    pub(super) fn poll_fd(&self, endpoint: Endpoint, flags: PollFlags) -> PollFd<'_> {
        match endpoint {
            Endpoint::Input => PollFd::new(self.stdin.as_fd(), flags),
            Endpoint::Output => PollFd::new(self.stdout.as_fd(), flags),
            Endpoint::Stream => PollFd::new(self.stream.as_fd(), flags),
        }
    }

    /// Moves bytes from or to what has become ready.
    pub(super) fn ready(&mut self, endpoint: Endpoint) {
        match endpoint {
            Endpoint::Input if self.input.may_fill() => {
                self.input.fill(&self.stdin);
                if self.input.closed && self.typed_at {
                    // The caller's terminal has hung up; so does the container's.
                    let _ = shutdown(self.stream.as_raw_fd(), Shutdown::Write);
                }
            }
            Endpoint::Output if !self.output.buffer.is_empty() => {
                self.output.drain(&self.stdout);
                if self.output.closed {
                    // Nobody sees what the container still writes, and it must not wait for that.
                    let _ = shutdown(self.stream.as_raw_fd(), Shutdown::Read);
                }
            }
            Endpoint::Stream => {
                if !self.input.buffer.is_empty() {
                    self.input.drain(&self.stream);
                }
                if self.output.may_fill() {
                    self.output.fill(&self.stream);
                }
            }
            Endpoint::Input | Endpoint::Output => {}
        }
    }

    /// Writes out what the container has left, once the sentry is gone.
    pub(super) fn finish(mut self) {
        while !self.output.closed {
            if self.output.buffer.is_empty() {
                self.output.fill(&self.stream);
                if self.output.buffer.is_empty() {
                    return;
                }
            }
            let mut wait = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLOUT)];
            let _ = poll(&mut wait, PollTimeout::NONE);
            self.output.drain(&self.stdout);
        }
    }
}

/// The descriptors a proxy waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// What the caller types.
    Input,
    /// What the caller sees.
    Output,
    /// The container's terminal.
    Stream,
}

/// The first of standard input, output and error that is a terminal, or else the controlling terminal. runc: tty.go,
/// `initHostConsole`.
fn find_terminal() -> Result<File> {
    let standard: [OwnedFd; 3] = [
        std::io::stdin().as_fd().try_clone_to_owned()?,
        std::io::stdout().as_fd().try_clone_to_owned()?,
        std::io::stderr().as_fd().try_clone_to_owned()?,
    ];
    if let Some(fd) = standard.into_iter().find(IsTerminal::is_terminal) {
        return Ok(File::from(fd));
    }
    let tty = File::options().read(true).write(true).open("/dev/tty");
    tty.map_err(|_| anyhow!("a terminal is asked for, but neither standard input, output nor error is one"))
}
