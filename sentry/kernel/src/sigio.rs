//! Signal-driven I/O. Linux: fs/fcntl.c, `kill_fasync`, `send_sigio`.
//!
//! A file's wait queue is woken under locks that sending a signal would have to come before, so it is left to
//! a thread.

use crate::deferred::{Deferred, DeferredQueue};
use crate::signal::SigSource;
use crate::{Kernel, Task, ThreadGroup};
use fs_vfs::{File, FileOwner, OwnerKind};
use sentry_auth::Kuid;
use sentry_sync::{Wake, Woken};
use sentry_uapi::Errno;
use sentry_uapi::poll::{
    POLLERR, POLLHUP, POLLIN, POLLMSG, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND, POLLWRNORM,
};
use sentry_uapi::signal::{SI_KERNEL, SIGIO, SigInfo};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

/// A file that wants its owner to get signals. Linux: `struct fasync_struct`.
struct Fasync {
    this: Weak<Fasync>,
    kernel: Weak<Kernel>,
    queue: Arc<DeferredQueue>,
    file: Weak<File>,
    fd: i32,
    /// What has happened since the last signal.
    events: AtomicU32,
    /// How many times `POLLMSG` has.
    messages: AtomicU32,
}

impl Kernel {
    /// From now on the file's owner gets signals, or no more. `fd` is what it is told.
    pub fn set_fasync(self: &Arc<Self>, file: &Arc<File>, fd: i32, on: bool) {
        if !on {
            file.set_fasync(None);
            return;
        }
        file.set_fasync(Some(self.fasync(file, fd)));
    }

    /// Whoever wakes this has the file's owner signalled; `POLLMSG` each time anew.
    pub fn fasync(self: &Arc<Self>, file: &Arc<File>, fd: i32) -> Arc<dyn Wake> {
        self.deferred.start();
        Arc::new_cyclic(|this| Fasync {
            this: this.clone(),
            kernel: Arc::downgrade(self),
            queue: self.deferred.clone(),
            file: Arc::downgrade(file),
            fd,
            events: AtomicU32::new(0),
            messages: AtomicU32::new(0),
        })
    }
}

impl Wake for Fasync {
    fn wake(&self, events: u32) -> Woken {
        if events & POLLMSG != 0 {
            self.messages.fetch_add(1, Ordering::Relaxed);
        }
        if self.events.fetch_or(events, Ordering::AcqRel) == 0 {
            // What is woken only once may be let go of before its signal is sent.
            if let Some(this) = self.this.upgrade() {
                self.queue.push(this);
            }
        }
        Woken::NOBODY
    }
}

impl Deferred for Fasync {
    /// Linux: `send_sigio`.
    fn run(&self) {
        let events = self.events.swap(0, Ordering::AcqRel);
        let messages = self.messages.swap(0, Ordering::AcqRel);
        let (Some(kernel), Some(file)) = (self.kernel.upgrade(), self.file.upgrade()) else { return };
        let owner = file.owner();
        if owner.pid == 0 {
            return;
        }
        let info = siginfo(&owner, events, self.fd);
        let (tasks, groups) = targets(&kernel, &owner);
        for task in tasks.iter().filter(|t| sigio_perm(&owner, t)) {
            repeat(messages, || task.send_signal(info, SigSource::Outside));
        }
        for group in &groups {
            if group.threads().first().is_some_and(|t| sigio_perm(&owner, t)) {
                repeat(messages, || group.send_signal(info, SigSource::Outside));
            }
        }
    }
}

/// Sends a signal once, or for each message until there is no room for more.
fn repeat(messages: u32, mut send: impl FnMut() -> Result<(), Errno>) {
    for _ in 0..messages.max(1) {
        if send().is_err() {
            return;
        }
    }
}

/// The threads and the processes an owner stands for.
fn targets(kernel: &Kernel, owner: &FileOwner) -> (Vec<Arc<Task>>, Vec<Arc<ThreadGroup>>) {
    let tree = kernel.tree.lock();
    let process = |id: &u32| tree.processes.get(id).map(|p| p.group.clone());
    match owner.kind {
        OwnerKind::Thread => (tree.tasks.get(&owner.pid).cloned().into_iter().collect(), Vec::new()),
        OwnerKind::Process => (Vec::new(), process(&owner.pid).into_iter().collect()),
        OwnerKind::Group => {
            let members = tree.pgrps.get(&owner.pid).map(|g| g.members.as_slice()).unwrap_or_default();
            (Vec::new(), members.iter().filter_map(process).collect())
        }
    }
}

/// Whether whoever set the owner may signal it. Linux: `sigio_perm`.
fn sigio_perm(owner: &FileOwner, task: &Task) -> bool {
    let cred = task.cred();
    let known = |id: Kuid| id == cred.suid || id == cred.uid;
    owner.euid == Kuid::GLOBAL_ROOT || known(owner.euid) || known(owner.uid)
}

/// SIGIO tells nothing; a signal that was chosen tells what happened, and where. Linux: `send_sigio_to_task`.
fn siginfo(owner: &FileOwner, events: u32, fd: i32) -> SigInfo {
    /// Reasons in the order of their codes from POLL_IN (1) on, with the band each reports.
    const REASONS: [(i32, u32, u32); 6] = [
        (1, POLLIN, POLLIN | POLLRDNORM),
        (2, POLLOUT, POLLOUT | POLLWRNORM | POLLWRBAND),
        (3, POLLMSG, POLLIN | POLLRDNORM | POLLMSG),
        (4, POLLERR, POLLERR),
        (5, POLLPRI, POLLPRI | POLLRDBAND),
        (6, POLLHUP, POLLHUP | POLLERR),
    ];
    if owner.signum == 0 {
        return SigInfo::new(SIGIO, SI_KERNEL);
    }
    let reason = REASONS.iter().find(|(_, event, _)| events & event != 0);
    let (code, band) = reason.map_or((1, POLLIN | POLLRDNORM), |(code, _, band)| (*code, *band));
    SigInfo::from_poll(owner.signum, code, i64::from(band), fd)
}
