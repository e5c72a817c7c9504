//! What is typed. Linux: n_tty.c, `n_tty_receive_buf_common` and below.

use super::echo::Echo;
use super::{Cell, NTty};
use crate::ctype::tolower;
use crate::termios::Modes;
use crate::wire::{Effects, N_TTY_BUF_SIZE, Output, Wakes};
use sentry_uapi::signal::{SIGINT, SIGQUIT, SIGTSTP};
use sentry_uapi::termios::{
    ECHO, ECHOCTL, ECHONL, EXTPROC, ICANON, ICRNL, IEXTEN, IGNCR, INLCR, ISIG, ISTRIP, IUCLC, IXANY, IXON,
    NOFLSH, PARMRK, POSIX_VDISABLE, VEOF, VEOL, VEOL2, VERASE, VINTR, VKILL, VLNEXT, VQUIT, VREPRINT, VSTART,
    VSTOP, VSUSP, VWERASE,
};
use sentry_uapi::tty_ioctl::TIOCPKT_FLUSHREAD;

impl NTty {
    /// Takes input until the queue is full; returns how much it took. A line that does not fit goes on with its last
    /// place, so that it can still be edited and ended. Linux: `n_tty_receive_buf_common`.
    pub(crate) fn receive_buf(&mut self, mut bytes: &[u8], out: &mut Output, fx: &mut Effects) -> usize {
        let offered = bytes.len();
        while !bytes.is_empty() {
            let free = N_TTY_BUF_SIZE.saturating_sub(self.queue.len());
            // A byte may take three places when errors are marked.
            let free = if self.termios.i(PARMRK) { free.div_ceil(3) } else { free };
            let mut room = free.saturating_sub(1);
            if room == 0 {
                if !(self.termios.l(ICANON) && self.canon == 0) {
                    break;
                }
                if free == 0 {
                    self.queue.pop_back();
                }
                room = 1;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.receive(now, out, fx);
            bytes = later;
        }
        offered - bytes.len()
    }

    /// Linux: `__receive_buf`.
    fn receive(&mut self, bytes: &[u8], out: &mut Output, fx: &mut Effects) {
        let t = &self.termios;
        let changed = t.i(ISTRIP) || (t.i(IUCLC) && t.l(IEXTEN));
        if self.raw || (t.l(EXTPROC) && !changed) {
            self.queue.extend(bytes.iter().map(|byte| Cell { byte: *byte, eol: false }));
        } else {
            for c in bytes {
                self.receive_byte(*c, out, fx);
            }
            self.flush_echoes(out, fx);
        }
        if !self.is_canonical() && !self.queue.is_empty() {
            fx.wakes |= Wakes::SLAVE_IN;
        }
    }

    fn receive_byte(&mut self, c: u8, out: &mut Output, fx: &mut Effects) {
        let t = &self.termios;
        let mut c = if t.i(ISTRIP) { c & 0x7f } else { c };
        if t.i(IUCLC) && t.l(IEXTEN) {
            c = tolower(c);
        }
        if std::mem::take(&mut self.lnext) {
            self.receive_char(c, out, fx);
        } else if self.termios.l(EXTPROC) {
            self.put(c, false);
        } else if self.is_special(c) {
            self.receive_special(c, out, fx);
        } else {
            self.receive_char(c, out, fx);
        }
    }

    fn put(&mut self, byte: u8, eol: bool) {
        self.queue.push_back(Cell { byte, eol });
    }

    /// A byte of data; 0xff is doubled where it would look like a mark.
    fn put_data(&mut self, c: u8) {
        if c == 0xff && self.termios.i(PARMRK) {
            self.put(c, false);
        }
        self.put(c, false);
    }

    fn note_start_of_line(&mut self) {
        if self.canon == self.queue.len() {
            self.echo_op(Echo::SetCanonColumn);
        }
    }

    /// Linux: `n_tty_receive_char`.
    fn receive_char(&mut self, c: u8, out: &mut Output, fx: &mut Effects) {
        self.restart_by_any(out, fx);
        if self.termios.l(ECHO) {
            self.finish_erasing();
            self.note_start_of_line();
            self.echo_char(c);
            self.commit_echoes(out, fx);
        }
        self.put_data(c);
    }

    fn restart_by_any(&mut self, out: &mut Output, fx: &mut Effects) {
        if out.flow.stopped && !out.flow.by_hand && self.termios.i(IXON) && self.termios.i(IXANY) {
            out.start(fx);
            self.process_echoes(out, fx);
        }
    }

    /// Linux: `n_tty_receive_char_special`.
    fn receive_special(&mut self, mut c: u8, out: &mut Output, fx: &mut Effects) {
        let t = self.termios;
        if t.i(IXON) {
            if c == t.cc(VSTART) {
                out.start(fx);
                self.process_echoes(out, fx);
                return;
            }
            if c == t.cc(VSTOP) {
                out.stop(fx);
                return;
            }
        }
        if t.l(ISIG) {
            let signals = [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)];
            if let Some((_, signo)) = signals.into_iter().find(|(v, _)| c == t.cc(*v)) {
                self.receive_signal(signo, c, out, fx);
                return;
            }
        }
        self.restart_by_any(out, fx);
        match c {
            b'\r' if t.i(IGNCR) => return,
            b'\r' if t.i(ICRNL) => c = b'\n',
            b'\n' if t.i(INLCR) => c = b'\r',
            _ => {}
        }
        if t.l(ICANON) && self.edit_line(c, out, fx) {
            return;
        }
        if t.l(ECHO) {
            self.finish_erasing();
            if c == b'\n' {
                self.echo_char_raw(c);
            } else {
                self.note_start_of_line();
                self.echo_char(c);
            }
            self.commit_echoes(out, fx);
        }
        self.put_data(c);
    }

