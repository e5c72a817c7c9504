//! The loop of a task's thread. Linux: kernel/entry/common.c, `exit_to_user_mode_loop`.

use crate::CurrentTask;
use crate::arch::Exception;
use crate::syscall::{SyscallExit, SyscallResult};
use platform::{Fault, GuestSignal, Trap};
use platform_host::tsc::rdtsc;
use sentry_mm::{FaultError, MemoryManager};
use sentry_uapi::errno::ENOSYS;
use sentry_uapi::sigaction::SaFlags;
use sentry_uapi::signal::{SI_KERNEL, SIGKILL, SIGSEGV, SigInfo, SigSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// The kernel is told of so many system calls of a task at a time.
const CALLS_TOLD: u64 = 64;

impl CurrentTask {
    /// Runs the task until it ends.
    pub(crate) fn run(mut self) {
        loop {
            if self.signal_pending() || self.saved_mask.is_some() {
                self.work_before_guest();
            }
            if let Some(status) = self.exit_status {
                self.do_exit(status);
                return;
            }
            let Some(mm) = &self.mm else {
                self.exit_status = Some(SIGKILL);
                continue;
            };
            self.in_syscall = None;
            // Where the call that trapped last returns to, the platform sees to it.
            let is_return = self.gate_rip == Some(self.regs.rip) && self.regs.gs_base == 0;
            if mm.shows_text() && !is_return {
                let mm = mm.clone();
                self.before_rewritten_text(&mm);
            }
            if !self.answers_told {
                self.tell_answers();
            }
            let Some(mm) = &self.mm else { continue };
            let entered = rdtsc();
            let trap = self.ctx.switch(mm.address_space(), &mut self.regs);
            let left = rdtsc();
            add_time(&self.task.utime, left.wrapping_sub(entered));
            self.gate_rip = None;
            match trap {
                Ok(Trap::Syscall) if self.ctx.used_gate() => {
                    self.gate_rip = Some(self.regs.rip);
                    self.syscall();
                }
                Ok(Trap::Syscall) => {
                    self.count_call();
                    self.syscall();
                }
                Ok(trap) => self.leave_guest(trap),
                Err(e) => {
                    tracing::warn!("task {}: {e}", self.tid());
                    let status = self.group.group_exit(SIGKILL);
                    self.exit_status = Some(status);
                }
            }
            let slept = self.slept.replace(0);
            add_time(&self.task.stime, rdtsc().wrapping_sub(left).saturating_sub(slept));
        }
    }

    /// Serves a trap that is no system call.
    fn leave_guest(&mut self, trap: Trap) {
        if let Some(mm) = self.mm.clone().filter(|mm| mm.shows_text()) {
            self.leave_cave(&mm);
        }
        match trap {
            Trap::Fault(fault) => self.page_fault(fault),
            Trap::Signal(signal) => self.exception(signal),
            Trap::Syscall | Trap::Interrupted => {}
        }
    }

    /// Sees to it that guest code goes on where it can in text that was rewritten.
    fn before_rewritten_text(&mut self, mm: &MemoryManager) {
        // The way to the gate is by GS.
        if self.regs.gs_base != 0 && mm.may_show_text() && mm.hide_text().is_err() {
            let status = self.group.group_exit(SIGKILL);
            self.exit_status = Some(status);
        }
        self.enter_cave(mm);
    }

    fn syscall(&mut self) {
        let nr = self.regs.orig_rax;
        let args = self.regs.syscall_args();
        self.in_syscall = Some(nr);
        self.task.syscall.store(nr.wrapping_add(1), Ordering::Relaxed);
        self.calls += 1;
        if self.calls.is_multiple_of(CALLS_TOLD) {
            self.kernel().counters.syscalls.fetch_add(CALLS_TOLD, Ordering::Relaxed);
        }
        let result = match self.kernel().syscalls.tracer.clone() {
            None => self.dispatch(nr, args),
            Some(tracer) => {
                tracer.enter(self, nr, args);
                let result = self.dispatch(nr, args);
                let shown = match result {
                    Ok(value) => Some(Ok(value)),
                    Err(SyscallExit::Errno(e)) => Some(Err(e)),
                    Err(SyscallExit::NoReturn) => None,
                };
                tracer.exit(self, nr, args, shown);
                result
            }
        };
        self.task.syscall.store(0, Ordering::Relaxed);
        match result {
            Ok(value) => self.set_syscall_result(Ok(value)),
            Err(SyscallExit::Errno(e)) => self.set_syscall_result(Err(e)),
            Err(SyscallExit::NoReturn) => self.in_syscall = None,
        }
        let unfinished = matches!(result, Err(SyscallExit::Errno(e)) if e.raw() >= 512);
        if unfinished && !self.signal_pending() {
            // What interrupted the call is gone (another thread took the signal): make the call again.
            self.restart_without_handler();
        }
    }

    fn dispatch(&mut self, nr: u64, args: [u64; 6]) -> SyscallResult {
        match self.kernel().syscalls.entry(nr) {
            Some(call) => call(self, args),
            None => Err(ENOSYS.into()),
        }
    }

    fn page_fault(&mut self, fault: Fault) {
        let Some(mm) = self.mm.clone() else { return };
        self.kernel().counters.faults.fetch_add(1, Ordering::Relaxed);
        let limits = self.mm_limits();
        let rip = self.regs.rip;
        match mm.handle_guest_fault(fault.addr, fault.access, rip, &mut self.faults, &limits) {
            Ok(()) => {}
            Err(FaultError::Signal { signo, code }) => {
                self.exception = Exception::page_fault(&fault, code);
                self.task().force_sig(SigInfo::from_fault(signo, code, fault.addr));
            }
            Err(FaultError::OutOfMemory) => {
                let status = self.group.group_exit(SIGKILL);
                self.exit_status = Some(status);
            }
        }
    }

    fn exception(&mut self, signal: GuestSignal) {
        self.exception = Exception { cr2: self.exception.cr2, ..Exception::of_signal(&signal) };
        self.task().force_sig(SigInfo::from_fault(signal.signo, signal.code, signal.addr));
    }

    /// Delivers what is pending and restores a temporary mask.
    fn work_before_guest(&mut self) {
        while let Some((info, action)) = self.get_signal() {
            let flags = SaFlags::from_bits_retain(action.flags);
            self.fix_restart_for_handler(flags);
            self.in_syscall = None;
            let old_mask = self.saved_mask.take().unwrap_or_else(|| self.task().blocked());
            if self.setup_rt_frame(&info, &action, old_mask).is_err() {
                self.segv_in_frame(info.si_signo);
                continue;
            }
            let mut mask = self.task().blocked().union(action.mask);
            if !flags.contains(SaFlags::NODEFER) {
                mask = mask.union(SigSet::of(info.si_signo));
            }
            self.set_blocked(mask);
        }
        if self.exit_status.is_some() {
            return;
        }
        self.restart_without_handler();
        self.in_syscall = None;
        if let Some(mask) = self.saved_mask.take() {
            self.set_blocked(mask);
        }
    }

    /// A frame that cannot be written ends in SIGSEGV, which kills if it was SIGSEGV that was to be handled. Linux:
    /// `force_sigsegv`.
    pub fn segv_in_frame(&mut self, signo: i32) {
        if signo == SIGSEGV {
            let sighand = self.group.sighand();
            sighand.set(SIGSEGV, sentry_uapi::sigaction::SigAction::default());
        }
        self.task().force_sig(SigInfo::new(SIGSEGV, SI_KERNEL));
    }
}

/// Adds to a counter that nobody else writes to.
fn add_time(counter: &AtomicU64, ticks: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(ticks), Ordering::Relaxed);
}
