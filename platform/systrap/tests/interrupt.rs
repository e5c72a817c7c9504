//! Requests to leave guest code, and signals from outside, which must not show.
#![allow(clippy::unwrap_used, clippy::panic)]

mod backend;
#[path = "../../suite/guest.rs"]
mod guest;

use guest::*;
use platform::Trap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[test]
fn a_request_made_outside_guest_code_is_kept() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let interrupter = context.interrupter();
    let mut regs = regs();
    interrupter.interrupt();
    interrupter.interrupt();
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Interrupted);
    assert_eq!(regs.rip, CODE, "nothing has run");
    for _ in 0..100 {
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
        interrupter.interrupt();
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Interrupted);
    }
    assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
}

#[test]
fn every_request_ends_a_spinning_guest() {
    let machine = Machine::with_code(SPIN);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let interrupter = context.interrupter();
    let (seen, rounds) = (AtomicU32::new(0), 2000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                // The next request comes at any point of the way into guest code.
                for _ in 0..(round * 37) % 5000 {
                    std::hint::spin_loop();
                }
                interrupter.interrupt();
                while seen.load(Ordering::Acquire) <= round {
                    std::thread::yield_now();
                }
            }
        });
        let mut regs = regs();
        for _ in 0..rounds {
            assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Interrupted);
            assert_eq!(regs.rip, CODE);
            seen.fetch_add(1, Ordering::Release);
        }
    });
}

#[test]
fn late_signals_do_not_show() {
    let machine = Machine::with_code(SYSCALL_LOOP);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let interrupter = context.interrupter();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                interrupter.interrupt();
                std::thread::yield_now();
            }
        });
        let mut regs = regs();
        // Not uprobe(2), which the host kernel answers itself.
        for n in (0..20_000).filter(|n| *n != 336) {
            regs.rax = n;
            match run(&mut context, &aspace, &mut regs) {
                Trap::Syscall => assert_eq!((regs.rip, regs.orig_rax), (CODE + 2, n)),
                Trap::Interrupted => assert!([CODE, CODE + 2].contains(&regs.rip)),
                other => panic!("{other:?}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut regs = regs();
    let first = run(&mut context, &aspace, &mut regs);
    assert!(matches!(first, Trap::Syscall | Trap::Interrupted));
    for _ in 0..100 {
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    }
}

#[test]
fn signals_from_outside_are_swallowed() {
    // mov eax, 100000; 1: dec eax; jnz 1b; syscall; jmp start
    let code = [0xb8, 0xa0, 0x86, 0x01, 0x00, 0xff, 0xc8, 0x75, 0xfc, 0x0f, 0x05, 0xeb, 0xf3];
    let machine = Machine::with_code(&code);
    let (aspace, mut context) = (machine.aspace(), machine.context());
    let mut regs = regs();
    // Whichever stub is ours; those of the pool do not mind either.
    let threads: Vec<(i32, i32)> = children()
        .into_iter()
        .flat_map(|pid| {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            tasks.map(move |task| (pid, task.unwrap().file_name().to_str().unwrap().parse().unwrap()))
        })
        .filter(|(pid, tid)| pid != tid)
        .collect();
    let send = |signo| {
        for (pid, tid) in &threads {
            // Those of another test may be gone.
            let _ = platform_host::process::tgkill(*pid, *tid, signo);
        }
    };
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
            for signo in signals.into_iter().cycle().take(1_000) {
                send(signo);
                // Signals that come faster than they are handled would fill the thread's stack.
                std::thread::park_timeout(std::time::Duration::from_micros(100));
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
            send(signo);
        }
        aspace.apply(vec![map(0x1000_0000, PAGE, platform::Prot::READ, 0)]).unwrap();
        let _sibling = context.new_sibling(&aspace).unwrap();
        assert_eq!(run(&mut context, &aspace, &mut regs), Trap::Syscall);
    }
}
