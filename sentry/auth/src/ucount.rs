//! Linux: kernel/ucount.c. How many namespaces of a kind, and how many processes, a user has in a user namespace and in
//! each above it.
//!
//! Differs in what it is made of: a namespace holds the counters of its users, and a count is an object that takes itself
//! back when it is dropped.

use crate::{Kuid, UserNamespace};
use sentry_sync::{Mutex, level};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// What is counted. Linux: `enum ucount_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum UcountType {
    UserNamespaces,
    PidNamespaces,
    UtsNamespaces,
    IpcNamespaces,
    NetNamespaces,
    MntNamespaces,
    CgroupNamespaces,
    TimeNamespaces,
}

const KINDS: usize = 8;

/// The counters and limits of one user namespace.
#[derive(Debug)]
pub(crate) struct UcountTable {
    users: Mutex<HashMap<Kuid, Counts>, { level::LEAF }>,
    max: [AtomicI32; KINDS],
    /// Most processes the namespace's owner may have in the one above. Linux: `rlimit_max[UCOUNT_RLIMIT_NPROC]`.
    nproc_max: AtomicU64,
}

/// What one user has in one namespace.
#[derive(Debug, Default)]
struct Counts {
    namespaces: [i32; KINDS],
    processes: u64,
}

impl Counts {
    fn is_empty(&self) -> bool {
        self.processes == 0 && self.namespaces.iter().all(|n| *n == 0)
    }
}

impl UcountTable {
    /// With this limit for each kind.
    pub(crate) fn new(max: i32) -> UcountTable {
        UcountTable {
            users: Mutex::default(),
            max: std::array::from_fn(|_| AtomicI32::new(max)),
            nproc_max: AtomicU64::new(u64::MAX),
        }
    }

    fn inc_below_max(&self, uid: Kuid, kind: UcountType) -> bool {
        let max = self.max[kind as usize].load(Ordering::Relaxed);
        let mut users = self.users.lock();
        let counts = users.entry(uid).or_default();
        let below = counts.namespaces[kind as usize] < max;
        if below {
            counts.namespaces[kind as usize] += 1;
        } else if counts.is_empty() {
            users.remove(&uid);
        }
        below
    }

    fn dec(&self, uid: Kuid, kind: UcountType) {
        self.take_off(uid, |counts| {
            let count = &mut counts.namespaces[kind as usize];
            *count = count.saturating_sub(1);
        });
    }

    fn take_off(&self, uid: Kuid, change: impl FnOnce(&mut Counts)) {
        let mut users = self.users.lock();
        if let Some(counts) = users.get_mut(&uid) {
            change(counts);
            if counts.is_empty() {
                users.remove(&uid);
            }
        }
    }
}

/// One namespace, counted for its maker, and for the maker of each user namespace above. Linux: `struct ucounts` of a
/// namespace.
#[derive(Debug)]
pub struct Ucount {
    ns: Arc<UserNamespace>,
    uid: Kuid,
    kind: UcountType,
}

/// Where a count is kept: the namespace, and upwards the owners of those passed.
fn chain(ns: &Arc<UserNamespace>, uid: Kuid) -> impl Iterator<Item = (&Arc<UserNamespace>, Kuid)> {
    std::iter::successors(Some((ns, uid)), |(ns, _)| ns.parent().map(|parent| (parent, ns.owner())))
}

/// Counts a namespace that `uid` makes in `ns`; none where a limit is reached. Linux: `inc_ucount`.
pub fn inc_ucount(ns: &Arc<UserNamespace>, uid: Kuid, kind: UcountType) -> Option<Ucount> {
    for (at, (above, owner)) in chain(ns, uid).enumerate() {
        if !above.ucounts().inc_below_max(owner, kind) {
            for (above, owner) in chain(ns, uid).take(at) {
                above.ucounts().dec(owner, kind);
            }
            return None;
        }
    }
    Some(Ucount { ns: ns.clone(), uid, kind })
}

