//! POSIX message queues.

use crate::prelude::*;
use libc::*;

/// A queue of this name, removed in the end.
struct Queue {
    name: std::ffi::CString,
    fd: i32,
}

impl Queue {
    fn with(t: &Guest, maxmsg: i64, msgsize: i64, flags: i32) -> Queue {
        let name = cstr(format!("case-{}-{}", std::process::id(), t.uid()));
        let attr = [0_i64, maxmsg, msgsize, 0, 0, 0, 0, 0];
        let fd = sys!(mq_open(&name, O_CREAT | O_EXCL | O_RDWR | flags, 0o600, &attr))
            .or_skip(ENOSYS, "no message queues")
            .fd();
        Queue { name, fd }
    }

    fn new(t: &Guest) -> Queue {
        Queue::with(t, 4, 16, O_NONBLOCK)
    }

    fn send(&self, text: &str, priority: u32) -> crate::sys::Ret {
        sys!(mq_timedsend(self.fd, text.as_bytes(), text.len(), priority, 0))
    }

    fn receive(&self) -> (String, u32) {
        let (mut buf, mut priority) = ([0_u8; 16], 0_u32);
        let len = sys!(mq_timedreceive(self.fd, &mut buf, 16, &raw mut priority, 0)).size();
        (String::from_utf8_lossy(&buf[..len]).into_owned(), priority)
    }

    fn attr(&self) -> [i64; 8] {
        let mut attr = [0_i64; 8];
        sys!(mq_getsetattr(self.fd, 0, &mut attr)).ok();
        attr
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = sys!(mq_unlink(&self.name));
    }
}

