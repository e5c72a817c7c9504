//! Single calls, and pairs that belong together.

use super::sys::{self, Mapping};
use super::timer::{Budget, seconds_of, seconds_per};
use anyhow::{Context, Result, ensure};
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::sys::uio::{pread, pwrite};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{AccessFlags, access, getpid, getppid, pipe, read, unlink, write};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that file rows read and write at a time.
const BLOCK: usize = 4096;

pub(super) fn getppid_row(budget: Budget) -> Result<f64> {
    seconds_per(budget, || {
        black_box(getppid());
        Ok(())
    })
}

pub(super) fn getpid_row(budget: Budget) -> Result<f64> {
    seconds_per(budget, || {
        black_box(getpid());
        Ok(())
    })
}

pub(super) fn clock_row(budget: Budget) -> Result<f64> {
    seconds_per(budget, || {
        black_box(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        Ok(())
    })
}

pub(super) fn read_zero(budget: Budget) -> Result<f64> {
    let zero = File::open("/dev/zero").context("/dev/zero")?;
    let mut byte = [1];
    seconds_per(budget, || {
        read(&zero, &mut byte)?;
        Ok(())
    })
}

pub(super) fn write_null(budget: Budget) -> Result<f64> {
    let null = File::options().write(true).open("/dev/null").context("/dev/null")?;
    let block = [0; BLOCK];
    seconds_per(budget, || {
        write(&null, &block)?;
        Ok(())
    })
}

pub(super) fn pread_file(budget: Budget) -> Result<f64> {
    let file = file_with_a_block()?;
    let mut block = [0; BLOCK];
    seconds_per(budget, || {
        ensure!(pread(&file, &mut block, 0)? == BLOCK, "short read");
        Ok(())
    })
}

pub(super) fn pwrite_file(budget: Budget) -> Result<f64> {
    let file = file_with_a_block()?;
    let block = [1; BLOCK];
    seconds_per(budget, || {
        ensure!(pwrite(&file, &block, 0)? == BLOCK, "short write");
        Ok(())
    })
}

fn file_with_a_block() -> Result<File> {
    let file = tempfile::tempfile_in("/tmp").context("/tmp")?;
    ensure!(pwrite(&file, &[1; BLOCK], 0)? == BLOCK, "short write");
    Ok(file)
}

pub(super) fn open_close(budget: Budget) -> Result<f64> {
    let file = tempfile::NamedTempFile::new_in("/tmp").context("/tmp")?;
    let path = c_path(file.path())?;
    seconds_per(budget, || {
        drop(open(path.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?);
        Ok(())
    })
}

pub(super) fn access_row(budget: Budget) -> Result<f64> {
    let file = tempfile::NamedTempFile::new_in("/tmp").context("/tmp")?;
    let path = c_path(file.path())?;
    seconds_per(budget, || Ok(access(path.as_c_str(), AccessFlags::R_OK)?))
}

pub(super) fn create_unlink(budget: Budget) -> Result<f64> {
    let directory = tempfile::tempdir_in("/tmp").context("/tmp")?;
    let path = c_path(&directory.path().join("file"))?;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    seconds_per(budget, || {
        drop(open(path.as_c_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        Ok(unlink(path.as_c_str())?)
    })
}

fn c_path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

pub(super) fn mmap_touch_munmap(budget: Budget) -> Result<f64> {
    seconds_per(budget, || {
        Mapping::new(16 * sys::PAGE, libc::MAP_PRIVATE)?.touch();
        Ok(())
    })
}

/// Pages that [`fault`] touches in one go.
pub(super) const FAULTS: u32 = 256;

/// Time of a fault alone: mapping and unmapping stay outside.
pub(super) fn fault(budget: Budget) -> Result<f64> {
    let pages = usize::try_from(FAULTS)?;
    let seconds = seconds_of(budget, |count| {
        let mut total = Duration::ZERO;
        for _ in 0..count {
            let mapping = Mapping::new(pages * sys::PAGE, libc::MAP_PRIVATE)?;
            mapping.no_huge_pages();
            let begin = Instant::now();
            mapping.touch();
            total += begin.elapsed();
        }
        Ok(total)
    })?;
    Ok(seconds / f64::from(FAULTS))
}

pub(super) fn pipe_ping_pong(budget: Budget) -> Result<f64> {
    let (our_input, their_output) = pipe()?;
    let (their_input, our_output) = pipe()?;
    ping_pong(budget, (&our_input, &our_output), (&their_input, &their_output))
}

pub(super) fn unix_ping_pong(budget: Budget) -> Result<f64> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    ping_pong(budget, (&ours, &ours), (&theirs, &theirs))
}

/// What each side reads from and writes to.
type Ends<'a> = (&'a OwnedFd, &'a OwnedFd);

/// A byte to another process and back.
fn ping_pong(budget: Budget, (input, output): Ends<'_>, theirs: Ends<'_>) -> Result<f64> {
    const BALL: [u8; 1] = [1];
    const END: [u8; 1] = [0];
    let child = sys::fork(|| {
        let mut byte = BALL;
        while let Ok(1) = read(theirs.0, &mut byte) {
            if byte == END {
                return 0;
            }
            if write(theirs.1, &byte).is_err() {
                break;
            }
        }
        1
    })?;
    let mut byte = BALL;
    let seconds = seconds_per(budget, || {
        write(output, &BALL)?;
        ensure!(read(input, &mut byte)? == 1, "the other side is gone");
        Ok(())
    })?;
    write(output, &END)?;
    sys::wait(child)?;
    Ok(seconds)
}

pub(super) fn fork_exit_wait(budget: Budget) -> Result<f64> {
    seconds_per(budget, || sys::wait(sys::fork(|| 0)?))
}

pub(super) fn vfork_exec_wait(budget: Budget) -> Result<f64> {
    const TRUE: &CStr = c"/bin/true";
    seconds_per(budget, || sys::wait(sys::spawn(TRUE)?))
}

pub(super) fn thread_create_join(budget: Budget) -> Result<f64> {
    seconds_per(budget, sys::create_and_join)
}

/// `threads` call at once, each equally often: seconds, of the clock on the wall, for each of their calls.
///
/// The calls are doubled until they take twice the budget, so that starting the threads does not count.
pub(super) fn many_threads(budget: Duration, threads: u32) -> Result<f64> {
    let mut calls = 64;
    loop {
        let took = at_once(threads, calls)?;
        if took >= budget * 2 {
            return Ok(took.as_secs_f64() / f64::from(threads) / f64::from(calls));
        }
        calls = calls.checked_mul(2).context("calls that take no time")?;
    }
}

/// How long it takes until all threads have made so many calls.
fn at_once(threads: u32, calls: u32) -> Result<Duration> {
    let parties = usize::try_from(threads)? + 1;
    let (there, go) = (Barrier::new(parties), Barrier::new(parties));
    let mut begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                there.wait();
                go.wait();
                for _ in 0..calls {
                    black_box(getppid());
                }
            });
        }
        there.wait();
        begin = Instant::now();
        go.wait();
    });
    Ok(begin.elapsed())
}
