//! Linux: fs/eventpoll.c.
//!
//! An item refers to its file weakly: closing the last descriptor ends the watch, and what is left of the item goes when
//! it comes up as ready, or with one of the sweeps whose cost later insertions pay for. No lock is held while a file is
//! polled, so two threads that wait on one instance do not serialise as they do in Linux; what one of them has taken off
//! the ready list for a moment, the other is woken for once it is back.

mod nest;
mod ready;
#[cfg(test)]
mod tests;

use crate::{File, FileOps, PollTable, Pseudo, TaskContext};
use nest::Nesting;
use ready::{Item, ItemWaker, Ready};
use sentry_auth::Kuid;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EEXIST, EINVAL, ENOENT, ENOSPC, EPERM};
use sentry_uapi::eventpoll::{
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLEXCLUSIVE, EPOLLWAKEUP,
    EpollEvent,
};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM};
use std::any::Any;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// What EPOLLEXCLUSIVE may be combined with. Linux: `EPOLLEXCLUSIVE_OK_BITS`.
const EXCLUSIVE_OK: u32 = POLLIN | POLLOUT | POLLERR | POLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

/// Most events one call returns. Linux: `EP_MAX_EVENTS`.
const MAX_EVENTS: i32 = i32::MAX / 12;

/// Watches of a user. Linux computes `fs.epoll.max_user_watches` from the size of memory.
const MAX_USER_WATCHES: usize = 1 << 20;

/// How many descriptors may be watched, and the lock under which instances are nested.
pub struct EpollLimits {
    /// `/proc/sys/fs/epoll/max_user_watches`.
    pub max_user_watches: AtomicUsize,
    users: Mutex<HashMap<Kuid, usize>, { level::LEAF }>,
    nesting: Mutex<(), { level::EPOLL }>,
}

impl EpollLimits {
    pub(crate) fn new() -> EpollLimits {
        EpollLimits {
            max_user_watches: AtomicUsize::new(MAX_USER_WATCHES),
            users: Mutex::new(HashMap::new()),
            nesting: Mutex::new(()),
        }
    }

    fn charge(&self, owner: Kuid) -> Result<(), Errno> {
        let mut users = self.users.lock();
        let used = users.entry(owner).or_default();
        if *used >= self.max_user_watches.load(Ordering::Relaxed) {
            return Err(ENOSPC);
        }
        *used += 1;
        Ok(())
    }

    fn uncharge(&self, owner: Kuid, n: usize) {
        let mut users = self.users.lock();
        if let Some(used) = users.get_mut(&owner) {
            *used = used.saturating_sub(n);
            if *used == 0 {
                users.remove(&owner);
            }
        }
    }
}

/// Identity of a watch: the open file and the descriptor it was named by. The item's weak reference keeps the address
/// from being used for another file. Linux: `struct epoll_filefd`.
type Key = (usize, i32);

fn key_of(file: &Arc<File>, fd: i32) -> Key {
    (Arc::as_ptr(file).addr(), fd)
}

struct Entry {
    item: Arc<Item>,
    /// Its places in the file's wait queues; none only while it is being inserted.
    _waits: Option<PollTable>,
}

/// An epoll instance. Linux: `struct eventpoll`.
struct EventPoll {
    ready: Arc<Ready>,
    items: Mutex<Items, { level::EPOLL }>,
    nesting: Nesting,
    owner: Kuid,
    limits: Arc<EpollLimits>,
}

#[derive(Default)]
struct Items {
    by_key: HashMap<Key, Entry>,
    /// Number of items at which those of closed files are looked for next.
    sweep_at: usize,
}

/// Fewest items worth a sweep.
const SWEEP_MIN: usize = 64;

impl Items {
    /// Takes out the items of closed files if there may be many.
    fn sweep(&mut self) -> Vec<Entry> {
        if self.by_key.len() < self.sweep_at.max(SWEEP_MIN) {
            return Vec::new();
        }
        let gone = self.by_key.extract_if(|_, e| !e.item.is_open()).map(|(_, e)| e).collect();
        self.sweep_at = self.by_key.len() * 2;
        gone
    }
}

