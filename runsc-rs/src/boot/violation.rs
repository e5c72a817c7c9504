//! A system call that the filter does not allow ends the sentry, with one line to the command saying which it was.

use nix::libc;
use std::ffi::c_void;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// The control socket, for the handler.
static CONTROL: AtomicI32 = AtomicI32::new(-1);

/// Handles SIGSYS from here on. `control` is the socket to report to.
pub(super) fn install(control: RawFd) {
    CONTROL.store(control, Ordering::Relaxed);
    // SAFETY: a zeroed sigaction is valid; the handler is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_violation as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn on_violation(_signo: i32, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler.
    let number = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RAX as usize] };
    let (message, len) = report(number);
    // SAFETY: writes initialised bytes of our own; both calls are async-signal-safe.
    unsafe {
        libc::write(CONTROL.load(Ordering::Relaxed), message.as_ptr().cast(), len);
        libc::_exit(1);
    }
}

const BEFORE: &[u8] = b"{\"failed\":{\"kind\":\"runtime\",\"message\":\"the sentry made system call ";
const AFTER: &[u8] = b", which its seccomp filter does not allow\"}}";

/// An `Event::Failed` about system call `number`, put together without an allocation.
fn report(number: i64) -> ([u8; 160], usize) {
    let mut message = [0; 160];
    let mut len = 0;
    let mut put = |byte: u8| {
        if let Some(place) = message.get_mut(len) {
            *place = byte;
            len += 1;
        }
    };
    BEFORE.iter().copied().for_each(&mut put);
    let number = number.unsigned_abs();
    let mut power = 1;
    while number / power >= 10 {
        power *= 10;
    }
    while power > 0 {
        put(b'0' + u8::try_from(number / power % 10).unwrap_or(0));
        power /= 10;
    }
    AFTER.iter().copied().for_each(&mut put);
    (message, len)
}

/// Ends the process and all its threads, running no destructor and no `atexit` function: they belong to the command
/// this process is a copy of.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::control::{Event, FailureKind};

    #[test]
    fn the_report_is_a_message_of_the_protocol() {
        for number in [0, 7, 41, 450, i64::MAX] {
            let (bytes, len) = report(number);
            let event: Event = serde_json::from_slice(&bytes[..len]).unwrap();
            let message =
                format!("the sentry made system call {number}, which its seccomp filter does not allow");
            assert_eq!(event, Event::Failed { kind: FailureKind::Runtime, message });
        }
    }
}
