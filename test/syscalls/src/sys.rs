//! One raw system call and what came of it.

use crate::report;
use std::arch::asm;
use std::ffi::{CStr, CString};
use std::panic::Location;

/// What can stand as an argument of `sys!`: integers, pointers, C strings, slices and arrays (their address).
pub trait Arg {
    /// The register's value.
    fn arg(self) -> usize;
}

macro_rules! integers {
    ($($t:ty)*) => { $(impl Arg for $t { fn arg(self) -> usize { self as usize } })* };
}
integers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

impl<T> Arg for *const T {
    fn arg(self) -> usize {
        self.expose_provenance()
    }
}

impl<T> Arg for *mut T {
    fn arg(self) -> usize {
        self.expose_provenance()
    }
}

impl Arg for &CStr {
    fn arg(self) -> usize {
        self.as_ptr().arg()
    }
}

impl Arg for &CString {
    fn arg(self) -> usize {
        self.as_ptr().arg()
    }
}

impl<T> Arg for &[T] {
    fn arg(self) -> usize {
        self.as_ptr().arg()
    }
}

impl<T> Arg for &mut [T] {
    fn arg(self) -> usize {
        self.as_mut_ptr().arg()
    }
}

impl<T, const N: usize> Arg for &[T; N] {
    fn arg(self) -> usize {
        self.as_ptr().arg()
    }
}

impl<T, const N: usize> Arg for &mut [T; N] {
    fn arg(self) -> usize {
        self.as_mut_ptr().arg()
    }
}

impl<T> Arg for &Vec<T> {
    fn arg(self) -> usize {
        self.as_ptr().arg()
    }
}

impl<T> Arg for &mut Vec<T> {
    fn arg(self) -> usize {
        self.as_mut_ptr().arg()
    }
}

/// Makes system call `number`; `text` is how it is shown when an assert fails.
///
/// Safe to name although any call can be made by it: a case is a process of its own, and the worst a wrong argument can
/// do is to end that process.
#[inline(never)]
#[track_caller]
pub fn invoke(text: &'static str, number: i64, args: &[usize]) -> Ret {
    let at = |index: usize| args.get(index).copied().unwrap_or(0);
    // A call that does not come back is none to be waited for.
    let leaves =
        [libc::SYS_exit, libc::SYS_exit_group, libc::SYS_execve, libc::SYS_execveat].contains(&number);
    let call = if leaves { None } else { report::begin_call(Location::caller()) };
    let value: isize;
    // SAFETY: the arguments are the case's own; it passes buffers that live until the call is back.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => value,
            in("rdi") at(0), in("rsi") at(1), in("rdx") at(2), in("r10") at(3), in("r8") at(4), in("r9") at(5),
            lateout("rcx") _, lateout("r11") _,
        );
    }
    report::end_call(call);
    Ret { text, value }
}

/// The result of a system call.
#[derive(Clone, Copy)]
#[must_use]
pub struct Ret {
    text: &'static str,
    value: isize,
}

impl Ret {
    /// A result that was made by something other than `sys!`.
    pub fn new(text: &'static str, value: isize) -> Self {
        Self { text, value }
    }

    /// The value, or minus the error number.
    #[must_use]
    pub fn raw(self) -> i64 {
        self.value as i64
    }

    /// The error number, or 0.
    #[must_use]
    pub fn errno(self) -> i32 {
        if self.value < 0 && self.value >= -4095 { -(self.value as i32) } else { 0 }
    }

    /// It must have succeeded; gives the value.
    #[track_caller]
    pub fn ok(self) -> i64 {
        assert!(self.errno() == 0, "{}: expected success, got {}", self.text, self.seen());
        self.value as i64
    }

    /// It must have succeeded; gives the value as a file descriptor or process id.
    #[track_caller]
    pub fn fd(self) -> i32 {
        self.ok() as i32
    }

    /// It must have succeeded; gives the value as an address or a size.
    #[track_caller]
    pub fn size(self) -> usize {
        self.ok() as usize
    }

    /// It must have returned exactly `want`.
    #[track_caller]
    pub fn is(self, want: impl Arg) {
        let want = want.arg() as isize;
        assert!(self.value == want, "{}: expected {want}, got {}", self.text, self.seen());
    }

    /// It must have failed with `errno`.
    #[track_caller]
    pub fn fails(self, errno: i32) {
        assert!(self.errno() == errno, "{}: expected {}, got {}", self.text, errno_name(errno), self.seen());
    }

    /// Ends the case as skipped if it failed with `errno`: the machine does not offer what the case needs.
    pub fn or_skip(self, errno: i32, reason: &str) -> Self {
        if self.errno() == errno {
            report::skip(&format!("{reason} ({}: {})", self.text, self.seen()));
        }
        self
    }

    /// The value as a person reads it.
    fn seen(self) -> String {
        match self.errno() {
            0 => self.value.to_string(),
            errno => errno_name(errno),
        }
    }
}

/// `EPERM` for 1.
#[must_use]
pub fn errno_name(errno: i32) -> String {
    match nix::errno::Errno::from_raw(errno) {
        nix::errno::Errno::UnknownErrno => format!("errno {errno}"),
        known => format!("{known:?}"),
    }
}
