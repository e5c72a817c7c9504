//! Asynchronous I/O.

use crate::prelude::*;
use libc::*;

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FSYNC: u16 = 2;
const POLL: u16 = 5;
const PREADV: u16 = 7;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    reqprio: i16,
    fd: i32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved2: u64,
    flags: u32,
    resfd: i32,
}

impl Iocb {
    fn new(opcode: u16, fd: i32, buf: u64, nbytes: usize, offset: i64) -> Iocb {
        Iocb { data: 42, opcode, fd, buf, nbytes: nbytes as u64, offset, ..Iocb::default() }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Event {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

struct Context(u64);

impl Context {
    fn new(events: u32) -> Context {
        let mut id = 0_u64;
        sys!(io_setup(events, &raw mut id)).or_skip(ENOSYS, "no asynchronous I/O").ok();
        Context(id)
    }

    fn submit(&self, iocb: &mut Iocb) -> crate::sys::Ret {
        let list = [iocb as *mut Iocb];
        sys!(io_submit(self.0, 1, &list))
    }

    fn event(&self) -> Event {
        let mut event = Event::default();
        sys!(io_getevents(self.0, 1, 1, &raw mut event, 0)).is(1);
        event
    }
}

#[case(as_root, as_user)]
fn transfers_complete_through_the_ring(t: &mut Guest) {
    let ctx = Context::new(8);
    let fd = t.open("f", O_RDWR | O_CREAT);
    let mut write = Iocb::new(PWRITE, fd, b"hello".as_ptr() as u64, 5, 3);
    ctx.submit(&mut write).is(1);
    expect_eq!(ctx.event(), Event { data: 42, obj: &raw const write as u64, res: 5, res2: 0 });
    t.read("f").is("\0\0\0hello");
    let mut buf = [0_u8; 16];
    let mut read = Iocb::new(PREAD, fd, buf.as_mut_ptr() as u64, 16, 4);
    ctx.submit(&mut read).is(1);
    expect_eq!((ctx.event().res, &buf[..4]), (4, &b"ello"[..]));
    let iov = [iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: 2 }];
    let mut readv = Iocb::new(PREADV, fd, iov.as_ptr() as u64, 1, 3);
    ctx.submit(&mut readv).is(1);
    expect_eq!((ctx.event().res, &buf[..2]), (2, &b"he"[..]));
    let mut sync = Iocb::new(FSYNC, fd, 0, 0, 0);
    ctx.submit(&mut sync).is(1);
    expect_eq!(ctx.event().res, 0);
    sys!(io_destroy(ctx.0)).ok();
    sys!(io_destroy(ctx.0)).fails(EINVAL);
    ctx.submit(&mut read).fails(EINVAL);
}

#[case(as_root, as_user)]
fn the_ring_can_be_read_without_a_call(t: &mut Guest) {
    let ctx = Context::new(8);
    let fd = t.open("f", O_RDWR | O_CREAT);
    let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|i| peek(ctx.0 as usize + at + i)));
    expect_eq!((word(16), word(20), word(24), word(28)), (0xa10a_10a1, 1, 0, 32));
    check!(word(4) >= 9);
    expect_eq!((word(8), word(12)), (0, 0));
    let mut write = Iocb::new(PWRITE, fd, b"x".as_ptr() as u64, 1, 0);
    ctx.submit(&mut write).is(1);
    expect_eq!((word(8), word(12), word(32), word(48)), (0, 1, 42, 1));
    let _ = ctx.event();
    expect_eq!((word(8), word(12)), (1, 1));
}

#[case(as_root, as_user)]
fn what_cannot_begin_is_refused_and_what_fails_later_is_an_event(t: &mut Guest) {
    let ctx = Context::new(8);
    let fd = t.open("f", O_WRONLY | O_CREAT);
    let mut buf = [0_u8; 4];
    let at = buf.as_mut_ptr() as u64;
    ctx.submit(&mut Iocb::new(PREAD, -1, at, 4, 0)).fails(EBADF);
    ctx.submit(&mut Iocb::new(PREAD, fd, at, 4, 0)).fails(EBADF);
    ctx.submit(&mut Iocb::new(99, fd, at, 4, 0)).fails(EINVAL);
    ctx.submit(&mut Iocb::new(PWRITE, fd, at, usize::MAX, 0)).fails(EINVAL);
    ctx.submit(&mut Iocb { reserved2: 1, ..Iocb::new(PWRITE, fd, at, 4, 0) }).fails(EINVAL);
    ctx.submit(&mut Iocb { rw_flags: 1 << 20, ..Iocb::new(PWRITE, fd, at, 4, 0) }).fails(EOPNOTSUPP);
    ctx.submit(&mut Iocb { flags: 1, resfd: fd, ..Iocb::new(PWRITE, fd, at, 4, 0) }).fails(EINVAL);
    ctx.submit(&mut Iocb::new(FSYNC, fd, at, 4, 0)).fails(EINVAL);
    let mut faults = Iocb::new(PWRITE, fd, 8, 4, 0);
    ctx.submit(&mut faults).is(1);
    expect_eq!(ctx.event().res, -i64::from(EFAULT));
    sys!(io_submit(ctx.0, -1, 0)).fails(EINVAL);
    sys!(io_submit(ctx.0, 0, 0)).is(0);
    sys!(io_submit(ctx.0, 1, 8)).fails(EFAULT);
    sys!(io_submit(at, 0, 0)).fails(EINVAL);
    // The ones before the bad one count.
    let mut good = Iocb::new(PWRITE, fd, at, 4, 0);
    let list = [&raw mut good, std::ptr::null_mut()];
    sys!(io_submit(ctx.0, 2, &list)).is(1);
}