    /// Does what a control character of line editing means; false if it is none.
    fn edit_line(&mut self, c: u8, out: &mut Output, fx: &mut Effects) -> bool {
        let t = self.termios;
        let extended = |v| t.l(IEXTEN) && c == t.cc(v);
        if c == t.cc(VERASE) || c == t.cc(VKILL) || extended(VWERASE) {
            self.erase(c);
            self.commit_echoes(out, fx);
        } else if extended(VLNEXT) {
            self.lnext = true;
            if t.l(ECHO) {
                self.finish_erasing();
                if t.l(ECHOCTL) {
                    self.echo_char_raw(b'^');
                    self.echo_char_raw(b'\x08');
                    self.commit_echoes(out, fx);
                }
            }
        } else if t.l(ECHO) && extended(VREPRINT) {
            self.finish_erasing();
            self.echo_char(c);
            self.echo_char_raw(b'\n');
            for at in self.canon..self.queue.len() {
                if let Some(cell) = self.queue.get(at).copied() {
                    self.echo_char(cell.byte);
                }
            }
            self.commit_echoes(out, fx);
        } else if c == b'\n' {
            if t.l(ECHO | ECHONL) {
                self.echo_char_raw(c);
                self.commit_echoes(out, fx);
            }
            self.end_line(c, fx);
        } else if c == t.cc(VEOF) {
            self.end_line(POSIX_VDISABLE, fx);
        } else if c == t.cc(VEOL) || extended(VEOL2) {
            if t.l(ECHO) {
                self.note_start_of_line();
                self.echo_char(c);
                self.commit_echoes(out, fx);
            }
            if c == 0xff && t.i(PARMRK) {
                self.put(c, false);
            }
            self.end_line(c, fx);
        } else {
            return false;
        }
        true
    }

    fn end_line(&mut self, c: u8, fx: &mut Effects) {
        self.put(c, true);
        self.canon = self.queue.len();
        fx.wakes |= Wakes::SLAVE_IN;
    }

    /// Linux: `n_tty_receive_signal_char`, `isig`.
    fn receive_signal(&mut self, signo: i32, c: u8, out: &mut Output, fx: &mut Effects) {
        fx.signal(signo);
        if !self.termios.l(NOFLSH) {
            self.clear_echo();
            out.flush(fx);
            self.reset();
            out.tell(TIOCPKT_FLUSHREAD, fx);
        }
        if self.termios.i(IXON) {
            out.start(fx);
        }
        if self.termios.l(ECHO) {
            self.echo_char(c);
            self.commit_echoes(out, fx);
        } else {
            self.process_echoes(out, fx);
        }
    }
}
