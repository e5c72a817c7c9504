//! An inotify instance: its watches and its queue. Linux: `struct fsnotify_group`, `struct inotify_inode_mark`.

use crate::{Inode, NotifyEvent, NotifyMark, NotifyMask};
use sentry_auth::Kuid;
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EEXIST, EINVAL, EMFILE, ENOSPC};
use sentry_uapi::inotify::{
    IN_ALL_EVENTS, IN_DELETE_SELF, IN_EXCL_UNLINK, IN_IGNORED, IN_ISDIR, IN_MASK_ADD, IN_MASK_CREATE,
    IN_MOVE_SELF, IN_ONESHOT, IN_Q_OVERFLOW, InotifyEvent,
};
use sentry_uapi::poll::{POLLIN, POLLRDNORM};
use std::any::Any;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use zerocopy::IntoBytes;

/// `/proc/sys/fs/inotify`, and what is in use.
pub struct InotifyLimits {
    /// `max_queued_events` of an instance made from now on.
    pub max_queued_events: AtomicUsize,
    /// `max_user_instances`.
    pub max_user_instances: AtomicUsize,
    /// `max_user_watches`. Linux computes it from the size of memory.
    pub max_user_watches: AtomicUsize,
    /// Instances and watches by user.
    users: Mutex<HashMap<Kuid, (usize, usize)>, { level::LEAF }>,
}

impl InotifyLimits {
    pub(crate) fn new() -> InotifyLimits {
        InotifyLimits {
            max_queued_events: AtomicUsize::new(16384),
            max_user_instances: AtomicUsize::new(128),
            max_user_watches: AtomicUsize::new(1 << 16),
            users: Mutex::new(HashMap::new()),
        }
    }

    fn charge_instance(&self, user: Kuid) -> Result<(), Errno> {
        let mut users = self.users.lock();
        let (instances, _) = users.entry(user).or_default();
        if *instances >= self.max_user_instances.load(Ordering::Relaxed) {
            return Err(EMFILE);
        }
        *instances += 1;
        Ok(())
    }

    fn charge_watch(&self, user: Kuid) -> Result<(), Errno> {
        let mut users = self.users.lock();
        let (_, watches) = users.entry(user).or_default();
        if *watches >= self.max_user_watches.load(Ordering::Relaxed) {
            return Err(ENOSPC);
        }
        *watches += 1;
        Ok(())
    }

    fn uncharge(&self, user: Kuid, instances: usize, watches: usize) {
        let mut users = self.users.lock();
        if let Some(used) = users.get_mut(&user) {
            *used = (used.0.saturating_sub(instances), used.1.saturating_sub(watches));
            if *used == (0, 0) {
                users.remove(&user);
            }
        }
    }
}

/// An inotify instance.
pub(super) struct Group {
    this: Weak<Group>,
    state: Mutex<State, { level::NOTIFY }>,
    /// Held while a watch is added or removed, so that an inode gets one only. Taken before `state`.
    adding: Mutex<(), { level::NOTIFY }>,
    /// Those who wait for an event.
    pub(super) queue: WaitQueue,
    max_events: usize,
    owner: Kuid,
    limits: Arc<InotifyLimits>,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    /// The overflow is among the events.
    overflow: bool,
    watches: BTreeMap<i32, Arc<Mark>>,
    /// Watches by the address of their inode, which they hold.
    by_inode: HashMap<usize, i32>,
    last_wd: i32,
}

#[derive(PartialEq, Eq)]
struct Event {
    wd: i32,
    mask: u32,
    name: Box<[u8]>,
    cookie: u32,
}

/// A watch.
struct Mark {
    group: Weak<Group>,
    inode: Arc<Inode>,
    wd: i32,
    /// Events, IN_EXCL_UNLINK and IN_ONESHOT.
    mask: AtomicU32,
}

/// Bits of a mask a watch keeps.
const KEPT: u32 = IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT;

