//! Linux: fs/file.c.
//!
//! A lookup is one short read lock. What closing a file does runs outside the lock.

use crate::{File, Resource, TaskContext, dnotify_flush, locks_remove_posix};
use sentry_sync::{RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EINVAL, EMFILE, ENOMEM};
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;

/// No table grows beyond this, whatever RLIMIT_NOFILE says: `/proc/sys/fs/nr_open`.
pub const NR_OPEN: usize = 1024 * 1024;

/// The descriptors of a process; tasks made with CLONE_FILES share one.
pub struct FdTable {
    inner: RwLock<Table, { level::FD_TABLE }>,
}

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    /// No free descriptor is below this.
    next_free: usize,
}

#[derive(Clone, Default)]
struct Slot {
    state: SlotState,
    cloexec: bool,
}

#[derive(Clone, Default)]
enum SlotState {
    #[default]
    Free,
    /// Given out by [`FdTable::get_unused_fd`], not installed yet.
    Reserved,
    Open(Arc<File>),
}

impl Slot {
    fn file(&self) -> Option<&Arc<File>> {
        match &self.state {
            SlotState::Open(file) => Some(file),
            _ => None,
        }
    }

    fn is_free(&self) -> bool {
        matches!(self.state, SlotState::Free)
    }
}

fn index(fd: i32) -> Option<usize> {
    usize::try_from(fd).ok()
}

/// The number of descriptors the caller may have, at most [`NR_OPEN`].
fn limit(ctx: &dyn TaskContext) -> usize {
    usize::try_from(ctx.rlimit(Resource::Nofile)).unwrap_or(usize::MAX).min(NR_OPEN)
}

impl Table {
    fn get(&self, fd: i32) -> Option<&Slot> {
        self.slots.get(index(fd)?)
    }

    /// Finds and reserves the lowest free descriptor from `min` on.
    fn alloc(&mut self, min: usize, limit: usize, cloexec: bool) -> Result<i32, Errno> {
        let from = min.max(self.next_free);
        let free = self.slots.get(from..).and_then(|s| s.iter().position(Slot::is_free));
        let at = free.map_or(from.max(self.slots.len()), |n| from + n);
        if at >= limit {
            return Err(EMFILE);
        }
        self.grow(at)?;
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot { state: SlotState::Reserved, cloexec };
        }
        if min <= self.next_free {
            self.next_free = at + 1;
        }
        i32::try_from(at).map_err(|_| EMFILE)
    }

    fn grow(&mut self, at: usize) -> Result<(), Errno> {
        if at >= self.slots.len() {
            let more = at + 1 - self.slots.len();
            self.slots.try_reserve(more).map_err(|_| ENOMEM)?;
            self.slots.resize_with(at + 1, Slot::default);
        }
        Ok(())
    }

    /// Empties a slot.
    fn take(&mut self, at: usize) -> Option<Arc<File>> {
        let slot = self.slots.get_mut(at)?;
        if !matches!(slot.state, SlotState::Open(_)) {
            return None;
        }
        let old = std::mem::take(slot);
        self.next_free = self.next_free.min(at);
        match old.state {
            SlotState::Open(file) => Some(file),
            _ => None,
        }
    }
}

/// What close(2) does to a file that has left the table. Linux: `filp_close`.
fn filp_close(ctx: &dyn TaskContext, file: Arc<File>, owner: u64) -> Result<(), Errno> {
    let path_only = file.flags().contains(OpenFlags::PATH);
    let result = if path_only { Ok(()) } else { file.ops().flush(&file, ctx) };
    if !path_only {
        dnotify_flush(&file, owner);
        locks_remove_posix(&file, owner);
    }
    drop(file);
    result
}

impl FdTable {
    /// An empty table.
    pub fn new() -> Arc<FdTable> {
        Arc::new(FdTable { inner: RwLock::new(Table::default()) })
    }

    /// The number that record locks of the processes with this table are known by. Linux: `current->files`.
    pub fn lock_owner(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }

    /// A copy, for fork without CLONE_FILES. Descriptors still being made are not in it. Linux: `dup_fd`.
    pub fn copy(&self) -> Arc<FdTable> {
        let inner = self.inner.read();
        let mut slots: Vec<Slot> = inner
            .slots
            .iter()
            .map(|s| if matches!(s.state, SlotState::Reserved) { Slot::default() } else { s.clone() })
            .collect();
        drop(inner);
        while slots.last().is_some_and(Slot::is_free) {
            slots.pop();
        }
        let next_free = slots.iter().position(Slot::is_free).unwrap_or(slots.len());
        Arc::new(FdTable { inner: RwLock::new(Table { slots, next_free }) })
    }

    /// The file behind a descriptor, unless it was opened with O_PATH. Linux: `fdget`.
    #[inline]
    pub fn get(&self, fd: i32) -> Result<Arc<File>, Errno> {
        let file = self.get_raw(fd).ok_or(EBADF)?;
        if file.flags().contains(OpenFlags::PATH) { Err(EBADF) } else { Ok(file) }
    }

