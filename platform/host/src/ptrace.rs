//! Linux: kernel/ptrace.c, arch/x86/kernel/ptrace.c. One wrapper per request; all but [`seize`] fail with `ESRCH`
//! unless the calling thread traces `tid` and `tid` is stopped.

use crate::call::check;
use platform::PtRegs;
use sentry_uapi::Errno;
use std::ptr::null_mut;

/// Continues, and stops at system calls without executing them. Linux: arch/x86/include/uapi/asm/ptrace-abi.h.
const PTRACE_SYSEMU: libc::c_uint = 31;

/// How a stopped thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Until the next signal; system calls are executed.
    Cont,
    /// Until the next signal or system call; system calls are reported, never executed.
    Sysemu,
}

/// `siginfo_t` of a signal stop, as far as faults need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigInfo {
    /// `si_signo`.
    pub signo: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub addr: u64,
    /// `si_syscall`, of SIGSYS only.
    pub syscall: i32,
}

fn request(request: libc::c_uint, tid: i32, addr: u64, data: *mut libc::c_void) -> Result<(), Errno> {
    // SAFETY: the callers below pass data that suits the request.
    check(unsafe { libc::ptrace(request, tid, addr, data) }).map(drop)
}

/// Begins to trace a running thread, which is killed when the calling thread ends.
///
/// # Errors
/// `EPERM` when a security module, missing privilege or another tracer forbids it; `ESRCH`.
pub fn seize(tid: i32) -> Result<(), Errno> {
    let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
    request(
        libc::PTRACE_SEIZE,
        tid,
        0,
        std::ptr::without_provenance_mut(usize::try_from(options).unwrap_or(0)),
    )
}

/// Stops a running thread that was seized; the stop is to be waited for.
///
/// # Errors
/// `ESRCH`.
pub fn interrupt(tid: i32) -> Result<(), Errno> {
    request(libc::PTRACE_INTERRUPT, tid, 0, null_mut())
}

/// Stops tracing; the thread runs on.
///
/// # Errors
/// `ESRCH`.
pub fn detach(tid: i32) -> Result<(), Errno> {
    request(libc::PTRACE_DETACH, tid, 0, null_mut())
}

/// Lets a stopped thread run on without delivering a signal.
///
/// # Errors
/// `ESRCH`.
pub fn resume(tid: i32, how: Resume) -> Result<(), Errno> {
    let number = match how {
        Resume::Cont => libc::PTRACE_CONT,
        Resume::Sysemu => PTRACE_SYSEMU,
    };
    request(number, tid, 0, null_mut())
}

/// Reads the general registers.
///
/// # Errors
/// `ESRCH`.
pub fn get_regs(tid: i32, regs: &mut PtRegs) -> Result<(), Errno> {
    request(libc::PTRACE_GETREGS, tid, 0, std::ptr::from_mut(regs).cast())
}

/// Writes the general registers.
///
/// # Errors
/// `ESRCH`; `EIO` for a selector or segment base that user code cannot have.
pub fn set_regs(tid: i32, regs: &PtRegs) -> Result<(), Errno> {
    request(libc::PTRACE_SETREGS, tid, 0, std::ptr::from_ref(regs).cast_mut().cast())
}

/// Writes rax alone, which is cheaper than [`set_regs`].
///
/// # Errors
/// `ESRCH`.
pub fn set_rax(tid: i32, value: u64) -> Result<(), Errno> {
    let offset = u64::try_from(std::mem::offset_of!(PtRegs, rax)).unwrap_or(u64::MAX);
    let word = std::ptr::without_provenance_mut(usize::try_from(value).unwrap_or(usize::MAX));
    request(libc::PTRACE_POKEUSER, tid, offset, word)
}

