//! Reading. Linux: n_tty.c, `copy_from_read_buf`, `canon_copy_from_read_buf`, `input_available_p`.
//!
//! Differs: VMIN counts as far as it goes, where Linux returns once its buffer of 64 bytes is full.

use super::NTty;
use crate::termios::Modes;
use sentry_uapi::termios::{EXTPROC, ICANON, POSIX_VDISABLE, VEOF, VMIN, VTIME};
use std::time::Duration;

/// How long a read waits, and for how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadWait {
    /// Bytes to wait for.
    pub(crate) minimum: usize,
    /// Longest wait for the first byte; none: as long as it takes.
    pub(crate) first: Option<Duration>,
    /// Longest silence after a byte; none: as long as it takes.
    pub(crate) between: Option<Duration>,
}

impl NTty {
    /// Whether a read has something to give, or poll(2) something to tell.
    pub(crate) fn input_available(&self, poll: bool) -> bool {
        if self.is_canonical() {
            return self.canon > 0;
        }
        let wants_more = poll && self.termios.cc(VTIME) == 0 && self.termios.cc(VMIN) > 0;
        let amount = if wants_more { usize::from(self.termios.cc(VMIN)) } else { 1 };
        self.queue.len() >= amount
    }

    /// VMIN and VTIME, as far as they count.
    pub(crate) fn read_wait(&self) -> ReadWait {
        if self.termios.l(ICANON) {
            return ReadWait { minimum: 1, first: None, between: None };
        }
        let time = Duration::from_millis(100) * u32::from(self.termios.cc(VTIME));
        match usize::from(self.termios.cc(VMIN)) {
            0 => ReadWait { minimum: 1, first: Some(time), between: None },
            minimum => ReadWait { minimum, first: None, between: Some(time).filter(|t| !t.is_zero()) },
        }
    }

    /// Takes at most `max` bytes, of one line at most.
    pub(crate) fn read(&mut self, max: usize) -> Vec<u8> {
        if self.is_canonical() { self.read_canonical(max) } else { self.read_raw(max) }
    }

    fn read_raw(&mut self, max: usize) -> Vec<u8> {
        let n = max.min(self.queue.len());
        self.canon = self.canon.saturating_sub(n);
        let taken: Vec<u8> = self.queue.drain(..n).map(|cell| cell.byte).collect();
        // The other end edits lines: its end of file comes as a character.
        let is_eof = taken == [self.termios.cc(VEOF)];
        if self.termios.l(EXTPROC) && self.termios.l(ICANON) && is_eof && self.queue.is_empty() {
            return Vec::new();
        }
        taken
    }

    fn read_canonical(&mut self, max: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < max && self.canon > 0 {
            let Some(cell) = self.take_cell() else { break };
            if !(cell.eol && cell.byte == POSIX_VDISABLE) {
                taken.push(cell.byte);
            }
            if cell.eol {
                return taken;
            }
        }
        // An end of file right behind what was asked for is not to be read as one later.
        let next = self.queue.front().filter(|_| self.canon > 0 && !taken.is_empty());
        if next.is_some_and(|cell| cell.eol && cell.byte == POSIX_VDISABLE) {
            self.take_cell();
        }
        taken
    }

    fn take_cell(&mut self) -> Option<super::Cell> {
        self.canon = self.canon.saturating_sub(1);
        self.queue.pop_front()
    }

    /// Bytes FIONREAD tells of. Linux: `inq_canon`.
    pub(crate) fn inq(&self) -> usize {
        if !self.is_canonical() {
            return self.queue.len();
        }
        let line = self.queue.iter().take(self.canon);
        line.filter(|cell| !(cell.eol && cell.byte == POSIX_VDISABLE)).count()
    }
}
