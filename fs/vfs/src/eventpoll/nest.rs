//! Epoll instances watched by epoll instances: no cycles, no deep nests, no explosion of wake-ups.
//!
//! Linux: fs/eventpoll.c, `ep_loop_check` and `reverse_path_check`.

use super::ready::Ready;
use super::{EventPoll, Item, instance};
use crate::File;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ELOOP};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Most instances between an instance and a file it hears of. Linux: `EP_MAX_NESTS`.
const MAX_NESTS: usize = 4;

/// How many ways a wake-up may take to outermost instances, by their length. Linux: `path_limits`.
const PATH_LIMITS: [usize; MAX_NESTS + 1] = [1000, 500, 100, 50, 10];

/// The instances that watch an instance, once for each descriptor they do it by.
pub(super) struct Nesting {
    parents: Mutex<Vec<Weak<EventPoll>>, { level::LEAF }>,
}

impl Nesting {
    pub(super) fn new() -> Nesting {
        Nesting { parents: Mutex::new(Vec::new()) }
    }

    fn parents(&self) -> Vec<Arc<EventPoll>> {
        self.parents.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn add_parent(&self, parent: &Arc<EventPoll>) {
        let mut parents = self.parents.lock();
        parents.retain(|p| p.strong_count() > 0);
        parents.push(Arc::downgrade(parent));
    }

    /// Undoes one [`attach`] to the instance with this ready list.
    pub(super) fn remove_parent(&self, parent: &Arc<Ready>) {
        let all = self.parents();
        let Some(parent) = all.iter().find(|p| Arc::ptr_eq(&p.ready, parent)) else { return };
        self.remove_one(&Arc::downgrade(parent));
    }

    fn remove_one(&self, parent: &Weak<EventPoll>) {
        let mut parents = self.parents.lock();
        if let Some(at) = parents.iter().position(|p| p.ptr_eq(parent)) {
            parents.swap_remove(at);
        }
    }

    fn is_outermost(&self) -> bool {
        !self.parents.lock().iter().any(|p| p.strong_count() > 0)
    }
}

/// References taken while looking around. Any of them may turn out to be the last, so they are dropped after the lock.
#[derive(Default)]
struct Held {
    instances: Vec<Arc<EventPoll>>,
    files: Vec<Arc<File>>,
}

impl Held {
    fn parents(&mut self, ep: &EventPoll) -> Vec<Arc<EventPoll>> {
        let parents = ep.nesting.parents();
        self.instances.extend_from_slice(&parents);
        parents
    }

    /// The instances that `ep` watches.
    fn children(&mut self, ep: &EventPoll) -> Vec<Arc<EventPoll>> {
        let items: Vec<Arc<Item>> = ep.items.lock_nested().by_key.values().map(|e| e.item.clone()).collect();
        let files: Vec<Arc<File>> = items.iter().filter_map(|i| i.file()).collect();
        let children = files.iter().filter_map(|f| instance(f).cloned()).collect();
        self.files.extend(files);
        children
    }
}

/// Lets `outer` watch `inner`.
///
/// # Errors
/// `ELOOP` if `inner` can reach `outer`, or the nest would be too deep; `EINVAL` if a wake-up would have too many ways.
pub(super) fn attach(outer: &Arc<EventPoll>, inner: &Arc<EventPoll>) -> Result<(), Errno> {
    let mut held = Held::default();
    let serial = outer.limits.nesting.lock();
    let result = try_attach(outer, inner, &mut held);
    drop(serial);
    drop(held);
    result
}

fn try_attach(outer: &Arc<EventPoll>, inner: &Arc<EventPoll>, held: &mut Held) -> Result<(), Errno> {
    let mut below = HashMap::new();
    let depth = depth_below(inner, outer, 0, &mut below, held)?;
    let height = height_above(outer, 0, held)?;
    if depth + 1 + height > MAX_NESTS {
        return Err(ELOOP);
    }
    inner.nesting.add_parent(outer);
    for (ep, _) in below.values() {
        let mut counts = [0; MAX_NESTS + 1];
        if let Err(e) = count_paths(ep, 1, &mut counts, held) {
            inner.nesting.remove_one(&Arc::downgrade(outer));
            return Err(e);
        }
    }
    Ok(())
}

/// Instances seen, each with its depth.
type Seen = HashMap<usize, (Arc<EventPoll>, usize)>;

/// How many instances lie below `ep`. Linux: `ep_loop_check_proc`.
fn depth_below(
    ep: &Arc<EventPoll>,
    outer: &Arc<EventPoll>,
    at: usize,
    seen: &mut Seen,
    held: &mut Held,
) -> Result<usize, Errno> {
    if Arc::ptr_eq(ep, outer) || at > MAX_NESTS {
        return Err(ELOOP);
    }
    let id = Arc::as_ptr(ep).addr();
    if let Some((_, depth)) = seen.get(&id) {
        return Ok(*depth);
    }
    let mut depth = 0;
    for inner in held.children(ep) {
        depth = depth.max(depth_below(&inner, outer, at + 1, seen, held)? + 1);
    }
    seen.insert(id, (ep.clone(), depth));
    Ok(depth)
}

/// How many instances lie above `ep`. Linux: `ep_get_upwards_depth_proc`.
fn height_above(ep: &EventPoll, at: usize, held: &mut Held) -> Result<usize, Errno> {
    if at > MAX_NESTS {
        return Err(ELOOP);
    }
    let mut height = 0;
    for parent in held.parents(ep) {
        height = height.max(height_above(&parent, at + 1, held)? + 1);
    }
    Ok(height)
}

/// Counts the ways up from `ep`. Linux: `reverse_path_check_proc`, which starts at the file that `ep` watches.
fn count_paths(
    ep: &EventPoll,
    length: usize,
    counts: &mut [usize; MAX_NESTS + 1],
    held: &mut Held,
) -> Result<(), Errno> {
    for parent in held.parents(ep) {
        if parent.nesting.is_outermost() {
            let (Some(count), Some(limit)) = (counts.get_mut(length), PATH_LIMITS.get(length)) else {
                return Err(EINVAL);
            };
            *count += 1;
            if *count > *limit {
                return Err(EINVAL);
            }
        } else {
            count_paths(&parent, length + 1, counts, held)?;
        }
    }
    Ok(())
}
