//! Those who call, fork, execute, and start threads; and pairs of processes.

use super::pairs::{futex_wait, futex_wake};
use super::{Doing, Participant, Roll, fail, must, nap, shared};
use crate::guest::cstr;
use std::ffi::CStr;
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

const CALLERS: usize = 8;
const FORKERS: usize = 6;
const STARTERS: usize = 6;
const PROCESS_PAIRS: usize = 2;

/// Asked of the other process when it is time to end.
const END: u32 = u32::MAX;

pub(super) fn add(roll: &mut Roll) {
    for n in 0..PROCESS_PAIRS {
        let pair = other_process();
        roll.add(format!("process {n} asks"), move |me| ask(me, pair));
        roll.note(format!("process {n}"), move || {
            let [asked, answered] = pair.each_ref().map(|word| word.load(SeqCst));
            format!("turn {asked} is asked for, {answered} is answered")
        });
    }
    for n in 0..CALLERS {
        roll.add(format!("caller {n}"), call);
    }
    for n in 0..FORKERS {
        roll.add(format!("forker {n}"), move |me| fork(me, n));
    }
    for n in 0..STARTERS {
        roll.add(format!("starter {n}"), start_threads);
    }
}

/// A child process that answers whatever is asked in the first word, by the second, until it is asked to end or has no
/// parent any more. Made before there are threads.
fn other_process() -> &'static [AtomicU32; 2] {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, which is never unmapped; zeroes are words. The child makes raw calls only.
    let (words, pid) = unsafe {
        let page = libc::mmap(ptr::null_mut(), 4096, access, flags, -1, 0);
        if page == libc::MAP_FAILED {
            must("mmap", -1);
        }
        (&*page.cast::<[AtomicU32; 2]>(), libc::fork())
    };
    if must("fork", pid.into()) > 0 {
        return words;
    }
    // SAFETY: passes integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let [asked, answered] = words;
    loop {
        let before = answered.load(SeqCst);
        while asked.load(SeqCst) == before {
            futex_wait(asked, before, 0, 0);
        }
        let turn = asked.load(SeqCst);
        answered.store(turn, SeqCst);
        futex_wake(answered, 0);
        if turn == END {
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
    }
}

fn ask(me: &'static Participant, [asked, answered]: &'static [AtomicU32; 2]) {
    for turn in 1.. {
        let turn = if shared().stop() { END } else { turn };
        let before = asked.swap(turn, SeqCst);
        futex_wake(asked, 0);
        me.now(Doing::AwaitsAnswer);
        while answered.load(SeqCst) != turn {
            futex_wait(answered, before, 0, 0);
        }
        me.did_one();
        if turn == END {
            return;
        }
    }
}

/// Calls in a loop; what a call gives must be right.
fn call(me: &'static Participant) {
    let size = 64 << 10;
    let mut buffer = [1_u8; 64];
    while !shared().stop() {
        // SAFETY: buffers are as long as said; the mapping is used as long as it is there.
        unsafe {
            let fd = libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            must("open", fd.into());
            let got = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
            if got != 64 || buffer != [0; 64] {
                fail("caller", &format!("read of zeroes gave {got}"));
            }
            buffer.fill(1);
            let (access, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let page = libc::mmap(ptr::null_mut(), size, access, flags, -1, 0);
            if page == libc::MAP_FAILED {
                must("mmap", -1);
            }
            let bytes = std::slice::from_raw_parts_mut(page.cast::<u8>(), size);
            for byte in bytes.iter_mut().step_by(4096) {
                if std::mem::replace(byte, 7) != 0 {
                    fail("caller", "new memory is not zero");
                }
            }
            must("munmap", libc::munmap(page, size).into());
            must("close", libc::close(fd).into());
            for _ in 0..50 {
                libc::syscall(libc::SYS_getppid);
            }
        }
        me.did_one();
    }
}

/// Has children, and executes programs in them; each must end as it should.
fn fork(me: &'static Participant, n: usize) {
    for round in n.. {
        if shared().stop() {
            return;
        }
        let code = i32::try_from(round % 100).unwrap_or(0);
        let argument = cstr(code.to_string());
        let program = match round % 3 {
            0 => Some(c"helper:stress-exit"),
            1 => Some(c"helper:stress-threads"),
            _ => None,
        };
        let arguments = [program.map_or(ptr::null(), CStr::as_ptr), argument.as_ptr(), ptr::null()];
        let killed = round % 7 == 6;
        // SAFETY: the child makes raw calls only.
        let pid = unsafe { libc::fork() };
        if must("fork", pid.into()) == 0 {
            // SAFETY: names and arguments are C strings, and live.
            unsafe {
                if killed {
                    loop {
                        libc::pause();
                    }
                }
                if program.is_some() {
                    let nothing = [ptr::null()];
                    libc::execve(c"/proc/self/exe".as_ptr(), arguments.as_ptr(), nothing.as_ptr());
                    libc::_exit(127);
                }
                libc::_exit(code);
            }
        }
        if killed {
            // SAFETY: passes integers only.
            must("kill", unsafe { libc::kill(pid, libc::SIGKILL) }.into());
        }
        me.now(Doing::AwaitsChild);
        let mut status = 0;
        // SAFETY: the status lives.
        while unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid {
            if std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                must("waitpid", -1);
            }
        }
        let want = if killed { libc::SIGKILL } else { code << 8 };
        if status != want {
            fail(
                &format!("forker {n}"),
                &format!("child {round}: expected status {want:#x}, got {status:#x}"),
            );
        }
        me.did_one();
    }
}

/// Starts threads and waits for them.
fn start_threads(me: &'static Participant) {
    let mut round = 0_u64;
    while !shared().stop() {
        round += 1;
        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(move || round + 1);
        let Ok(thread) = thread else { fail("starter", "cannot start a thread") };
        me.now(Doing::AwaitsThread);
        if thread.join().ok() != Some(round + 1) {
            fail("starter", "a thread gave the wrong answer");
        }
        me.did_one();
    }
}

/// What this program does under the name `helper:stress-…`: ends with the given status, perhaps after threads have handed
/// a word round.
pub(crate) fn helper(name: &str, code: u8) -> ExitCode {
    const ROUNDS: u32 = 20;
    static WORD: AtomicU32 = AtomicU32::new(0);
    if name == "exit" {
        return ExitCode::from(code);
    }
    let private = libc::FUTEX_PRIVATE_FLAG;
    let hand_on = |odd: u32| {
        for round in (odd..ROUNDS).step_by(2) {
            loop {
                let now = WORD.load(SeqCst);
                if now == round {
                    break;
                }
                futex_wait(&WORD, now, private, 0);
            }
            WORD.store(round + 1, SeqCst);
            futex_wake(&WORD, private);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| hand_on(0));
        scope.spawn(|| hand_on(1));
        nap(Duration::from_micros(100));
    });
    ExitCode::from(code)
}
