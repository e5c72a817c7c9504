//! Pseudo-terminals.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn output_gets_a_carriage_return(t: &mut Guest) {
    let pty = t.pty();
    t.send(pty.slave, "hi\n");
    expect_eq!(t.recv(pty.master, 64), b"hi\r\n");
}

#[case(as_root, as_user)]
fn canonical_input_comes_by_lines_and_is_echoed(t: &mut Guest) {
    let pty = t.pty();
    t.send(pty.master, "one\ntwo\n");
    expect_eq!(t.recv(pty.slave, 64), b"one\n");
    expect_eq!(t.recv(pty.slave, 64), b"two\n");
    expect_eq!(t.recv(pty.master, 64), b"one\r\ntwo\r\n");
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