impl Drop for Ucount {
    fn drop(&mut self) {
        for (above, owner) in chain(&self.ns, self.uid) {
            above.ucounts().dec(owner, self.kind);
        }
    }
}

/// A thread, counted as a process of its user, and of the maker of each user namespace above. Linux:
/// `UCOUNT_RLIMIT_NPROC` of a task's `struct ucounts`.
#[derive(Debug)]
pub struct NprocCount {
    ns: Arc<UserNamespace>,
    uid: Kuid,
}

/// Counts a thread of `uid` in `ns`, whatever the limits. Linux: `inc_rlimit_ucounts`.
pub fn inc_nproc(ns: &Arc<UserNamespace>, uid: Kuid) -> NprocCount {
    for (above, owner) in chain(ns, uid) {
        above.ucounts().users.lock().entry(owner).or_default().processes += 1;
    }
    NprocCount { ns: ns.clone(), uid }
}

/// Whether `uid` in `ns` with `more` threads than it has would have more than `limit`, or the maker of a namespace above
/// more than its own limit was. Linux: `is_rlimit_overlimit`.
pub fn is_nproc_overlimit(ns: &Arc<UserNamespace>, uid: Kuid, more: u64, limit: u64) -> bool {
    let mut limit = limit;
    for (above, owner) in chain(ns, uid) {
        let table = above.ucounts();
        let count = table.users.lock().get(&owner).map_or(0, |counts| counts.processes);
        if count.saturating_add(more) > limit {
            return true;
        }
        limit = table.nproc_max.load(Ordering::Relaxed);
    }
    false
}

impl NprocCount {
    /// Whether it is counted for this user of this namespace.
    pub fn is_of(&self, ns: &Arc<UserNamespace>, uid: Kuid) -> bool {
        self.uid == uid && Arc::ptr_eq(&self.ns, ns)
    }
}

impl Drop for NprocCount {
    fn drop(&mut self) {
        for (above, owner) in chain(&self.ns, self.uid) {
            above.ucounts().take_off(owner, |counts| counts.processes = counts.processes.saturating_sub(1));
        }
    }
}

impl UserNamespace {
    /// Limits how many processes the namespace's owner may have in the one above because of those in here. Linux:
    /// `set_userns_rlimit_max`.
    pub fn set_nproc_max(&self, max: u64) {
        self.ucounts().nproc_max.store(max, Ordering::Relaxed);
    }

    /// `/proc/sys/user/max_*`: how many of a kind each user may have in this namespace and those below.
    pub fn ucount_max(&self, kind: UcountType) -> i32 {
        self.ucounts().max[kind as usize].load(Ordering::Relaxed)
    }

    /// Sets [`UserNamespace::ucount_max`].
    pub fn set_ucount_max(&self, kind: UcountType, max: i32) {
        self.ucounts().max[kind as usize].store(max, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cred, GroupInfo, Kgid};

    const KIND: UcountType = UcountType::UtsNamespaces;

    #[test]
    fn a_limit_holds_for_all_that_is_made_below_it() {
        let init = UserNamespace::new_initial();
        let (uid, gid) = (Kuid::from_global(1000), Kgid::from_global(1000));
        let maker = Cred::user(init.clone(), uid, gid, GroupInfo::default());
        let Ok(child) = UserNamespace::create_user_ns(&maker, false) else {
            unreachable!("the ids are mapped")
        };
        init.set_ucount_max(KIND, 2);
        let other = Kuid::from_global(5);
        let first = inc_ucount(&child, uid, KIND);
        let second = inc_ucount(&child, other, KIND);
        assert!(first.is_some() && second.is_some());
        assert!(inc_ucount(&child, other, KIND).is_none());
        assert!(inc_ucount(&init, other, KIND).is_some());
        drop(second);
        assert!(inc_ucount(&child, other, KIND).is_some());
        drop(first);
        assert!(child.ucounts().users.lock().is_empty());
    }
}
