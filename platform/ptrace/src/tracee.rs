//! Operations on a stopped stub thread that the calling host thread traces.

use crate::control_file::{Call, QueueSlot};
use crate::stub_code::{Entry, QUEUE_ADDR};
use platform::{PlatformError, PtRegs};
use platform_host::ptrace::{self, Resume};
use platform_host::wait::{WaitStatus, wait_tracee};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, ECHILD, ENOMEM, ENOSPC, ESRCH};

/// The error for a failed ptrace request: a tracee that cannot be found has been killed.
pub(crate) fn ptrace_error(what: &'static str) -> impl Fn(Errno) -> PlatformError {
    move |errno| match errno {
        ESRCH | ECHILD => PlatformError::Gone(format!("{what}: the stub was killed")),
        errno => PlatformError::Host { what, errno },
    }
}

/// The error for a call a stub made in vain.
pub(crate) fn call_error(what: &'static str) -> impl Fn(Errno) -> PlatformError {
    move |errno| match errno {
        ENOMEM | EAGAIN | ENOSPC => PlatformError::OutOfMemory(errno),
        errno => PlatformError::Host { what, errno },
    }
}

/// How a thread that is gone is reported.
pub(crate) fn gone(status: WaitStatus) -> PlatformError {
    PlatformError::Gone(match status {
        WaitStatus::Exited(code) => format!("the stub exited with status {code}"),
        WaitStatus::Signaled(signo) => format!("the stub was killed by signal {signo}"),
        other => format!("the stub reported {other:?}"),
    })
}

/// Registers with which stub code starts at `rip`. `orig_rax` is -1, so that no system call is taken to be restarted.
fn stub_regs(rip: u64) -> PtRegs {
    PtRegs { rip, orig_rax: u64::MAX, ..PtRegs::default() }.sanitised()
}

fn call_regs(rip: u64, call: &Call) -> PtRegs {
    let [rax, rdi, rsi, rdx, r10, r8, r9] = *call;
    PtRegs { rax, rdi, rsi, rdx, r10, r8, r9, ..stub_regs(rip) }
}

/// Runs stub code until its `int3`, passing over signals from outside, and gives the registers it ended with.
fn run_to_trap(tid: i32, regs: &PtRegs) -> Result<PtRegs, PlatformError> {
    ptrace::set_regs(tid, regs).map_err(ptrace_error("PTRACE_SETREGS"))?;
    let mut after = PtRegs::default();
    loop {
        ptrace::resume(tid, Resume::Cont).map_err(ptrace_error("PTRACE_CONT"))?;
        match wait_tracee(tid).map_err(ptrace_error("wait4"))? {
            status if status.is_end() => return Err(gone(status)),
            WaitStatus::SignalStop(libc::SIGTRAP) => {
                let info = ptrace::get_siginfo(tid).map_err(ptrace_error("PTRACE_GETSIGINFO"))?;
                if info.code > 0 {
                    ptrace::get_regs(tid, &mut after).map_err(ptrace_error("PTRACE_GETREGS"))?;
                    return Ok(after);
                }
            }
            WaitStatus::SignalStop(signo @ (libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGSYS)) => {
                let info = ptrace::get_siginfo(tid).map_err(ptrace_error("PTRACE_GETSIGINFO"))?;
                if info.code > 0 {
                    return Err(PlatformError::Gone(format!("signal {signo} in stub code: {info:?}")));
                }
            }
            _ => {}
        }
    }
}

/// The result register of a system call as a result.
fn syscall_result(rax: u64) -> Result<u64, Errno> {
    match i32::try_from(rax.cast_signed()) {
        Ok(value @ -4095..=-1) => Err(Errno::from_raw(-value)),
        _ => Ok(rax),
    }
}

/// Makes the thread execute one system call with the code at `entry`.
pub(crate) fn call(tid: i32, entry: &Entry, what: &'static str, call: Call) -> Result<u64, PlatformError> {
    let regs = run_to_trap(tid, &call_regs(entry.call, &call))?;
    syscall_result(regs.rax).map_err(call_error(what))
}

/// Makes the thread execute calls in order, in as many rounds as the queue page demands.
///
/// The outer error says that the thread is gone, the inner one is the result of the first call that failed.
pub(crate) fn run_calls(
    tid: i32,
    entry: &Entry,
    queue: &QueueSlot,
    calls: &[Call],
) -> Result<Result<(), Errno>, PlatformError> {
    let mut rest = calls;
    while !rest.is_empty() {
        let count = queue.write_calls(rest);
        rest = rest.get(count..).unwrap_or(&[]);
        let r12 = u64::try_from(count).unwrap_or(0);
        let regs = run_to_trap(tid, &PtRegs { rbx: QUEUE_ADDR, r12, ..stub_regs(entry.run) })?;
        if regs.r12 != 0 {
            return Ok(syscall_result(regs.rax).map(drop));
        }
    }
    Ok(Ok(()))
}

/// Makes the thread clone; `entry` is one of the clone entry points and `parent` what a forked process must see as its
/// parent. Gives the id of the new thread or process.
pub(crate) fn clone(tid: i32, entry: u64, flags: u64, parent: u64) -> Result<i32, PlatformError> {
    let nr = u64::try_from(libc::SYS_clone).unwrap_or(0);
    let regs = run_to_trap(tid, &PtRegs { r12: parent, ..call_regs(entry, &[nr, flags, 0, 0, 0, 0, 0]) })?;
    let id = syscall_result(regs.rax).map_err(call_error("clone"))?;
    i32::try_from(id).map_err(|_| PlatformError::Gone("clone gave no thread id".into()))
}

/// Takes over a parked thread. It is stopped afterwards; its registers are given.
pub(crate) fn adopt(tid: i32) -> Result<PtRegs, PlatformError> {
    ptrace::seize(tid).map_err(ptrace_error("PTRACE_SEIZE"))?;
    ptrace::interrupt(tid).map_err(ptrace_error("PTRACE_INTERRUPT"))?;
    let status = wait_tracee(tid).map_err(ptrace_error("wait4"))?;
    if status.is_end() {
        return Err(gone(status));
    }
    let mut regs = PtRegs::default();
    ptrace::get_regs(tid, &mut regs).map_err(ptrace_error("PTRACE_GETREGS"))?;
    Ok(regs)
}

/// Lets a thread go into the parking loop, untraced.
pub(crate) fn park(tid: i32, entry: &Entry) -> Result<(), PlatformError> {
    ptrace::set_regs(tid, &stub_regs(entry.park)).map_err(ptrace_error("PTRACE_SETREGS"))?;
    ptrace::detach(tid).map_err(ptrace_error("PTRACE_DETACH"))
}

/// Ends one thread and reaps it.
pub(crate) fn exit(tid: i32, entry: &Entry) -> Result<(), PlatformError> {
    let nr = u64::try_from(libc::SYS_exit).unwrap_or(0);
    match run_to_trap(tid, &call_regs(entry.call, &[nr, 0, 0, 0, 0, 0, 0])) {
        Ok(_) => Err(PlatformError::Gone("exit returned".into())),
        Err(PlatformError::Gone(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