impl Event {
    /// Length of the name as it is read: with at least one zero, in multiples of the header. Linux:
    /// `round_event_name_len`.
    fn name_len(&self) -> usize {
        if self.name.is_empty() {
            0
        } else {
            (self.name.len() + 1).next_multiple_of(size_of::<InotifyEvent>())
        }
    }

    fn len(&self) -> usize {
        size_of::<InotifyEvent>() + self.name_len()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let head = InotifyEvent {
            wd: self.wd,
            mask: self.mask,
            cookie: self.cookie,
            len: u32::try_from(self.name_len()).unwrap_or(0),
        };
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&self.name);
        bytes.resize(self.len(), 0);
        bytes
    }

    /// Whether one tells no more than the other. Linux: `event_compare`.
    fn same(&self, other: &Event) -> bool {
        self.mask & IN_IGNORED == 0 && (self.wd, self.mask, &self.name) == (other.wd, other.mask, &other.name)
    }
}

impl State {
    /// Puts an event in the queue; false if that changes nothing. Linux: `fsnotify_insert_event`.
    fn insert(&mut self, event: Event, max: usize) -> bool {
        if self.events.len() >= max {
            if self.overflow {
                return false;
            }
            self.overflow = true;
            self.events.push_back(Event { wd: -1, mask: IN_Q_OVERFLOW, name: Box::default(), cookie: 0 });
            return true;
        }
        if self.events.back().is_some_and(|last| last.same(&event)) {
            return false;
        }
        self.events.push_back(event);
        true
    }

    /// Takes a watch out.
    fn forget(&mut self, wd: i32) -> Option<Arc<Mark>> {
        let mark = self.watches.remove(&wd)?;
        self.by_inode.remove(&Arc::as_ptr(&mark.inode).addr());
        Some(mark)
    }

    /// A number for a new watch, other than the last ones. Linux: `idr_alloc_cyclic`.
    fn alloc_wd(&mut self) -> Result<i32, Errno> {
        let mut wd = self.last_wd;
        for _ in 0..=self.watches.len() {
            wd = wd.checked_add(1).unwrap_or(1);
            if !self.watches.contains_key(&wd) {
                self.last_wd = wd;
                return Ok(wd);
            }
        }
        Err(ENOSPC)
    }
}

impl Group {
    pub(super) fn new(limits: &Arc<InotifyLimits>, owner: Kuid) -> Result<Arc<Group>, Errno> {
        limits.charge_instance(owner)?;
        Ok(Arc::new_cyclic(|this| Group {
            this: this.clone(),
            state: Mutex::new(State::default()),
            adding: Mutex::new(()),
            queue: WaitQueue::new(),
            max_events: limits.max_queued_events.load(Ordering::Relaxed),
            owner,
            limits: limits.clone(),
        }))
    }

    /// The next event as bytes. `EAGAIN` if there is none, `EINVAL` if it is longer than `room`.
    pub(super) fn pop(&self, room: usize) -> Result<Vec<u8>, Errno> {
        let mut state = self.state.lock();
        if state.events.front().ok_or(EAGAIN)?.len() > room {
            return Err(EINVAL);
        }
        let event = state.events.pop_front().ok_or(EAGAIN)?;
        if event.mask & IN_Q_OVERFLOW != 0 {
            state.overflow = false;
        }
        drop(state);
        Ok(event.to_bytes())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().events.is_empty()
    }

