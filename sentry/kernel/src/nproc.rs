//! RLIMIT_NPROC. Linux: kernel/fork.c, `copy_process`; kernel/sys.c, `flag_nproc_exceeded`; fs/exec.c,
//! `do_execveat_common`. Differs in nothing visible.
//!
//! Who changes to a user with too many processes is not told so, since too many programs take setuid(2)'s success for
//! granted: its next execve(2) fails instead.

use crate::{CurrentTask, Task};
use sentry_auth::{CapSet, Cred, Kuid, NprocCount, inc_nproc, is_nproc_overlimit};
use sentry_uapi::Errno;
use sentry_uapi::errno::EAGAIN;
use sentry_uapi::resource::RLIMIT_NPROC;
use std::sync::Arc;

impl Task {
    /// Counts the task for the user of its new credentials. Linux: `commit_creds`.
    pub(crate) fn count_nproc(&self, cred: &Cred) {
        if self.nproc.lock().as_ref().is_some_and(|n| n.is_of(&cred.user_ns, cred.uid)) {
            return;
        }
        let new = inc_nproc(&cred.user_ns, cred.uid);
        let old = self.nproc.lock().replace(new);
        drop(old);
    }

    /// Its count, for who is to drop it when the task is gone for good. Linux: `release_task`.
    pub(crate) fn take_nproc(&self) -> Option<NprocCount> {
        self.nproc.lock().take()
    }
}

impl CurrentTask {
    fn nproc_limit(&self) -> u64 {
        self.group.rlimit(RLIMIT_NPROC).cur
    }

    /// Whether there may be one more task with these credentials.
    ///
    /// # Errors
    /// `EAGAIN`.
    pub(crate) fn check_nproc(&mut self, cred: &Cred) -> Result<(), Errno> {
        let over = is_nproc_overlimit(&cred.user_ns, cred.uid, 1, self.nproc_limit());
        let privileged = || {
            cred.uid == Kuid::GLOBAL_ROOT
                || self.capable(CapSet::SYS_RESOURCE)
                || self.capable(CapSet::SYS_ADMIN)
        };
        if over && !privileged() { Err(EAGAIN) } else { Ok(()) }
    }

    /// Notes whether credentials that set*uid(2) is about to commit are those of a user with too many processes. Linux:
    /// `flag_nproc_exceeded`.
    pub fn flag_nproc_exceeded(&mut self, new: &Cred) {
        let old = self.task().cred();
        if old.uid == new.uid && Arc::ptr_eq(&old.user_ns, &new.user_ns) {
            return;
        }
        self.nproc_exceeded =
            new.uid != Kuid::GLOBAL_ROOT && is_nproc_overlimit(&new.user_ns, new.uid, 0, self.nproc_limit());
    }

    /// Whether execve(2) may go on: not if its user had too many processes when it became that user, and still has.
    ///
    /// # Errors
    /// `EAGAIN`.
    pub fn check_nproc_exceeded(&mut self) -> Result<(), Errno> {
        let cred = self.task().cred();
        if self.nproc_exceeded && is_nproc_overlimit(&cred.user_ns, cred.uid, 0, self.nproc_limit()) {
            return Err(EAGAIN);
        }
        self.nproc_exceeded = false;
        Ok(())
    }
}
