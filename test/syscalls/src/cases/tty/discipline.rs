//! The line discipline.

use crate::guest::Pty;
use crate::prelude::*;
use libc::*;

/// A terminal without echo.
#[track_caller]
fn quiet(t: &Guest) -> Pty {
    let pty = t.pty();
    t.set_termios(pty.slave, |termios| termios.c_lflag &= !ECHO);
    pty
}

#[track_caller]
fn raw(t: &Guest, pty: Pty, min: u8, time: u8) {
    t.set_termios(pty.slave, |termios| {
        termios.c_iflag = 0;
        termios.c_oflag = 0;
        termios.c_lflag = 0;
        termios.c_cc[VMIN] = min;
        termios.c_cc[VTIME] = time;
    });
}

#[case(as_root, as_user)]
fn the_default_settings_are_those_of_a_login(t: &mut Guest) {
    let termios = t.termios(t.pty().slave);
    expect_eq!(termios.c_iflag & (ICRNL | IXON), ICRNL | IXON);
    expect_eq!(termios.c_oflag & (OPOST | ONLCR), OPOST | ONLCR);
    expect_eq!(termios.c_lflag & (ICANON | ECHO | ISIG | IEXTEN), ICANON | ECHO | ISIG | IEXTEN);
    expect_eq!(termios.c_cflag & (CSIZE | CREAD), CS8 | CREAD);
    let control = [VINTR, VQUIT, VERASE, VKILL, VEOF, VSUSP].map(|index| termios.c_cc[index]);
    expect_eq!(control, [3, 28, 127, 21, 4, 26]);
}

#[case(as_root, as_user)]
fn carriage_return_becomes_newline(t: &mut Guest) {
    let pty = quiet(t);
    t.send(pty.master, "line\r");
    expect_eq!(t.recv(pty.slave, 64), b"line\n");
}

#[case(as_root, as_user)]
fn erase_kill_and_word_erase_edit_the_line(t: &mut Guest) {
    let pty = quiet(t);
    t.send(pty.master, "abx\x7fc\n");
    expect_eq!(t.recv(pty.slave, 64), b"abc\n");
    t.send(pty.master, "wrong\x15right\n");
    expect_eq!(t.recv(pty.slave, 64), b"right\n");
    t.send(pty.master, "one two\x17three\n");
    expect_eq!(t.recv(pty.slave, 64), b"one three\n");
    t.send(pty.master, "a\x16\x03b\n");
    expect_eq!(t.recv(pty.slave, 64), b"a\x03b\n");
}

#[case(as_root, as_user)]
fn end_of_file_ends_a_line_without_itself(t: &mut Guest) {
    let pty = quiet(t);
    t.send(pty.master, "part\x04");
    expect_eq!(t.recv(pty.slave, 64), b"part");
    t.send(pty.master, "\x04");
    expect_eq!(t.recv(pty.slave, 64), b"");
    t.send(pty.master, "next\n");
    expect_eq!(t.recv(pty.slave, 64), b"next\n");
}

#[case(as_root, as_user)]
fn an_unfinished_line_is_not_readable(t: &mut Guest) {
    let pty = quiet(t);
    t.send(pty.master, "unfinished");
    expect_eq!(t.poll(pty.slave, POLLIN, 0), 0);
    sys!(fcntl(pty.slave, F_SETFL, O_NONBLOCK)).ok();
    sys!(read(pty.slave, &mut [0_u8; 8], 8)).fails(EAGAIN);
    t.send(pty.master, "\n");
    expect_eq!(t.poll(pty.slave, POLLIN, -1), POLLIN);
    expect_eq!(t.recv(pty.slave, 4), b"unfi");
    expect_eq!(t.recv(pty.slave, 64), b"nished\n");
}

#[case(as_root, as_user)]
fn control_characters_are_echoed_with_a_caret(t: &mut Guest) {
    let pty = t.pty();
    t.set_termios(pty.slave, |termios| termios.c_lflag &= !ISIG);
    t.send(pty.master, "a\x03");
    expect_eq!(t.recv_all(pty.master, 3), b"a^C");
}

#[case(as_root, as_user)]
fn raw_mode_passes_every_byte_at_once(t: &mut Guest) {
    let pty = t.pty();
    raw(t, pty, 1, 0);
    t.send(pty.master, "\x03\x04\r\x7f");
    expect_eq!(t.recv_all(pty.slave, 4), b"\x03\x04\r\x7f");
    t.send(pty.slave, "a\nb");
    expect_eq!(t.recv_all(pty.master, 3), b"a\nb");
}

#[case(as_root, as_user)]
fn vmin_zero_does_not_wait(t: &mut Guest) {
    let pty = t.pty();
    raw(t, pty, 0, 0);
    expect_eq!(t.recv(pty.slave, 8), b"");
    t.send(pty.master, "x");
    expect_eq!(t.poll(pty.slave, POLLIN, -1), POLLIN);
    expect_eq!(t.recv(pty.slave, 8), b"x");
    raw(t, pty, 0, 1);
    expect_eq!(t.recv(pty.slave, 8), b"");
}

