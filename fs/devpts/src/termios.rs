//! Modes of a terminal. Linux: drivers/tty/tty_ioctl.c, tty_baudrate.c; include/linux/tty.h.

use sentry_uapi::termios::{
    B38400, BOTHER, CBAUD, CBAUDEX, CREAD, CS8, CSIZE, ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, IBSHIFT, ICANON,
    ICRNL, IEXTEN, ISIG, IXON, NCCS, ONLCR, OPOST, PARENB, Termio, Termios, Termios2,
};

/// Control characters of a new terminal: ^C ^\ DEL ^U ^D 0 1 0 ^Q ^S ^Z 0 ^R ^O ^W ^V 0. Linux: `INIT_C_CC`.
const INIT_C_CC: [u8; NCCS] =
    [3, 0x1c, 0x7f, 0x15, 4, 0, 1, 0, 0x11, 0x13, 0x1a, 0, 0x12, 0x0f, 0x17, 0x16, 0, 0, 0];

/// Speeds by their code. Linux: `baud_table`.
const BAUD_TABLE: [u32; 31] = [
    0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115_200,
    230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000,
    3_000_000, 3_500_000, 4_000_000,
];

/// Modes of the slave of a new pty. Linux: `tty_std_termios` and `unix98_pty_init`.
pub(crate) const PTY_TERMIOS: Termios2 = Termios2 {
    c_iflag: ICRNL | IXON,
    c_oflag: OPOST | ONLCR,
    c_cflag: B38400 | CS8 | CREAD,
    c_lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
    c_line: 0,
    c_cc: INIT_C_CC,
    c_ispeed: 38400,
    c_ospeed: 38400,
};

/// Questions about modes. Linux: the macros `I_`, `O_`, `L_` and `_CHAR`.
pub(crate) trait Modes {
    fn i(&self, flag: u32) -> bool;
    fn o(&self, flag: u32) -> bool;
    fn l(&self, flag: u32) -> bool;
    fn cc(&self, index: usize) -> u8;
}

impl Modes for Termios2 {
    fn i(&self, flag: u32) -> bool {
        self.c_iflag & flag != 0
    }

    fn o(&self, flag: u32) -> bool {
        self.c_oflag & flag != 0
    }

    fn l(&self, flag: u32) -> bool {
        self.c_lflag & flag != 0
    }

    fn cc(&self, index: usize) -> u8 {
        self.c_cc.get(index).copied().unwrap_or(0)
    }
}

/// Modes as a program gives them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UserTermios {
    New(Termios2),
    Old(Termios),
    Ancient(Termio),
}

impl UserTermios {
    /// What they make of the present modes. Linux: `set_termios`, before it waits.
    pub(crate) fn over(&self, old: &Termios2) -> Termios2 {
        let mut new = match self {
            UserTermios::New(t) => *t,
            UserTermios::Old(t) => Termios2 {
                c_iflag: t.c_iflag,
                c_oflag: t.c_oflag,
                c_cflag: t.c_cflag,
                c_lflag: t.c_lflag,
                c_line: t.c_line,
                c_cc: t.c_cc,
                ..*old
            },
            UserTermios::Ancient(t) => {
                let low = |old: u32, new: u16| (old & 0xffff_0000) | u32::from(new);
                let mut c_cc = old.c_cc;
                for (to, from) in c_cc.iter_mut().zip(t.c_cc) {
                    *to = from;
                }
                Termios2 {
                    c_iflag: low(old.c_iflag, t.c_iflag),
                    c_oflag: low(old.c_oflag, t.c_oflag),
                    c_cflag: low(old.c_cflag, t.c_cflag),
                    c_lflag: low(old.c_lflag, t.c_lflag),
                    c_line: t.c_line,
                    c_cc,
                    ..*old
                }
            }
        };
        new.c_ispeed = input_baud_rate(&new);
        new.c_ospeed = baud_rate(&new);
        new
    }
}

