//! Lines: editing, echo, signals, flow control.

use super::Fixture;
use crate::wire::N_TTY_BUF_SIZE;
use sentry_uapi::Errno;
use sentry_uapi::errno::EAGAIN;
use sentry_uapi::poll::{POLLIN, POLLRDNORM};
use sentry_uapi::signal::{SIGINT, SIGQUIT, SIGTSTP};
use sentry_uapi::termios::*;

#[test]
fn a_line_is_read_when_it_ends() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    assert_eq!(tty.types(b"hello")?, "hello");
    assert_eq!((tty.reads(10), tty.slave.poll_now() & POLLIN), (Err(EAGAIN), 0));
    assert_eq!(tty.types(b"\rnext\n")?, "\r\nnext\r\n");
    assert_eq!(tty.slave.poll_now() & (POLLIN | POLLRDNORM), POLLIN | POLLRDNORM);
    assert_eq!(tty.pty.update(|pair, _| pair.ntty.inq()), 11);
    assert_eq!(
        (tty.reads(3)?, tty.reads(100)?, tty.reads(100)?),
        ("hel".into(), "lo\n".into(), "next\n".into())
    );
    Ok(())
}

#[test]
fn end_of_file_is_read_once() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    assert_eq!(tty.types(b"ab\x04\x04")?, "ab");
    assert_eq!(tty.pty.update(|pair, _| pair.ntty.inq()), 2);
    assert_eq!((tty.reads(10)?, tty.reads(10)?, tty.reads(10)), ("ab".into(), "".into(), Err(EAGAIN)));
    // Right behind the last byte asked for, it is part of the same read.
    tty.types(b"ab\x04")?;
    assert_eq!((tty.reads(2)?, tty.reads(10)), ("ab".into(), Err(EAGAIN)));
    Ok(())
}

#[test]
fn characters_words_and_lines_are_rubbed_out() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    assert_eq!(tty.types(b"abc\x7fd\n")?, "abc\x08 \x08d\r\n");
    assert_eq!(tty.reads(10)?, "abd\n");
    assert_eq!(
        tty.types(b"one two  \x17x\n")?,
        "one two  \x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08x\r\n"
    );
    assert_eq!(tty.reads(10)?, "one x\n");
    assert_eq!(tty.types(b"xy\x15z\n")?, "xy\x08 \x08\x08 \x08z\r\n");
    assert_eq!(tty.reads(10)?, "z\n");
    // Nothing left to erase.
    assert_eq!(tty.types(b"\x7f\x15\x17")?, "");
    tty.change(|t| t.c_lflag &= !ECHOKE);
    assert_eq!(tty.types(b"xy\x15z\n")?, "xy^U\r\nz\r\n");
    tty.change(|t| t.c_lflag |= ECHOPRT);
    assert_eq!(tty.types(b"ab\x7f\x7fc\n")?, "ab\\ba/c\r\n");
    Ok(())
}

#[test]
fn tabs_control_characters_and_utf8_are_rubbed_out_in_full() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    tty.prints(b"> ")?;
    // From column 8 back to the end of "> ab", which is 4.
    assert_eq!(tty.types(b"ab\t\x7f")?, "ab\t\x08\x08\x08\x08");
    assert_eq!(tty.types(b"\x01\x7f")?, "^A\x08 \x08\x08 \x08");
    tty.change(|t| t.c_iflag |= IUTF8);
    assert_eq!(tty.types("\u{e4}\x7f\n".as_bytes())?, "\u{e4}\x08 \x08\r\n");
    assert_eq!(tty.reads(10)?, "ab\n");
    Ok(())
}

#[test]
fn the_next_character_can_be_taken_as_it_is() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    assert_eq!(tty.types(b"a\x16\x03\x16\x7f\n")?, "a^\x08^C^\x08^?\r\n");
    assert_eq!(tty.reads(10)?, "a\x03\x7f\n");
    assert_eq!(tty.types(b"ab\x12")?, "ab^R\r\nab");
    Ok(())
}

#[test]
fn echo_can_be_off_but_for_new_lines() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    tty.change(|t| t.c_lflag &= !ECHO);
    assert_eq!(tty.types(b"secret\n")?, "");
    tty.change(|t| t.c_lflag |= ECHONL);
    assert_eq!(tty.types(b"secret\n")?, "\r\n");
    tty.change(|t| t.c_lflag = (t.c_lflag | ECHO) & !ECHOCTL);
    assert_eq!(tty.types(b"\x01")?, "\x01");
    Ok(())
}

