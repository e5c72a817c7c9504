//! signalfd.

use crate::guest::set_of;
use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn a_pending_signal_is_read_as_a_structure(t: &mut Guest) {
    t.block(&[SIGUSR1, SIGUSR2]);
    let set = set_of(&[SIGUSR1, SIGUSR2]);
    let fd = sys!(signalfd4(-1, &raw const set, 8, SFD_NONBLOCK | SFD_CLOEXEC)).fd();
    let mut info: [signalfd_siginfo; 2] = zeroed();
    sys!(read(fd, &mut info, 256)).fails(EAGAIN);
    expect_eq!(t.poll(fd, POLLIN, 0), 0);
    t.raise(SIGUSR2);
    t.raise(SIGUSR1);
    expect_eq!(t.poll(fd, POLLIN, 0), POLLIN);
    sys!(read(fd, &mut info, 256)).is(256);
    expect_eq!((info[0].ssi_signo, info[1].ssi_signo), (SIGUSR1 as u32, SIGUSR2 as u32));
    expect_eq!((info[0].ssi_code, i64::from(info[0].ssi_pid)), (SI_USER, sys!(getpid()).ok()));
    expect_eq!(info[0].ssi_uid, t.uid());
    expect_eq!(t.pending(), 0);
}

#[case(as_root, as_user)]
fn the_set_can_be_changed(t: &mut Guest) {
    t.block(&[SIGUSR1, SIGUSR2]);
    let (one, two) = (set_of(&[SIGUSR1]), set_of(&[SIGUSR2]));
    let fd = sys!(signalfd4(-1, &raw const one, 8, SFD_NONBLOCK)).fd();
    sys!(signalfd4(fd, &raw const two, 8, 0)).is(fd);
    t.raise(SIGUSR1);
    let mut info: signalfd_siginfo = zeroed();
    sys!(read(fd, &raw mut info, 128)).fails(EAGAIN);
    t.raise(SIGUSR2);
    sys!(read(fd, &raw mut info, 128)).is(128);
    sys!(read(fd, &raw mut info, 127)).fails(EINVAL);
    sys!(signalfd4(t.pipe().r, &raw const one, 8, 0)).fails(EINVAL);
    sys!(signalfd4(99, &raw const one, 8, 0)).fails(EBADF);
    sys!(signalfd4(-1, &raw const one, 4, 0)).fails(EINVAL);
    sys!(signalfd4(-1, &raw const one, 8, 1)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn a_read_waits_for_a_signal(t: &mut Guest) {
    t.block(&[SIGUSR1]);
    let set = set_of(&[SIGUSR1]);
    let fd = sys!(signalfd4(-1, &raw const set, 8, 0)).fd();
    let child = t.fork(|| {
        let mut info: signalfd_siginfo = zeroed();
        sys!(read(fd, &raw mut info, 128)).is(128);
        expect_eq!(i64::from(info.ssi_pid), sys!(getppid()).ok());
    });
    t.until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.done();
}
