//! Rubbing out a character, a word or the line. Linux: n_tty.c, `eraser`.

use super::NTty;
use super::echo::Echo;
use crate::ctype::{is_utf8_continuation, isalnum, iscntrl};
use crate::termios::Modes;
use sentry_uapi::termios::{ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHOPRT, IUTF8, VERASE, VKILL, VWERASE};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Character,
    Word,
    Line,
}

impl NTty {
    fn byte(&self, at: usize) -> u8 {
        self.queue.get(at).map_or(0, |cell| cell.byte)
    }

    fn is_continuation(&self, c: u8) -> bool {
        self.termios.i(IUTF8) && is_utf8_continuation(c)
    }

    pub(super) fn erase(&mut self, c: u8) {
        let t = self.termios;
        if self.queue.len() == self.canon {
            return;
        }
        let kind = if c == t.cc(VERASE) {
            Kind::Character
        } else if c == t.cc(VWERASE) {
            Kind::Word
        } else {
            if !t.l(ECHO) {
                self.queue.truncate(self.canon);
                return;
            }
            if !(t.l(ECHOK) && t.l(ECHOKE) && t.l(ECHOE)) {
                self.queue.truncate(self.canon);
                self.finish_erasing();
                self.echo_char(t.cc(VKILL));
                if t.l(ECHOK) {
                    self.echo_char_raw(b'\n');
                }
                return;
            }
            Kind::Line
        };
        self.erase_back(kind);
        if self.queue.len() == self.canon && t.l(ECHO) {
            self.finish_erasing();
        }
    }

    fn erase_back(&mut self, kind: Kind) {
        let mut in_word = false;
        while self.queue.len() > self.canon {
            let mut head = self.queue.len() - 1;
            while self.is_continuation(self.byte(head)) && head > self.canon {
                head -= 1;
            }
            let c = self.byte(head);
            if self.is_continuation(c) {
                // Not the middle of a character alone.
                return;
            }
            if kind == Kind::Word {
                if isalnum(c) || c == b'_' {
                    in_word = true;
                } else if in_word {
                    return;
                }
            }
            let erased: Vec<u8> = self.queue.drain(head..).map(|cell| cell.byte).collect();
            if self.termios.l(ECHO) {
                self.show_erased(kind, c, &erased);
            }
            if kind == Kind::Character {
                return;
            }
        }
    }

    fn show_erased(&mut self, kind: Kind, c: u8, erased: &[u8]) {
        let t = self.termios;
        if t.l(ECHOPRT) {
            if !self.erasing {
                self.echo_char_raw(b'\\');
                self.erasing = true;
            }
            self.echo_char(c);
            for more in erased.iter().skip(1) {
                self.echo_char_raw(*more);
                self.echo_op(Echo::MoveBackColumn);
            }
        } else if kind == Kind::Character && !t.l(ECHOE) {
            self.echo_char(t.cc(VERASE));
        } else if c == b'\t' {
            self.erase_tab();
        } else {
            let rub_out = if !iscntrl(c) {
                1
            } else if t.l(ECHOCTL) {
                2
            } else {
                0
            };
            for _ in 0..rub_out {
                for c in *b"\x08 \x08" {
                    self.echo_char_raw(c);
                }
            }
        }
    }

    /// Goes back over a tab: as far as the columns since the start of the line, or the tab before it, tell.
    fn erase_tab(&mut self) {
        let mut columns = 0u32;
        let mut after_tab = false;
        for at in (self.canon..self.queue.len()).rev() {
            let c = self.byte(at);
            if c == b'\t' {
                after_tab = true;
                break;
            }
            if iscntrl(c) {
                columns += if self.termios.l(ECHOCTL) { 2 } else { 0 };
            } else if !self.is_continuation(c) {
                columns += 1;
            }
        }
        self.echo_op(Echo::EraseTab { columns: columns & 7, after_tab });
    }
}
