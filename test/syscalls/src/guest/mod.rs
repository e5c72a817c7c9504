//! The guest program's tool box: what cases say in one word instead of ten lines.
//!
//! Everything here belongs to one case's process and goes with it, so nothing is ever closed, unmapped or freed.

mod acl;
mod check;
mod cred;
mod files;
mod memory;
mod net;
mod process;
mod signal;
mod tty;
mod userns;

pub use acl::{ACL_ACCESS, ACL_DEFAULT, AclEntry, acl_bytes, acl_tag, full_acl};
pub use check::show;
pub(crate) use check::{check, expect_eq};
pub use cred::{Caps, ExecIds, hex, status_line};
pub use files::{Pipe, Text, iov};
pub use memory::{Map, PAGE, peek, poke, touch};
pub use net::{inet, inet6, unix};
pub use process::{Child, Status, Thread};
pub use signal::{SigInfo, set_of};
pub use tty::Pty;

use std::ffi::{CStr, CString};
use std::fmt::Display;
use std::mem::MaybeUninit;

/// The case's view of the machine: who it is, where its directory is, and the tool box as methods.
pub struct Guest {
    program: CString,
    directory: String,
}

impl Guest {
    /// A guest whose working directory, `directory`, is its own, started from the static binary `program`.
    pub(crate) fn new(program: CString, directory: String) -> Self {
        memory::map_fault_page();
        Self { program, directory }
    }

    /// Whether the case runs as root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid() == 0
    }

    /// The effective user.
    #[must_use]
    pub fn uid(&self) -> u32 {
        // SAFETY: has no preconditions.
        unsafe { libc::geteuid() }
    }

    /// The path of the static binary of the suite, to be executed with a `helper:` name (see `suite::helper`).
    #[must_use]
    pub fn program(&self) -> &CStr {
        &self.program
    }

    /// The absolute path of the case's own, empty working directory.
    #[must_use]
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Ends the case: the machine lacks what it needs.
    pub fn skip(&self, reason: impl Display) -> ! {
        crate::report::skip(&reason.to_string())
    }

    /// Waits until `holds`, for something that happens without an event to wait for. The suite's limit bounds it.
    pub fn until(&self, mut holds: impl FnMut() -> bool) {
        let mut spins = 0_u32;
        while !holds() {
            spins += 1;
            if spins < 100 {
                std::thread::yield_now();
            } else {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

/// A C structure of zeroes.
#[must_use]
pub fn zeroed<T: Copy>() -> T {
    // SAFETY: used with the kernel's plain structures only, for which zeroes are a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A C string of `text`, which holds no NUL.
#[must_use]
pub fn cstr(text: impl AsRef<str>) -> CString {
    CString::new(text.as_ref()).expect("a path holds no NUL")
}

/// A span of milliseconds.
#[must_use]
pub const fn msec(milliseconds: i64) -> libc::timespec {
    libc::timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 }
}

/// The time on `clock` that many milliseconds from now.
#[must_use]
pub fn deadline(clock: libc::clockid_t, milliseconds: i64) -> libc::timespec {
    let mut now: libc::timespec = zeroed();
    // SAFETY: `now` is written.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let nanoseconds = now.tv_nsec + milliseconds % 1000 * 1_000_000;
    libc::timespec {
        tv_sec: now.tv_sec + milliseconds / 1000 + nanoseconds / 1_000_000_000,
        tv_nsec: nanoseconds % 1_000_000_000,
    }
}
