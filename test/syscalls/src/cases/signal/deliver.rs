//! Sending, queueing and delivery.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn kill_tells_who_sent_it(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    t.raise(SIGUSR1);
    let log = t.log();
    expect_eq!(log.len(), 1);
    expect_eq!((log[0].signo(), log[0].code()), (SIGUSR1, SI_USER));
    expect_eq!(i64::from(log[0].pid()), sys!(getpid()).ok());
    expect_eq!(log[0].uid(), t.uid());
}

#[case(as_root, as_user)]
fn tgkill_has_its_own_code(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    let pid = sys!(getpid()).ok();
    sys!(tgkill(pid, sys!(gettid()).ok(), SIGUSR1)).ok();
    expect_eq!(t.log()[0].code(), SI_TKILL);
    sys!(tgkill(pid, 0, SIGUSR1)).fails(EINVAL);
    sys!(tgkill(pid + 1, pid, SIGUSR1)).fails(ESRCH);
}

#[case(as_root, as_user)]
fn a_blocked_signal_is_pending_until_unblocked(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    t.block(&[SIGUSR1]);
    t.raise(SIGUSR1);
    t.raise(SIGUSR1);
    expect_eq!(t.caught(), []);
    expect_eq!(t.pending(), 1 << (SIGUSR1 - 1));
    t.unblock(&[SIGUSR1]);
    expect_eq!(t.caught(), [SIGUSR1]);
    expect_eq!(t.pending(), 0);
}

#[case(as_root, as_user)]
fn queued_realtime_signals_keep_order_and_value(t: &mut Guest) {
    let (low, high) = (SIGRTMIN() + 1, SIGRTMIN() + 2);
    t.catch(low, 0);
    t.catch(high, 0);
    t.block(&[low, high]);
    let pid = sys!(getpid()).ok();
    for (signal, value) in [(high, 1), (low, 2), (low, 3), (high, 4)] {
        let mut info = [0_i32; 32];
        (info[0], info[2], info[4], info[5], info[6]) = (signal, SI_QUEUE, pid as i32, t.uid() as i32, value);
        sys!(rt_sigqueueinfo(pid, signal, &info)).ok();
    }
    let order: Vec<_> =
        (0..4).map(|_| t.take(&[low, high])).map(|info| (info.signo(), info.status())).collect();
    expect_eq!(order, [(low, 2), (low, 3), (high, 1), (high, 4)]);
}

#[case(as_root, as_user)]
fn sigkill_and_sigstop_cannot_be_caught_or_blocked(t: &mut Guest) {
    let action = [SIG_IGN, 0, 0, 0];
    sys!(rt_sigaction(SIGKILL, &action, 0, 8)).fails(EINVAL);
    sys!(rt_sigaction(SIGSTOP, &action, 0, 8)).fails(EINVAL);
    sys!(rt_sigaction(0, &action, 0, 8)).fails(EINVAL);
    sys!(rt_sigaction(65, &action, 0, 8)).fails(EINVAL);
    sys!(rt_sigaction(SIGUSR1, &action, 0, 4)).fails(EINVAL);
    t.block(&[SIGKILL, SIGSTOP, SIGUSR1]);
    expect_eq!(t.mask(), 1 << (SIGUSR1 - 1));
}

#[case(as_root, as_user)]
fn default_actions_are_as_documented(t: &mut Guest) {
    for signal in
        [SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGALRM, SIGABRT, SIGSEGV, SIGXCPU, SIGIO, SIGRTMIN(), 64]
    {
        t.fork(|| t.raise(signal)).wait().killed(signal);
    }
    for signal in [SIGCHLD, SIGURG, SIGWINCH, SIGCONT] {
        t.fork(|| t.raise(signal)).done();
    }
}

