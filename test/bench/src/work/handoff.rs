//! The raw hand-off: what a system call costs at least when another process is to serve it on the same CPU.
//!
//! A process runs under a seccomp filter that turns one system call into SIGSYS. The handler puts a request into shared
//! memory, wakes the server with a futex and sleeps until the answer is there; the server does nothing but answer. A
//! sandbox whose stub traps its guest's calls this way can do no better, only avoid the trap.
#![allow(unsafe_code, reason = "a signal handler and a seccomp filter")]

use super::sys::{self, Mapping, Zeroed};
use super::timer::{Budget, seconds_per};
use anyhow::{Result, ensure};
use nix::errno::Errno;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// What client and server share.
struct Desk {
    turn: AtomicU32,
    request: AtomicU64,
    answer: AtomicU64,
    /// What the client measured: the bits of a float of seconds.
    result: AtomicU64,
}

// SAFETY: atomics, whose zeros are values.
unsafe impl Zeroed for Desk {}

/// Whose turn it is.
const CLIENT: u32 = 0;
const SERVER: u32 = 1;
const OVER: u32 = 2;

/// The desk of the client's signal handler.
static DESK: AtomicPtr<Desk> = AtomicPtr::new(ptr::null_mut());

/// Seconds a trapped call takes. Whoever calls sees to it that there is one CPU to run on.
pub(super) fn round_trip(budget: Budget) -> Result<f64> {
    let mapping = Mapping::new(sys::PAGE, libc::MAP_SHARED)?;
    let desk: &Desk = mapping.shared();
    let client = sys::fork(|| {
        let measured = trap_getppid(desk).and_then(|()| seconds_per(budget, trapped_call));
        desk.result.store(measured.as_ref().map_or(0, |seconds| seconds.to_bits()), Ordering::Relaxed);
        pass_to(desk, OVER);
        i32::from(measured.is_err())
    })?;
    loop {
        wait_while(desk, CLIENT);
        if desk.turn.load(Ordering::Acquire) == OVER {
            break;
        }
        desk.answer.store(desk.request.load(Ordering::Relaxed), Ordering::Relaxed);
        pass_to(desk, CLIENT);
    }
    sys::wait(client)?;
    Ok(f64::from_bits(desk.result.load(Ordering::Relaxed)))
}

fn trapped_call() -> Result<()> {
    // SAFETY: a call without arguments.
    let answer = unsafe { libc::syscall(libc::SYS_getppid) };
    ensure!(answer == libc::SYS_getppid, "the answer was {answer}, not the server's");
    Ok(())
}

fn pass_to(desk: &Desk, turn: u32) {
    desk.turn.store(turn, Ordering::Release);
    // SAFETY: a word of a live mapping.
    unsafe { libc::syscall(libc::SYS_futex, desk.turn.as_ptr(), libc::FUTEX_WAKE, 1) };
}

fn wait_while(desk: &Desk, turn: u32) {
    while desk.turn.load(Ordering::Acquire) == turn {
        let no_timeout = ptr::null::<libc::timespec>();
        // SAFETY: a word of a live mapping; no time limit.
        unsafe { libc::syscall(libc::SYS_futex, desk.turn.as_ptr(), libc::FUTEX_WAIT, turn, no_timeout) };
    }
}

/// The SIGSYS handler: asks the server and returns its answer to the interrupted code.
extern "C" fn ask(_signal: libc::c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: set before the filter was, to a mapping that outlives this process's calls.
    let desk = unsafe { &*DESK.load(Ordering::Relaxed) };
    // SAFETY: the kernel hands over the context of the interrupted code.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    #[allow(clippy::cast_sign_loss, reason = "a register")]
    desk.request.store(registers[libc::REG_RAX as usize] as u64, Ordering::Relaxed);
    pass_to(desk, SERVER);
    wait_while(desk, SERVER);
    #[allow(clippy::cast_sign_loss, clippy::cast_possible_wrap, reason = "a register")]
    {
        registers[libc::REG_RAX as usize] = desk.answer.load(Ordering::Relaxed) as i64;
    }
}

/// Makes getppid raise SIGSYS in this process from here on.
fn trap_getppid(desk: &Desk) -> Result<()> {
    DESK.store(ptr::from_ref(desk).cast_mut(), Ordering::Relaxed);
    // SAFETY: zeros are a sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_flags = libc::SA_SIGINFO;
    action.sa_sigaction = ask as *const () as usize;
    // SAFETY: the handler is safe to call at any trapped call.
    ensure!(unsafe { libc::sigaction(libc::SIGSYS, &raw const action, ptr::null_mut()) } == 0, "sigaction");
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // `ld [nr]; jeq getppid; ret ALLOW; ret TRAP`
    let mut filter = [
        statement(0x20, 0, 0, 0),
        statement(0x15, 1, 0, u32::try_from(libc::SYS_getppid)?),
        statement(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
        statement(0x06, 0, 0, libc::SECCOMP_RET_TRAP),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY: a filter of the length given, which the kernel copies.
    let refused = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    ensure!(refused == 0, "seccomp: {}", Errno::last());
    Ok(())
}
