//! Measures one trapped system call. Prints the best of several rounds in microseconds: of a pair that may use all
//! processors, and of one that shares a processor. With an argument, that many pairs run at once, and the total rate is
//! printed instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use platform::{Backing, MapOp, Platform, Prot, PtRegs, Trap};
use platform_host::affinity;
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

/// Runs a guest for some rounds of calls, and gives the time of each.
fn rounds(platform: &Arc<SystrapPlatform>) -> Vec<Duration> {
    let aspace = platform.new_address_space().unwrap();
    let backing = Backing::Memory { offset: 0 };
    let prot = Prot::READ | Prot::EXEC;
    aspace.apply(vec![MapOp::Map { addr: CODE, len: 4096, prot, backing, populate: true }]).unwrap();
    let mut context = platform.new_context().unwrap();
    let mut regs = PtRegs::for_exec(CODE, 0);
    (0..ROUNDS)
        .map(|_| {
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
    }
    println!("64 KiB mapped: {:.1} µs", mean(start));
    let start = Instant::now();
    for _ in 0..COUNT {
        aspace.apply(map(0x1000_0000, 0x1_0000)).unwrap();
        assert_eq!(context.switch(&aspace, &mut regs).unwrap(), Trap::Syscall);
    }
    println!("64 KiB mapped and a trap: {:.1} µs", mean(start));
}

fn micros(times: Vec<Duration>) -> f64 {
    times.into_iter().min().unwrap_or_default().as_secs_f64() * 1e6 / f64::from(CALLS)
}

fn main() {
    let platform = SystrapPlatform::new(memory_file().into()).unwrap();
    if let Some(pairs) = std::env::args().nth(1) {
        let pairs: u32 = pairs.parse().unwrap();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..pairs {
                scope.spawn(|| rounds(&platform));
            }
        });
        let calls = f64::from(CALLS) * f64::from(pairs) * ROUNDS as f64;
        println!("{pairs} pairs: {:.0} calls/ms", calls / start.elapsed().as_secs_f64() / 1e3);
        return;
    }
    println!("a trap, all processors: {:.2} µs", micros(rounds(&platform)));
    lifetimes(&platform);
    drop(platform);
    let cpu = affinity::CpuSet::single(affinity::current_cpu());
    affinity::set(0, &cpu).unwrap();
    let platform = SystrapPlatform::new(memory_file().into()).unwrap();
    println!("a trap, one processor: {:.2} µs", micros(rounds(&platform)));
    lifetimes(&platform);
}
