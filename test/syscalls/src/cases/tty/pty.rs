//! Pseudo-terminals.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn output_gets_a_carriage_return(t: &mut Guest) {
    let pty = t.pty();
    t.send(pty.slave, "hi\n");
    expect_eq!(t.recv_all(pty.master, 4), b"hi\r\n");
}

#[case(as_root, as_user)]
fn canonical_input_comes_by_lines_and_is_echoed(t: &mut Guest) {
    let pty = t.pty();
    t.send(pty.master, "one\ntwo\n");
    expect_eq!(t.recv(pty.slave, 64), b"one\n");
    expect_eq!(t.recv(pty.slave, 64), b"two\n");
    expect_eq!(t.recv_all(pty.master, 10), b"one\r\ntwo\r\n");
}

#[case(as_root, as_user)]
fn a_slave_is_locked_until_it_is_unlocked(t: &mut Guest) {
    let master = t.open("/dev/ptmx", O_RDWR | O_NOCTTY);
    let mut number = 0_u32;
    sys!(ioctl(master, TIOCGPTN, &raw mut number)).ok();
    t.try_open(&format!("/dev/pts/{number}"), O_RDWR | O_NOCTTY).fails(EIO);
    let unlock = 0_i32;
    sys!(ioctl(master, TIOCSPTLCK, &raw const unlock)).ok();
    t.open(&format!("/dev/pts/{number}"), O_RDWR | O_NOCTTY);
}

#[case(as_root, as_user)]
fn ctrl_c_interrupts_the_foreground_group(t: &mut Guest) {
    let pty = t.pty();
    let ready = t.pipe();
    let child = t.in_session(pty, || {
        ready.signal();
        loop {
            let _ = sys!(pause());
        }
    });
    ready.wait();
    t.send(pty.master, [3]);
    child.wait().killed(SIGINT);
}

#[case(as_root, as_user)]
fn window_sizes_are_shared_by_both_sides(t: &mut Guest) {
    let pty = t.pty();
    let mut size: winsize = zeroed();
    sys!(ioctl(pty.slave, TIOCGWINSZ, &raw mut size)).ok();
    expect_eq!((size.ws_row, size.ws_col), (0, 0));
    size.ws_row = 24;
    size.ws_col = 80;
    sys!(ioctl(pty.master, TIOCSWINSZ, &raw const size)).ok();
    let mut seen: winsize = zeroed();
    sys!(ioctl(pty.slave, TIOCGWINSZ, &raw mut seen)).ok();
    expect_eq!((seen.ws_row, seen.ws_col), (24, 80));
}

#[case(as_root, as_user)]
fn the_master_sees_eio_after_the_last_slave(t: &mut Guest) {
    let pty = t.pty();
    t.send(pty.slave, "last");
    sys!(close(pty.slave)).ok();
    expect_eq!(t.recv_all(pty.master, 4), b"last");
    sys!(read(pty.master, &mut [0_u8], 1)).fails(EIO);
    check!(t.poll(pty.master, POLLIN, 0) & POLLHUP != 0);
    let path = format!("/dev/pts/{}", pty.number);
    let slave = t.open(&path, O_RDWR | O_NOCTTY);
    t.send(slave, "again");
    expect_eq!(t.recv_all(pty.master, 5), b"again");
}

#[case(as_root, as_user)]
fn the_slaves_name_goes_with_the_master(t: &mut Guest) {
    let pty = t.pty();
    let path = format!("/dev/pts/{}", pty.number);
    check!(t.exists(&path));
    expect_eq!(t.stat(&path).st_uid, t.uid());
    expect_eq!(t.fstat(pty.slave).st_rdev, makedev(136, pty.number));
    sys!(close(pty.master)).ok();
    expect_eq!(t.exists(&path), false);
}

#[case(as_root, as_user)]
fn gptpeer_opens_the_slave_without_a_path(t: &mut Guest) {
    let master = t.open("/dev/ptmx", O_RDWR | O_NOCTTY);
    let unlock = 0_i32;
    sys!(ioctl(master, TIOCSPTLCK, &raw const unlock)).ok();
    let slave = sys!(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY)).fd();
    t.send(slave, "peer");
    expect_eq!(t.recv_all(master, 4), b"peer");
    let mut number = 0_u32;
    sys!(ioctl(slave, TIOCGPTN, &raw mut number)).fails(ENOTTY);
}

#[case(as_root, as_user)]
fn packet_mode_puts_a_byte_before_the_data(t: &mut Guest) {
    let pty = t.pty();
    let on = 1_i32;
    sys!(ioctl(pty.master, TIOCPKT, &raw const on)).ok();
    t.send(pty.slave, "data");
    expect_eq!(t.recv(pty.master, 64), b"\0data");
    sys!(ioctl(pty.slave, TCFLSH, TCIFLUSH)).ok();
    check!(t.poll(pty.master, POLLPRI, -1) & POLLPRI != 0);
    expect_eq!(t.recv(pty.master, 64)[0] & 1, 1);
}

#[case(as_root, as_user)]
fn both_ends_of_a_terminal_are_terminals(t: &mut Guest) {
    let pty = t.pty();
    t.termios(pty.master);
    let mut group = 0_i32;
    sys!(ioctl(pty.slave, TIOCGPGRP, &raw mut group)).fails(ENOTTY);
    sys!(lseek(pty.slave, 0, SEEK_SET)).fails(ESPIPE);
    let link = std::fs::read_link(format!("/proc/self/fd/{}", pty.slave)).unwrap();
    expect_eq!(link.to_string_lossy(), format!("/dev/pts/{}", pty.number));
}