/// Reads what is known about the signal a thread is stopped for.
///
/// # Errors
/// `EINVAL` when the stop is not for a signal; `ESRCH`.
pub fn get_siginfo(tid: i32) -> Result<SigInfo, Errno> {
    // SAFETY: siginfo_t is plain data, for which all bits zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETSIGINFO, tid, 0, std::ptr::from_mut(&mut info).cast())?;
    // SAFETY: the union member si_addr is an integer-sized field at the same place for every signal, and so is
    // si_syscall behind it (Linux: include/uapi/asm-generic/siginfo.h); both lie inside siginfo_t.
    let (addr, syscall) = unsafe {
        let base = std::ptr::from_ref(&info).cast::<u8>();
        (info.si_addr().addr(), base.add(24).cast::<i32>().read_unaligned())
    };
    let addr = u64::try_from(addr).unwrap_or(u64::MAX);
    Ok(SigInfo { signo: info.si_signo, code: info.si_code, addr, syscall })
}

/// Reads one word of the thread's memory.
///
/// # Errors
/// `EIO` or `EFAULT` where nothing is mapped; `ESRCH`.
pub fn peek_text(tid: i32, addr: u64) -> Result<u64, Errno> {
    let mut word = 0_u64;
    // The raw call stores the word; libc's wrapper returns it in place of the error.
    // SAFETY: the call writes one word, which `word` has room for.
    let result = unsafe {
        libc::syscall(libc::SYS_ptrace, libc::c_long::from(libc::PTRACE_PEEKTEXT), tid, addr, &raw mut word)
    };
    check(result).map(|_| word)
}

/// Sets the mask of blocked signals; bit n stands for signal n + 1.
///
/// # Errors
/// `ESRCH`.
pub fn set_sigmask(tid: i32, mask: u64) -> Result<(), Errno> {
    let mut mask = mask;
    request(libc::PTRACE_SETSIGMASK, tid, 8, std::ptr::from_mut(&mut mask).cast())
}

/// A thread's registration with rseq(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RseqConfiguration {
    /// Address of the thread's area; 0 when it has none.
    pub pointer: u64,
    /// Size of the area.
    pub size: u32,
    /// The signature that precedes abort handlers.
    pub signature: u32,
    /// Flags it was registered with.
    pub flags: u32,
    pad: u32,
}

/// Reads a thread's registration with rseq(2).
///
/// # Errors
/// `EIO` on a kernel before 5.13 or without rseq; `ESRCH`.
pub fn get_rseq_configuration(tid: i32) -> Result<RseqConfiguration, Errno> {
    const PTRACE_GET_RSEQ_CONFIGURATION: libc::c_uint = 0x420f;
    let mut conf = RseqConfiguration::default();
    let size = u64::try_from(size_of::<RseqConfiguration>()).unwrap_or(0);
    request(PTRACE_GET_RSEQ_CONFIGURATION, tid, size, std::ptr::from_mut(&mut conf).cast())?;
    Ok(conf)
}

/// `NT_X86_XSTATE` of elf.h.
const NT_X86_XSTATE: u64 = 0x202;

/// Reads the extended processor state into `image` and gives its length, at most that of `image`.
///
/// # Errors
/// `ENODEV` on a processor without XSAVE; `ESRCH`.
pub fn get_xstate(tid: i32, image: &mut [u8]) -> Result<usize, Errno> {
    let mut iov = libc::iovec { iov_base: image.as_mut_ptr().cast(), iov_len: image.len() };
    request(libc::PTRACE_GETREGSET, tid, NT_X86_XSTATE, std::ptr::from_mut(&mut iov).cast())?;
    Ok(iov.iov_len.min(image.len()))
}

/// Writes the extended processor state.
///
/// # Errors
/// `EINVAL` or `EFAULT` for an image the processor would refuse, or of another length than [`get_xstate`] gives; `ESRCH`.
pub fn set_xstate(tid: i32, image: &[u8]) -> Result<(), Errno> {
    let mut iov = libc::iovec { iov_base: image.as_ptr().cast_mut().cast(), iov_len: image.len() };
    request(libc::PTRACE_SETREGSET, tid, NT_X86_XSTATE, std::ptr::from_mut(&mut iov).cast())
}
