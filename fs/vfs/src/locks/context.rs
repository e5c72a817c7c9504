//! The locks of an inode, and of a kernel. Linux: fs/locks.c, `struct file_lock_context`, `blocked_hash`.

use super::ranges::{LockKind, Range, Ranges};
use crate::Inode;
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EDEADLK, ENOLCK};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Record locks a kernel has at most; each is an object of the sentry's.
const MAX_LOCKS: usize = 1 << 20;

/// How far a chain of waiting owners is followed. Linux: `MAX_DEADLK_ITERATIONS`.
const MAX_DEADLK_ITERATIONS: usize = 10;

/// Whose a record lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// Of a process, by the identity of its descriptor table.
    Process(u64),
    /// Of an open file, by its address: it gives its locks up before it goes.
    OpenFile(usize),
}

/// A lock, for `/proc/locks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockInfo {
    /// Which of the three interfaces it was made through.
    pub class: LockClass,
    /// Shared or exclusive.
    pub kind: LockKind,
    /// Process that made it, in the first pid namespace; `None` for a lock that belongs to an open file.
    pub pid: Option<u32>,
    /// First byte.
    pub start: i64,
    /// Last byte; `i64::MAX` for the end of the file.
    pub end: i64,
    /// It is wanted, but not held.
    pub waiting: bool,
    /// Device of the file.
    pub dev: u64,
    /// Inode number of the file.
    pub ino: u64,
}

/// The interface a lock was made through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockClass {
    /// fcntl(F_SETLK).
    Posix,
    /// fcntl(F_OFD_SETLK).
    Ofd,
    /// flock(2).
    Flock,
}

/// Locks of all files of a kernel.
pub(crate) struct FileLocks {
    contexts: Mutex<HashMap<usize, Weak<LockContext>>, { level::LEAF }>,
    blocked: Mutex<Vec<Blocked>, { level::LEAF }>,
    next_wait: AtomicU64,
    count: AtomicUsize,
}

/// A process that waits for another one.
struct Blocked {
    wait: u64,
    waiter: Owner,
    blocker: Owner,
    /// The file it is about: when locks of the blocker on it go, the waiter looks again.
    context: usize,
}

impl FileLocks {
    pub(crate) fn new() -> FileLocks {
        FileLocks {
            contexts: Mutex::new(HashMap::new()),
            blocked: Mutex::new(Vec::new()),
            next_wait: AtomicU64::new(0),
            count: AtomicUsize::new(0),
        }
    }

    pub(super) fn contexts(&self) -> Vec<Arc<LockContext>> {
        self.contexts.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Notes that the waiter waits, unless that would close a circle. Linux: `posix_locks_deadlock`.
    fn block(&self, wait: u64, waiter: Owner, blocker: Owner, context: usize) -> Result<(), Errno> {
        let mut blocked = self.blocked.lock();
        blocked.retain(|b| b.wait != wait);
        // An open file may be shared by processes that do not wait for each other.
        if let Owner::Process(_) = waiter {
            let mut at = blocker;
            for _ in 0..MAX_DEADLK_ITERATIONS {
                let Some(next) = blocked.iter().find(|b| b.waiter == at) else { break };
                if next.blocker == waiter {
                    return Err(EDEADLK);
                }
                at = next.blocker;
            }
        }
        blocked.push(Blocked { wait, waiter, blocker, context });
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn blocked_count(&self) -> usize {
        self.blocked.lock().len()
    }

    fn unblock(&self, wait: u64) {
        self.blocked.lock().retain(|b| b.wait != wait);
    }

    /// Locks of `blocker` have gone: those who wait for it look again.
    fn released(&self, blocker: Owner, context: usize) {
        self.blocked.lock().retain(|b| b.blocker != blocker || b.context != context);
    }
}

/// The locks of an inode; attached to it.
pub(super) struct LockContext {
    pub(super) state: Mutex<State, { level::FILE_LOCKS }>,
    /// Woken when record locks go.
    pub(super) posix_queue: WaitQueue,
    /// Woken when locks of flock(2) go.
    pub(super) flock_queue: WaitQueue,
    all: Arc<FileLocks>,
    dev: u64,
    ino: u64,
}

#[derive(Default)]
pub(super) struct State {
    /// By owner, the oldest first.
    posix: Vec<PosixOwner>,
    /// By address of the open file, the oldest first.
    pub(super) flock: Vec<FlockLock>,
    waiting: Vec<(u64, LockInfo)>,
}

struct PosixOwner {
    owner: Owner,
    pid: u32,
    ranges: Ranges,
}

/// A lock of flock(2).
pub(super) struct FlockLock {
    pub(super) file: usize,
    pub(super) kind: LockKind,
    pub(super) pid: u32,
}

/// A record lock in the way of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) owner: Owner,
    pub(super) pid: u32,
    pub(super) range: Range,
    pub(super) kind: LockKind,
}

impl LockContext {
    /// The context of an inode, made if there is none yet. Linux: `locks_get_lock_context`.
    pub(super) fn of(inode: &Inode, all: &Arc<FileLocks>) -> Arc<LockContext> {
        if let Some(context) = inode.attached::<LockContext>() {
            return context;
        }
        let context = inode.attached_or(|| LockContext {
            state: Mutex::new(State::default()),
            posix_queue: WaitQueue::new(),
            flock_queue: WaitQueue::new(),
            all: all.clone(),
            dev: inode.sb().dev,
            ino: inode.ino(),
        });
        all.contexts.lock().insert(context.id(), Arc::downgrade(&context));
        context
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The lock of another owner that a lock of `kind` on `range` would meet first.
    pub(super) fn conflict(&self, owner: Owner, range: Range, kind: LockKind) -> Option<Conflict> {
        self.state.lock().conflict(owner, range, kind)
    }

    /// Locks or unlocks a range. `EAGAIN` for a conflict; when `wait` has a number, the caller will wait, unless that is
    /// `EDEADLK`. `ENOLCK` for too many locks. Linux: `posix_lock_inode`.
    pub(super) fn set(
        &self,
        owner: Owner,
        pid: u32,
        range: Range,
        kind: Option<LockKind>,
        wait: Option<u64>,
    ) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if let Some(kind) = kind
            && let Some(conflict) = state.conflict(owner, range, kind)
        {
            if let Some(wait) = wait {
                self.all.block(wait, owner, conflict.owner, self.id())?;
            }
            return Err(EAGAIN);
        }
        let at = state.posix.iter().position(|o| o.owner == owner);
        if kind.is_none() && at.is_none() {
            return Ok(());
        }
        // A new range may cut an old one in two.
        let whole = kind.is_none() && range == Range::ALL;
        if !whole && self.all.count.load(Ordering::Relaxed) + 2 > MAX_LOCKS {
            return Err(ENOLCK);
        }
        let at = at.unwrap_or_else(|| {
            state.posix.push(PosixOwner { owner, pid, ranges: Ranges::default() });
            state.posix.len() - 1
        });
        let Some(mine) = state.posix.get_mut(at) else { return Ok(()) };
        let before = mine.ranges.len();
        mine.ranges.set(range, kind);
        let after = mine.ranges.len();
        if after == 0 {
            state.posix.remove(at);
        }
        self.all.count.fetch_add(after, Ordering::Relaxed);
        self.all.count.fetch_sub(before, Ordering::Relaxed);
        drop(state);
        // A write lock that became a read lock lets readers in, too.
        if before > 0 && self.posix_queue.has_waiters() {
            self.all.released(owner, self.id());
            self.posix_queue.wake_all(sentry_sync::ANY_EVENT);
        }
        Ok(())
    }

