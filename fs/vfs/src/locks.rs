//! Linux: fs/locks.c.
//!
//! Record locks of fcntl(2), of a process or of an open file, and whole-file locks of flock(2). Differs: no file can be
//! leased; and the number of record locks of a kernel is bounded.

mod context;
mod ranges;
#[cfg(test)]
mod tests;

pub(crate) use context::FileLocks;
pub use context::{LockClass, LockInfo};
pub use ranges::LockKind;

use crate::{File, FileType, TaskContext, Vfs, wait_event};
use context::{FlockLock, LockContext, Owner};
use ranges::{OFFSET_MAX, Range};
use sentry_auth::CapSet;
use sentry_sync::ANY_EVENT;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EAGAIN, EBADF, EINVAL, EOVERFLOW};
use sentry_uapi::fcntl::{
    F_RDLCK, F_UNLCK, F_WRLCK, Flock, LOCK_EX, LOCK_MAND, LOCK_NB, LOCK_SH, LOCK_UN, OpenFlags,
};
use std::sync::Arc;

/// Whose a record lock is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOwner {
    /// The process's (F_SETLK): known by a number that stands for its descriptor table as long as that lives.
    Process(u64),
    /// The open file's (F_OFD_SETLK).
    OpenFile,
}

impl LockOwner {
    fn of(self, file: &File) -> Owner {
        match self {
            LockOwner::Process(id) => Owner::Process(id),
            LockOwner::OpenFile => Owner::OpenFile(std::ptr::from_ref(file).addr()),
        }
    }
}

fn lock_kind(l_type: i16) -> Result<Option<LockKind>, Errno> {
    match l_type {
        F_RDLCK => Ok(Some(LockKind::Read)),
        F_WRLCK => Ok(Some(LockKind::Write)),
        F_UNLCK => Ok(None),
        _ => Err(EINVAL),
    }
}

/// The bytes a `struct flock` speaks of. Linux: `flock_to_posix_lock`.
fn lock_range(file: &File, flock: &Flock) -> Result<Range, Errno> {
    let base = match flock.l_whence {
        0 => 0,
        1 => file.pos(),
        2 => file.ops().size(file)?,
        _ => return Err(EINVAL),
    };
    let base = i64::try_from(base).map_err(|_| EOVERFLOW)?;
    let start = base.checked_add(flock.l_start).ok_or(EOVERFLOW)?;
    if start < 0 {
        return Err(EINVAL);
    }
    match flock.l_len {
        0 => Ok(Range { start, end: OFFSET_MAX }),
        len if len > 0 => Ok(Range { start, end: start.checked_add(len - 1).ok_or(EOVERFLOW)? }),
        len => {
            let first = start.checked_add(len).filter(|f| *f >= 0).ok_or(EINVAL)?;
            Ok(Range { start: first, end: start - 1 })
        }
    }
}

/// fcntl(F_SETLK) and F_OFD_SETLK, and with `wait` F_SETLKW and F_OFD_SETLKW.
///
/// The caller makes sure afterwards that the descriptor still stands for the file; if not, another thread has closed it
/// meanwhile, and it calls [`locks_remove_posix`] and returns `EBADF`.
///
/// # Errors
/// `EINVAL` and `EOVERFLOW` for what `flock` says; `EBADF` for a read lock without reading or a write lock without writing;
/// `EAGAIN` for a conflict, `EDEADLK`, `ERESTARTSYS`; `ENOLCK`. Linux: `fcntl_setlk`.
pub fn fcntl_setlk(
    ctx: &dyn TaskContext,
    file: &File,
    owner: LockOwner,
    flock: &Flock,
    wait: bool,
) -> Result<(), Errno> {
    let range = lock_range(file, flock)?;
    let kind = lock_kind(flock.l_type)?;
    match kind {
        Some(LockKind::Read) if !file.readable() => return Err(EBADF),
        Some(LockKind::Write) if !file.writable() => return Err(EBADF),
        _ => {}
    }
    if owner == LockOwner::OpenFile && flock.l_pid != 0 {
        return Err(EINVAL);
    }
    let pid = ctx.ids().0;
    let locks = LockContext::of(file.inode(), &ctx.vfs().file_locks);
    let holder = owner.of(file);
    match (locks.set(holder, pid, range, kind, None), kind) {
        (Err(EAGAIN), Some(kind)) if wait => {
            let (class, shown) = match owner {
                LockOwner::Process(_) => (LockClass::Posix, Some(pid)),
                LockOwner::OpenFile => (LockClass::Ofd, None),
            };
            let wait = locks.start_wait(class, kind, shown, range);
            let result = wait_event(ctx, &locks.posix_queue, None, || {
                match locks.set(holder, pid, range, Some(kind), Some(wait.id)) {
                    Err(EAGAIN) => None,
                    done => Some(done),
                }
            });
            result?.unwrap_or(Err(EAGAIN))
        }
        (done, _) => done,
    }
}

/// fcntl(F_GETLK) and F_OFD_GETLK: the lock that is in the way of the one described, or that with a type of F_UNLCK. The
/// process in it is a number of the first pid namespace, -1 for an open file.
///
/// # Errors
/// `EINVAL` and `EOVERFLOW` for what `flock` says. Linux: `fcntl_getlk`.
pub fn fcntl_getlk(
    ctx: &dyn TaskContext,
    file: &File,
    owner: LockOwner,
    flock: &Flock,
) -> Result<Flock, Errno> {
    let kind = lock_kind(flock.l_type)?.ok_or(EINVAL)?;
    let range = lock_range(file, flock)?;
    if owner == LockOwner::OpenFile && flock.l_pid != 0 {
        return Err(EINVAL);
    }
    let locks = LockContext::of(file.inode(), &ctx.vfs().file_locks);
    let Some(found) = locks.conflict(owner.of(file), range, kind) else {
        return Ok(Flock { l_type: F_UNLCK, ..*flock });
    };
    let Range { start, end } = found.range;
    Ok(Flock {
        l_type: if found.kind == LockKind::Read { F_RDLCK } else { F_WRLCK },
        l_whence: 0,
        l_start: start,
        l_len: if end == OFFSET_MAX { 0 } else { end - start + 1 },
        l_pid: match found.owner {
            Owner::Process(_) => i32::try_from(found.pid).unwrap_or(0),
            Owner::OpenFile(_) => -1,
        },
        ..*flock
    })
}