    /// The file behind a descriptor, however it was opened. Linux: `fdget_raw`.
    #[inline]
    pub fn get_raw(&self, fd: i32) -> Option<Arc<File>> {
        self.inner.read().get(fd)?.file().cloned()
    }

    /// Reserves the lowest free descriptor; follow it with [`FdTable::fd_install`] or [`FdTable::put_unused_fd`].
    /// Linux: `get_unused_fd_flags`.
    ///
    /// # Errors
    /// `EMFILE` at RLIMIT_NOFILE.
    pub fn get_unused_fd(&self, ctx: &dyn TaskContext, cloexec: bool) -> Result<i32, Errno> {
        self.inner.write().alloc(0, limit(ctx), cloexec)
    }

    /// Puts a file behind a reserved descriptor.
    pub fn fd_install(&self, fd: i32, file: Arc<File>) {
        let mut inner = self.inner.write();
        let slot = index(fd).and_then(|at| inner.slots.get_mut(at));
        match slot {
            Some(slot) if matches!(slot.state, SlotState::Reserved) => slot.state = SlotState::Open(file),
            _ => {
                drop(inner);
                drop(file);
            }
        }
    }

    /// Gives a reserved descriptor back.
    pub fn put_unused_fd(&self, fd: i32) {
        let mut inner = self.inner.write();
        let Some(at) = index(fd) else { return };
        if let Some(slot) = inner.slots.get_mut(at)
            && matches!(slot.state, SlotState::Reserved)
        {
            *slot = Slot::default();
            inner.next_free = inner.next_free.min(at);
        }
    }

    /// Puts a file behind the lowest free descriptor.
    ///
    /// # Errors
    /// `EMFILE` at RLIMIT_NOFILE.
    pub fn install(&self, ctx: &dyn TaskContext, file: Arc<File>, cloexec: bool) -> Result<i32, Errno> {
        self.install_from(ctx, 0, file, cloexec)
    }

    fn install_from(
        &self,
        ctx: &dyn TaskContext,
        min: usize,
        file: Arc<File>,
        cloexec: bool,
    ) -> Result<i32, Errno> {
        let mut inner = self.inner.write();
        let result = inner.alloc(min, limit(ctx), cloexec);
        if let Ok(fd) = result
            && let Some(slot) = index(fd).and_then(|at| inner.slots.get_mut(at))
        {
            slot.state = SlotState::Open(file);
            return Ok(fd);
        }
        drop(inner);
        drop(file);
        result
    }

    /// close(2).
    ///
    /// # Errors
    /// `EBADF`; what the file's `flush` reports, though the descriptor is gone then too.
    pub fn close(&self, ctx: &dyn TaskContext, fd: i32) -> Result<(), Errno> {
        let file = index(fd).and_then(|at| self.inner.write().take(at)).ok_or(EBADF)?;
        filp_close(ctx, file, self.lock_owner())
    }

    /// dup(2).
    ///
    /// # Errors
    /// `EBADF`, `EMFILE`.
    pub fn dup(&self, ctx: &dyn TaskContext, fd: i32) -> Result<i32, Errno> {
        let file = self.get_raw(fd).ok_or(EBADF)?;
        self.install(ctx, file, false)
    }

    /// fcntl(F_DUPFD) and fcntl(F_DUPFD_CLOEXEC). Linux: `f_dupfd`.
    ///
    /// # Errors
    /// `EBADF`; `EINVAL` for a minimum at or above RLIMIT_NOFILE; `EMFILE`.
    pub fn dup_min(&self, ctx: &dyn TaskContext, fd: i32, min: u64, cloexec: bool) -> Result<i32, Errno> {
        let file = self.get_raw(fd).ok_or(EBADF)?;
        if min >= ctx.rlimit(Resource::Nofile) {
            return Err(EINVAL);
        }
        let min = usize::try_from(min).map_err(|_| EINVAL)?;
        self.install_from(ctx, min, file, cloexec)
    }

    /// dup2(2).
    ///
    /// # Errors
    /// `EBADF`, also for a new descriptor at or above RLIMIT_NOFILE; `EBUSY` while it is being made by an open.
    pub fn dup2(&self, ctx: &dyn TaskContext, old: i32, new: i32) -> Result<i32, Errno> {
        if old == new {
            return self.get_raw(old).map(|_| old).ok_or(EBADF);
        }
        self.dup3(ctx, old, new, false)
    }

