//! Measures one trapped system call, against the bare ptrace requests it cannot do without, in the same run.
//!
//! Prints the best of several interleaved rounds in microseconds, and the ratio. With an argument, that many pairs of a
//! host thread and a guest run at once, and the total rate is printed instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use platform::{Backing, MapOp, Platform, Prot, PtRegs, Trap};
use platform_host::{affinity, wait};
use platform_systrap::SystrapPlatform;
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CODE: u64 = 0x40_0000;
const CALLS: u32 = 20_000;
const ROUNDS: usize = 9;

fn memory_file() -> File {
    // SAFETY: the name is a C string, the descriptor is fresh.
    let fd = unsafe {
        let fd = libc::memfd_create(c"guest-memory".as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0, "memfd_create");
        OwnedFd::from_raw_fd(fd)
    };
    let file = File::from(fd);
    file.set_len(1 << 20).unwrap();
    // syscall; jmp .-2
    file.write_all_at(&[0x0f, 0x05, 0xeb, 0xfc], 0).unwrap();
    file
}

/// A child that does nothing but call, traced by the calling thread on the same processor.
fn raw_tracee() -> i32 {
    // SAFETY: the child makes no use of the C library's state.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            libc::raise(libc::SIGSTOP);
            loop {
                std::arch::asm!("syscall", inout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _);
            }
        }
        let mut status = 0;
        libc::waitpid(pid, &mut status, libc::__WALL);
        libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD);
        pid
    }
}

/// One round of the bare requests: SYSEMU, wait, GETREGSET, SETREGSET.
fn raw_round(pid: i32) -> Duration {
    const PTRACE_SYSEMU: libc::c_uint = 31;
    const NT_PRSTATUS: libc::c_int = 1;
    let mut regs = PtRegs::default();
    let start = Instant::now();
    for _ in 0..CALLS {
        // SAFETY: the registers are read and written within their size.
        unsafe {
            let mut status = 0;
            libc::ptrace(PTRACE_SYSEMU, pid, 0, 0);
            libc::waitpid(pid, &mut status, libc::__WALL);
            let mut iov =
                libc::iovec { iov_base: std::ptr::from_mut(&mut regs).cast(), iov_len: size_of::<PtRegs>() };
            libc::ptrace(libc::PTRACE_GETREGSET, pid, NT_PRSTATUS, &mut iov);
            regs.rax = 7;
            libc::ptrace(libc::PTRACE_SETREGSET, pid, NT_PRSTATUS, &mut iov);
        }
    }
    start.elapsed()
}

/// Runs a guest for some rounds of calls, calling `between` before each, and gives the time of each.
fn platform_rounds(platform: &Arc<SystrapPlatform>, mut between: impl FnMut()) -> Vec<Duration> {
    let aspace = platform.new_address_space().unwrap();
    let backing = Backing::Memory { offset: 0 };
    let prot = Prot::READ | Prot::EXEC;
    aspace.apply(vec![MapOp::Map { addr: CODE, len: 4096, prot, backing, populate: true }]).unwrap();
    let mut context = platform.new_context().unwrap();
    let mut regs = PtRegs::for_exec(CODE, 0);
    (0..ROUNDS)
        .map(|_| {
            between();
            let start = Instant::now();
            for _ in 0..CALLS {
                assert_eq!(context.switch(&aspace, &mut regs).unwrap(), Trap::Syscall);
                regs.rax = 7;
            }
            start.elapsed()
        })
        .collect()
}

/// What making and leaving things costs the thread that does it.
fn lifetimes(platform: &Arc<SystrapPlatform>) {
    const COUNT: u32 = 500;
    let map = |addr, len| {
        let backing = Backing::Memory { offset: 0 };
        vec![MapOp::Map { addr, len, prot: Prot::READ | Prot::EXEC, backing, populate: false }]
    };
    let mean = |start: Instant| start.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT);
    let mut context = platform.new_context().unwrap();
    let start = Instant::now();
    for _ in 0..COUNT {
        let aspace = platform.new_address_space().unwrap();
        aspace.apply(map(CODE, 4096)).unwrap();
        assert_eq!(context.switch(&aspace, &mut PtRegs::for_exec(CODE, 0)).unwrap(), Trap::Syscall);
        context.leave();
    }
    println!("address space made, entered and left: {:.0} µs", mean(start));
    let aspace = platform.new_address_space().unwrap();
    aspace.apply(map(CODE, 4096)).unwrap();
    let mut regs = PtRegs::for_exec(CODE, 0);
    context.switch(&aspace, &mut regs).unwrap();
    let start = Instant::now();
    for _ in 0..COUNT {
        let mut sibling = context.new_sibling(&aspace).unwrap();
        assert_eq!(sibling.switch(&aspace, &mut regs).unwrap(), Trap::Syscall);
    }
    println!("sibling made, entered and left: {:.0} µs", mean(start));
    let start = Instant::now();
    for _ in 0..COUNT {
        aspace.apply(map(0x1000_0000, 0x1_0000)).unwrap();
        assert_eq!(context.switch(&aspace, &mut regs).unwrap(), Trap::Syscall);
    }
    println!("64 KiB mapped and a trap: {:.1} µs", mean(start));
}

fn micros(best: Option<Duration>) -> f64 {
    best.unwrap_or_default().as_secs_f64() * 1e6 / f64::from(CALLS)
}

fn main() {
    let platform = SystrapPlatform::new(memory_file().into()).unwrap();
    if let Some(pairs) = std::env::args().nth(1) {
        let pairs: u32 = pairs.parse().unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..pairs {
                scope.spawn(|| platform_rounds(&platform, || ()));
            }
        });
        let calls = f64::from(CALLS) * f64::from(pairs) * ROUNDS as f64;
        println!("{pairs} pairs: {:.0} calls/ms", calls / start.elapsed().as_secs_f64() / 1e3);
        return;
    }
    let cpu = affinity::CpuSet::single(affinity::current_cpu());
    affinity::set(0, &cpu).unwrap();
    let pid = raw_tracee();
    let mut raw = Vec::new();
    let ours = platform_rounds(&platform, || raw.push(raw_round(pid)));
    // SAFETY: the child is not reaped yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let _ = wait::reap(pid);
    let (raw, ours) = (micros(raw.into_iter().min()), micros(ours.into_iter().min()));
    lifetimes(&platform);
    println!("bare {raw:.2} µs, switch {ours:.2} µs, ratio {:.2}", ours / raw);
}
