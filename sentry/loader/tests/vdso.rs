//! The vDSO as a guest's C library sees it: mapped behind its parameters, looked up by name and version, called.
#![allow(clippy::unwrap_used)]

use object::LittleEndian as LE;
use object::elf::{FileHeader64, gnu_hash, hash};
use object::read::elf::{ElfFile64, FileHeader, SectionHeader, Sym};
use object::{Object, ObjectSection};
use platform_host::time::{HostClock, now};
use sentry_loader::Vdso;
use sentry_mm::MemoryFile;
use sentry_time::Clocks;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

const VERSION: u32 = 0x06_01_00;

type ClockGettime = extern "C" fn(i32, *mut libc::timespec) -> i32;
type Gettimeofday = extern "C" fn(*mut libc::timeval, *mut [i32; 2]) -> i32;
type Time = extern "C" fn(*mut i64) -> i64;
type Getcpu = extern "C" fn(*mut u32, *mut u32, usize) -> i32;

/// A vDSO mapped into this process.
struct Mapped {
    clocks: Arc<Clocks>,
    /// Owns the pages.
    _vdso: Arc<Vdso>,
    base: *mut libc::c_void,
    image: &'static [u8],
}

// SAFETY: the mapping is read-only and stays.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn new(clocks: Clocks) -> Mapped {
        let clocks = Arc::new(clocks);
        let memory = MemoryFile::new().unwrap();
        let vdso = Vdso::new(&memory, &clocks, VERSION, true).unwrap();
        let len = usize::try_from(vdso.total_len()).unwrap();
        let before = usize::try_from(Vdso::VVAR_LEN).unwrap();
        let offset = i64::try_from(vdso.frames().start).unwrap();
        // SAFETY: a fresh mapping of the memory file, which is never unmapped.
        unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED,
                memory.fd().as_raw_fd(),
                offset,
            );
            assert_ne!(at, libc::MAP_FAILED);
            let base = at.byte_add(before);
            assert_eq!(libc::mprotect(base, len - before, libc::PROT_READ | libc::PROT_EXEC), 0);
            let image = std::slice::from_raw_parts(base.cast(), len - before);
            Mapped { clocks, _vdso: vdso, base, image }
        }
    }

    /// Finds a function through both hash tables, with its version, as glibc and musl do.
    fn symbol(&self, name: &str) -> *mut libc::c_void {
        let header = FileHeader64::<LE>::parse(self.image).unwrap();
        let sections = header.sections(LE, self.image).unwrap();
        let versions = sections.versions(LE, self.image).unwrap().unwrap();
        let index = (0..8u16)
            .filter_map(|i| versions.version(object::read::elf::VersionIndex(i)).ok()?.map(|v| (i, v)))
            .find(|(_, v)| v.name() == b"LINUX_2.6")
            .unwrap();
        assert_eq!((index.0, index.1.hash()), (2, 0x3ae_75f6));
        let (symbols, strings) = (
            sections.symbols(LE, self.image, object::elf::SHT_DYNSYM).unwrap(),
            sections.symbols(LE, self.image, object::elf::SHT_DYNSYM).unwrap().strings(),
        );
        let table = |kind| sections.iter().find(|s| s.sh_type(LE) == kind).unwrap();
        let (plain, _) = table(object::elf::SHT_HASH).hash(LE, self.image).unwrap().unwrap();
        let (gnu, _) = table(object::elf::SHT_GNU_HASH).gnu_hash(LE, self.image).unwrap().unwrap();
        let bytes = name.as_bytes();
        let version = Some(index.1);
        let (at, sym) = plain.find(LE, bytes, hash(bytes), version, &symbols, &versions).unwrap();
        let (at_gnu, _) = gnu.find(LE, bytes, gnu_hash(bytes), version, &symbols, &versions).unwrap();
        assert_eq!(at, at_gnu);
        assert_eq!(sym.name(LE, strings).unwrap(), bytes);
        // SAFETY: an offset within the image.
        unsafe { self.base.byte_add(usize::try_from(sym.st_value(LE)).unwrap()) }
    }

    fn clock_gettime(&self) -> ClockGettime {
        // SAFETY: the symbol is a function of that signature.
        unsafe { std::mem::transmute(self.symbol("__vdso_clock_gettime")) }
    }
}

fn read(f: ClockGettime, clock: i32) -> i64 {
    let mut ts = libc::timespec { tv_sec: -1, tv_nsec: -1 };
    assert_eq!(f(clock, &raw mut ts), 0);
    assert!((0..1_000_000_000).contains(&ts.tv_nsec));
    ts.tv_sec * 1_000_000_000 + ts.tv_nsec
}

/// Waits until the clocks have been read often enough for the vDSO to answer by itself.
fn warm_up(m: &Mapped) {
    let end = Instant::now() + Duration::from_millis(20);
    while Instant::now() < end {
        m.clocks.monotonic();
    }
}

#[test]
fn every_symbol_is_found_under_both_names() {
    let m = Mapped::new(Clocks::host());
    for name in ["clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu"] {
        assert_eq!(m.symbol(name), m.symbol(&format!("__vdso_{name}")));
    }
    let file = ElfFile64::<LE>::parse(m.image).unwrap();
    assert_eq!(file.dynamic_relocations().map_or(0, Iterator::count), 0);
    assert!(file.section_by_name(".eh_frame").unwrap().size() > 0);
    assert!(file.section_by_name(".note").unwrap().data().unwrap().ends_with(&VERSION.to_le_bytes()));
}

