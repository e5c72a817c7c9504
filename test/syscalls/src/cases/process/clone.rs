//! `clone`, `clone3`, `vfork`, `unshare`.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

/// `clone3` with `size` bytes of `args`. The child returns 0 here as well.
fn clone3(args: &clone_args, size: usize) -> Ret {
    sys!(clone3(&raw const *args, size))
}

fn args(flags: u64, signal: i32) -> clone_args {
    let mut args: clone_args = zeroed();
    args.flags = flags;
    args.exit_signal = signal as u64;
    args
}

#[case(as_root, as_user)]
fn clone3_forks_and_stores_a_pidfd(t: &mut Guest) {
    let mut pidfd = -1_i32;
    let mut args = args(CLONE_PIDFD as u64, SIGCHLD);
    args.pidfd = (&raw mut pidfd).addr() as u64;
    (&raw mut pidfd).expose_provenance();
    let pid = clone3(&args, size_of::<clone_args>());
    if pid.raw() == 0 {
        let _ = sys!(exit_group(9));
    }
    let pidfd = std::hint::black_box(pidfd);
    sys!(fcntl(pidfd, F_GETFD, 0)).is(FD_CLOEXEC);
    expect_eq!(t.poll(pidfd, POLLIN, -1), POLLIN);
    Child { pid: pid.fd() }.wait().exited(9);
}

#[case(as_root, as_user)]
fn clone3_checks_its_structure(_t: &mut Guest) {
    let size = size_of::<clone_args>();
    let forked = args(0, SIGCHLD);
    clone3(&forked, 63).fails(EINVAL);
    clone3(&forked, 5000).fails(E2BIG);
    sys!(clone3(8, size)).fails(EFAULT);
    clone3(&args(SIGCHLD as u64, 0), size).fails(EINVAL);
    clone3(&args(0, 65), size).fails(EINVAL);
    clone3(&args(CLONE_THREAD as u64, 0), size).fails(EINVAL);
    clone3(&args(CLONE_DETACHED as u64, SIGCHLD), size).fails(EINVAL);
    let mut stack = args(0, SIGCHLD);
    stack.stack_size = 4096;
    clone3(&stack, size).fails(EINVAL);
}

#[case(as_root)]
fn clone3_can_choose_the_pid(t: &mut Guest) {
    let wanted = 31_337_i32;
    if t.exists(&format!("/proc/{wanted}")) {
        t.skip("the process id is taken");
    }
    let mut args = args(0, SIGCHLD);
    args.set_tid = (&raw const wanted).expose_provenance() as u64;
    args.set_tid_size = 1;
    let pid = clone3(&args, size_of::<clone_args>());
    if pid.raw() == 0 {
        let _ = sys!(exit_group(0));
    }
    pid.is(wanted);
    Child { pid: wanted }.done();
}

#[case(as_root, as_user)]
fn clone_files_shares_the_table(t: &mut Guest) {
    let child = t.clone(CLONE_FILES, || {
        sys!(dup2(0, 77)).ok();
    });
    child.done();
    sys!(fcntl(77, F_GETFD, 0)).is(0);
    t.clone(CLONE_FILES, || {
        sys!(unshare(CLONE_FILES)).ok();
        sys!(close(77)).ok();
    })
    .done();
    sys!(fcntl(77, F_GETFD, 0)).is(0);
}

#[case(as_root, as_user)]
fn clone_fs_shares_directory_and_umask(t: &mut Guest) {
    t.dir("d");
    let inode = t.stat("d").st_ino;
    t.clone(CLONE_FS, || {
        sys!(chdir(c"d")).ok();
        sys!(umask(0o77)).ok();
    })
    .done();
    expect_eq!(t.stat(".").st_ino, inode);
    sys!(umask(0)).is(0o77);
    t.clone(CLONE_FS, || {
        sys!(unshare(CLONE_FS)).ok();
        sys!(chdir(c"/")).ok();
    })
    .done();
    expect_eq!(t.stat(".").st_ino, inode);
}

/// With CLONE_VFORK the parent sleeps until the child has ended or executed.
#[case(as_root, as_user)]
fn vfork_waits_for_the_child(t: &mut Guest) {
    let order = t.shared();
    let child = t.clone(CLONE_VFORK, || {
        for _ in 0..10 {
            std::thread::yield_now();
        }
        order[0].store(1, SeqCst);
    });
    expect_eq!(order[0].load(SeqCst), 1);
    child.done();
    let pipe = t.pipe();
    let child = t.clone(CLONE_VFORK, || {
        sys!(dup2(pipe.w, 1)).ok();
        t.exec_helper("args", &["executed"], &[]).ok();
    });
    sys!(close(pipe.w)).ok();
    child.done();
    expect_eq!(t.recv(pipe.r, 64), b"executed\n");
}

#[case(as_root, as_user)]
fn clone_vm_shares_memory_on_a_stack_of_its_own(t: &mut Guest) {
    extern "C" fn child(word: *mut c_void) -> i32 {
        // SAFETY: the parent's word, which outlives the child.
        unsafe { &*word.cast::<AtomicU32>() }.store(5, SeqCst);
        3
    }
    let word = AtomicU32::new(0);
    let stack = t.pages(16);
    let top = std::ptr::with_exposed_provenance_mut(stack.address + stack.length);
    let argument = (&raw const word).cast_mut().cast();
    // SAFETY: the child runs `child` on the new stack and touches only `word`.
    let pid = unsafe { libc::clone(child, top, CLONE_VM | SIGCHLD, argument) };
    Child { pid }.wait().exited(3);
    expect_eq!(word.load(SeqCst), 5);
}

/// A child without an exit signal is waited for only with __WCLONE or __WALL.
#[case(as_root, as_user)]
fn a_child_without_sigchld_needs_wall(t: &mut Guest) {
    t.catch(SIGCHLD, 0);
    let pid = sys!(clone(0, 0, 0, 0, 0));
    if pid.raw() == 0 {
        let _ = sys!(exit_group(0));
    }
    sys!(wait4(pid.raw(), 0, 0, 0)).fails(ECHILD);
    sys!(wait4(pid.raw(), 0, __WALL, 0)).is(pid.raw());
    expect_eq!(t.caught(), []);
}

#[case(as_root, as_user)]
fn clone_parent_makes_a_sibling(t: &mut Guest) {
    let own = sys!(getpid()).ok();
    let told = t.pipe();
    t.fork(|| {
        let pid = sys!(clone(CLONE_PARENT | SIGCHLD, 0, 0, 0, 0));
        if pid.raw() == 0 {
            sys!(getppid()).is(own);
            let _ = sys!(exit_group(4));
        }
        t.send(told.w, pid.fd().to_ne_bytes());
    })
    .done();
    let pid = i32::from_ne_bytes(t.recv(told.r, 4).try_into().unwrap());
    Child { pid }.wait().exited(4);
}

#[case(as_root, as_user)]
fn unshare_refuses_what_it_does_not_know(_t: &mut Guest) {
    sys!(unshare(CLONE_PARENT)).fails(EINVAL);
    sys!(unshare(0)).ok();
    sys!(unshare(CLONE_THREAD)).ok();
    sys!(unshare(CLONE_FS | CLONE_FILES | CLONE_SYSVSEM)).ok();
}
