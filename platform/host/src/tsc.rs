//! The processor's time-stamp counter: whether it can be relied on, and readings of it beside the host's clocks.
//!
//! Linux: arch/x86/kernel/tsc.c.

use crate::time::{HostClock, now};
use std::arch::asm;
use std::arch::x86_64::__cpuid;

/// Reads the counter, in no order with other instructions.
#[inline]
pub fn rdtsc() -> u64 {
    // SAFETY: reads a counter; user mode may, unless PR_SET_TSC has forbidden it, which nothing here does.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Reads the counter, after every earlier and before every later instruction.
#[inline]
pub fn rdtsc_ordered() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter; user mode may, unless PR_SET_TSC has forbidden it, which nothing here does.
    unsafe {
        asm!("lfence", "rdtsc", "lfence", out("rax") low, out("rdx") high, options(nostack, preserves_flags));
    }
    high << 32 | low
}

/// Whether the counter runs at one rate in every power state. Linux: X86_FEATURE_NONSTOP_TSC and CONSTANT_TSC.
pub fn is_invariant() -> bool {
    /// CPUID leaf 0x8000_0007, bit 8 of edx.
    const INVARIANT: u32 = 1 << 8;
    // The attribute is for compilers older than the one that made these functions safe.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has the instruction.
    unsafe {
        __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & INVARIANT != 0
    }
}

/// A host clock and the counter, read together.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The counter, half-way between a reading before and one after.
    pub tsc: u64,
    /// Nanoseconds on the clock.
    pub nanos: i64,
}

/// Reads CLOCK_MONOTONIC and the counter; of a few attempts, the one that took least time.
pub fn sample() -> Sample {
    let attempt = || {
        let before = rdtsc_ordered();
        let nanos = now(HostClock::Monotonic);
        let width = rdtsc_ordered().saturating_sub(before);
        (width, Sample { tsc: before + width / 2, nanos })
    };
    let first = attempt();
    (1..ATTEMPTS).map(|_| attempt()).fold(first, |best, next| if next.0 < best.0 { next } else { best }).1
}

/// How far another host clock is ahead of CLOCK_MONOTONIC, in nanoseconds, and the uncertainty of that.
pub fn ahead_of_monotonic(clock: HostClock) -> (i64, i64) {
    let attempt = || {
        let before = now(HostClock::Monotonic);
        let other = now(clock);
        let width = now(HostClock::Monotonic).saturating_sub(before);
        (other - before - width / 2, width)
    };
    let first = attempt();
    (1..ATTEMPTS).map(|_| attempt()).fold(first, |best, next| if next.1 < best.1 { next } else { best })
}

/// How often a pair of clocks is read for one good reading: an interrupt may fall into one.
const ATTEMPTS: usize = 4;

/// Whether `rdtscp` gives the number of the CPU and the node it runs on, as Linux sets it up (`vdso_encode_cpunode`).
///
/// 0 on CPU 0 says nothing, as the register is 0 when nobody has set it; the calling thread then visits another of the
/// CPUs it may use. With one CPU, 0 is right either way.
pub fn aux_is_cpu_number() -> bool {
    /// CPUID leaf 0x8000_0001, bit 27 of edx.
    const RDTSCP: u32 = 1 << 27;
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has the instruction.
    if unsafe { __cpuid(0x8000_0001) }.edx & RDTSCP == 0 {
        return false;
    }
    match aux_matches_here() {
        Some(0) => {}
        Some(_) => return true,
        None => return false,
    }
    let this_thread = nix::unistd::Pid::from_raw(0);
    let Ok(allowed) = nix::sched::sched_getaffinity(this_thread) else { return false };
    let other = (1..nix::sched::CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let Some(other) = other else { return allowed.is_set(0).unwrap_or(false) };
    let mut there = nix::sched::CpuSet::new();
    if there.set(other).is_err() || nix::sched::sched_setaffinity(this_thread, &there).is_err() {
        return false;
    }
    let matches = aux_matches_here();
    // That this fails would leave the thread on one CPU, slower but right.
    let _ = nix::sched::sched_setaffinity(this_thread, &allowed);
    matches.is_some_and(|aux| aux != 0)
}

/// What `rdtscp` gives, if it is the CPU and node number that the host kernel names. Several tries, as the thread may
/// be moved between the two.
fn aux_matches_here() -> Option<u32> {
    (0..ATTEMPTS).find_map(|_| {
        let (mut cpu, mut node) = (0u32, 0u32);
        // SAFETY: getcpu(2) writes the two words it is given.
        unsafe { libc::syscall(libc::SYS_getcpu, &raw mut cpu, &raw mut node, 0) };
        let aux: u32;
        // SAFETY: reads two registers of the processor; the caller has looked at CPUID.
        unsafe {
            asm!("rdtscp", out("ecx") aux, out("eax") _, out("edx") _, options(nomem, nostack, preserves_flags));
        }
        (aux == node << 12 | cpu).then_some(aux)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_lie_between_the_readings_around_them() {
        let (tsc, nanos) = (rdtsc_ordered(), now(HostClock::Monotonic));
        let s = sample();
        assert!(tsc <= s.tsc && s.tsc <= rdtsc_ordered());
        assert!(nanos <= s.nanos && s.nanos <= now(HostClock::Monotonic));
        let (ahead, width) = ahead_of_monotonic(HostClock::Realtime);
        let off = now(HostClock::Realtime) - now(HostClock::Monotonic) - ahead;
        assert!(width >= 0 && off.abs() < 1_000_000);
    }

    #[test]
    fn the_affinity_is_left_as_it_was() -> Result<(), nix::Error> {
        let this_thread = nix::unistd::Pid::from_raw(0);
        let before = nix::sched::sched_getaffinity(this_thread)?;
        aux_is_cpu_number();
        assert_eq!(nix::sched::sched_getaffinity(this_thread)?, before);
        Ok(())
    }
}
