//! Output processing. Linux: n_tty.c, `do_output_char`, `n_tty_write`.

use super::NTty;
use crate::ctype::{is_utf8_continuation, iscntrl, toupper};
use crate::termios::Modes;
use crate::wire::{Effects, Output};
use sentry_uapi::termios::{IUTF8, OCRNL, OLCUC, ONLCR, ONLRET, ONOCR, OPOST, TABDLY, XTABS};

impl NTty {
    /// Writes as much as there is room for; returns how much that is.
    pub(crate) fn write(&mut self, bytes: &[u8], out: &mut Output, fx: &mut Effects) -> usize {
        self.process_echoes(out, fx);
        if !self.termios.o(OPOST) {
            let n = bytes.len().min(out.room());
            if n > 0 {
                out.put(bytes.get(..n).unwrap_or_default(), fx);
            }
            return n;
        }
        bytes.iter().take_while(|c| self.output_char(**c, out, fx)).count()
    }

    /// Puts out one byte with output processing; false: there is no room. Linux: `do_output_char`.
    pub(super) fn output_char(&mut self, c: u8, out: &mut Output, fx: &mut Effects) -> bool {
        let room = out.room();
        if room == 0 {
            return false;
        }
        let t = &self.termios;
        let mut shown = c;
        match c {
            b'\n' => {
                if t.o(ONLRET) {
                    self.column = 0;
                }
                if t.o(ONLCR) {
                    if room < 2 {
                        return false;
                    }
                    self.column = 0;
                    self.canon_column = 0;
                    out.put(b"\r\n", fx);
                    return true;
                }
                self.canon_column = self.column;
            }
            b'\r' => {
                if t.o(ONOCR) && self.column == 0 {
                    return true;
                }
                if t.o(OCRNL) {
                    shown = b'\n';
                    if t.o(ONLRET) {
                        self.column = 0;
                        self.canon_column = 0;
                    }
                } else {
                    self.column = 0;
                    self.canon_column = 0;
                }
            }
            b'\t' => {
                let spaces = 8 - (self.column & 7);
                if t.c_oflag & TABDLY == XTABS {
                    let count = usize::try_from(spaces).unwrap_or(8);
                    if room < count {
                        return false;
                    }
                    self.column = self.column.wrapping_add(spaces);
                    out.put(b"        ".get(..count).unwrap_or_default(), fx);
                    return true;
                }
                self.column = self.column.wrapping_add(spaces);
            }
            b'\x08' => self.column = self.column.saturating_sub(1),
            _ if !iscntrl(c) => {
                if t.o(OLCUC) {
                    shown = toupper(c);
                }
                if !(t.i(IUTF8) && is_utf8_continuation(c)) {
                    self.column = self.column.wrapping_add(1);
                }
            }
            _ => {}
        }
        out.put(&[shown], fx);
        true
    }
}