#[case(as_root, as_user)]
fn vmin_waits_for_so_many_bytes(t: &mut Guest) {
    let pty = t.pty();
    raw(t, pty, 3, 0);
    let child = t.fork(|| expect_eq!(t.recv(pty.slave, 8), b"abc"));
    t.until_asleep(child.pid);
    t.send(pty.master, "ab");
    t.until_asleep(child.pid);
    t.send(pty.master, "c");
    child.done();
}

#[case(as_root, as_user)]
fn flushing_drops_what_was_not_read(t: &mut Guest) {
    let pty = quiet(t);
    t.send(pty.master, "old\n");
    expect_eq!(t.poll(pty.slave, POLLIN, -1), POLLIN);
    sys!(ioctl(pty.slave, TCFLSH, TCIFLUSH)).ok();
    expect_eq!(t.poll(pty.slave, POLLIN, 0), 0);
    t.send(pty.master, "new\n");
    expect_eq!(t.recv(pty.slave, 64), b"new\n");
    sys!(ioctl(pty.slave, TCFLSH, 99)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn fionread_counts_finished_lines(t: &mut Guest) {
    let pty = quiet(t);
    let mut count = -1_i32;
    t.send(pty.master, "four\n");
    expect_eq!(t.poll(pty.slave, POLLIN, -1), POLLIN);
    sys!(ioctl(pty.slave, FIONREAD, &raw mut count)).ok();
    expect_eq!(count, 5);
}

#[case(as_root, as_user)]
fn the_old_settings_calls_agree_with_the_new(t: &mut Guest) {
    let pty = t.pty();
    let mut old = [0_u32; 16];
    sys!(ioctl(pty.slave, TCGETS, &mut old)).ok();
    let new = t.termios(pty.slave);
    expect_eq!(&old[..4], &[new.c_iflag, new.c_oflag, new.c_cflag, new.c_lflag]);
    old[3] &= !ECHO;
    sys!(ioctl(pty.slave, TCSETSF, &old)).ok();
    expect_eq!(t.termios(pty.slave).c_lflag & ECHO, 0);
    let pipe = t.pipe();
    sys!(ioctl(pipe.r, TCGETS, &mut old)).fails(ENOTTY);
    sys!(ioctl(pty.slave, TCGETS, 8)).fails(EFAULT);
}

/// Linux: `__start_tty` is called for TCOON only if TCOOFF came before.
#[case(as_root, as_user)]
fn tcoon_does_not_start_what_a_control_character_stopped(t: &mut Guest) {
    let pty = quiet(t);
    t.send(pty.master, "\x13");
    sys!(fcntl(pty.slave, F_SETFL, O_NONBLOCK)).ok();
    while t.poll(pty.slave, POLLOUT, 0) != 0 {}
    sys!(ioctl(pty.slave, TCXONC, TCOON)).ok();
    sys!(write(pty.slave, b"x", 1)).fails(EAGAIN);
    sys!(ioctl(pty.slave, TCXONC, TCOOFF)).ok();
    sys!(ioctl(pty.slave, TCXONC, TCOON)).ok();
    sys!(write(pty.slave, b"x", 1)).is(1);
}

#[case(as_root, as_user)]
fn a_control_character_does_not_start_what_tcooff_stopped(t: &mut Guest) {
    let pty = quiet(t);
    sys!(ioctl(pty.slave, TCXONC, TCOOFF)).ok();
    t.send(pty.master, "\x11line\n");
    expect_eq!(t.recv(pty.slave, 64), b"line\n");
    expect_eq!(t.poll(pty.slave, POLLOUT, 0), 0);
    sys!(ioctl(pty.slave, TCXONC, TCOON)).ok();
    expect_eq!(t.poll(pty.slave, POLLOUT, 0), POLLOUT);
}

/// Linux: `tty_send_xchar` starts and stops again, which does nothing when TCOOFF has stopped.
#[case(as_root, as_user)]
fn a_flow_character_passes_output_that_a_character_stopped(t: &mut Guest) {
    let pty = quiet(t);
    t.send(pty.master, "\x13");
    while t.poll(pty.slave, POLLOUT, 0) != 0 {}
    sys!(ioctl(pty.slave, TCXONC, TCIOFF)).ok();
    expect_eq!(t.recv_all(pty.master, 1), b"\x13");
    expect_eq!(t.poll(pty.slave, POLLOUT, 0), 0);

    sys!(ioctl(pty.slave, TCXONC, TCOOFF)).ok();
    t.send(pty.master, "\x11");
    sys!(ioctl(pty.slave, TCXONC, TCION)).ok();
    sys!(ioctl(pty.slave, TCXONC, TCOON)).ok();
    t.send(pty.slave, "x");
    expect_eq!(t.recv_all(pty.master, 1), b"x");
}

/// The queue of the other end holds 4095 bytes; what is on its way there is not counted.
#[case(as_root, as_user)]
fn fionread_counts_what_has_arrived(t: &mut Guest) {
    let pty = t.pty();
    raw(t, pty, 1, 0);
    t.send(pty.slave, "x".repeat(5000));
    expect_eq!(t.poll(pty.master, POLLIN, -1), POLLIN);
    let mut count = -1_i32;
    while count != 4095 {
        sys!(ioctl(pty.master, FIONREAD, &raw mut count)).ok();
        check!(count <= 4095);
    }
    expect_eq!(t.recv_all(pty.master, 5000).len(), 5000);
}
