//! Threads.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn threads_have_one_pid_and_their_own_tids(t: &mut Guest) {
    let pid = sys!(getpid()).ok();
    let thread = t.thread(move || {
        sys!(getpid()).is(pid);
        check!(sys!(gettid()).ok() != pid);
    });
    check!(i64::from(thread.tid) != pid);
    thread.join();
    sys!(gettid()).is(pid);
}

#[case(as_root, as_user)]
fn task_lists_every_thread(t: &mut Guest) {
    let pipe = t.pipe();
    let threads: Vec<_> = (0..3).map(|_| t.thread(move || pipe.wait())).collect();
    let names = t.names("/proc/self/task");
    for thread in &threads {
        check!(names.contains(&thread.tid.to_string()), "{names:?}");
    }
    expect_eq!(names.len(), 2 + 4);
    expect_eq!(t.field("/proc/self/status", "Threads"), "4");
    threads.iter().for_each(|_| pipe.signal());
    for thread in threads {
        thread.join();
    }
}

/// CLONE_CHILD_CLEARTID: the word is zeroed and a futex waiter woken when the thread has ended.
#[case(as_root, as_user)]
fn cleartid_zeroes_the_word_and_wakes(t: &mut Guest) {
    extern "C" fn child(_: *mut c_void) -> i32 {
        0
    }
    let word = AtomicU32::new(1);
    let stack = t.pages(16);
    let top = std::ptr::with_exposed_provenance_mut(stack.address + stack.length);
    let flags = CLONE_VM | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CLONE_PARENT_SETTID | SIGCHLD;
    let mut parent = 0_i32;
    let (parent_tid, child_tid) = (&raw mut parent, word.as_ptr());
    let none = std::ptr::null_mut::<c_void>();
    // SAFETY: the child runs `child` on the new stack; the words outlive it.
    let pid = unsafe { libc::clone(child, top, flags, none, parent_tid, none, child_tid) };
    t.until(|| {
        let value = word.load(SeqCst);
        value == 0 || sys!(futex(word.as_ptr(), FUTEX_WAIT, value, 0)).errno() == EAGAIN
    });
    Child { pid }.done();
    expect_eq!((word.load(SeqCst), parent), (0, pid));
}

#[case(as_root, as_user)]
fn set_tid_address_gives_the_tid(_t: &mut Guest) {
    let word = AtomicU32::new(7);
    sys!(set_tid_address(word.as_ptr())).is(sys!(gettid()).ok());
}

#[case(as_root, as_user)]
fn exit_of_one_thread_leaves_the_others(t: &mut Guest) {
    let child = t.fork(|| {
        let pipe = t.pipe();
        t.thread(move || {
            pipe.wait();
            let _ = sys!(exit_group(6));
        });
        pipe.signal();
        let _ = sys!(exit(5));
    });
    child.wait().exited(6);
}

#[case(as_root, as_user)]
fn exit_group_ends_all_threads(t: &mut Guest) {
    let child = t.fork(|| {
        let never = t.pipe();
        t.thread(move || never.wait());
        let _ = sys!(exit_group(8));
    });
    child.wait().exited(8);
}

#[case(as_root, as_user)]
fn a_dead_leader_stays_a_zombie_until_the_last_thread(t: &mut Guest) {
    let go = t.pipe();
    let child = t.fork(|| {
        t.thread(move || {
            go.wait();
            let _ = sys!(exit_group(2));
        });
        let _ = sys!(exit(1));
    });
    t.until_state(child.pid, "Z");
    sys!(wait4(child.pid, 0, WNOHANG, 0)).is(0);
    go.signal();
    child.wait().exited(2);
}

/// Linux: de_thread. The thread that executes takes the leader's id; all others end.
#[case(as_root, as_user)]
fn exec_from_another_thread_becomes_the_leader(t: &mut Guest) {
    let pipe = t.pipe();
    let (program, directory) = (t.program().to_owned(), t.directory().to_owned());
    let child = t.fork(|| {
        let never = t.pipe();
        t.thread(move || never.wait());
        t.thread(move || {
            sys!(dup2(pipe.w, 1)).ok();
            Guest::new(program, directory).exec_helper("ids", &[], &[]).ok();
        });
        never.wait();
    });
    sys!(close(pipe.w)).ok();
    child.done();
    let output = String::from_utf8(t.recv(pipe.r, 256)).unwrap();
    expect_eq!(output.split(' ').next(), Some(child.pid.to_string().as_str()));
}

