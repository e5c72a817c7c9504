//! Access to memory that may vanish: pages of the memory file for which the host has no memory left, or whose guest
//! view changes under us. A fault inside one of these routines becomes an error instead of a dead sentry.
//!
//! Linux: arch/x86/lib/copy_user_64.S; here the host's SIGSEGV and SIGBUS play the part of the exception table.

use std::arch::global_asm;
use std::ffi::c_void;
use std::sync::Once;

global_asm!(
    ".pushsection .text.runsc_uaccess, \"ax\", @progbits",
    ".globl runsc_uaccess_start",
    "runsc_uaccess_start:",
    // runsc_copy(dst: rdi, src: rsi, len: rdx) -> bytes not copied
    ".globl runsc_copy",
    "runsc_copy:",
    "mov rcx, rdx",
    "rep movsb",
    "mov rax, rcx",
    "ret",
    // runsc_zero(dst: rdi, len: rsi) -> bytes not zeroed
    ".globl runsc_zero",
    "runsc_zero:",
    "mov rcx, rsi",
    "xor eax, eax",
    "rep stosb",
    "mov rax, rcx",
    "ret",
    // runsc_load32(src: rdi) -> value, or a number above u32::MAX
    ".globl runsc_load32",
    "runsc_load32:",
    "mov rcx, -1",
    "mov eax, dword ptr [rdi]",
    "ret",
    // runsc_cmpxchg32(dst: rdi, old: esi, new: edx) -> previous value, or a number above u32::MAX
    ".globl runsc_cmpxchg32",
    "runsc_cmpxchg32:",
    "mov rcx, -1",
    "mov eax, esi",
    "lock cmpxchg dword ptr [rdi], edx",
    "mov eax, eax",
    "ret",
    ".globl runsc_uaccess_end",
    "runsc_uaccess_end:",
    // Where a faulting routine resumes: every one of them keeps its error result in rcx.
    ".globl runsc_uaccess_fixup",
    "runsc_uaccess_fixup:",
    "mov rax, rcx",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn runsc_copy(dst: *mut u8, src: *const u8, len: usize) -> usize;
    fn runsc_zero(dst: *mut u8, len: usize) -> usize;
    fn runsc_load32(src: *const u32) -> u64;
    fn runsc_cmpxchg32(dst: *mut u32, old: u32, new: u32) -> u64;
    static runsc_uaccess_start: u8;
    static runsc_uaccess_end: u8;
    static runsc_uaccess_fixup: u8;
}

/// The access faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessFault;

/// Copies `len` bytes. Returns how many could not be copied.
///
/// # Safety
/// Both ranges must be memory of the caller's (an object, or a part of the memory window); the *contents* may change at
/// any time and the *pages* may be missing. They must not overlap.
pub unsafe fn copy(dst: *mut u8, src: *const u8, len: usize) -> usize {
    // SAFETY: the caller vouches for the ranges; a fault is caught by the handler.
    unsafe { runsc_copy(dst, src, len) }
}

/// Zeroes `len` bytes. Returns how many could not be written.
///
/// # Safety
/// As for [`copy`].
pub unsafe fn zero(dst: *mut u8, len: usize) -> usize {
    // SAFETY: as for copy.
    unsafe { runsc_zero(dst, len) }
}

/// Loads an aligned word atomically.
///
/// # Safety
/// As for [`copy`]; `src` is aligned to 4.
pub unsafe fn load32(src: *const u32) -> Result<u32, AccessFault> {
    // SAFETY: as for copy.
    let value = unsafe { runsc_load32(src) };
    u32::try_from(value).map_err(|_| AccessFault)
}

/// Compares and exchanges an aligned word atomically; returns the previous value.
///
/// # Safety
/// As for [`copy`]; `dst` is aligned to 4.
pub unsafe fn cmpxchg32(dst: *mut u32, old: u32, new: u32) -> Result<u32, AccessFault> {
    // SAFETY: as for copy.
    let value = unsafe { runsc_cmpxchg32(dst, old, new) };
    u32::try_from(value).map_err(|_| AccessFault)
}

static INSTALL: Once = Once::new();
static mut PREVIOUS: [Option<libc::sigaction>; 2] = [None, None];

/// Installs the handlers for SIGSEGV and SIGBUS that turn faults in the routines of this module into errors. Faults
/// elsewhere go to whoever handled them before. Idempotent.
pub fn install_fault_handlers() {
    INSTALL.call_once(|| {
        for (slot, signo) in [libc::SIGSEGV, libc::SIGBUS].into_iter().enumerate() {
            // SAFETY: a zeroed sigaction is valid; the handler is async-signal-safe: it changes one saved register.
            // PREVIOUS is written only here, before the handler that reads it can run.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_fault as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                let mut previous: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signo, std::ptr::null(), &raw mut previous);
                PREVIOUS[slot] = Some(previous);
                libc::sigaction(signo, &raw const action, std::ptr::null_mut());
            }
        }
    });
}

extern "C" fn on_fault(signo: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler; the symbols bound our own code; PREVIOUS was
    // written before the handler was installed and never since.
    unsafe {
        let context_ptr = context.cast::<libc::ucontext_t>();
        let rip = &mut (*context_ptr).uc_mcontext.gregs[libc::REG_RIP as usize];
        let at = usize::try_from(*rip).unwrap_or(0);
        let start = (&raw const runsc_uaccess_start).addr();
        let end = (&raw const runsc_uaccess_end).addr();
        if (start..end).contains(&at) {
            *rip = i64::try_from((&raw const runsc_uaccess_fixup).addr()).unwrap_or(0);
            return;
        }
        let slot = usize::from(signo == libc::SIGBUS);
        let previous = (&raw const PREVIOUS).cast::<Option<libc::sigaction>>().add(slot).read();
        match previous {
            Some(p) if p.sa_sigaction != libc::SIG_DFL && p.sa_sigaction != libc::SIG_IGN => {
                let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void) =
                    std::mem::transmute(p.sa_sigaction);
                handler(signo, info, context);
            }
            _ => {
                // Nobody else: let the fault repeat with the default action.
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signo, &raw const action, std::ptr::null_mut());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vanished_page_is_an_error_and_partial_counts_are_right() {
        install_fault_handlers();
        // SAFETY: a private mapping of our own, with its second page made inaccessible.
        unsafe {
            let p = libc::mmap(
                std::ptr::null_mut(),
                8192,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
            .cast::<u8>();
            libc::mprotect(p.add(4096).cast(), 4096, libc::PROT_NONE);
            let src = [7u8; 100];
            assert_eq!(copy(p.add(4096 - 40), src.as_ptr(), 100), 60);
            assert_eq!(p.add(4095).read(), 7);
            assert_eq!(zero(p.add(4096 - 40), 100), 60);
            assert_eq!(load32(p.add(4096).cast()), Err(AccessFault));
            assert_eq!(cmpxchg32(p.add(4096).cast(), 0, 1), Err(AccessFault));
            p.cast::<u32>().write(u32::MAX);
            assert_eq!(load32(p.cast()), Ok(u32::MAX));
            assert_eq!(cmpxchg32(p.cast(), u32::MAX, 5), Ok(u32::MAX));
            assert_eq!(load32(p.cast()), Ok(5));
            libc::munmap(p.cast(), 8192);
        }
    }
}
