//! Process descriptors.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn it_becomes_readable_at_the_end(t: &mut Guest) {
    let child = t.sleeper();
    let fd = sys!(pidfd_open(child.pid, 0)).fd();
    sys!(fcntl(fd, F_GETFD, 0)).is(FD_CLOEXEC);
    expect_eq!(t.poll(fd, POLLIN, 0), 0);
    sys!(pidfd_send_signal(fd, SIGTERM, 0, 0)).ok();
    check!(t.poll(fd, POLLIN, -1) & POLLIN != 0);
    let mut info: siginfo_t = zeroed();
    sys!(waitid(P_PIDFD, fd, &raw mut info, WEXITED, 0)).is(0);
    expect_eq!((info.si_code, SigInfo(info).status()), (CLD_KILLED, SIGTERM));
    sys!(pidfd_send_signal(fd, 0, 0, 0)).fails(ESRCH);
}

#[case(as_root, as_user)]
fn it_names_processes_not_numbers(t: &mut Guest) {
    sys!(pidfd_open(0, 0)).fails(EINVAL);
    sys!(pidfd_open(-1, 0)).fails(EINVAL);
    sys!(pidfd_open(0x3fff_ffff, 0)).fails(ESRCH);
    sys!(pidfd_open(sys!(getpid()).ok(), 0x4000)).fails(EINVAL);
    let fd = sys!(pidfd_open(sys!(getpid()).ok(), 0)).fd();
    expect_eq!(t.field(&format!("/proc/self/fdinfo/{fd}"), "Pid"), sys!(getpid()).ok().to_string());
    sys!(pidfd_send_signal(t.pipe().r, 0, 0, 0)).fails(EBADF);
}

/// Linux: tgid_pidfd_to_pid. Signals alone can be sent by the directory of a process in `/proc`, too.
#[case(as_root, as_user)]
fn a_directory_of_proc_serves_for_signals(t: &mut Guest) {
    let own = t.open("/proc/self", O_RDONLY | O_DIRECTORY);
    sys!(pidfd_send_signal(own, 0, 0, 0)).ok();
    let child = t.sleeper();
    let fd = t.open(&format!("/proc/{}", child.pid), O_RDONLY | O_DIRECTORY);
    sys!(pidfd_send_signal(fd, SIGTERM, 0, 0)).ok();
    child.wait().killed(SIGTERM);
    sys!(pidfd_send_signal(fd, 0, 0, 0)).fails(ESRCH);
    sys!(pidfd_send_signal(t.open("/proc", O_RDONLY), 0, 0, 0)).fails(EBADF);
    let mut info: siginfo_t = zeroed();
    sys!(waitid(P_PIDFD, own, &raw mut info, WEXITED, 0)).fails(EBADF);
}

#[case(as_root, as_user)]
fn a_directory_of_proc_serves_to_send_signals(t: &mut Guest) {
    let child = t.sleeper();
    let directory = t.open(&format!("/proc/{}", child.pid), O_RDONLY | O_DIRECTORY);
    let thread = t.open(&format!("/proc/{0}/task/{0}", child.pid), O_RDONLY | O_DIRECTORY);
    sys!(pidfd_send_signal(thread, 0, 0, 0)).fails(EBADF);
    sys!(pidfd_send_signal(t.open("/proc", O_RDONLY), 0, 0, 0)).fails(EBADF);
    let path_only = t.open(&format!("/proc/{}", child.pid), O_PATH);
    sys!(pidfd_send_signal(path_only, 0, 0, 0)).fails(EBADF);
    let mut info: siginfo_t = zeroed();
    sys!(waitid(P_PIDFD, directory, &raw mut info, WEXITED, 0)).fails(EBADF);
    sys!(pidfd_send_signal(directory, 65, 0, 0)).fails(EINVAL);
    sys!(pidfd_send_signal(directory, SIGTERM, 0, 0)).ok();
    child.wait().killed(SIGTERM);
    sys!(pidfd_send_signal(directory, 0, 0, 0)).fails(ESRCH);
}

#[case(as_root, as_user)]
fn getfd_takes_a_descriptor_from_a_process(t: &mut Guest) {
    let (ready, go) = (t.pipe(), t.pipe());
    let child = t.fork(|| {
        t.file("f", "theirs");
        sys!(dup2(t.open("f", O_RDONLY), 77)).ok();
        ready.signal();
        go.wait();
    });
    ready.wait();
    let fd = sys!(pidfd_open(child.pid, 0)).fd();
    let taken = sys!(pidfd_getfd(fd, 77, 0)).fd();
    expect_eq!(t.recv(taken, 16), b"theirs");
    sys!(fcntl(taken, F_GETFD, 0)).is(FD_CLOEXEC);
    sys!(pidfd_getfd(fd, 78, 0)).fails(EBADF);
    sys!(pidfd_getfd(fd, 77, 1)).fails(EINVAL);
    go.signal();
    child.done();
}

#[case(as_user)]
fn anothers_descriptors_are_eperm(t: &mut Guest) {
    t.needs_a_foreign_init();
    let fd = sys!(pidfd_open(1, 0)).fd();
    sys!(pidfd_getfd(fd, 0, 0)).fails(EPERM);
    sys!(pidfd_send_signal(fd, SIGTERM, 0, 0)).fails(EPERM);
}