#[case(as_root, as_user)]
fn io_setup_is_checked(_t: &mut Guest) {
    let mut id = 0_u64;
    sys!(io_setup(0, &raw mut id)).fails(EINVAL);
    sys!(io_setup(1, 8)).fails(EFAULT);
    id = 1;
    sys!(io_setup(1, &raw mut id)).fails(EINVAL);
    id = 0;
    sys!(io_setup(u32::MAX / 2, &raw mut id)).fails(EINVAL);
    sys!(io_setup(4_000_000, &raw mut id)).fails(EAGAIN);
}

#[case(as_root, as_user)]
fn getevents_waits_as_long_as_it_is_told(t: &mut Guest) {
    let ctx = Context::new(8);
    let mut events = [Event::default(); 4];
    sys!(io_getevents(ctx.0, 1, 4, &mut events, &[msec(0)])).is(0);
    sys!(io_getevents(ctx.0, 1, 4, &mut events, &[msec(20)])).is(0);
    sys!(io_getevents(ctx.0, 0, 4, &mut events, 0)).is(0);
    sys!(io_getevents(ctx.0, 5, 4, &mut events, 0)).fails(EINVAL);
    sys!(io_getevents(ctx.0, -1, 4, &mut events, 0)).fails(EINVAL);
    let fd = t.open("f", O_RDWR | O_CREAT);
    for _ in 0..3 {
        ctx.submit(&mut Iocb::new(PWRITE, fd, b"x".as_ptr() as u64, 1, 0)).is(1);
    }
    sys!(io_getevents(ctx.0, 1, 2, &mut events, 0)).is(2);
    sys!(io_getevents(ctx.0, 1, 2, &mut events, 0)).is(1);
}

#[case(as_root, as_user)]
fn a_poll_completes_when_it_happens_and_tells_an_eventfd(t: &mut Guest) {
    let ctx = Context::new(8);
    let pipe = t.pipe();
    let eventfd = sys!(eventfd2(0, EFD_NONBLOCK)).fd();
    let mut poll = Iocb { flags: 1, resfd: eventfd, ..Iocb::new(POLL, pipe.r, POLLIN as u64, 0, 0) };
    ctx.submit(&mut poll).is(1);
    let mut event = Event::default();
    sys!(io_getevents(ctx.0, 1, 1, &raw mut event, &[msec(0)])).is(0);
    t.send(pipe.w, "x");
    let mut fds = pollfd { fd: eventfd, events: POLLIN, revents: 0 };
    sys!(poll(&raw mut fds, 1, -1)).is(1);
    let event = ctx.event();
    expect_eq!((event.data, event.obj), (42, &raw const poll as u64));
    check!(event.res & i64::from(POLLIN) != 0);
    // What holds already completes at once.
    ctx.submit(&mut poll).is(1);
    expect_eq!(ctx.event().res, i64::from(POLLIN));
}

#[case(as_root, as_user)]
fn an_outstanding_poll_can_be_cancelled(t: &mut Guest) {
    let ctx = Context::new(8);
    let pipe = t.pipe();
    let mut poll = Iocb::new(POLL, pipe.r, POLLIN as u64, 0, 0);
    ctx.submit(&mut poll).is(1);
    let mut event = Event::default();
    sys!(io_cancel(ctx.0, &raw const poll, &raw mut event)).fails(EINPROGRESS);
    expect_eq!(ctx.event().obj, &raw const poll as u64);
    sys!(io_cancel(ctx.0, &raw const poll, &raw mut event)).fails(EINVAL);
    sys!(io_cancel(ctx.0, 8, &raw mut event)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn a_forked_child_has_the_memory_but_no_context(t: &mut Guest) {
    let ctx = Context::new(8);
    t.fork(|| {
        let mut event = Event::default();
        sys!(io_getevents(ctx.0, 0, 1, &raw mut event, 0)).fails(EINVAL);
        sys!(io_destroy(ctx.0)).fails(EINVAL);
    })
    .done();
    sys!(io_destroy(ctx.0)).ok();
}