impl EventPoll {
    fn insert(
        &self,
        ctx: &dyn TaskContext,
        file: &Arc<File>,
        fd: i32,
        event: EpollEvent,
    ) -> Result<(), Errno> {
        let key = key_of(file, fd);
        let item = Arc::new(Item::new(file, fd, event, self.ready.clone()));
        let mut items = self.items.lock_nested();
        if items.by_key.contains_key(&key) {
            return Err(EEXIST);
        }
        let gone = items.sweep();
        self.limits.uncharge(self.owner, gone.len());
        let charged = self.limits.charge(self.owner);
        if charged.is_ok() {
            items.by_key.insert(key, Entry { item: item.clone(), _waits: None });
        }
        drop(items);
        self.discard(gone);
        charged?;

        let waker = Arc::new(ItemWaker(item.clone()));
        let mut table = if event.events & EPOLLEXCLUSIVE != 0 {
            PollTable::new_exclusive(u32::MAX, waker)
        } else {
            PollTable::new(u32::MAX, waker)
        };
        let revents = file.ops().poll_for(file, ctx, &mut table);
        let mut items = self.items.lock_nested();
        let unused = match items.by_key.get_mut(&key).filter(|e| Arc::ptr_eq(&e.item, &item)) {
            Some(entry) => entry._waits.replace(table),
            // Removed again by another thread.
            None => Some(table),
        };
        drop(items);
        drop(unused);
        self.ready.notice(&item, revents);
        Ok(())
    }

    fn modify(
        &self,
        ctx: &dyn TaskContext,
        file: &Arc<File>,
        fd: i32,
        event: EpollEvent,
    ) -> Result<(), Errno> {
        let item = {
            let items = self.items.lock();
            items.by_key.get(&key_of(file, fd)).ok_or(ENOENT)?.item.clone()
        };
        if !self.ready.set_interest(&item, event) {
            return Err(EINVAL);
        }
        // After the new interest has been stored: a change from here on calls the waker, and it will see it.
        let revents = file.ops().poll_for(file, ctx, &mut PollTable::query());
        self.ready.notice(&item, revents);
        Ok(())
    }

    fn remove(&self, key: Key) -> Result<(), Errno> {
        let entry = self.items.lock().by_key.remove(&key).ok_or(ENOENT)?;
        self.limits.uncharge(self.owner, 1);
        self.discard(vec![entry]);
        Ok(())
    }

    /// Ends watches that are no longer among the items. No lock is held: a table leaves the queues of its file.
    fn discard(&self, gone: Vec<Entry>) {
        for entry in gone {
            self.ready.forget(&entry.item);
            if let Some(inner) = entry.item.file().as_deref().and_then(instance) {
                inner.nesting.remove_parent(&self.ready);
            }
        }
    }

    /// Reports ready items to `sink`, at most `max`; returns how many. Linux: `ep_send_events`.
    ///
    /// # Errors
    /// That of `sink`, if it came with the first event. The event it did not take stays.
    fn send_events(
        &self,
        ctx: &dyn TaskContext,
        max: usize,
        sink: &mut dyn FnMut(EpollEvent) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let mut sent = 0;
        let mut failed = None;
        // Items that are put back for their level are not looked at twice.
        let mut left = self.ready.len();
        while sent < max && left > 0 {
            left -= 1;
            let Some(item) = self.ready.pop() else { break };
            let Some(file) = item.file() else {
                let _ = self.remove(item.key());
                continue;
            };
            let revents = file.ops().poll_for(&file, ctx, &mut PollTable::query());
            drop(file);
            let Some(claim) = self.ready.claim(&item, revents) else { continue };
            match sink(claim.event) {
                Ok(()) => sent += 1,
                Err(e) => {
                    self.ready.unclaim(&item, &claim);
                    failed = Some(e);
                    break;
                }
            }
        }
        self.ready.wake_next();
        match failed {
            Some(e) if sent == 0 => Err(e),
            _ => Ok(sent),
        }
    }

