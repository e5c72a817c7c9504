//! `fork` and what a child has of its parent.

use crate::prelude::*;
use libc::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

#[case(as_root, as_user)]
fn the_child_knows_its_parent(t: &mut Guest) {
    let parent = sys!(getpid()).ok();
    let child = t.fork_exit(|| {
        sys!(getppid()).is(parent);
        check!(sys!(getpid()).ok() != parent);
        i32::from(sys!(getpid()).ok() == sys!(gettid()).ok())
    });
    child.wait().exited(1);
}

#[case(as_root, as_user)]
fn descriptors_share_their_offset(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDONLY);
    t.fork(|| expect_eq!(t.recv(fd, 4), b"0123")).done();
    expect_eq!(t.recv(fd, 4), b"4567");
}

#[case(as_root, as_user)]
fn the_descriptor_table_is_copied(t: &mut Guest) {
    let pipe = t.pipe();
    t.fork(|| {
        sys!(close(pipe.r)).ok();
        sys!(close(pipe.w)).ok();
    })
    .done();
    t.send(pipe.w, "x");
    expect_eq!(t.recv(pipe.r, 1), b"x");
}

#[case(as_root, as_user)]
fn working_directory_and_umask_are_copied(t: &mut Guest) {
    t.dir("d");
    sys!(umask(0o123)).ok();
    t.fork(|| {
        sys!(chdir(c"d")).ok();
        sys!(umask(0)).is(0o123);
    })
    .done();
    sys!(umask(0)).is(0o123);
    expect_eq!(t.names("."), [".", "..", "d"]);
}

#[case(as_root, as_user)]
fn pending_signals_and_timers_are_not_inherited_but_the_mask_is(t: &mut Guest) {
    t.block(&[SIGUSR1, SIGALRM]);
    t.raise(SIGUSR1);
    sys!(alarm(100)).ok();
    let mask = t.mask();
    t.fork(|| {
        expect_eq!(t.pending(), 0);
        expect_eq!(t.mask(), mask);
        sys!(alarm(0)).is(0);
    })
    .done();
    expect_eq!(t.pending(), 1 << (SIGUSR1 - 1));
    check!(sys!(alarm(0)).ok() > 0);
}

#[case(as_root, as_user)]
fn exit_keeps_the_low_byte(t: &mut Guest) {
    t.fork_exit(|| 0x1ff).wait().exited(0xff);
    t.fork_exit(|| -1).wait().exited(0xff);
    t.fork_exit(|| 256).wait().exited(0);
}

#[case(as_root, as_user)]
fn orphans_go_to_the_nearest_subreaper(t: &mut Guest) {
    sys!(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).ok();
    let own = sys!(getpid()).ok();
    let (gone, told) = (t.pipe(), t.pipe());
    let middle = t.fork(|| {
        t.fork(|| {
            gone.wait();
            sys!(getppid()).is(own);
            t.send(told.w, (sys!(getpid()).fd()).to_ne_bytes());
        });
    });
    middle.done();
    gone.signal();
    let bytes = t.recv(told.r, 4);
    Child { pid: i32::from_ne_bytes(bytes.try_into().unwrap()) }.done();
}

/// Linux: clone's flags are checked for sense before anything is made.
#[case(as_root, as_user)]
fn clone_refuses_flags_that_need_others(_t: &mut Guest) {
    sys!(clone(CLONE_THREAD, 0, 0, 0, 0)).fails(EINVAL);
    sys!(clone(CLONE_SIGHAND, 0, 0, 0, 0)).fails(EINVAL);
    sys!(clone(CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0)).fails(EINVAL);
    sys!(clone(CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn parent_settid_and_child_settid_store_the_id(t: &mut Guest) {
    let ids = t.shared();
    let flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD;
    let pid = sys!(clone(flags, 0, ids[0].as_ptr(), ids[1].as_ptr(), 0));
    if pid.raw() == 0 {
        sys!(exit_group(0)).ok();
    }
    Child { pid: pid.fd() }.done();
    expect_eq!(i64::from(ids[0].load(SeqCst)), pid.ok());
    expect_eq!(i64::from(ids[1].load(SeqCst)), pid.ok());
}

/// A thread counts in one word and then in another: in no child may the second be ahead of the first, wherever the two
/// are. Linux: `dup_mmap` protects pages in turn, and who writes to one of them waits until all is copied.
#[case(as_root, as_user)]
fn a_child_sees_memory_at_one_moment_of_other_threads(t: &mut Guest) {
    const LARGE: usize = 4 << 20;
    const RW: i32 = PROT_READ | PROT_WRITE;
    let small = t.map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS);
    let large = t.map(LARGE, RW, MAP_PRIVATE | MAP_ANONYMOUS);
    (0..LARGE).step_by(PAGE).for_each(|at| large.set(at, 1));
    // SAFETY: aligned words of mappings that stay as long as the program.
    let word = |address: usize| unsafe { &*(address as *const AtomicU64) };
    let words = [word(small.address), word(large.address), word(large.address + LARGE / 2)];
    for (first, second) in [(0, 1), (1, 0), (2, 1), (0, 2)] {
        words.iter().for_each(|word| word.store(0, SeqCst));
        let (ahead, behind) = (words[first], words[second]);
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let counter = t.thread(move || {
            for count in 1.. {
                ahead.store(count, SeqCst);
                behind.store(count, SeqCst);
                if stop.load(SeqCst) {
                    break;
                }
            }
        });
        for _ in 0..100 {
            t.fork(|| {
                let (ahead, behind) = (ahead.load(SeqCst), behind.load(SeqCst));
                check!(ahead == behind || ahead == behind + 1, "{ahead} and then {behind}");
            })
            .done();
        }
        over.store(true, SeqCst);
        counter.join();
    }
}
