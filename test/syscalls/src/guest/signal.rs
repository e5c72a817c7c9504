//! Signals: sets, dispositions, and a handler that records what it gets.

use super::{Guest, zeroed};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use test_syscalls_macros::sys;

/// The kernel's signal set as the raw calls take it.
#[must_use]
pub fn set_of(signals: &[i32]) -> u64 {
    signals.iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

/// A `siginfo_t` with its fields by name.
#[derive(Clone, Copy)]
pub struct SigInfo(pub libc::siginfo_t);

impl SigInfo {
    /// `si_signo`
    #[must_use]
    pub fn signo(&self) -> i32 {
        self.0.si_signo
    }

    /// `si_code`
    #[must_use]
    pub fn code(&self) -> i32 {
        self.0.si_code
    }

    /// `si_pid`
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.word(16)
    }

    /// `si_uid`
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.word(20) as u32
    }

    /// `si_status` of SIGCHLD, `si_int` of a queued signal.
    #[must_use]
    pub fn status(&self) -> i32 {
        self.word(24)
    }

    /// `si_fd` of a signal about a descriptor.
    #[must_use]
    pub fn fd(&self) -> i32 {
        self.word(24)
    }

    /// `si_overrun` of a timer's signal.
    #[must_use]
    pub fn overrun(&self) -> i32 {
        self.word(20)
    }

    /// `si_addr` of a fault.
    #[must_use]
    pub fn address(&self) -> usize {
        // SAFETY: any field may be read from the kernel's bytes.
        unsafe { self.0.si_addr() }.expose_provenance()
    }

    fn word(&self, offset: usize) -> i32 {
        // SAFETY: within the 128 bytes of the structure, which the kernel filled or `zeroed` cleared.
        unsafe { (&raw const self.0).cast::<u8>().add(offset).cast::<i32>().read() }
    }
}

/// How many signals the recorder keeps.
const LOG: usize = 128;

/// One kept signal, written once by the handler that drew its index.
struct Slot(UnsafeCell<MaybeUninit<libc::siginfo_t>>);

// SAFETY: a slot is written once, by the handler that took its index, and read after the count covers it.
unsafe impl Sync for Slot {}

static SLOTS: [Slot; LOG] = [const { Slot(UnsafeCell::new(MaybeUninit::zeroed())) }; LOG];
static COUNT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_signal(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let index = COUNT.fetch_add(1, SeqCst);
    if let Some(slot) = SLOTS.get(index) {
        // SAFETY: the index is this call's alone; `info` is the kernel's.
        unsafe { (*slot.0.get()).write(*info) };
    }
}

/// Installs `handler` with `flags` and an empty mask.
#[track_caller]
pub(super) fn handle(signal: i32, handler: usize, flags: i32) {
    let mut action: libc::sigaction = zeroed();
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the handler is a function of this program or SIG_DFL or SIG_IGN.
    let result = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    assert!(result == 0, "sigaction({signal}): expected success, got {}", std::io::Error::last_os_error());
}

impl Guest {
    /// Records every `signal` from now on. `SA_SIGINFO` is added to `flags`.
    #[track_caller]
    pub fn catch(&self, signal: i32, flags: i32) {
        handle(signal, on_signal as *const () as usize, flags | libc::SA_SIGINFO);
    }

    /// Installs a handler of the case's own, called as `extern "C" fn(i32, *mut siginfo_t, *mut c_void)`.
    #[track_caller]
    pub fn handle(
        &self,
        signal: i32,
        handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void),
        flags: i32,
    ) {
        handle(signal, handler as *const () as usize, flags | libc::SA_SIGINFO);
    }

    /// Ignores `signal`.
    #[track_caller]
    pub fn ignore(&self, signal: i32) {
        handle(signal, libc::SIG_IGN, 0);
    }

    /// Gives `signal` its default action.
    #[track_caller]
    pub fn default(&self, signal: i32) {
        handle(signal, libc::SIG_DFL, 0);
    }

    /// What the recorder has got so far, in order.
    #[must_use]
    pub fn log(&self) -> Vec<SigInfo> {
        let count = COUNT.load(SeqCst).min(LOG);
        // SAFETY: slots below the count are written; all zeroes is a valid siginfo for one still being written.
        SLOTS[..count].iter().map(|slot| SigInfo(unsafe { (*slot.0.get()).assume_init() })).collect()
    }

    /// The signals that the recorder has got so far, in order.
    #[must_use]
    pub fn caught(&self) -> Vec<i32> {
        self.log().iter().map(SigInfo::signo).collect()
    }

    /// Blocks `signals` in this thread.
    #[track_caller]
    pub fn block(&self, signals: &[i32]) {
        let set = set_of(signals);
        sys!(rt_sigprocmask(libc::SIG_BLOCK, &raw const set, 0, 8)).ok();
    }

    /// Unblocks `signals` in this thread.
    #[track_caller]
    pub fn unblock(&self, signals: &[i32]) {
        let set = set_of(signals);
        sys!(rt_sigprocmask(libc::SIG_UNBLOCK, &raw const set, 0, 8)).ok();
    }

    /// The thread's signal mask.
    #[must_use]
    pub fn mask(&self) -> u64 {
        let mut set = 0_u64;
        sys!(rt_sigprocmask(libc::SIG_BLOCK, 0, &raw mut set, 8)).ok();
        set
    }

    /// The signals that are pending for this thread or process.
    #[must_use]
    pub fn pending(&self) -> u64 {
        let mut set = 0_u64;
        sys!(rt_sigpending(&raw mut set, 8)).ok();
        set
    }

    /// Sends a signal to this process.
    #[track_caller]
    pub fn raise(&self, signal: i32) {
        sys!(kill(sys!(getpid()).ok(), signal)).ok();
    }

    /// Takes one of the blocked `signals`, waiting for it.
    #[track_caller]
    pub fn take(&self, signals: &[i32]) -> SigInfo {
        let set = set_of(signals);
        let mut info: libc::siginfo_t = zeroed();
        sys!(rt_sigtimedwait(&raw const set, &raw mut info, 0, 8)).ok();
        SigInfo(info)
    }
}