#[case(as_root, as_user)]
fn the_highest_priority_comes_first_and_of_one_the_oldest(t: &mut Guest) {
    let q = Queue::new(t);
    for (text, priority) in [("a", 1), ("b", 5), ("c", 1), ("d", 32767)] {
        q.send(text, priority).ok();
    }
    q.send("e", 0).fails(EAGAIN);
    expect_eq!(q.attr()[..4], [i64::from(O_NONBLOCK), 4, 16, 4]);
    for want in [("d", 32767), ("b", 5), ("a", 1), ("c", 1)] {
        expect_eq!(q.receive(), (want.0.to_owned(), want.1));
    }
    let mut buf = [0_u8; 16];
    sys!(mq_timedreceive(q.fd, &mut buf, 16, 0, 0)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn arguments_are_checked(t: &mut Guest) {
    let q = Queue::new(t);
    let mut buf = [0_u8; 32];
    q.send("x", 32768).fails(EINVAL);
    sys!(mq_timedsend(q.fd, &buf, 17, 0, 0)).fails(EMSGSIZE);
    sys!(mq_timedsend(q.fd, 8, 1, 0, 0)).fails(EFAULT);
    sys!(mq_timedreceive(q.fd, &mut buf, 15, 0, 0)).fails(EMSGSIZE);
    sys!(mq_timedsend(-1, &buf, 1, 0, 0)).fails(EBADF);
    sys!(mq_timedsend(0, &buf, 1, 0, 0)).fails(EBADF);
    let bad = timespec { tv_sec: 0, tv_nsec: -1 };
    sys!(mq_timedsend(-1, &buf, 1, 40000, &raw const bad)).fails(EINVAL);
    sys!(mq_timedreceive(q.fd, &mut buf, 16, 0, &raw const bad)).fails(EINVAL);
    sys!(mq_getsetattr(q.fd, &[1_i64, 0, 0, 0, 0, 0, 0, 0], 0)).fails(EINVAL);
    sys!(mq_getsetattr(q.fd, &[0_i64; 8], 0)).ok();
    expect_eq!(q.attr()[0], 0);
    let read_only = sys!(mq_open(&q.name, O_RDONLY, 0, 0)).fd();
    sys!(mq_timedsend(read_only, &buf, 1, 0, 0)).fails(EBADF);
    let write_only = sys!(mq_open(&q.name, O_WRONLY, 0, 0)).fd();
    sys!(mq_timedreceive(write_only, &mut buf, 16, 0, 0)).fails(EBADF);
    sys!(fcntl(write_only, F_GETFD, 0)).is(FD_CLOEXEC);
}

#[case(as_root, as_user)]
fn opening_says_what_is_wrong(t: &mut Guest) {
    let q = Queue::new(t);
    let attr = |max: i64, size: i64| [0_i64, max, size, 0, 0, 0, 0, 0];
    sys!(mq_open(&q.name, O_CREAT | O_EXCL | O_RDWR, 0o600, 0)).fails(EEXIST);
    sys!(mq_open(&q.name, 3, 0, 0)).fails(EINVAL);
    sys!(mq_open(&q.name, O_CREAT | O_RDWR, 0o600, &attr(-1, -1))).ok();
    sys!(mq_open(c"case-none", O_RDWR, 0, 0)).fails(ENOENT);
    sys!(mq_open(c"", O_CREAT | O_RDWR, 0o600, 0)).fails(ENOENT);
    sys!(mq_open(c".", O_RDWR, 0, 0)).fails(EACCES);
    sys!(mq_open(c"a/b", O_CREAT | O_RDWR, 0o600, 0)).fails(EACCES);
    sys!(mq_open(&cstr("n".repeat(256)), O_CREAT | O_RDWR, 0o600, 0)).fails(ENAMETOOLONG);
    sys!(mq_open(8, O_RDWR, 0, 0)).fails(EFAULT);
    sys!(mq_open(c"case-none", O_CREAT | O_RDWR, 0o600, 8)).fails(EFAULT);
    for (max, size) in [(0, 1), (1, 0), (-1, 1), (1, -1), (65537, 1), (1, (16 << 20) + 1)] {
        sys!(mq_open(c"case-none", O_CREAT | O_RDWR, 0o600, &attr(max, size))).fails(EINVAL);
    }
    sys!(mq_unlink(c"case-none")).fails(ENOENT);
}

#[case(as_user)]
fn more_than_the_limits_is_refused(_t: &mut Guest) {
    let attr = [0_i64, 11, 16, 0, 0, 0, 0, 0];
    let limit = std::fs::read_to_string("/proc/sys/fs/mqueue/msg_max").unwrap();
    if limit.trim() == "10" {
        sys!(mq_open(c"case-none", O_CREAT | O_RDWR, 0o600, &attr)).fails(EINVAL);
    }
}

#[case(as_root, as_user)]
fn all_bytes_a_queue_may_hold_count_against_the_limit(t: &mut Guest) {
    t.fork(|| {
        let limit = rlimit { rlim_cur: 1000, rlim_max: 1000 };
        sys!(setrlimit(RLIMIT_MSGQUEUE, &raw const limit)).ok();
        let attr = [0_i64, 10, 100, 0, 0, 0, 0, 0];
        sys!(mq_open(c"case-none", O_CREAT | O_RDWR, 0o600, &attr)).fails(EMFILE);
    })
    .done();
}

#[case(as_root, as_user)]
fn waits_end_with_a_message_or_in_time(t: &mut Guest) {
    let q = Queue::with(t, 1, 16, 0);
    let late = deadline(CLOCK_REALTIME, 20);
    let mut buf = [0_u8; 16];
    sys!(mq_timedreceive(q.fd, &mut buf, 16, 0, &raw const late)).fails(ETIMEDOUT);
    let receiver = t.fork(|| expect_eq!(q.receive(), ("one".to_owned(), 3)));
    t.until_asleep(receiver.pid);
    q.send("one", 3).ok();
    receiver.done();
    q.send("two", 0).ok();
    let sender = t.fork(|| {
        q.send("three", 9).ok();
    });
    t.until_asleep(sender.pid);
    expect_eq!(q.receive(), ("two".to_owned(), 0));
    sender.done();
    expect_eq!(q.receive(), ("three".to_owned(), 9));
    q.send("full", 0).ok();
    sys!(mq_timedsend(q.fd, b"x", 1, 0, &raw const late)).fails(ETIMEDOUT);
}

#[case(as_root, as_user)]
fn poll_tells_of_room_and_of_messages(t: &mut Guest) {
    let q = Queue::with(t, 1, 16, 0);
    let events = || {
        let mut fds = pollfd { fd: q.fd, events: POLLIN | POLLOUT, revents: 0 };
        sys!(poll(&raw mut fds, 1, 0)).ok();
        fds.revents
    };
    expect_eq!(events(), POLLOUT);
    let child = t.fork(|| {
        let mut fds = pollfd { fd: q.fd, events: POLLIN, revents: 0 };
        sys!(poll(&raw mut fds, 1, -1)).is(1);
    });
    t.until_asleep(child.pid);
    q.send("x", 0).ok();
    child.done();
    expect_eq!(events(), POLLIN);
}

#[case(as_root, as_user)]
fn a_signal_tells_of_a_message_in_an_empty_queue_once(t: &mut Guest) {
    let q = Queue::new(t);
    t.fork(|| {
        let mask = 1_u64 << (SIGUSR1 - 1);
        sys!(rt_sigprocmask(SIG_BLOCK, &raw const mask, 0, 8)).ok();
        let event = [77_u64, SIGUSR1 as u64, 0, 0, 0, 0, 0, 0];
        sys!(mq_notify(q.fd, &event)).ok();
        sys!(mq_notify(q.fd, &event)).fails(EBUSY);
        // Another process looks: when the one that is registered closes the queue, it is not any more.
        t.fork(|| {
            let text = std::fs::read_to_string(format!("/proc/self/fd/{}", q.fd)).unwrap();
            check!(text.starts_with("QSIZE:0          NOTIFY:0     SIGNO:10    NOTIFY_PID:"), "{text}");
        })
        .done();
        q.send("x", 0).ok();
        let mut info: siginfo_t = zeroed();
        sys!(rt_sigtimedwait(&raw const mask, &raw mut info, &[msec(0)], 8)).is(SIGUSR1);
        expect_eq!(info.si_code, -3);
        // SAFETY: such a signal has them.
        let (pid, value) = unsafe { (info.si_pid(), info.si_value().sival_ptr as usize) };
        expect_eq!((pid, value), (std::process::id() as i32, 77));
        q.send("y", 0).ok();
        sys!(rt_sigtimedwait(&raw const mask, 0, &[msec(0)], 8)).fails(EAGAIN);
        // With messages in it nothing is told.
        sys!(mq_notify(q.fd, &event)).ok();
        q.send("z", 0).ok();
        sys!(rt_sigtimedwait(&raw const mask, 0, &[msec(0)], 8)).fails(EAGAIN);
        sys!(mq_notify(q.fd, 0)).ok();
        sys!(mq_notify(q.fd, &[0_u64, 65, 0, 0, 0, 0, 0, 0])).fails(EINVAL);
        sys!(mq_notify(q.fd, &[0_u64, 7 << 32, 0, 0, 0, 0, 0, 0])).fails(EINVAL);
        sys!(mq_notify(q.fd, 8)).fails(EFAULT);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_netlink_socket_tells_of_a_message(t: &mut Guest) {
    let q = Queue::new(t);
    let socket = sys!(socket(AF_NETLINK, SOCK_RAW, 0)).fd();
    let mut cookie = [5_u8; 32];
    let event = [cookie.as_ptr() as u64, socket as u64 | 2 << 32, 0, 0, 0, 0, 0, 0];
    sys!(mq_notify(q.fd, &event)).ok();
    q.send("x", 0).ok();
    sys!(recvfrom(socket, &mut cookie, 32, MSG_DONTWAIT, 0, 0)).is(32);
    expect_eq!((cookie[0], cookie[31]), (5, 1));
    let not_socket = [cookie.as_ptr() as u64, q.fd as u64 | 2 << 32, 0, 0, 0, 0, 0, 0];
    sys!(mq_notify(q.fd, &not_socket)).fails(ENOTSOCK);
}

#[case(as_root, as_user)]
fn an_unlinked_queue_lives_until_it_is_closed(t: &mut Guest) {
    let q = Queue::new(t);
    q.send("x", 0).ok();
    sys!(mq_unlink(&q.name)).ok();
    sys!(mq_open(&q.name, O_RDWR, 0, 0)).fails(ENOENT);
    expect_eq!(q.receive(), ("x".to_owned(), 0));
    expect_eq!(t.fstat(q.fd).st_nlink, 0);
}

#[case(as_root)]
fn the_filesystem_shows_the_queues_of_the_namespace(t: &mut Guest) {
    t.clone(CLONE_NEWIPC | CLONE_NEWNS, || {
        sys!(mount(c"none", c"/", 0, MS_REC | MS_PRIVATE, 0)).ok();
        t.dir("m");
        sys!(mount(c"mqueue", c"m", c"mqueue", 0, 0)).ok();
        let fd = sys!(mq_open(c"q", O_CREAT | O_RDWR, 0o640, 0)).fd();
        let stat = t.stat("m/q");
        expect_eq!((stat.st_mode, stat.st_size, stat.st_nlink), (S_IFREG | 0o640, 80, 1));
        expect_eq!(t.stat("m").st_mode, S_IFDIR | 0o1777);
        let names: Vec<_> = std::fs::read_dir("m").unwrap().map(|e| e.unwrap().file_name()).collect();
        expect_eq!(names, ["q"]);
        sys!(mq_timedsend(fd, b"hello", 5, 0, 0)).ok();
        t.read("m/q").is("QSIZE:5          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n");
        t.file("m/other", "");
        sys!(mq_open(c"other", O_RDWR, 0, 0)).ok();
        sys!(mkdir(c"m/dir", 0o700)).fails(EPERM);
        sys!(unlink(c"m/q")).ok();
        sys!(mq_open(c"q", O_RDWR, 0, 0)).fails(ENOENT);
        sys!(umount2(c"m", 0)).ok();
    })
    .done();
}

#[case(as_root)]
fn a_queue_of_somebody_else_is_protected(t: &mut Guest) {
    let q = Queue::new(t);
    t.fork(|| {
        sys!(setresuid(1234, 1234, 1234)).ok();
        sys!(mq_open(&q.name, O_RDWR, 0, 0)).fails(EACCES);
        sys!(mq_open(&q.name, O_RDWR | O_CREAT, 0, 0)).fails(EACCES);
        let unlinked = sys!(mq_unlink(&q.name)).errno();
        check!(unlinked == EPERM || unlinked == EACCES, "{unlinked}");
    })
    .done();
}