#[case(as_root, as_user)]
fn a_thread_waits_for_a_child_of_another(t: &mut Guest) {
    let child = t.fork_exit(|| 3);
    let waiter = t.thread(move || child.wait().exited(3));
    waiter.join();
    let child = t.fork_exit(|| 4);
    t.thread(move || sys!(wait4(child.pid, 0, __WNOTHREAD, 0)).fails(ECHILD)).join();
    child.wait().exited(4);
}

#[case(as_root, as_user)]
fn thread_local_storage_is_per_thread(t: &mut Guest) {
    let own = arch_prctl_fs();
    let thread = t.thread(move || check!(arch_prctl_fs() != own));
    thread.join();
    expect_eq!(arch_prctl_fs(), own);
}

fn arch_prctl_fs() -> u64 {
    const ARCH_GET_FS: i32 = 0x1003;
    let mut base = 0_u64;
    sys!(arch_prctl(ARCH_GET_FS, &raw mut base)).ok();
    base
}

#[case(as_root, as_user)]
fn the_gs_base_is_kept(t: &mut Guest) {
    const ARCH_SET_GS: i32 = 0x1001;
    const ARCH_GET_GS: i32 = 0x1004;
    let map = t.pages(1);
    map.set(16, 77);
    sys!(arch_prctl(ARCH_SET_GS, map.address)).ok();
    let mut base = 0_usize;
    sys!(arch_prctl(ARCH_GET_GS, &raw mut base)).ok();
    expect_eq!(base, map.address);
    let value: u8;
    // SAFETY: reads the page that the base points to.
    unsafe { std::arch::asm!("mov {}, byte ptr gs:[16]", out(reg_byte) value) };
    expect_eq!(value, 77);
    sys!(arch_prctl(ARCH_SET_GS, usize::MAX >> 1)).fails(EPERM);
    sys!(arch_prctl(0x9999, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn fifty_threads_add_up_under_a_lock(_t: &mut Guest) {
    let sum = std::sync::Mutex::new(0_u32);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                for _ in 0..100 {
                    *sum.lock().unwrap() += 1;
                }
            });
        }
    });
    expect_eq!(*sum.lock().unwrap(), 5000);
}

#[case(as_root, as_user)]
fn threads_hand_messages_back_and_forth(_t: &mut Guest) {
    let (to, from_main) = std::sync::mpsc::channel::<u32>();
    let (back, from_thread) = std::sync::mpsc::channel::<u32>();
    let thread = std::thread::spawn(move || {
        for value in from_main {
            back.send(value + 1).unwrap();
        }
    });
    let mut value = 0;
    for _ in 0..500 {
        to.send(value).unwrap();
        value = from_thread.recv().unwrap();
    }
    drop(to);
    thread.join().unwrap();
    expect_eq!(value, 500);
}

#[case(as_root, as_user)]
fn threads_share_descriptors_and_directory(t: &mut Guest) {
    t.dir("d");
    let inode = t.stat("d").st_ino;
    t.thread(|| {
        sys!(dup2(0, 66)).ok();
        sys!(chdir(c"d")).ok();
    })
    .join();
    sys!(fcntl(66, F_GETFD, 0)).is(0);
    expect_eq!(t.stat(".").st_ino, inode);
    t.thread(|| sys!(close(66)).is(0)).join();
    sys!(fcntl(66, F_GETFD, 0)).fails(EBADF);
}

#[case(as_root, as_user)]
fn a_thread_that_forks_leaves_the_others_behind(t: &mut Guest) {
    let never = t.pipe();
    let other = t.thread(move || never.wait());
    let child = t.fork(|| {
        expect_eq!(t.names("/proc/self/task").len(), 3);
        sys!(gettid()).is(sys!(getpid()).ok());
    });
    child.done();
    never.signal();
    other.join();
}

#[case(as_root, as_user)]
fn a_fatal_signal_ends_every_thread(t: &mut Guest) {
    let never = t.pipe();
    let child = t.fork(|| {
        t.thread(move || never.wait());
        t.thread(move || touch(8));
        never.wait();
    });
    child.wait().killed(SIGSEGV);
}
