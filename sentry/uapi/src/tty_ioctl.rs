//! Linux: include/uapi/asm-generic/ioctls.h, the part about terminals.

macro_rules! commands {
    ($($name:ident = $value:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: u32 = $value;)*
    };
}

commands! {
    TCGETS = 0x5401, "Get a `struct termios`.";
    TCSETS = 0x5402, "Set a `struct termios`.";
    TCSETSW = 0x5403, "Set a `struct termios` when output is sent.";
    TCSETSF = 0x5404, "Set a `struct termios` when output is sent, and drop input.";
    TCGETA = 0x5405, "Get a `struct termio`.";
    TCSETA = 0x5406, "Set a `struct termio`.";
    TCSETAW = 0x5407, "Set a `struct termio` when output is sent.";
    TCSETAF = 0x5408, "Set a `struct termio` when output is sent, and drop input.";
    TCSBRK = 0x5409, "Wait for output to be sent; 0: then send a break.";
    TCXONC = 0x540a, "Flow control by hand: `TCO*`, `TCI*`.";
    TCFLSH = 0x540b, "Drop input or output.";
    TIOCEXCL = 0x540c, "No more opens.";
    TIOCNXCL = 0x540d, "Opens again.";
    TIOCSCTTY = 0x540e, "Make it the controlling terminal; 1: take it from another session.";
    TIOCGPGRP = 0x540f, "Get the foreground process group.";
    TIOCSPGRP = 0x5410, "Set the foreground process group.";
    TIOCOUTQ = 0x5411, "Bytes of output not sent yet.";
    TIOCSTI = 0x5412, "Type a character.";
    TIOCGWINSZ = 0x5413, "Get the window size.";
    TIOCSWINSZ = 0x5414, "Set the window size.";
    TIOCMGET = 0x5415, "Get modem lines.";
    TIOCMBIS = 0x5416, "Raise modem lines.";
    TIOCMBIC = 0x5417, "Lower modem lines.";
    TIOCMSET = 0x5418, "Set modem lines.";
    TIOCGSOFTCAR = 0x5419, "Whether modem lines are ignored.";
    TIOCSSOFTCAR = 0x541a, "Ignore modem lines or not.";
    TIOCINQ = 0x541b, "Bytes that can be read; FIONREAD.";
    TIOCCONS = 0x541d, "Redirect console output here.";
    TIOCPKT = 0x5420, "Packet mode on or off.";
    TIOCNOTTY = 0x5422, "Give up the controlling terminal.";
    TIOCSETD = 0x5423, "Set the line discipline.";
    TIOCGETD = 0x5424, "Get the line discipline.";
    TCSBRKP = 0x5425, "Send a break of so many tenths of a second.";
    TIOCSBRK = 0x5427, "Break on.";
    TIOCCBRK = 0x5428, "Break off.";
    TIOCGSID = 0x5429, "Get the session.";
    TCGETS2 = 0x802c_542a, "Get a `struct termios2`.";
    TCSETS2 = 0x402c_542b, "Set a `struct termios2`.";
    TCSETSW2 = 0x402c_542c, "Set a `struct termios2` when output is sent.";
    TCSETSF2 = 0x402c_542d, "Set a `struct termios2` when output is sent, and drop input.";
    TIOCGPTN = 0x8004_5430, "Number of the pty.";
    TIOCSPTLCK = 0x4004_5431, "Lock or unlock the slave.";
    TIOCGDEV = 0x8004_5432, "Device number of the terminal.";
    TIOCSIG = 0x4004_5436, "Send a signal to the slave's foreground.";
    TIOCVHANGUP = 0x5437, "Hang up.";
    TIOCGPKT = 0x8004_5438, "Whether packet mode is on.";
    TIOCGPTLCK = 0x8004_5439, "Whether the slave is locked.";
    TIOCGEXCL = 0x8004_5440, "Whether there may be no more opens.";
    TIOCGPTPEER = 0x5441, "Open the slave.";
    TIOCGLCKTRMIOS = 0x5456, "Which modes are locked.";
    TIOCSLCKTRMIOS = 0x5457, "Lock modes.";
    TIOCGICOUNT = 0x545d, "Interrupt counts of a serial line.";
}

commands! {
    TIOCPKT_DATA = 0, "Packet: data.";
    TIOCPKT_FLUSHREAD = 1, "Packet: input was dropped.";
    TIOCPKT_FLUSHWRITE = 2, "Packet: output was dropped.";
    TIOCPKT_STOP = 4, "Packet: output has stopped.";
    TIOCPKT_START = 8, "Packet: output goes on.";
    TIOCPKT_NOSTOP = 16, "Packet: VSTART and VSTOP are not ^Q and ^S.";
    TIOCPKT_DOSTOP = 32, "Packet: VSTART and VSTOP are ^Q and ^S.";
    TIOCPKT_IOCTL = 64, "Packet: modes have changed, with EXTPROC.";
}

/// The line discipline of terminals.
pub const N_TTY: i32 = 0;

const _: () = {
    use linux_raw_sys::ioctl as raw;
    assert!(TCGETS2 == raw::TCGETS2 && TCSETSF2 == raw::TCSETSF2 && TIOCGPTN == raw::TIOCGPTN);
    assert!(TIOCSPTLCK == raw::TIOCSPTLCK && TIOCGPTPEER == raw::TIOCGPTPEER && TIOCSIG == raw::TIOCSIG);
    assert!(TIOCGPKT == raw::TIOCGPKT && TIOCGEXCL == raw::TIOCGEXCL && TIOCVHANGUP == raw::TIOCVHANGUP);
};