    /// Whether an item is ready; those that turn out not to be leave the list, if `settle`. Linux: `__ep_eventpoll_poll`.
    fn is_ready(&self, settle: bool, poll: &dyn Fn(&File) -> u32) -> bool {
        for _ in 0..self.ready.len() {
            let Some(item) = self.ready.pop() else { break };
            let Some(file) = item.file() else {
                let _ = self.remove(item.key());
                continue;
            };
            let revents = poll(&file);
            drop(file);
            if self.ready.keep(&item, revents, settle) {
                return true;
            }
        }
        false
    }
}

impl Drop for EventPoll {
    fn drop(&mut self) {
        let items = std::mem::take(&mut self.items.get_mut().by_key);
        self.limits.uncharge(self.owner, items.len());
        self.discard(items.into_values().collect());
        self.ready.clear();
    }
}

/// The open file of an epoll instance.
struct EventPollFile(Arc<EventPoll>);

/// The epoll instance behind a file, if it is one.
fn instance(file: &File) -> Option<&Arc<EventPoll>> {
    file.downcast::<EventPollFile>().map(|f| &f.0)
}

impl FileOps for EventPollFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn seekable(&self) -> bool {
        false
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait(&self.0.ready.pollers);
        // Without a task a signalfd cannot tell its state, so nothing is taken for settled.
        let ready = self.0.is_ready(false, &File::poll_now);
        if ready { POLLIN | POLLRDNORM } else { 0 }
    }

    fn poll_for(&self, _file: &File, ctx: &dyn TaskContext, table: &mut PollTable) -> u32 {
        table.wait(&self.0.ready.pollers);
        let ready = self.0.is_ready(true, &|f| f.ops().poll_for(f, ctx, &mut PollTable::query()));
        if ready { POLLIN | POLLRDNORM } else { 0 }
    }

    fn show_fdinfo(&self, _file: &File) -> String {
        let items: Vec<Arc<Item>> = self.0.items.lock().by_key.values().map(|e| e.item.clone()).collect();
        let mut out = String::new();
        for item in items {
            let Some(file) = item.file() else { continue };
            let (events, data) = item.interest();
            let (fd, inode) = (item.key().1, file.inode());
            let pos = if file.ops().seekable() { file.pos() } else { 0 };
            let (ino, dev) = (inode.ino(), inode.sb().dev);
            let _ = writeln!(
                out,
                "tfd: {fd:8} events: {events:8x} data: {data:16x}  pos:{pos} ino:{ino:x} sdev:{dev:x}"
            );
        }
        out
    }
}

/// epoll_create1(2). EPOLL_CLOEXEC is the caller's; `EINVAL` for any other flag. Linux: `do_epoll_create`.
pub fn do_epoll_create(ctx: &dyn TaskContext, flags: u32) -> Result<Arc<File>, Errno> {
    if flags & !EPOLL_CLOEXEC != 0 {
        return Err(EINVAL);
    }
    let cred = ctx.cred();
    let ep = EventPoll {
        ready: Arc::new(Ready::new()),
        items: Mutex::new(Items::default()),
        nesting: Nesting::new(),
        owner: cred.uid,
        limits: ctx.vfs().epoll.clone(),
    };
    let ops = Box::new(EventPollFile(Arc::new(ep)));
    Ok(ctx.vfs().pseudo_file(Pseudo::Anon, "[eventpoll]", ops, OpenFlags::RDWR, cred))
}