#[test]
fn control_characters_send_signals_and_drop_what_was_typed() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    let pgrp = tty.foreground()?;
    assert_eq!(tty.types(b"abc")?, "abc");
    assert_eq!(tty.types(b"\x03")?, "^C");
    assert_eq!(tty.types(b"\x1c\x1a")?, "^Z");
    assert_eq!(fs.signals(), [(pgrp, SIGINT), (pgrp, SIGQUIT), (pgrp, SIGTSTP)]);
    tty.types(b"d\n")?;
    assert_eq!(tty.reads(10)?, "d\n");
    tty.change(|t| t.c_lflag |= NOFLSH);
    tty.types(b"e\x03f\n")?;
    assert_eq!((tty.reads(10)?, fs.signals()), ("ef\n".into(), vec![(pgrp, SIGINT)]));
    tty.change(|t| t.c_lflag &= !ISIG);
    tty.types(b"\x03\n")?;
    assert_eq!((tty.reads(10)?, fs.signals()), ("\x03\n".into(), vec![]));
    Ok(())
}

#[test]
fn output_stops_and_starts() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    assert_eq!(tty.types(b"\x13")?, "");
    assert_eq!(fs.write(&tty.slave, b"held"), Err(EAGAIN));
    assert_eq!(tty.types(b"x")?, "");
    assert_eq!(tty.types(b"\x11")?, "x");
    assert_eq!(tty.prints(b"goes")?, "goes");
    tty.types(b"\x13")?;
    tty.change(|t| t.c_iflag |= IXANY);
    assert_eq!(tty.types(b"y")?, "y");
    tty.types(b"\x13")?;
    tty.change(|t| t.c_iflag &= !IXON);
    assert_eq!(tty.prints(b"goes")?, "goes");
    Ok(())
}

#[test]
fn a_line_that_is_too_long_can_still_be_ended() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    tty.change(|t| t.c_lflag &= !ECHO);
    for _ in 0..5 {
        tty.types(&[b'a'; 1000])?;
    }
    tty.types(b"b\nlater\n")?;
    let line = tty.reads(2 * N_TTY_BUF_SIZE)?;
    assert_eq!((line.len(), line.ends_with("a\n")), (N_TTY_BUF_SIZE, true));
    assert_eq!(tty.reads(100)?, "later\n");
    Ok(())
}

#[test]
fn input_is_mapped() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    let read = |flags: u32, typed: &[u8]| {
        tty.change(|t| t.c_iflag = flags);
        tty.types(typed)?;
        tty.reads(100)
    };
    assert_eq!(read(INLCR | ICRNL, b"a\nb\r")?, "a\rb\n");
    assert_eq!(read(IGNCR, b"a\rb\n")?, "ab\n");
    assert_eq!(read(ISTRIP, b"\xe1\n")?, "a\n");
    assert_eq!(read(IUCLC, b"AbC\n")?, "abc\n");
    tty.change(|t| t.c_iflag = PARMRK);
    tty.types(b"\xff\n")?;
    assert_eq!(fs.read(&tty.slave, 10)?, b"\xff\xff\n");
    tty.change(|t| t.c_cc[VEOL] = b';');
    tty.types(b"a;b")?;
    assert_eq!(tty.reads(100)?, "a;");
    Ok(())
}

#[test]
fn a_change_of_mode_keeps_what_was_typed() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    tty.types(b"abc")?;
    tty.change(|t| t.c_lflag &= !ICANON);
    assert_eq!(tty.reads(1)?, "a");
    tty.change(|t| t.c_lflag |= ICANON);
    assert_eq!((tty.reads(10)?, tty.reads(10)), ("bc".into(), Err(EAGAIN)));
    Ok(())
}

#[test]
fn output_is_processed() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    let shown = |flags: u32, written: &[u8]| {
        tty.change(|t| t.c_oflag = OPOST);
        tty.prints(b"\r")?;
        tty.change(|t| t.c_oflag = flags);
        tty.prints(written)
    };
    assert_eq!(shown(OPOST, b"a\nb")?, "a\nb");
    assert_eq!(shown(ONLCR, b"a\nb")?, "a\nb");
    assert_eq!(shown(OPOST | ONLCR, b"a\nb")?, "a\r\nb");
    assert_eq!(shown(OPOST | OCRNL, b"a\rb")?, "a\nb");
    assert_eq!(shown(OPOST | ONOCR, b"\ra\r\rb")?, "a\rb");
    assert_eq!(shown(OPOST | OLCUC, b"aB")?, "AB");
    assert_eq!(shown(OPOST | ONLCR, b"\n")?, "\r\n");
    assert_eq!(shown(OPOST | XTABS, b"ab\tc\x08\td")?, "ab      c\x08        d");
    Ok(())
}

#[test]
fn echo_that_finds_no_room_is_bounded() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    tty.pty.update(|pair, fx| pair.stop_by_hand(crate::pty::Side::Slave, true, fx));
    let mut line = vec![b'x'; 1000];
    // Each ^R shows the whole line again.
    line.extend([0x12; 200]);
    assert_eq!(tty.types(&line)?, "");
    tty.pty.update(|pair, fx| pair.stop_by_hand(crate::pty::Side::Slave, false, fx));
    let shown = tty.types(b"y")?;
    assert!(shown.len() < N_TTY_BUF_SIZE && shown.ends_with("xxxy"), "{} bytes", shown.len());
    Ok(())
}