/// Gives up all record locks a process has on a file: to be called whenever it closes a descriptor of it, any, with the
/// same number as for [`LockOwner::Process`].
pub fn locks_remove_posix(file: &File, owner: u64) {
    let Some(locks) = file.inode().attached::<LockContext>() else { return };
    let owner = Owner::Process(owner);
    if locks.state.lock().has_posix(owner) {
        // Unlocking everything splits nothing, so it cannot fail.
        let _ = locks.set(owner, 0, Range::ALL, None, None);
    }
}

/// Gives up the locks that belong to an open file, when the last reference to it goes. Linux: `locks_remove_file`.
pub(crate) fn locks_remove_file(file: &File) {
    let Some(locks) = file.inode().attached::<LockContext>() else { return };
    let owner = LockOwner::OpenFile.of(file);
    if locks.state.lock().has_posix(owner) {
        let _ = locks.set(owner, 0, Range::ALL, None, None);
    }
    unlock_flock(&locks, file);
}

fn unlock_flock(locks: &LockContext, file: &File) {
    let id = std::ptr::from_ref(file).addr();
    let mut state = locks.state.lock();
    let before = state.flock.len();
    state.flock.retain(|f| f.file != id);
    let gone = state.flock.len() < before;
    drop(state);
    if gone {
        locks.flock_queue.wake_all(ANY_EVENT);
    }
}

/// Puts the lock of an open file on, unless another one is in the way: `EAGAIN`. A lock of another kind that it has is
/// given up first, and stays so. Linux: `flock_lock_inode`.
fn try_flock(locks: &LockContext, file: &File, kind: LockKind, pid: u32) -> Result<(), Errno> {
    let id = std::ptr::from_ref(file).addr();
    let mut state = locks.state.lock();
    let mut gone = false;
    if let Some(at) = state.flock.iter().position(|f| f.file == id) {
        if state.flock.get(at).is_some_and(|f| f.kind == kind) {
            return Ok(());
        }
        state.flock.remove(at);
        gone = true;
    }
    let result = if state.flock.iter().any(|f| f.kind.conflicts(kind)) {
        Err(EAGAIN)
    } else {
        state.flock.push(FlockLock { file: id, kind, pid });
        Ok(())
    };
    drop(state);
    if gone {
        locks.flock_queue.wake_all(ANY_EVENT);
    }
    result
}

/// flock(2).
///
/// # Errors
/// `EINVAL` for an unknown operation; `EBADF` for a lock on a file opened for neither reading nor writing; `EAGAIN` for a
/// conflict with LOCK_NB; `ERESTARTSYS`.
pub fn do_flock(ctx: &dyn TaskContext, file: &File, cmd: u32) -> Result<(), Errno> {
    if cmd & LOCK_MAND != 0 {
        return Ok(());
    }
    let kind = match cmd & !LOCK_NB {
        LOCK_SH => LockKind::Read,
        LOCK_EX => LockKind::Write,
        LOCK_UN => {
            if let Some(locks) = file.inode().attached::<LockContext>() {
                unlock_flock(&locks, file);
            }
            return Ok(());
        }
        _ => return Err(EINVAL),
    };
    if !file.readable() && !file.writable() {
        return Err(EBADF);
    }
    let pid = ctx.ids().0;
    let locks = LockContext::of(file.inode(), &ctx.vfs().file_locks);
    match try_flock(&locks, file, kind, pid) {
        Err(EAGAIN) if cmd & LOCK_NB == 0 => {
            let _wait = locks.start_wait(LockClass::Flock, kind, Some(pid), Range::ALL);
            wait_event(ctx, &locks.flock_queue, None, || try_flock(&locks, file, kind, pid).ok())?;
            Ok(())
        }
        done => done,
    }
}

/// fcntl(F_SETLEASE). No file can be leased, as on a filesystem without leases.
///
/// # Errors
/// `EACCES` unless the caller owns the file or has CAP_LEASE; `EINVAL` for a file that is not regular, a lease of any kind;
/// `EAGAIN` for giving up the lease there is not. Linux: `generic_setlease`, `simple_nosetlease`.
pub fn fcntl_setlease(ctx: &dyn TaskContext, file: &File, arg: i32) -> Result<(), Errno> {
    if file.flags().contains(OpenFlags::PATH) {
        return Err(EBADF);
    }
    let cred = ctx.cred();
    if cred.fsuid != file.inode().getattr()?.uid && !ctx.vfs().capable(&cred, CapSet::LEASE) {
        return Err(EACCES);
    }
    let regular = file.inode().file_type() == FileType::Regular;
    if regular && arg == i32::from(F_UNLCK) { Err(EAGAIN) } else { Err(EINVAL) }
}

/// Every lock of a kernel, file by file, for `/proc/locks`.
pub fn locks_show(vfs: &Vfs) -> Vec<LockInfo> {
    let contexts: Vec<Arc<LockContext>> = vfs.file_locks.contexts();
    let mut out = Vec::new();
    for context in contexts {
        context.show(&mut out);
    }
    out
}
