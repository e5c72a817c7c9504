//! Linux: include/uapi/asm-generic/termbits.h, termbits-common.h and termios.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Number of control characters of [`Termios`].
pub const NCCS: usize = 19;
/// Number of control characters of [`Termio`].
pub const NCC: usize = 8;

/// A control character with this value is switched off. Linux: `__DISABLED_CHAR`.
pub const POSIX_VDISABLE: u8 = 0;

/// `struct termios`, of TCGETS and its like.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termios {
    /// Input modes.
    pub c_iflag: u32,
    /// Output modes.
    pub c_oflag: u32,
    /// Control modes.
    pub c_cflag: u32,
    /// Local modes.
    pub c_lflag: u32,
    /// Line discipline.
    pub c_line: u8,
    /// Control characters, by `V*`.
    pub c_cc: [u8; NCCS],
}

/// `struct termios2`, of TCGETS2 and its like; also what the kernel itself keeps (`struct ktermios`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termios2 {
    /// Input modes.
    pub c_iflag: u32,
    /// Output modes.
    pub c_oflag: u32,
    /// Control modes.
    pub c_cflag: u32,
    /// Local modes.
    pub c_lflag: u32,
    /// Line discipline.
    pub c_line: u8,
    /// Control characters, by `V*`.
    pub c_cc: [u8; NCCS],
    /// Input speed in bits per second.
    pub c_ispeed: u32,
    /// Output speed in bits per second.
    pub c_ospeed: u32,
}

/// `struct termio`, of TCGETA and its like.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termio {
    /// Input modes.
    pub c_iflag: u16,
    /// Output modes.
    pub c_oflag: u16,
    /// Control modes.
    pub c_cflag: u16,
    /// Local modes.
    pub c_lflag: u16,
    /// Line discipline.
    pub c_line: u8,
    /// Control characters.
    pub c_cc: [u8; NCC],
    /// Padding.
    pub pad: u8,
}

/// `struct winsize`, of TIOCGWINSZ.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Winsize {
    /// Rows of characters.
    pub ws_row: u16,
    /// Columns of characters.
    pub ws_col: u16,
    /// Width in pixels.
    pub ws_xpixel: u16,
    /// Height in pixels.
    pub ws_ypixel: u16,
}

macro_rules! constants {
    ($t:ty: $($name:ident = $value:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: $t = $value;)*
    };
}

constants! { usize:
    VINTR = 0, "Sends SIGINT.";
    VQUIT = 1, "Sends SIGQUIT.";
    VERASE = 2, "Erases a character.";
    VKILL = 3, "Erases the line.";
    VEOF = 4, "Ends the file.";
    VTIME = 5, "Time-out of a read in tenths of a second, without ICANON.";
    VMIN = 6, "Bytes a read waits for, without ICANON.";
    VSWTC = 7, "Not used.";
    VSTART = 8, "Starts output.";
    VSTOP = 9, "Stops output.";
    VSUSP = 10, "Sends SIGTSTP.";
    VEOL = 11, "Ends a line.";
    VREPRINT = 12, "Shows the line again.";
    VDISCARD = 13, "Not used.";
    VWERASE = 14, "Erases a word.";
    VLNEXT = 15, "Takes the next character as it is.";
    VEOL2 = 16, "Ends a line too.";
}