/// As TCGETS shows them.
pub(crate) fn to_termios(t: &Termios2) -> Termios {
    Termios {
        c_iflag: t.c_iflag,
        c_oflag: t.c_oflag,
        c_cflag: t.c_cflag,
        c_lflag: t.c_lflag,
        c_line: t.c_line,
        c_cc: t.c_cc,
    }
}

/// As TCGETA shows them. Linux: `kernel_termios_to_user_termio`.
pub(crate) fn to_termio(t: &Termios2) -> Termio {
    let low = |flags: u32| u16::try_from(flags & 0xffff).unwrap_or(0);
    let mut out = Termio {
        c_iflag: low(t.c_iflag),
        c_oflag: low(t.c_oflag),
        c_cflag: low(t.c_cflag),
        c_lflag: low(t.c_lflag),
        c_line: t.c_line,
        ..Termio::default()
    };
    for (to, from) in out.c_cc.iter_mut().zip(t.c_cc) {
        *to = from;
    }
    out
}

/// A pty has eight bits and no parity whatever is asked for. Linux: `pty_set_termios`.
pub(crate) fn pty_cflag(cflag: u32) -> u32 {
    (cflag & !(CSIZE | PARENB)) | CS8 | CREAD
}

/// Keeps what is locked as it was. Linux: `unset_locked_termios`.
pub(crate) fn unset_locked(new: &mut Termios2, old: &Termios2, locked: &Termios2) {
    let keep = |new: u32, old: u32, locked: u32| (new & !locked) | (old & locked);
    new.c_iflag = keep(new.c_iflag, old.c_iflag, locked.c_iflag);
    new.c_oflag = keep(new.c_oflag, old.c_oflag, locked.c_oflag);
    new.c_cflag = keep(new.c_cflag, old.c_cflag, locked.c_cflag);
    new.c_lflag = keep(new.c_lflag, old.c_lflag, locked.c_lflag);
    if locked.c_line != 0 {
        new.c_line = old.c_line;
    }
    for ((to, from), locked) in new.c_cc.iter_mut().zip(old.c_cc).zip(locked.c_cc) {
        if locked != 0 {
            *to = from;
        }
    }
}

fn from_table(cbaud: u32) -> u32 {
    let code = if cbaud & CBAUDEX != 0 { (cbaud & !CBAUDEX) + 15 } else { cbaud };
    usize::try_from(code).ok().and_then(|c| BAUD_TABLE.get(c)).copied().unwrap_or(0)
}

/// Linux: `tty_termios_baud_rate`.
fn baud_rate(t: &Termios2) -> u32 {
    match t.c_cflag & CBAUD {
        BOTHER => t.c_ospeed,
        cbaud => from_table(cbaud),
    }
}

/// Linux: `tty_termios_input_baud_rate`.
fn input_baud_rate(t: &Termios2) -> u32 {
    match (t.c_cflag >> IBSHIFT) & CBAUD {
        0 => baud_rate(t),
        BOTHER => t.c_ispeed,
        cbaud => from_table(cbaud),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_follow_their_code_unless_they_are_free() {
        let with = |c_cflag, c_ospeed| {
            UserTermios::New(Termios2 { c_cflag, c_ospeed, ..PTY_TERMIOS }).over(&PTY_TERMIOS).c_ospeed
        };
        assert_eq!(with(B38400, 7), 38400);
        assert_eq!(with(CBAUDEX | 2, 7), 115_200);
        assert_eq!(with(BOTHER, 12345), 12345);
    }

    #[test]
    fn a_termio_leaves_the_upper_halves_alone() {
        let old = Termios2 { c_lflag: 0x1_0000 | ISIG, ..PTY_TERMIOS };
        let mut ancient = to_termio(&old);
        ancient.c_lflag = 0;
        let new = UserTermios::Ancient(ancient).over(&old);
        assert_eq!((new.c_lflag, new.c_cc), (0x1_0000, old.c_cc));
    }
}
