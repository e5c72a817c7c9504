//! Sessions, foreground groups and the signals of a terminal.

use crate::prelude::*;
use libc::*;

/// Keeps the process there for signals.
fn wait_for_ever() -> ! {
    loop {
        let _ = sys!(pause());
    }
}

#[case(as_root, as_user)]
fn a_session_leader_takes_a_terminal(t: &mut Guest) {
    let pty = t.pty();
    t.in_session(pty, || {
        let own = sys!(getpid()).fd();
        let (mut group, mut session) = (0_i32, 0_i32);
        sys!(ioctl(pty.slave, TIOCGPGRP, &raw mut group)).ok();
        sys!(ioctl(pty.slave, TIOCGSID, &raw mut session)).ok();
        expect_eq!((group, session), (own, own));
        let tty = t.open("/dev/tty", O_RDWR);
        t.send(tty, "x");
        expect_eq!(t.recv_all(pty.master, 1), b"x");
        let second = t.pty();
        sys!(ioctl(second.slave, TIOCSCTTY, 0)).fails(EPERM);
    })
    .done();
    let mut group = 0_i32;
    sys!(ioctl(pty.slave, TIOCGPGRP, &raw mut group)).fails(ENOTTY);
}

#[case(as_root, as_user)]
fn opening_a_terminal_makes_it_the_leaders(t: &mut Guest) {
    let pty = t.pty();
    t.fork(|| {
        sys!(setsid()).ok();
        t.try_open("/dev/tty", O_RDWR).fails(ENXIO);
        let path = format!("/dev/pts/{}", pty.number);
        t.open(&path, O_RDWR | O_NOCTTY);
        t.try_open("/dev/tty", O_RDWR).fails(ENXIO);
        t.open(&path, O_RDWR);
        t.open("/dev/tty", O_RDWR);
    })
    .done();
}