    /// Starts a wait of a lock that is wanted.
    pub(super) fn start_wait(
        self: &Arc<Self>,
        class: LockClass,
        kind: LockKind,
        pid: Option<u32>,
        range: Range,
    ) -> Wait {
        let id = self.all.next_wait.fetch_add(1, Ordering::Relaxed);
        let info = LockInfo { waiting: true, ..self.info(class, kind, pid, range) };
        self.state.lock().waiting.push((id, info));
        Wait { id, context: self.clone() }
    }

    fn info(&self, class: LockClass, kind: LockKind, pid: Option<u32>, range: Range) -> LockInfo {
        let (dev, ino) = (self.dev, self.ino);
        LockInfo { class, kind, pid, start: range.start, end: range.end, waiting: false, dev, ino }
    }

    /// The locks of the file, those held before those waited for.
    pub(super) fn show(&self, out: &mut Vec<LockInfo>) {
        let state = self.state.lock();
        for owner in &state.posix {
            let (class, pid) = match owner.owner {
                Owner::Process(_) => (LockClass::Posix, Some(owner.pid)),
                Owner::OpenFile(_) => (LockClass::Ofd, None),
            };
            out.extend(owner.ranges.iter().map(|(range, kind)| self.info(class, kind, pid, range)));
        }
        out.extend(state.flock.iter().map(|f| self.info(LockClass::Flock, f.kind, Some(f.pid), Range::ALL)));
        out.extend(state.waiting.iter().map(|(_, info)| *info));
    }
}

impl State {
    fn conflict(&self, owner: Owner, range: Range, kind: LockKind) -> Option<Conflict> {
        self.posix.iter().filter(|o| o.owner != owner).find_map(|o| {
            let (range, kind) = o.ranges.conflict(range, kind)?;
            Some(Conflict { owner: o.owner, pid: o.pid, range, kind })
        })
    }

    /// Whether `owner` has a record lock.
    pub(super) fn has_posix(&self, owner: Owner) -> bool {
        self.posix.iter().any(|o| o.owner == owner)
    }
}

/// A lock that is waited for; the wait ends when it is dropped.
pub(super) struct Wait {
    pub(super) id: u64,
    context: Arc<LockContext>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.context.state.lock().waiting.retain(|(id, _)| *id != self.id);
        self.context.all.unblock(self.id);
    }
}

impl Drop for LockContext {
    fn drop(&mut self) {
        self.all.contexts.lock().remove(&self.id());
        let left = self.state.get_mut().posix.iter().map(|o| o.ranges.len()).sum();
        self.all.count.fetch_sub(left, Ordering::Relaxed);
    }
}
