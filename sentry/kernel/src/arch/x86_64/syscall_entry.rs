//! How a system call's number and result lie in the registers. Linux: arch/x86/entry/common.c, `do_syscall_64`;
//! arch/x86/kernel/signal.c, `arch_do_signal_or_restart`.

use crate::CurrentTask;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINTR, ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS};
use sentry_uapi::sigaction::SaFlags;
use sentry_uapi::sysno;

/// Length of the `syscall` instruction.
const SYSCALL_LEN: u64 = 2;

impl CurrentTask {
    /// Puts a result where guest code looks for it.
    pub(crate) fn set_syscall_result(&mut self, result: Result<u64, Errno>) {
        self.regs.rax = match result {
            Ok(value) => value,
            Err(e) => e.as_result().cast_unsigned(),
        };
    }

    /// The error the call being left has failed with, if it did.
    fn syscall_error(&self) -> Option<Errno> {
        let error = self.regs.rax.cast_signed().checked_neg()?;
        (1..=4095).contains(&error).then(|| Errno::from_raw(i32::try_from(error).unwrap_or(0)))
    }

    /// Decides whether the interrupted call is made again after the handler. Linux: `handle_signal`.
    pub(crate) fn fix_restart_for_handler(&mut self, flags: SaFlags) {
        let Some(nr) = self.in_syscall else { return };
        match self.syscall_error() {
            Some(ERESTART_RESTARTBLOCK | ERESTARTNOHAND) => self.set_syscall_result(Err(EINTR)),
            Some(ERESTARTSYS) if !flags.contains(SaFlags::RESTART) => self.set_syscall_result(Err(EINTR)),
            Some(ERESTARTSYS | ERESTARTNOINTR) => self.rewind(nr),
            _ => {}
        }
    }

    /// Makes an interrupted call again, because no handler ran.
    pub(crate) fn restart_without_handler(&mut self) {
        let Some(nr) = self.in_syscall else { return };
        match self.syscall_error() {
            Some(ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND) => self.rewind(nr),
            Some(ERESTART_RESTARTBLOCK) => self.rewind(u64::from(sysno::restart_syscall)),
            _ => {}
        }
    }

    fn rewind(&mut self, nr: u64) {
        self.regs.rax = nr;
        self.regs.rip = self.regs.rip.wrapping_sub(SYSCALL_LEN);
    }
}