#[case(as_root, as_user)]
fn interrupt_quit_and_suspend_go_to_the_foreground(t: &mut Guest) {
    for (key, signal) in [(3, SIGINT), (28, SIGQUIT)] {
        let pty = t.pty();
        let ready = t.pipe();
        let child = t.in_session(pty, || {
            ready.signal();
            wait_for_ever()
        });
        ready.wait();
        t.send(pty.master, [key]);
        child.wait().killed(signal);
    }
    let pty = t.pty();
    t.in_session(pty, || {
        let ready = t.pipe();
        let job = t.fork(|| {
            ready.signal();
            wait_for_ever()
        });
        sys!(setpgid(job.pid, job.pid)).ok();
        t.ignore(SIGTTOU);
        sys!(ioctl(pty.slave, TIOCSPGRP, &raw const job.pid)).ok();
        ready.wait();
        t.send(pty.master, [26]);
        job.wait_for(WUNTRACED).stopped(SIGTSTP);
        job.kill(SIGKILL);
        job.wait().killed(SIGKILL);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_background_read_is_sigttin(t: &mut Guest) {
    let pty = t.pty();
    t.in_session(pty, || {
        let job = t.fork(|| {
            sys!(setpgid(0, 0)).ok();
            let _ = sys!(read(pty.slave, &mut [0_u8], 1));
        });
        job.wait_for(WUNTRACED).stopped(SIGTTIN);
        job.kill(SIGKILL);
        job.wait().killed(SIGKILL);
        let job = t.fork(|| {
            sys!(setpgid(0, 0)).ok();
            t.ignore(SIGTTIN);
            sys!(read(pty.slave, &mut [0_u8], 1)).fails(EIO);
        });
        job.done();
    })
    .done();
}

#[case(as_root, as_user)]
fn a_background_write_is_sigttou_only_with_tostop(t: &mut Guest) {
    let pty = t.pty();
    t.in_session(pty, || {
        let job = t.fork(|| {
            sys!(setpgid(0, 0)).ok();
            t.send(pty.slave, "x");
        });
        job.done();
        t.set_termios(pty.slave, |termios| termios.c_lflag |= TOSTOP);
        let job = t.fork(|| {
            sys!(setpgid(0, 0)).ok();
            let _ = sys!(write(pty.slave, b"x", 1));
        });
        job.wait_for(WUNTRACED).stopped(SIGTTOU);
        job.kill(SIGKILL);
        job.wait().killed(SIGKILL);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_background_group_cannot_take_the_terminal_unnoticed(t: &mut Guest) {
    let pty = t.pty();
    t.in_session(pty, || {
        let job = t.fork(|| {
            sys!(setpgid(0, 0)).ok();
            let own = sys!(getpid()).fd();
            let _ = sys!(ioctl(pty.slave, TIOCSPGRP, &raw const own));
        });
        job.wait_for(WUNTRACED).stopped(SIGTTOU);
        job.kill(SIGKILL);
        job.wait().killed(SIGKILL);
        let job = t.fork(|| {
            sys!(setpgid(0, 0)).ok();
            t.block(&[SIGTTOU]);
            let own = sys!(getpid()).fd();
            sys!(ioctl(pty.slave, TIOCSPGRP, &raw const own)).ok();
        });
        job.done();
    })
    .done();
}

#[case(as_root, as_user)]
fn only_groups_of_the_session_come_to_the_foreground(t: &mut Guest) {
    let pty = t.pty();
    let outside = sys!(getpgid(0)).fd();
    t.in_session(pty, || {
        sys!(ioctl(pty.slave, TIOCSPGRP, &raw const outside)).fails(EPERM);
        let none = 0x3fff_ffff_i32;
        sys!(ioctl(pty.slave, TIOCSPGRP, &raw const none)).fails(ESRCH);
        let negative = -1_i32;
        sys!(ioctl(pty.slave, TIOCSPGRP, &raw const negative)).fails(EINVAL);
    })
    .done();
}

#[case(as_root, as_user)]
fn closing_the_master_hangs_up_the_session(t: &mut Guest) {
    let pty = t.pty();
    let ready = t.pipe();
    let child = t.in_session(pty, || {
        sys!(close(pty.master)).ok();
        t.catch(SIGHUP, 0);
        t.catch(SIGCONT, 0);
        ready.signal();
        while t.caught().len() < 2 {
            t.until(|| t.caught().len() == 2);
        }
        let mut caught = t.caught();
        caught.sort_unstable();
        expect_eq!(caught, [SIGHUP, SIGCONT]);
        sys!(read(pty.slave, &mut [0_u8], 1)).is(0);
        sys!(write(pty.slave, b"x", 1)).fails(EIO);
        t.try_open("/dev/tty", O_RDWR).fails(ENXIO);
    });
    ready.wait();
    sys!(close(pty.master)).ok();
    child.done();
}

#[case(as_root, as_user)]
fn the_end_of_the_leader_hangs_up_the_foreground(t: &mut Guest) {
    sys!(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).ok();
    let pty = t.pty();
    let (ready, told) = (t.pipe(), t.pipe());
    t.in_session(pty, || {
        let job = t.fork(|| {
            t.catch(SIGCONT, 0);
            ready.signal();
            wait_for_ever()
        });
        ready.wait();
        t.send(told.w, job.pid.to_ne_bytes());
    })
    .done();
    let pid = i32::from_ne_bytes(t.recv(told.r, 4).try_into().unwrap());
    Child { pid }.wait().killed(SIGHUP);
}

#[case(as_root, as_user)]
fn notty_gives_the_terminal_up(t: &mut Guest) {
    let pty = t.pty();
    t.in_session(pty, || {
        t.ignore(SIGHUP);
        sys!(ioctl(pty.slave, TIOCNOTTY, 0)).ok();
        t.try_open("/dev/tty", O_RDWR).fails(ENXIO);
        sys!(ioctl(pty.slave, TIOCNOTTY, 0)).fails(ENOTTY);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_new_window_size_is_sigwinch_for_the_foreground(t: &mut Guest) {
    let pty = t.pty();
    let ready = t.pipe();
    let child = t.in_session(pty, || {
        t.block(&[SIGWINCH]);
        ready.signal();
        expect_eq!(t.take(&[SIGWINCH]).code(), SI_KERNEL);
    });
    ready.wait();
    let size = winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
    sys!(ioctl(pty.master, TIOCSWINSZ, &raw const size)).ok();
    child.done();
}
