//! Echo waits in a buffer of its own until the output has room. Linux: n_tty.c, `__process_echoes` and around it.

use super::NTty;
use crate::ctype::iscntrl;
use crate::termios::Modes;
use crate::wire::{Effects, N_TTY_BUF_SIZE, Output};
use sentry_uapi::termios::{ECHO, ECHOCTL, ECHONL, OPOST};
use std::collections::VecDeque;

/// Something to be echoed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Echo {
    /// A byte, with output processing.
    Char(u8),
    /// A byte as it is.
    Byte(u8),
    /// A control character, as `^X`.
    Control(u8),
    /// What follows begins one column to the left. Linux: `ECHO_OP_MOVE_BACK_COL`.
    MoveBackColumn,
    /// The line begins here. Linux: `ECHO_OP_SET_CANON_COL`.
    SetCanonColumn,
    /// Rubs out a tab, which comes after so many columns (modulo 8) since the start of the line, or the tab before it.
    /// Linux: `ECHO_OP_ERASE_TAB`.
    EraseTab { columns: u32, after_tab: bool },
}

impl Echo {
    /// Its places in Linux's echo buffer.
    fn places(self) -> usize {
        match self {
            Echo::Char(_) => 1,
            Echo::Byte(_) | Echo::Control(_) | Echo::MoveBackColumn | Echo::SetCanonColumn => 2,
            Echo::EraseTab { .. } => 3,
        }
    }
}

/// What is to be echoed. Linux: `echo_buf`.
#[derive(Debug, Default)]
pub(super) struct EchoBuffer {
    ops: VecDeque<Echo>,
    places: usize,
    /// How many of the places had their turn already, and found no room.
    tried: usize,
}

impl EchoBuffer {
    pub(super) fn push(&mut self, op: Echo) {
        self.ops.push_back(op);
        self.places = self.places.saturating_add(op.places());
    }

    fn pop(&mut self) {
        if let Some(op) = self.ops.pop_front() {
            self.places = self.places.saturating_sub(op.places());
        }
    }

    pub(super) fn clear(&mut self) {
        *self = EchoBuffer::default();
    }
}

/// Echo is processed in between when there is that much, and again when there is that much more. Linux
/// (`ECHO_COMMIT_WATERMARK`, `ECHO_BLOCK`) waits for a multiple of it, and loses echo when its buffer runs over meanwhile.
const COMMIT_WATERMARK: usize = 256;
/// The oldest echo is dropped when there is that much that cannot be put out. Linux: `ECHO_DISCARD_WATERMARK`.
const DISCARD_WATERMARK: usize = N_TTY_BUF_SIZE - (256 + 32);

impl NTty {
    pub(super) fn echo_op(&mut self, op: Echo) {
        self.echo.push(op);
    }

    /// Linux: `echo_char_raw`.
    pub(super) fn echo_char_raw(&mut self, c: u8) {
        self.echo.push(if c == 0xff { Echo::Byte(c) } else { Echo::Char(c) });
    }

    /// Linux: `echo_char`.
    pub(super) fn echo_char(&mut self, c: u8) {
        if self.termios.l(ECHOCTL) && iscntrl(c) && c != b'\t' {
            self.echo.push(Echo::Control(c));
        } else {
            self.echo_char_raw(c);
        }
    }

    /// Linux: `finish_erasing`.
    pub(super) fn finish_erasing(&mut self) {
        if self.erasing {
            self.echo_char_raw(b'/');
            self.erasing = false;
        }
    }

    pub(super) fn clear_echo(&mut self) {
        self.echo.clear();
    }

    /// Linux: `commit_echoes`.
    pub(super) fn commit_echoes(&mut self, out: &mut Output, fx: &mut Effects) {
        let (now, tried) = (self.echo.places, self.echo.tried);
        if now >= tried.saturating_add(COMMIT_WATERMARK) {
            self.process_echoes(out, fx);
        }
    }

    /// Linux: `flush_echoes`.
    pub(super) fn flush_echoes(&mut self, out: &mut Output, fx: &mut Effects) {
        if self.termios.l(ECHO | ECHONL) {
            self.process_echoes(out, fx);
        }
    }

    /// Puts out as much echo as there is room for. Linux: `__process_echoes`.
    pub(super) fn process_echoes(&mut self, out: &mut Output, fx: &mut Effects) {
        while let Some(op) = self.echo.ops.front().copied() {
            if !self.process_echo(op, out, fx) {
                break;
            }
            self.echo.pop();
        }
        while self.echo.places >= DISCARD_WATERMARK {
            self.echo.pop();
        }
        self.echo.tried = self.echo.places;
    }

    /// False: no room.
    fn process_echo(&mut self, op: Echo, out: &mut Output, fx: &mut Effects) -> bool {
        let room = out.room();
        match op {
            Echo::Char(c) if self.termios.o(OPOST) => return self.output_char(c, out, fx),
            Echo::Char(c) => {
                if room == 0 {
                    return false;
                }
                out.put(&[c], fx);
            }
            Echo::Byte(c) => {
                if room == 0 {
                    return false;
                }
                out.put(&[c], fx);
                self.column = self.column.wrapping_add(1);
            }
            Echo::Control(c) => {
                if room < 2 {
                    return false;
                }
                out.put(&[b'^', c ^ 0o100], fx);
                self.column = self.column.wrapping_add(2);
            }
            Echo::MoveBackColumn => self.column = self.column.saturating_sub(1),
            Echo::SetCanonColumn => self.canon_column = self.column,
            Echo::EraseTab { columns, after_tab } => {
                let columns = if after_tab { columns } else { columns.wrapping_add(self.canon_column) };
                let back = 8 - (columns & 7);
                let count = usize::try_from(back).unwrap_or(8);
                if room < count {
                    return false;
                }
                out.put(b"\x08\x08\x08\x08\x08\x08\x08\x08".get(..count).unwrap_or_default(), fx);
                self.column = self.column.saturating_sub(back);
            }
        }
        true
    }
}