    /// Bytes of all events.
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().events.iter().map(Event::len).sum()
    }

    pub(super) fn set_next_wd(&self, wd: i32) {
        self.state.lock().last_wd = wd - 1;
    }

    /// The watches with their inodes and masks.
    pub(super) fn watches(&self) -> Vec<(i32, Arc<Inode>, u32)> {
        let state = self.state.lock();
        state.watches.values().map(|m| (m.wd, m.inode.clone(), m.mask.load(Ordering::Relaxed))).collect()
    }

    /// Adds a watch or changes the one there is. Linux: `inotify_update_watch`.
    pub(super) fn update_watch(&self, inode: &Arc<Inode>, mask: u32) -> Result<i32, Errno> {
        let _adding = self.adding.lock();
        let mut state = self.state.lock_nested();
        let found = state.by_inode.get(&Arc::as_ptr(inode).addr());
        if let Some(mark) = found.and_then(|wd| state.watches.get(wd)) {
            if mask & IN_MASK_CREATE != 0 {
                return Err(EEXIST);
            }
            if mask & IN_MASK_ADD != 0 {
                mark.mask.fetch_or(mask & KEPT, Ordering::Relaxed);
            } else {
                mark.mask.store(mask & KEPT, Ordering::Relaxed);
            }
            return Ok(mark.wd);
        }
        self.limits.charge_watch(self.owner)?;
        let wd = state.alloc_wd().inspect_err(|_| self.limits.uncharge(self.owner, 0, 1))?;
        let mark = Arc::new(Mark {
            group: self.this.clone(),
            inode: inode.clone(),
            wd,
            mask: AtomicU32::new(mask & KEPT),
        });
        state.by_inode.insert(Arc::as_ptr(inode).addr(), wd);
        state.watches.insert(wd, mark.clone());
        drop(state);
        inode.attach_mark(mark);
        Ok(wd)
    }

    /// inotify_rm_watch(2).
    pub(super) fn remove_watch(&self, wd: i32) -> Result<(), Errno> {
        // A watch that is being added is on its inode once this lock is free.
        let _adding = self.adding.lock();
        let mark = self.end_watch(wd).ok_or(EINVAL)?;
        mark.inode.detach_mark(&*mark);
        Ok(())
    }

    /// Ends a watch, and says so. The mark is still on its inode. Linux: `inotify_ignored_and_remove_idr`.
    fn end_watch(&self, wd: i32) -> Option<Arc<Mark>> {
        let mut state = self.state.lock_nested();
        let mark = state.forget(wd)?;
        state.insert(Event { wd, mask: IN_IGNORED, name: Box::default(), cookie: 0 }, self.max_events);
        drop(state);
        self.limits.uncharge(self.owner, 0, 1);
        self.queue.wake(POLLIN | POLLRDNORM);
        Some(mark)
    }

    /// Ends all watches silently.
    pub(super) fn shutdown(&self) {
        let mut state = self.state.lock();
        let all = std::mem::take(&mut *state);
        drop(state);
        self.limits.uncharge(self.owner, 1, all.watches.len());
        for mark in all.watches.values() {
            mark.inode.detach_mark(&**mark);
        }
    }
}

impl NotifyMark for Mark {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn mask(&self) -> NotifyMask {
        NotifyMask::from_bits_truncate(self.mask.load(Ordering::Relaxed) & IN_ALL_EVENTS)
            | NotifyMask::UNMOUNT
    }

    /// Linux: `inotify_handle_inode_event`.
    fn handle_event(&self, event: &NotifyEvent<'_>) {
        let Some(group) = self.group.upgrade() else { return };
        let flags = self.mask.load(Ordering::Relaxed);
        if flags & IN_EXCL_UNLINK != 0 && event.unlinked {
            return;
        }
        let mut mask = event.mask.bits();
        if mask & (IN_MOVE_SELF | IN_DELETE_SELF) != 0 {
            mask &= !IN_ISDIR;
        }
        let name = event.name.unwrap_or_default().into();
        let new = Event { wd: self.wd, mask, name, cookie: event.cookie };
        let mut state = group.state.lock();
        if !state.watches.contains_key(&self.wd) {
            return;
        }
        let changed = state.insert(new, group.max_events);
        drop(state);
        if changed {
            group.queue.wake(POLLIN | POLLRDNORM);
        }
        if flags & IN_ONESHOT != 0 {
            let _ = group.remove_watch(self.wd);
        }
    }

    fn detached(&self) {
        if let Some(group) = self.group.upgrade() {
            group.end_watch(self.wd);
        }
    }
}
