//! Signal handlers and default actions. Linux: include/linux/signal.h, `sighand_struct`.

use sentry_sync::{Mutex, level};
use sentry_uapi::sigaction::{SIG_DFL, SIG_IGN, SaFlags, SigAction};
use sentry_uapi::signal::{
    NSIG, SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGILL, SIGQUIT, SIGSEGV, SIGSTOP, SIGSYS, SIGTRAP,
    SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SIGXCPU, SIGXFSZ,
};
use std::sync::Arc;

/// What happens to a signal nobody handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// The process ends with a core dump.
    CoreDump,
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// The process goes on.
    Continue,
}

/// The default action of a signal.
pub fn default_action(signo: i32) -> DefaultAction {
    match signo {
        SIGQUIT | SIGILL | SIGTRAP | SIGABRT | SIGBUS | SIGFPE | SIGSEGV | SIGXCPU | SIGXFSZ | SIGSYS => {
            DefaultAction::CoreDump
        }
        SIGCHLD | SIGURG | SIGWINCH => DefaultAction::Ignore,
        SIGCONT => DefaultAction::Continue,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => DefaultAction::Stop,
        _ => DefaultAction::Terminate,
    }
}

/// Whether the default action is to do nothing. Linux: `sig_kernel_ignore`.
pub fn ignored_by_default(signo: i32) -> bool {
    matches!(default_action(signo), DefaultAction::Ignore | DefaultAction::Continue)
}

/// The handlers of a process, which clone(2) with CLONE_SIGHAND shares.
pub struct SigHand {
    actions: Mutex<[SigAction; NSIG as usize], { level::LEAF }>,
}

impl SigHand {
    /// All default.
    pub fn new() -> Arc<SigHand> {
        Arc::new(SigHand { actions: Mutex::new([SigAction::default(); NSIG as usize]) })
    }

    /// A copy for fork(2).
    pub fn copy(&self) -> Arc<SigHand> {
        Arc::new(SigHand { actions: Mutex::new(*self.actions.lock()) })
    }

    /// The action of a signal, 1 to 64.
    pub fn get(&self, signo: i32) -> SigAction {
        index(signo).and_then(|i| self.actions.lock().get(i).copied()).unwrap_or_default()
    }

    /// Replaces the action of a signal; returns the old one.
    pub fn set(&self, signo: i32, action: SigAction) -> SigAction {
        let mut actions = self.actions.lock();
        match index(signo).and_then(|i| actions.get_mut(i)) {
            Some(slot) => std::mem::replace(slot, action),
            None => SigAction::default(),
        }
    }

    /// Handlers return to default, ignored signals stay ignored: execve(2). Linux: `flush_signal_handlers`.
    pub fn flush(&self, even_ignored: bool) {
        for action in self.actions.lock().iter_mut() {
            let handler = if action.handler == SIG_IGN && !even_ignored { SIG_IGN } else { SIG_DFL };
            *action = SigAction { handler, ..SigAction::default() };
        }
    }

    /// Whether a signal is ignored, explicitly or by default. Linux: `sig_handler_ignored`.
    pub fn ignores(&self, signo: i32) -> bool {
        let handler = self.get(signo).handler;
        handler == SIG_IGN || (handler == SIG_DFL && ignored_by_default(signo))
    }

    /// The flags of a signal's action.
    pub fn flags(&self, signo: i32) -> SaFlags {
        SaFlags::from_bits_retain(self.get(signo).flags)
    }
}

fn index(signo: i32) -> Option<usize> {
    usize::try_from(signo).ok()?.checked_sub(1)
}
