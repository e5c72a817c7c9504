//! Terminals: window sizes.

use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd};

/// Rows and columns of a terminal, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// The window size of a terminal (`TIOCGWINSZ`).
///
/// # Errors
/// `ENOTTY` for what is none.
pub fn window_size(tty: impl AsFd) -> Result<WindowSize, Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one structure.
    Errno::result(unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok(WindowSize { rows: size.ws_row, cols: size.ws_col })
}
