//! The line discipline of the slave. Linux: drivers/tty/n_tty.c.
//!
//! Differs: it runs under the lock of its pty and is done with a byte when it returns, so that nothing is published to
//! another thread piece by piece. The master's line discipline never edits, echoes or signals; its queue is
//! [`crate::wire::Output`].

mod echo;
mod erase;
mod input;
mod output;
mod read;

use crate::termios::{Modes, PTY_TERMIOS, pty_cflag, unset_locked};
use crate::wire::{Effects, Output, Wakes};
use echo::EchoBuffer;
pub(crate) use read::ReadWait;
use sentry_uapi::termios::{
    ADDRB, ECHO, EXTPROC, ICANON, ICRNL, IEXTEN, IGNCR, INLCR, ISIG, ISTRIP, IUCLC, IXON, PARMRK, TOSTOP,
    Termios2, VEOF, VEOL, VEOL2, VERASE, VINTR, VKILL, VLNEXT, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP,
    VWERASE,
};
use sentry_uapi::tty_ioctl::{TIOCPKT_DOSTOP, TIOCPKT_FLUSHREAD, TIOCPKT_IOCTL, TIOCPKT_NOSTOP};
use std::collections::VecDeque;

/// A byte of input.
#[derive(Clone, Copy, Debug)]
struct Cell {
    byte: u8,
    /// A line ends here. Linux: `read_flags`.
    eol: bool,
}

/// State of the line discipline. Linux: `struct n_tty_data`, and the modes of the terminal.
pub(crate) struct NTty {
    termios: Termios2,
    pub(crate) locked: Termios2,
    /// Characters that need a second look. Linux: `char_map`.
    special: [bool; 256],
    raw: bool,
    lnext: bool,
    erasing: bool,
    queue: VecDeque<Cell>,
    /// How many of the queue are of lines that are complete. Linux: `canon_head`.
    canon: usize,
    echo: EchoBuffer,
    column: u32,
    /// Where the line being typed begins.
    canon_column: u32,
}

impl NTty {
    pub(crate) fn new() -> NTty {
        let mut new = NTty {
            termios: PTY_TERMIOS,
            locked: Termios2::default(),
            special: [false; 256],
            raw: false,
            lnext: false,
            erasing: false,
            queue: VecDeque::new(),
            canon: 0,
            echo: EchoBuffer::default(),
            column: 0,
            canon_column: 0,
        };
        new.find_special();
        new
    }

    pub(crate) fn termios(&self) -> &Termios2 {
        &self.termios
    }

    /// Whether output of the background sends SIGTTOU.
    pub(crate) fn stops_background(&self) -> bool {
        self.termios.l(TOSTOP)
    }

    /// Whether reads give whole lines.
    fn is_canonical(&self) -> bool {
        self.termios.l(ICANON) && !self.termios.l(EXTPROC)
    }

    /// Linux: `reset_buffer_flags`.
    fn reset(&mut self) {
        self.queue.clear();
        self.canon = 0;
        self.erasing = false;
    }

    /// Drops all input. Linux: `n_tty_flush_buffer`.
    pub(crate) fn flush_input(&mut self, out: &mut Output, fx: &mut Effects) {
        self.reset();
        out.tell(TIOCPKT_FLUSHREAD, fx);
    }

    /// After a hang-up nothing is left of what was typed.
    pub(crate) fn hang_up(&mut self, out: &mut Output, fx: &mut Effects) {
        self.flush_input(out, fx);
        self.echo.clear();
        self.lnext = false;
    }

    /// Sets modes. Linux: `tty_set_termios`, `pty_set_termios`, `n_tty_set_termios`.
    pub(crate) fn set_termios(&mut self, new: &Termios2, out: &mut Output, fx: &mut Effects) {
        let old = self.termios;
        self.termios = *new;
        unset_locked(&mut self.termios, &old, &self.locked);
        self.termios.c_cflag = (self.termios.c_cflag & !ADDRB) | (old.c_cflag & ADDRB);
        tell_packet_reader(&old, &self.termios, out, fx);
        self.termios.c_cflag = pty_cflag(self.termios.c_cflag);
        if (old.c_lflag ^ self.termios.c_lflag) & (ICANON | EXTPROC) != 0 {
            for cell in &mut self.queue {
                cell.eol = false;
            }
            self.canon = 0;
            if self.termios.l(ICANON)
                && let Some(last) = self.queue.back_mut()
            {
                // What was there before counts as a line.
                last.eol = true;
                self.canon = self.queue.len();
            }
            self.erasing = false;
            self.lnext = false;
        }
        self.find_special();
        if !self.termios.i(IXON) && old.i(IXON) {
            out.start(fx);
            self.process_echoes(out, fx);
        }
        fx.wakes |= Wakes::SLAVE_IN | Wakes::SLAVE_OUT;
    }

    fn find_special(&mut self) {
        let t = &self.termios;
        self.raw =
            !(t.i(ISTRIP | IUCLC | IGNCR | ICRNL | INLCR | IXON | PARMRK) || t.l(ICANON | ISIG | ECHO));
        let mut special = [false; 256];
        let mut set = |chars: &[u8]| {
            for c in chars {
                if let Some(slot) = special.get_mut(usize::from(*c)) {
                    *slot = true;
                }
            }
        };
        if t.i(IGNCR | ICRNL) {
            set(b"\r");
        }
        if t.i(INLCR) {
            set(b"\n");
        }
        if t.l(ICANON) {
            set(&[b'\n', t.cc(VERASE), t.cc(VKILL), t.cc(VEOF), t.cc(VEOL)]);
            if t.l(IEXTEN) {
                set(&[t.cc(VWERASE), t.cc(VLNEXT), t.cc(VEOL2)]);
                if t.l(ECHO) {
                    set(&[t.cc(VREPRINT)]);
                }
            }
        }
        if t.i(IXON) {
            set(&[t.cc(VSTART), t.cc(VSTOP)]);
        }
        if t.l(ISIG) {
            set(&[t.cc(VINTR), t.cc(VQUIT), t.cc(VSUSP)]);
        }
        // A control character that is switched off.
        special[0] = false;
        self.special = special;
    }

    fn is_special(&self, c: u8) -> bool {
        self.special.get(usize::from(c)).is_some_and(|s| *s)
    }
}

/// Linux: `pty_set_termios`.
fn tell_packet_reader(old: &Termios2, new: &Termios2, out: &mut Output, fx: &mut Effects) {
    let flow = |t: &Termios2| t.i(IXON) && t.cc(VSTOP) == 0x13 && t.cc(VSTART) == 0x11;
    let extproc = old.l(EXTPROC) || new.l(EXTPROC);
    if flow(old) != flow(new) {
        out.pktstatus &= !u8::try_from(TIOCPKT_DOSTOP | TIOCPKT_NOSTOP).unwrap_or(0);
        out.tell(if flow(new) { TIOCPKT_DOSTOP } else { TIOCPKT_NOSTOP }, fx);
    }
    if extproc {
        out.tell(TIOCPKT_IOCTL, fx);
    }
}
