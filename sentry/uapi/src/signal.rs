//! Linux: include/uapi/asm-generic/signal.h and siginfo.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! signals {
    ($($name:ident = $value:literal;)*) => {
        $(#[doc = concat!("Signal ", stringify!($value), ".")] pub const $name: i32 = $value;)*

        /// The name of a standard signal.
        pub fn signal_name(signo: i32) -> Option<&'static str> {
            match signo { $($value => Some(stringify!($name)),)* _ => None }
        }
    };
}

signals! {
    SIGHUP = 1; SIGINT = 2; SIGQUIT = 3; SIGILL = 4; SIGTRAP = 5; SIGABRT = 6; SIGBUS = 7; SIGFPE = 8; SIGKILL = 9;
    SIGUSR1 = 10; SIGSEGV = 11; SIGUSR2 = 12; SIGPIPE = 13; SIGALRM = 14; SIGTERM = 15; SIGSTKFLT = 16; SIGCHLD = 17;
    SIGCONT = 18; SIGSTOP = 19; SIGTSTP = 20; SIGTTIN = 21; SIGTTOU = 22; SIGURG = 23; SIGXCPU = 24; SIGXFSZ = 25;
    SIGVTALRM = 26; SIGPROF = 27; SIGWINCH = 28; SIGIO = 29; SIGPWR = 30; SIGSYS = 31;
}

/// Number of signals, 1 to 64.
pub const NSIG: i32 = 64;
/// First real-time signal of the kernel.
pub const SIGRTMIN: i32 = 32;

/// A set of signals; bit *n - 1* is signal *n*.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet(0);
    /// Every signal.
    pub const FULL: SigSet = SigSet(u64::MAX);

    /// The set of one signal; empty for a number that is none.
    pub const fn of(signo: i32) -> SigSet {
        if signo >= 1 && signo <= NSIG { SigSet(1 << (signo - 1)) } else { SigSet(0) }
    }

    /// Whether the signal is in it.
    pub const fn contains(self, signo: i32) -> bool {
        self.0 & SigSet::of(signo).0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: SigSet) -> SigSet {
        SigSet(self.0 & other.0)
    }

    /// What is in this but not in the other.
    #[must_use]
    pub const fn difference(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }

    /// Adds a signal.
    pub fn add(&mut self, signo: i32) {
        self.0 |= SigSet::of(signo).0;
    }

    /// Removes a signal.
    pub fn remove(&mut self, signo: i32) {
        self.0 &= !SigSet::of(signo).0;
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest signal in it.
    pub const fn first(self) -> Option<i32> {
        if self.0 == 0 { None } else { Some(self.0.trailing_zeros().cast_signed() + 1) }
    }
}

/// `si_code`: sent by kill(2).
pub const SI_USER: i32 = 0;
/// Sent by the kernel.
pub const SI_KERNEL: i32 = 0x80;
/// Sent by sigqueue(3).
pub const SI_QUEUE: i32 = -1;
/// A POSIX timer ran out.
pub const SI_TIMER: i32 = -2;
/// A message queue changed.
pub const SI_MESGQ: i32 = -3;
/// Asynchronous I/O ended.
pub const SI_ASYNCIO: i32 = -4;
/// Sent by tgkill(2).
pub const SI_TKILL: i32 = -6;
/// SIGSEGV: nothing is mapped there.
pub const SEGV_MAPERR: i32 = 1;
/// SIGSEGV: the mapping does not allow the access.
pub const SEGV_ACCERR: i32 = 2;
/// SIGBUS: misaligned.
pub const BUS_ADRALN: i32 = 1;
/// SIGBUS: nothing behind the mapping.
pub const BUS_ADRERR: i32 = 2;
/// SIGCHLD: the child exited.
pub const CLD_EXITED: i32 = 1;
/// SIGCHLD: the child was killed.
pub const CLD_KILLED: i32 = 2;
/// SIGCHLD: the child was killed and dumped core.
pub const CLD_DUMPED: i32 = 3;
/// SIGCHLD: a traced child trapped.
pub const CLD_TRAPPED: i32 = 4;
/// SIGCHLD: the child stopped.
pub const CLD_STOPPED: i32 = 5;
/// SIGCHLD: the child went on.
pub const CLD_CONTINUED: i32 = 6;

/// `siginfo_t` as the guest sees it: 128 bytes, the part behind the three numbers used according to the signal.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct SigInfo {
    pub si_signo: i32,
    pub si_errno: i32,
    pub si_code: i32,
    pub pad: i32,
    pub fields: [u8; 112],
}

const _: () = assert!(size_of::<SigInfo>() == 128);

impl SigInfo {
    /// A siginfo without fields.
    pub fn new(signo: i32, code: i32) -> SigInfo {
        SigInfo { si_signo: signo, si_errno: 0, si_code: code, pad: 0, fields: [0; 112] }
    }

    /// Sent by a process: `si_pid` and `si_uid` as the receiver's namespaces see them.
    pub fn from_process(signo: i32, code: i32, pid: i32, uid: u32) -> SigInfo {
        let mut info = SigInfo::new(signo, code);
        info.put(0, pid.to_ne_bytes());
        info.put(4, uid.to_ne_bytes());
        info
    }

    /// A fault: `si_addr`.
    pub fn from_fault(signo: i32, code: i32, addr: u64) -> SigInfo {
        let mut info = SigInfo::new(signo, code);
        info.put(0, addr.to_ne_bytes());
        info
    }

    /// SIGCHLD: `si_pid`, `si_uid`, `si_status`, `si_utime`, `si_stime` (in clock ticks).
    pub fn from_child(code: i32, pid: i32, uid: u32, status: i32, utime: i64, stime: i64) -> SigInfo {
        let mut info = SigInfo::from_process(SIGCHLD, code, pid, uid);
        info.put(8, status.to_ne_bytes());
        info.put(16, utime.to_ne_bytes());
        info.put(24, stime.to_ne_bytes());
        info
    }

    /// A POSIX timer: `si_timerid`, `si_overrun`, `si_value`.
    pub fn from_timer(signo: i32, timer: i32, overrun: i32, value: u64) -> SigInfo {
        let mut info = SigInfo::new(signo, SI_TIMER);
        info.put(0, timer.to_ne_bytes());
        info.put(4, overrun.to_ne_bytes());
        info.put(8, value.to_ne_bytes());
        info
    }

    /// SIGIO: `si_band` and `si_fd`.
    pub fn from_poll(signo: i32, code: i32, band: i64, fd: i32) -> SigInfo {
        let mut info = SigInfo::new(signo, code);
        info.put(0, band.to_ne_bytes());
        info.put(8, fd.to_ne_bytes());
        info
    }

    /// Writes bytes of the union, counted from its start (offset 16 of the structure).
    pub fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(field) = self.fields.get_mut(at..at + N) {
            field.copy_from_slice(&bytes);
        }
    }

    /// A 32-bit word of the union.
    pub fn word(&self, at: usize) -> i32 {
        let mut bytes = [0; 4];
        if let Some(field) = self.fields.get(at..at + 4) {
            bytes.copy_from_slice(field);
        }
        i32::from_ne_bytes(bytes)
    }
}
