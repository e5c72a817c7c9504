//! Requests to leave guest code, and the signal that carries them.

use crate::vcpu::Vcpu;
use parking_lot::Mutex;
use platform::{Interrupter, PlatformError};
use platform_host::call::check_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The signal that brings a thread out of `KVM_RUN`. It has a handler that does nothing; calls it meets elsewhere are
/// restarted.
pub(crate) const KICK: i32 = libc::SIGURG;

/// A context's request flag, and the processor it runs on.
///
/// The requester sets the flag, then looks whether the processor is in guest code; the context says that it is, then looks
/// at the flag. So one of them sees the other.
#[derive(Default)]
pub(crate) struct KvmInterrupter {
    requested: AtomicBool,
    target: Mutex<Option<Arc<Vcpu>>>,
}

impl KvmInterrupter {
    pub(crate) fn set_target(&self, vcpu: Option<Arc<Vcpu>>) {
        *self.target.lock() = vcpu;
    }

    /// Consumes the request, if there is one.
    pub(crate) fn take(&self) -> bool {
        self.requested.load(Ordering::SeqCst) && self.requested.swap(false, Ordering::SeqCst)
    }
}

impl Interrupter for KvmInterrupter {
    fn interrupt(&self) {
        self.requested.store(true, Ordering::SeqCst);
        if let Some(vcpu) = &*self.target.lock() {
            vcpu.kick();
        }
    }
}

extern "C" fn on_kick(_signo: libc::c_int) {}

/// Gives the process its handler of [`KICK`].
pub(crate) fn install_handler() -> Result<(), PlatformError> {
    // SAFETY: a zeroed sigaction is a valid one, and the handler does nothing.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_kick as *const () as usize;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(KICK, &raw const action, std::ptr::null_mut())
    };
    check_int(result).map(drop).map_err(|errno| PlatformError::Host { what: "sigaction", errno })
}

/// Lets the calling thread receive [`KICK`], which whoever started the sentry may have blocked.
pub(crate) fn unblock() {
    // SAFETY: the set is valid for writing; zeroed memory is a value of sigset_t.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, KICK);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
}