    /// dup3(2), its flags decoded. Linux: `ksys_dup3`.
    ///
    /// # Errors
    /// `EINVAL` where both are the same; then as [`FdTable::dup2`].
    pub fn dup3(&self, ctx: &dyn TaskContext, old: i32, new: i32, cloexec: bool) -> Result<i32, Errno> {
        if old == new {
            return Err(EINVAL);
        }
        let at = index(new).filter(|at| *at < limit(ctx)).ok_or(EBADF)?;
        let mut inner = self.inner.write();
        let file = inner.get(old).and_then(Slot::file).cloned().ok_or(EBADF)?;
        inner.grow(at)?;
        let Some(slot) = inner.slots.get_mut(at) else { return Err(EBADF) };
        if matches!(slot.state, SlotState::Reserved) {
            return Err(sentry_uapi::errno::EBUSY);
        }
        let replaced = std::mem::replace(slot, Slot { state: SlotState::Open(file), cloexec });
        drop(inner);
        if let SlotState::Open(file) = replaced.state {
            // Linux throws the result away too.
            let _ = filp_close(ctx, file, self.lock_owner());
        }
        Ok(new)
    }

    /// Whether exec closes the descriptor: fcntl(F_GETFD).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn cloexec(&self, fd: i32) -> Result<bool, Errno> {
        let inner = self.inner.read();
        inner.get(fd).filter(|s| s.file().is_some()).map(|s| s.cloexec).ok_or(EBADF)
    }

    /// fcntl(F_SETFD).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_cloexec(&self, fd: i32, cloexec: bool) -> Result<(), Errno> {
        let mut inner = self.inner.write();
        let slot = index(fd).and_then(|at| inner.slots.get_mut(at)).filter(|s| s.file().is_some());
        slot.ok_or(EBADF)?.cloexec = cloexec;
        Ok(())
    }

    /// close_range(2) without CLOSE_RANGE_UNSHARE, which is the caller's to do first: closes `first..=last`, or marks it
    /// close-on-exec.
    ///
    /// # Errors
    /// `EINVAL` for a range that is none.
    pub fn close_range(
        &self,
        ctx: &dyn TaskContext,
        first: u32,
        last: u32,
        cloexec: bool,
    ) -> Result<(), Errno> {
        if first > last {
            return Err(EINVAL);
        }
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let last = usize::try_from(last).unwrap_or(usize::MAX);
        if cloexec {
            let mut inner = self.inner.write();
            let end = last.saturating_add(1).min(inner.slots.len());
            for slot in inner.slots.get_mut(first..end).unwrap_or_default() {
                if slot.file().is_some() {
                    slot.cloexec = true;
                }
            }
            return Ok(());
        }
        self.close_where(ctx, |at, _| at >= first && at <= last);
        Ok(())
    }

    /// Closes what is marked close-on-exec. Linux: `do_close_on_exec`.
    pub fn close_on_exec(&self, ctx: &dyn TaskContext) {
        self.close_where(ctx, |_, cloexec| cloexec);
    }

    /// Closes everything: the last task that shares the table exits. Linux: `exit_files`.
    pub fn close_all(&self, ctx: &dyn TaskContext) {
        self.close_where(ctx, |_, _| true);
    }

    fn close_where(&self, ctx: &dyn TaskContext, wanted: impl Fn(usize, bool) -> bool) {
        let closed: Vec<Arc<File>> = {
            let mut inner = self.inner.write();
            let at: Vec<usize> = inner
                .slots
                .iter()
                .enumerate()
                .filter(|(at, s)| s.file().is_some() && wanted(*at, s.cloexec))
                .map(|(at, _)| at)
                .collect();
            at.into_iter().filter_map(|at| inner.take(at)).collect()
        };
        for file in closed {
            // Nobody is left to hear of an error.
            let _ = filp_close(ctx, file, self.lock_owner());
        }
    }

    /// Calls `f` for each open descriptor, ascending: its number, its file, whether exec closes it. No lock is held.
    pub fn for_each(&self, mut f: impl FnMut(i32, &Arc<File>, bool)) {
        let open: Vec<(i32, Arc<File>, bool)> = {
            let inner = self.inner.read();
            let slots = inner.slots.iter().enumerate();
            slots
                .filter_map(|(at, s)| Some((i32::try_from(at).ok()?, s.file()?.clone(), s.cloexec)))
                .collect()
        };
        for (fd, file, cloexec) in &open {
            f(*fd, file, *cloexec);
        }
    }

    /// The first open descriptor from `from` on: for listing `/proc/[pid]/fd` step by step. Linux: `task_lookup_next_fd`.
    pub fn next_fd(&self, from: usize) -> Option<(usize, Arc<File>)> {
        let inner = self.inner.read();
        let slots = inner.slots.iter().enumerate().skip(from);
        let mut open = slots.filter_map(|(at, s)| Some((at, s.file()?.clone())));
        open.next()
    }

    /// Number of descriptors there is room for: `FDSize` of `/proc/[pid]/status`.
    pub fn size(&self) -> usize {
        self.inner.read().slots.len().next_multiple_of(64).max(64)
    }
}