constants! { u32:
    IGNBRK = 0o1, "Input: ignore a break.";
    BRKINT = 0o2, "Input: a break sends SIGINT.";
    IGNPAR = 0o4, "Input: ignore bytes with parity errors.";
    PARMRK = 0o10, "Input: mark parity errors; a real 0xff is doubled.";
    INPCK = 0o20, "Input: check parity.";
    ISTRIP = 0o40, "Input: strip the eighth bit.";
    INLCR = 0o100, "Input: NL becomes CR.";
    IGNCR = 0o200, "Input: CR is dropped.";
    ICRNL = 0o400, "Input: CR becomes NL.";
    IUCLC = 0o1000, "Input: upper case becomes lower case.";
    IXON = 0o2000, "Input: VSTART and VSTOP control output.";
    IXANY = 0o4000, "Input: any character starts output.";
    IXOFF = 0o10000, "Input: flow control of the sender.";
    IMAXBEL = 0o20000, "Input: ring the bell when the queue is full.";
    IUTF8 = 0o40000, "Input is UTF-8.";

    OPOST = 0o1, "Output: process it.";
    OLCUC = 0o2, "Output: lower case becomes upper case.";
    ONLCR = 0o4, "Output: NL becomes CR NL.";
    OCRNL = 0o10, "Output: CR becomes NL.";
    ONOCR = 0o20, "Output: no CR at column 0.";
    ONLRET = 0o40, "Output: NL returns the carriage.";
    TABDLY = 0o14000, "Output: mask of what becomes of tabs.";
    XTABS = 0o14000, "Output: tabs become spaces.";

    CBAUD = 0o10017, "Control: mask of the speed.";
    CBAUDEX = 0o10000, "Control: the speed is one of the extended ones.";
    BOTHER = 0o10000, "Control: the speed is in `c_ispeed` and `c_ospeed`.";
    B38400 = 0o17, "Control: 38400 bits per second.";
    CSIZE = 0o60, "Control: mask of the size of a character.";
    CS8 = 0o60, "Control: eight bits.";
    CREAD = 0o200, "Control: receive.";
    PARENB = 0o400, "Control: use parity.";
    HUPCL = 0o2000, "Control: hang up on the last close.";
    CLOCAL = 0o4000, "Control: ignore modem lines.";
    ADDRB = 0x2000_0000, "Control: address bit.";

    ISIG = 0o1, "Local: control characters send signals.";
    ICANON = 0o2, "Local: line by line.";
    ECHO = 0o10, "Local: echo.";
    ECHOE = 0o20, "Local: VERASE rubs out.";
    ECHOK = 0o40, "Local: VKILL shows a new line.";
    ECHONL = 0o100, "Local: echo NL without ECHO.";
    NOFLSH = 0o200, "Local: signals do not flush.";
    TOSTOP = 0o400, "Local: output of the background sends SIGTTOU.";
    ECHOCTL = 0o1000, "Local: control characters echo as ^X.";
    ECHOPRT = 0o2000, "Local: what is erased is shown, as on paper.";
    ECHOKE = 0o4000, "Local: VKILL rubs out.";
    IEXTEN = 0o100000, "Local: extended functions.";
    EXTPROC = 0o200000, "Local: lines are edited at the other end.";

    TCOOFF = 0, "TCXONC: suspend output.";
    TCOON = 1, "TCXONC: resume output.";
    TCIOFF = 2, "TCXONC: send VSTOP.";
    TCION = 3, "TCXONC: send VSTART.";

    TCIFLUSH = 0, "TCFLSH: discard input.";
    TCOFLUSH = 1, "TCFLSH: discard output.";
    TCIOFLUSH = 2, "TCFLSH: discard both.";
}

/// From a speed in `c_cflag` to that of input. Linux: `IBSHIFT`.
pub const IBSHIFT: u32 = 16;

const _: () = {
    use linux_raw_sys::general as raw;
    assert!(size_of::<Termios>() == size_of::<raw::termios>());
    assert!(size_of::<Termios2>() == size_of::<raw::termios2>());
    assert!(size_of::<Termio>() == size_of::<raw::termio>());
    assert!(size_of::<Winsize>() == size_of::<raw::winsize>());
    assert!(ICRNL == raw::ICRNL && ONLCR == raw::ONLCR && ECHOCTL == raw::ECHOCTL && IEXTEN == raw::IEXTEN);
    assert!(VLNEXT == raw::VLNEXT as usize && XTABS == raw::XTABS && BOTHER == raw::BOTHER);
};