#[test]
fn vdso_and_sentry_are_one_line_that_never_goes_back() {
    let m = Mapped::new(Clocks::host());
    warm_up(&m);
    let f = m.clock_gettime();
    let end = Instant::now() + Duration::from_millis(1500);
    let mut results = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut last, mut worst, mut by_host, mut reads) = (0, 0, 0, 0u64);
                    while Instant::now() < end {
                        // The scheduler may take the CPU between any two of these, and so they bound each other.
                        let before = now(HostClock::Monotonic);
                        let first = m.clocks.monotonic();
                        let guest = read(f, libc::CLOCK_MONOTONIC);
                        let second = m.clocks.monotonic();
                        let after = now(HostClock::Monotonic);
                        assert!(first >= last, "{last} then {first}");
                        // While the vDSO makes the system call, it is this host's clock and off by the error.
                        if !(first..=second).contains(&guest) {
                            by_host += 1;
                            assert!(guest > first - 5_000 && guest < second + 5_000);
                        }
                        worst = worst.max(before - first).max(second - after);
                        last = second;
                        reads += 1;
                    }
                    (worst, by_host, reads)
                })
            })
            .collect();
        results.extend(threads.into_iter().map(|t| t.join().unwrap()));
    });
    for (worst, by_host, reads) in results {
        assert!(worst < 5_000, "off by {worst} ns");
        assert!(by_host * 100 < reads, "{by_host} of {reads} readings were not on the sentry's line");
    }
}

#[test]
fn other_clocks_and_calls_agree_with_the_host() {
    let m = Mapped::new(Clocks::host());
    warm_up(&m);
    let f = m.clock_gettime();
    let near = |a: i64, b: i64| (a - b).abs() < 50_000_000;
    for clock in [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE] {
        assert!(near(read(f, clock), now(HostClock::Realtime)));
    }
    for clock in [libc::CLOCK_MONOTONIC_COARSE, libc::CLOCK_MONOTONIC_RAW] {
        assert!(read(f, clock) > 0);
    }
    assert!(near(read(f, libc::CLOCK_BOOTTIME), now(HostClock::Boottime)));
    assert!(near(read(f, libc::CLOCK_THREAD_CPUTIME_ID), now(HostClock::ThreadCpu)));
    for bad in [-1, 8 + 16, i32::MIN, i32::MAX] {
        let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(f(bad, &raw mut ts), -libc::EINVAL, "{bad}");
    }

    // SAFETY: the symbols are functions of these signatures.
    let (gettimeofday, time, getres, getcpu) = unsafe {
        (
            std::mem::transmute::<*mut libc::c_void, Gettimeofday>(m.symbol("gettimeofday")),
            std::mem::transmute::<*mut libc::c_void, Time>(m.symbol("time")),
            std::mem::transmute::<*mut libc::c_void, ClockGettime>(m.symbol("clock_getres")),
            std::mem::transmute::<*mut libc::c_void, Getcpu>(m.symbol("getcpu")),
        )
    };
    let (mut tv, mut tz) = (libc::timeval { tv_sec: 0, tv_usec: 0 }, [1, 1]);
    assert_eq!(gettimeofday(&raw mut tv, std::ptr::null_mut()), 0);
    assert!(near(tv.tv_sec * 1_000_000_000 + tv.tv_usec * 1000, now(HostClock::Realtime)));
    assert!((0..1_000_000).contains(&tv.tv_usec));
    assert_eq!(gettimeofday(&raw mut tv, &raw mut tz), 0);
    assert_eq!(tz, [0, 0]);
    assert_eq!(gettimeofday(std::ptr::null_mut(), std::ptr::null_mut()), 0);

    let mut t = 0;
    let seconds = time(&raw mut t);
    assert_eq!(t, seconds);
    assert!((now(HostClock::Realtime) / 1_000_000_000 - seconds).abs() <= 1);
    assert!(time(std::ptr::null_mut()) >= seconds);

    let mut res = libc::timespec { tv_sec: 7, tv_nsec: 7 };
    assert_eq!((getres(libc::CLOCK_BOOTTIME, &raw mut res), res.tv_sec, res.tv_nsec), (0, 0, 1));
    assert_eq!(getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut res), 0);
    assert!(res.tv_nsec >= 1_000_000);
    assert_eq!(getres(libc::CLOCK_MONOTONIC, std::ptr::null_mut()), 0);
    assert_eq!(getres(99, &raw mut res), -libc::EINVAL);

    let (mut cpu, mut node) = (u32::MAX, u32::MAX);
    assert_eq!(getcpu(&raw mut cpu, &raw mut node, 0), 0);
    assert!(cpu < 4096 && node < 4096);
    assert_eq!(getcpu(std::ptr::null_mut(), std::ptr::null_mut(), 0), 0);
}

#[test]
fn a_time_that_was_set_is_seen_and_a_time_before_the_epoch_is_left_to_the_sentry() {
    let m = Mapped::new(Clocks::host());
    warm_up(&m);
    let f = m.clock_gettime();
    m.clocks.set_realtime(1_000_000_000_000);
    assert!((read(f, libc::CLOCK_REALTIME) - 1_000_000_000_000).abs() < 50_000_000);
    m.clocks.set_realtime(-1_000_000_000_000);
    assert!(read(f, libc::CLOCK_REALTIME) > 1_000_000_000_000_000);
    assert!((read(f, libc::CLOCK_MONOTONIC) - m.clocks.monotonic()).abs() < 50_000_000);
}

#[test]
fn scripted_clocks_leave_every_reading_to_the_system_call() {
    let m = Mapped::new(Clocks::scripted());
    m.clocks.advance(5);
    assert!(read(m.clock_gettime(), libc::CLOCK_MONOTONIC) > 1_000_000);
}