#[case(as_root, as_user)]
fn a_handler_runs_with_its_signal_blocked_and_its_mask(t: &mut Guest) {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, _: *mut c_void) {
        let mut set = 0_u64;
        sys!(rt_sigprocmask(SIG_BLOCK, 0, &raw mut set, 8)).ok();
        SEEN.store(set, SeqCst);
    }
    static SEEN: AtomicU64 = AtomicU64::new(0);
    t.handle(SIGUSR1, handler, 0);
    t.raise(SIGUSR1);
    expect_eq!(SEEN.load(SeqCst), 1 << (SIGUSR1 - 1));
    expect_eq!(t.mask(), 0);
    t.handle(SIGUSR1, handler, SA_NODEFER);
    t.raise(SIGUSR1);
    expect_eq!(SEEN.load(SeqCst), 0);
}

#[case(as_root, as_user)]
fn resethand_is_for_one_signal(t: &mut Guest) {
    t.fork(|| {
        t.catch(SIGUSR1, SA_RESETHAND);
        t.raise(SIGUSR1);
        expect_eq!(t.caught(), [SIGUSR1]);
        t.raise(SIGUSR1);
    })
    .wait()
    .killed(SIGUSR1);
}

#[case(as_root, as_user)]
fn an_ignored_signal_is_not_even_pending(t: &mut Guest) {
    t.ignore(SIGUSR1);
    t.raise(SIGUSR1);
    t.block(&[SIGUSR1]);
    t.raise(SIGUSR1);
    t.ignore(SIGUSR1);
    expect_eq!(t.pending(), 0);
}

#[case(as_root, as_user)]
fn kill_checks_its_arguments(t: &mut Guest) {
    let pid = sys!(getpid()).ok();
    sys!(kill(pid, 65)).fails(EINVAL);
    sys!(kill(pid, -1)).fails(EINVAL);
    sys!(kill(pid, 0)).is(0);
    sys!(kill(0x3fff_ffff, 0)).fails(ESRCH);
    let child = t.fork(|| {});
    child.done();
    sys!(kill(child.pid, SIGTERM)).fails(ESRCH);
}

#[case(as_user)]
fn kill_of_another_users_process_is_eperm(t: &mut Guest) {
    t.needs_a_foreign_init();
    sys!(kill(1, 0)).fails(EPERM);
    sys!(kill(1, SIGTERM)).fails(EPERM);
}

#[case(as_root, as_user)]
fn several_pending_signals_are_taken_lowest_first(t: &mut Guest) {
    let signals = [SIGTERM, SIGUSR2, SIGUSR1, SIGHUP];
    for signal in signals {
        t.catch(signal, 0);
    }
    t.block(&signals);
    for signal in signals {
        t.raise(signal);
    }
    let order: Vec<i32> = (0..4).map(|_| t.take(&signals).signo()).collect();
    expect_eq!(order, [SIGHUP, SIGUSR1, SIGUSR2, SIGTERM]);
    t.unblock(&signals);
    expect_eq!(t.caught(), []);
}

#[case(as_root, as_user)]
fn a_signal_to_another_process_runs_its_handler_once(t: &mut Guest) {
    let (ready, seen) = (t.pipe(), t.shared());
    let child = t.fork(|| {
        t.catch(SIGUSR1, 0);
        ready.signal();
        while t.caught().len() < 20 {
            seen[0].store(t.caught().len() as u32, SeqCst);
        }
        seen[0].store(20, SeqCst);
    });
    ready.wait();
    for sent in 1..=20 {
        child.kill(SIGUSR1);
        t.until(|| seen[0].load(SeqCst) == sent);
    }
    child.done();
}

#[case(as_root, as_user)]
fn a_handler_may_send_the_program_elsewhere(t: &mut Guest) {
    extern "C" fn handler(_: i32, _: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel's context; rbx holds the address to go on at.
        unsafe {
            let registers = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
            registers[REG_RIP as usize] = registers[REG_RBX as usize];
        }
    }
    t.handle(SIGSEGV, handler, 0);
    for _ in 0..3 {
        let reached: u64;
        // SAFETY: the load faults; the handler goes on at label 3.
        unsafe {
            std::arch::asm!(
                "push rbx", "lea rbx, [rip + 3f]", "xor eax, eax", "mov rax, [8]", "mov eax, 1", "jmp 4f",
                "3:", "mov eax, 2", "4:", "pop rbx", out("rax") reached,
            );
        }
        expect_eq!(reached, 2);
    }
}
