//! sigaltstack(2). Linux: kernel/signal.c, `do_sigaltstack`.

use crate::CurrentTask;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOMEM, EPERM};
use sentry_uapi::sigaction::{MINSIGSTKSZ, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, SigAltStack};

impl CurrentTask {
    /// Sets the alternate stack.
    ///
    /// # Errors
    /// `EPERM` while running on it; `EINVAL` for unknown flags; `ENOMEM` if it is too small.
    pub fn set_altstack(&mut self, new: SigAltStack) -> Result<(), Errno> {
        if self.on_altstack(self.regs.rsp) && self.altstack.ss_size != 0 {
            return Err(EPERM);
        }
        let mode = new.ss_flags & !SS_AUTODISARM;
        if mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0 {
            return Err(EINVAL);
        }
        if mode == SS_DISABLE {
            self.altstack = SigAltStack { ss_sp: 0, ss_size: 0, ss_flags: new.ss_flags, pad: 0 };
            return Ok(());
        }
        if new.ss_size < MINSIGSTKSZ {
            return Err(ENOMEM);
        }
        self.altstack = SigAltStack { pad: 0, ..new };
        Ok(())
    }
}
