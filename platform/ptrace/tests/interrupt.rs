//! Requests to leave guest code, and signals from outside, which must not show.
#![allow(clippy::unwrap_used)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;
#[path = "../../suite/interrupt.rs"]
mod suite;

use guest::*;
use platform::Trap;

#[test]
fn signals_from_outside_are_swallowed() {
    // mov eax, 100000; 1: dec eax; jnz 1b; syscall; jmp start
    let code = [0xb8, 0xa0, 0x86, 0x01, 0x00, 0xff, 0xc8, 0x75, 0xfc, 0x0f, 0x05, 0xeb, 0xf3];
    let machine = Machine::with_code(&code);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    // The pool's stubs have one thread like ours; ours is the child that is traced by this very thread.
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    let own = platform_host::process::gettid();
    let stub = children()
        .into_iter()
        .find(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.lines().any(|line| line.split_whitespace().eq(["TracerPid:", own.to_string().as_str()]))
        })
        .unwrap();
    let signals = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGUSR1,
        libc::SIGSEGV,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGURG,
        libc::SIGSYS,
        libc::SIGWINCH,
        34,
        64,
    ];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Not for ever: signals that come faster than they are swallowed keep the guest from running.
            for signo in signals.into_iter().cycle().take(20_000) {
                let _ = platform_host::process::tgkill(stub, stub, signo);
                std::thread::yield_now();
            }
        });
        for _ in 0..3000 {
            assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
            assert_eq!(regs.rip, CODE + 11);
        }
    });
    // Map operations are carried out among them.
    for _ in 0..50 {
        for signo in signals {
            platform_host::process::tgkill(stub, stub, signo).unwrap();
        }
        aspace.apply(vec![map(0x1000_0000, PAGE, platform::Prot::READ, 0)]).unwrap();
        let _sibling = context.new_sibling(&aspace).unwrap();
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    }
}
