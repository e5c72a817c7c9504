//! Calls of administrators, and `kcmp`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn kcmp_tells_what_two_processes_share(t: &mut Guest) {
    let me = std::process::id() as i32;
    let child = t.sleeper();
    let pipe = t.pipe();
    let copy = sys!(dup(pipe.r)).fd();
    sys!(kcmp(me, me, 0, pipe.r, copy)).or_skip(ENOSYS, "no kcmp").is(0);
    check!(matches!(sys!(kcmp(me, me, 0, pipe.r, pipe.w)).ok(), 1 | 2));
    let (a, b) = (sys!(kcmp(me, child.pid, 1, 0, 0)).ok(), sys!(kcmp(child.pid, me, 1, 0, 0)).ok());
    check!((a, b) == (1, 2) || (a, b) == (2, 1));
    for kind in [2, 3, 4] {
        check!(matches!(sys!(kcmp(me, child.pid, kind, 0, 0)).ok(), 1 | 2));
        sys!(kcmp(me, me, kind, 0, 0)).is(0);
    }
    sys!(kcmp(me, child.pid, 5, 0, 0)).is(0);
    sys!(kcmp(me, me, 0, -1, 0)).fails(EBADF);
    sys!(kcmp(me, me, 99, 0, 0)).fails(EINVAL);
    sys!(kcmp(me, 0x7fff_ffff, 0, 0, 0)).fails(ESRCH);
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}

#[case(as_root, as_user)]
fn kcmp_finds_what_an_epoll_instance_watches(t: &mut Guest) {
    let me = std::process::id() as i32;
    let pipe = t.pipe();
    let epoll = sys!(epoll_create1(0)).fd();
    let event = epoll_event { events: EPOLLIN as u32, u64: 0 };
    sys!(epoll_ctl(epoll, EPOLL_CTL_ADD, pipe.r, &raw const event)).ok();
    let slot = |efd: i32, tfd: i32, toff: u32| [efd as u32, tfd as u32, toff];
    sys!(kcmp(me, me, 7, pipe.r, &slot(epoll, pipe.r, 0))).or_skip(ENOSYS, "no kcmp").is(0);
    check!(matches!(sys!(kcmp(me, me, 7, pipe.w, &slot(epoll, pipe.r, 0))).ok(), 1 | 2));
    sys!(kcmp(me, me, 7, pipe.r, &slot(epoll, pipe.r, 1))).fails(ENOENT);
    sys!(kcmp(me, me, 7, pipe.r, &slot(epoll, pipe.w, 0))).fails(ENOENT);
    sys!(kcmp(me, me, 7, pipe.r, &slot(pipe.r, pipe.r, 0))).fails(EINVAL);
    sys!(kcmp(me, me, 7, pipe.r, &slot(-1, pipe.r, 0))).fails(EBADF);
    sys!(kcmp(me, me, 7, -1, &slot(epoll, pipe.r, 0))).fails(EBADF);
    sys!(kcmp(me, me, 7, pipe.r, 8)).fails(EFAULT);
}

#[case(as_user)]
fn administrators_calls_are_not_for_everybody(_t: &mut Guest) {
    sys!(reboot(0xfee1_dead_u32, 672_274_793, 0x89ab_cdef_u32, 0)).fails(EPERM);
    sys!(reboot(1, 2, 3, 0)).fails(EPERM);
    sys!(acct(c"nothing")).fails(EPERM);
}

#[case(as_root)]
fn reboot_ends_a_pid_namespace(t: &mut Guest) {
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    for (command, signal) in [(RESTART, SIGHUP), (HALT, SIGINT)] {
        let init = t.clone(CLONE_NEWPID, || {
            sys!(reboot(0xfee1_dead_u32, 1, command, 0)).fails(EINVAL);
            sys!(reboot(1, 672_274_793, command, 0)).fails(EINVAL);
            sys!(reboot(0xfee1_dead_u32, 672_274_793, 0, 0)).fails(EINVAL);
            let _ = sys!(reboot(0xfee1_dead_u32, 672_274_793, command, 0));
        });
        init.wait().killed(signal);
    }
}

#[case(as_root, as_user)]
fn quotactl_says_what_is_wrong(t: &mut Guest) {
    t.file("f", "");
    sys!(quotactl(0x8000_0703_u32, c"f", 0, 0)).fails(EINVAL);
    sys!(quotactl(0x8000_0700_u32, 0, 0, 0)).fails(ENODEV);
    sys!(quotactl(0x8000_0700_u32, c"none", 0, 0)).fails(ENOENT);
    sys!(quotactl(0x8000_0700_u32, c"f", 0, 0)).fails(ENOTBLK);
    sys!(quotactl(0x8000_0100_u32, 0, 0, 0)).ok();
}

#[case(as_root, as_user)]
fn seeking_on_memory_devices_leads_to_their_start(t: &mut Guest) {
    for name in ["/dev/null", "/dev/zero", "/dev/full"] {
        let fd = t.open(name, O_RDONLY);
        for (offset, whence) in [(100, SEEK_SET), (-5, SEEK_CUR), (7, SEEK_END), (3, SEEK_DATA)] {
            sys!(lseek(fd, offset, whence)).is(0);
        }
        sys!(lseek(fd, 0, 9)).fails(EINVAL);
    }
}

#[case(as_root, as_user)]
fn remap_file_pages_shows_other_pages_of_the_file(t: &mut Guest) {
    let fd = sys!(memfd_create(c"x", 0)).fd();
    sys!(ftruncate(fd, 4 * PAGE)).ok();
    let map = sys!(mmap(0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)).size();
    for page in 0..4 {
        poke(map + page * PAGE, page as u8);
    }
    sys!(remap_file_pages(map, PAGE, 0, 3, 0)).or_skip(ENOSYS, "not built in").ok();
    expect_eq!((peek(map), peek(map + PAGE)), (3, 1));
    poke(map, 9);
    expect_eq!(peek(map + 3 * PAGE), 9);
    sys!(remap_file_pages(map, PAGE, PROT_READ, 0, 0)).fails(EINVAL);
    sys!(remap_file_pages(map, 0, 0, 0, 0)).fails(EINVAL);
    sys!(remap_file_pages(map, PAGE, 0, u64::MAX, 0)).fails(EINVAL);
    let private = t.map(PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
    sys!(remap_file_pages(private.address, PAGE, 0, 0, 0)).fails(EINVAL);
}