/// epoll_ctl(2): `file` is what the caller's descriptor `fd` stands for. `event` is not looked at for EPOLL_CTL_DEL.
/// Linux: `do_epoll_ctl`.
///
/// # Errors
/// In this order: `EPERM` for a file that cannot be watched; `EINVAL` if `ep` is no epoll instance or `file` itself, for a
/// wrong use of EPOLLEXCLUSIVE; `ELOOP` for a cycle of instances or one nested too deeply, `EINVAL` for too many paths
/// through nested ones; `EEXIST`, `ENOENT`; `ENOSPC` beyond `max_user_watches`; `EINVAL` for an unknown `op`.
pub fn do_epoll_ctl(
    ctx: &dyn TaskContext,
    ep: &File,
    op: i32,
    file: &Arc<File>,
    fd: i32,
    mut event: EpollEvent,
) -> Result<(), Errno> {
    if !file.ops().pollable() {
        return Err(EPERM);
    }
    let ep_file = ep;
    let ep = instance(ep_file).filter(|_| !std::ptr::eq(ep_file, Arc::as_ptr(file))).ok_or(EINVAL)?;
    let inner = instance(file);
    if op != EPOLL_CTL_DEL && event.events & EPOLLEXCLUSIVE != 0 {
        let bad = inner.is_some() || event.events & !EXCLUSIVE_OK != 0;
        if op == EPOLL_CTL_MOD || (op == EPOLL_CTL_ADD && bad) {
            return Err(EINVAL);
        }
    }
    event.events = (event.events & !EPOLLWAKEUP) | POLLERR | POLLHUP;
    match (op, inner) {
        (EPOLL_CTL_ADD, None) => ep.insert(ctx, file, fd, event),
        (EPOLL_CTL_ADD, Some(inner)) => {
            nest::attach(ep, inner)?;
            let inserted = ep.insert(ctx, file, fd, event);
            if inserted.is_err() {
                inner.nesting.remove_parent(&ep.ready);
            }
            inserted
        }
        (EPOLL_CTL_DEL, _) => ep.remove(key_of(file, fd)),
        (EPOLL_CTL_MOD, _) => ep.modify(ctx, file, fd, event),
        _ => Err(EINVAL),
    }
}

/// The file that `ep` watches by this descriptor number; of several, the one that so many come before. Linux:
/// `get_epoll_tfile_raw_ptr`.
///
/// # Errors
/// `EINVAL` if `ep` is no epoll instance; `ENOENT`.
pub fn epoll_target(ep: &File, fd: i32, skip: usize) -> Result<Arc<File>, Errno> {
    let ep = instance(ep).ok_or(EINVAL)?;
    let mut items: Vec<(Key, Arc<Item>)> = {
        let items = ep.items.lock();
        items.by_key.iter().filter(|(key, _)| key.1 == fd).map(|(key, e)| (*key, e.item.clone())).collect()
    };
    items.sort_unstable_by_key(|(key, _)| *key);
    items.into_iter().filter_map(|(_, item)| item.file()).nth(skip).ok_or(ENOENT)
}

/// epoll_wait(2) and its kin: hands ready events to `sink` until there are `max`, and waits for the first one until the
/// deadline, for ever without one. A mask of signals is the caller's to swap. Linux: `do_epoll_wait`.
///
/// # Errors
/// `EINVAL` for a `max` that is not positive or too large, or if `ep` is no epoll instance; that of `sink` for the first
/// event; `EINTR`.
pub fn do_epoll_wait(
    ctx: &dyn TaskContext,
    ep: &File,
    max: i32,
    deadline: Option<Instant>,
    sink: &mut dyn FnMut(EpollEvent) -> Result<(), Errno>,
) -> Result<usize, Errno> {
    let max = usize::try_from(max).ok().filter(|_| (1..=MAX_EVENTS).contains(&max)).ok_or(EINVAL)?;
    let ep = instance(ep).ok_or(EINVAL)?;
    let mut ended = None;
    loop {
        if ep.ready.len() > 0 {
            let sent = ep.send_events(ctx, max, sink)?;
            if sent > 0 {
                return Ok(sent);
            }
        }
        if let Some(result) = ended {
            return result;
        }
        if deadline.is_some_and(|d| d <= Instant::now()) {
            return Ok(0);
        }
        ended = ep.ready.wait(ctx, deadline);
    }
}
