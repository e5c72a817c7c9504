//! Alternate signal stacks.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;

fn set(address: usize, size: usize, flags: i32) -> Ret {
    let stack =
        stack_t { ss_sp: std::ptr::with_exposed_provenance_mut(address), ss_flags: flags, ss_size: size };
    sys!(sigaltstack(&raw const stack, 0))
}

#[track_caller]
fn get() -> stack_t {
    let mut stack: stack_t = zeroed();
    sys!(sigaltstack(0, &raw mut stack)).ok();
    stack
}

static AT: AtomicU64 = AtomicU64::new(0);
static FLAGS: AtomicU32 = AtomicU32::new(0);

extern "C" fn handler(_: i32, _: *mut siginfo_t, _: *mut c_void) {
    let local = 0_u8;
    AT.store((&raw const local).addr() as u64, SeqCst);
    FLAGS.store(get().ss_flags as u32, SeqCst);
}

#[case(as_root, as_user)]
fn a_handler_with_onstack_runs_there(t: &mut Guest) {
    let stack = t.pages(8);
    set(stack.address, stack.length, 0).ok();
    t.handle(SIGUSR1, handler, SA_ONSTACK);
    t.raise(SIGUSR1);
    let range = stack.address as u64..(stack.address + stack.length) as u64;
    check!(range.contains(&AT.load(SeqCst)), "{:#x}", AT.load(SeqCst));
    expect_eq!(FLAGS.load(SeqCst), SS_ONSTACK as u32);
    expect_eq!(get().ss_flags, 0);
    t.handle(SIGUSR1, handler, 0);
    t.raise(SIGUSR1);
    check!(!range.contains(&AT.load(SeqCst)));
}

#[case(as_root, as_user)]
fn arguments_are_checked(t: &mut Guest) {
    let stack = t.pages(8);
    expect_eq!(get().ss_flags, SS_DISABLE);
    set(stack.address, MINSIGSTKSZ - 1, 0).fails(ENOMEM);
    set(stack.address, stack.length, 99).fails(EINVAL);
    set(stack.address, stack.length, 0).ok();
    let seen = get();
    expect_eq!((seen.ss_sp.addr(), seen.ss_size), (stack.address, stack.length));
    set(0, 0, SS_DISABLE).ok();
    expect_eq!(get().ss_flags, SS_DISABLE);
}

#[case(as_root, as_user)]
fn it_cannot_be_changed_while_in_use(t: &mut Guest) {
    extern "C" fn change(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        set(0, 0, SS_DISABLE).fails(EPERM);
    }
    let stack = t.pages(8);
    set(stack.address, stack.length, 0).ok();
    t.handle(SIGUSR1, change, SA_ONSTACK);
    t.raise(SIGUSR1);
    expect_eq!(get().ss_flags, 0);
}

#[case(as_root, as_user)]
fn autodisarm_frees_it_for_the_handler(t: &mut Guest) {
    const SS_AUTODISARM: i32 = 1 << 31;
    extern "C" fn look(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        FLAGS.store(get().ss_flags as u32, SeqCst);
    }
    let stack = t.pages(8);
    set(stack.address, stack.length, SS_AUTODISARM).ok();
    t.handle(SIGUSR1, look, SA_ONSTACK);
    t.raise(SIGUSR1);
    expect_eq!(FLAGS.load(SeqCst), SS_DISABLE as u32);
    expect_eq!(get().ss_sp.addr(), stack.address);
}

#[case(as_root, as_user)]
fn a_stack_overflow_is_caught_there(t: &mut Guest) {
    extern "C" fn overflow(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        let _ = sys!(exit_group(55));
    }
    #[inline(never)]
    fn descend(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 64]);
        if depth == u64::MAX { 0 } else { descend(depth + 1) + frame[3] }
    }
    t.limit(RLIMIT_STACK, 1 << 20);
    let child = t.fork_exit(|| {
        let stack = t.pages(8);
        set(stack.address, stack.length, 0).ok();
        t.handle(SIGSEGV, overflow, SA_ONSTACK);
        descend(0) as i32
    });
    child.wait().exited(55);
}

/// A signal whose frame does not fit kills.
#[case(as_root, as_user)]
fn a_frame_that_cannot_be_written_is_sigsegv(t: &mut Guest) {
    let child = t.fork(|| {
        let stack = t.map(8 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
        set(stack.address, stack.length, 0).ok();
        t.catch(SIGUSR1, SA_ONSTACK);
        t.raise(SIGUSR1);
    });
    child.wait().killed(SIGSEGV);
}

#[case(as_root, as_user)]
fn a_child_inherits_it_and_exec_drops_it(t: &mut Guest) {
    let stack = t.pages(8);
    set(stack.address, stack.length, 0).ok();
    t.fork(|| expect_eq!(get().ss_sp.addr(), stack.address)).done();
}
