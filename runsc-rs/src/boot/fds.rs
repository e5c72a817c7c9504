//! What the sentry's process keeps open: what it was given, and nothing that the command happened to have.

use super::{Io, StdioFd};
use crate::sandbox::control::ControlChannel;
use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stdin, dup2_stdout};
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Puts `/dev/null` in the place of standard input and output, which the guest has under other numbers. Standard error
/// stays, for panics.
pub(super) fn redirect_standard_input_and_output() -> Result<()> {
    let null = nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .context("/dev/null")?;
    dup2_stdin(&null).context("dup2")?;
    dup2_stdout(&null).context("dup2")
}

/// Closes every descriptor but those the sentry works with.
pub(super) fn close_others(io: &Io, control: &ControlChannel) -> Result<()> {
    let mut keep: Vec<RawFd> = vec![0, 1, 2, control.as_fd().as_raw_fd(), io.trees.root.0.as_raw_fd()];
    keep.extend(io.trees.binds.iter().flatten().map(|(tree, _)| tree.raw_fd()));
    keep.extend(io.stdio.iter().filter_map(|fd| match fd {
        StdioFd::Host(fd) => Some(fd.as_raw_fd()),
        StdioFd::Terminal => None,
    }));
    keep.extend(io.terminal.iter().map(|terminal| terminal.stream.as_raw_fd()));
    keep.extend(io.owners.iter().map(|owners| owners.as_fd().as_raw_fd()));
    keep.extend(io.strace.iter().map(|strace| strace.as_fd().as_raw_fd()));
    keep.extend(io.oom_score.iter().map(|score| score.as_fd().as_raw_fd()));
    keep.extend(io.huge.iter().map(AsRawFd::as_raw_fd));
    keep.extend(io.kvm.iter().map(AsRawFd::as_raw_fd));
    keep.extend(crate::log::descriptor());
    keep.sort_unstable();
    // SAFETY: this process is a copy that never returns into the frames of the command, whose values own the
    // descriptors closed here; everything it does use is in `keep`.
    unsafe { platform_host::fd::close_all_except(&keep) }.context("close_range")
}
