//! Linux: kernel/pid_namespace.c and the id allocation of kernel/pid.c.

use crate::nsproxy::count;
use crate::{CurrentTask, Pid};
use fs_vfs::{Namespace, NsKind, TaskContext};
use sentry_auth::{CapSet, Cred, Kuid, Ucount, UcountType, UserNamespace, ns_capable};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EEXIST, EINVAL, ENOMEM, ENOSPC, EPERM};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

/// Deepest nesting. Linux: `MAX_PID_NS_LEVEL`.
const MAX_LEVEL: usize = 32;
/// Ids stay below this: `/proc/sys/kernel/pid_max`.
pub const PID_MAX: u32 = 1 << 22;
/// After wrapping round, ids start here. Linux: `RESERVED_PIDS`.
const RESERVED_PIDS: u32 = 300;
/// Number of the first one. Linux: include/linux/proc_ns.h, `PROC_PID_INIT_INO`.
const PID_INIT_INO: u64 = 0xefff_fffc;

/// A pid namespace.
pub struct PidNamespace {
    level: usize,
    parent: Option<Arc<PidNamespace>>,
    /// The namespace whose capabilities count for it.
    pub user_ns: Arc<UserNamespace>,
    inum: u64,
    _ucount: Option<Ucount>,
    state: Mutex<State, { level::LEAF }>,
    /// Global id of the process that reaps orphans; 0 before there is one.
    pub(crate) child_reaper: AtomicU32,
    /// The signal its first process seems to end by once reboot(2) was called in it; 0 before. Linux: `reboot`.
    pub(crate) reboot: AtomicI32,
}

#[derive(Default)]
struct State {
    ids: BTreeMap<u32, Weak<Pid>>,
    last: u32,
    /// Its first process is gone: nothing can be made in it any more.
    dying: bool,
}

impl PidNamespace {
    /// The first namespace.
    pub fn new_initial(user_ns: Arc<UserNamespace>) -> Arc<PidNamespace> {
        Arc::new(PidNamespace {
            level: 0,
            parent: None,
            user_ns,
            inum: PID_INIT_INO,
            _ucount: None,
            state: Mutex::new(State::default()),
            child_reaper: AtomicU32::new(0),
            reboot: AtomicI32::new(0),
        })
    }

    /// A child of `parent`, made by `creator` and owned by `user_ns`. Linux: `create_pid_namespace`.
    ///
    /// # Errors
    /// `EINVAL` if `user_ns` does not descend from the parent's; `ENOSPC` when nested too deeply or the creator has too
    /// many.
    pub fn create(
        parent: &Arc<PidNamespace>,
        user_ns: &Arc<UserNamespace>,
        creator: Kuid,
    ) -> Result<Arc<PidNamespace>, Errno> {
        if !parent.user_ns.is_ancestor_or_self(user_ns) {
            return Err(EINVAL);
        }
        if parent.level + 1 > MAX_LEVEL {
            return Err(ENOSPC);
        }
        let _ucount = count(user_ns, creator, UcountType::PidNamespaces)?;
        Ok(Arc::new(PidNamespace {
            level: parent.level + 1,
            parent: Some(parent.clone()),
            user_ns: user_ns.clone(),
            inum: user_ns.alloc_inum(),
            _ucount,
            state: Mutex::new(State::default()),
            child_reaper: AtomicU32::new(0),
            reboot: AtomicI32::new(0),
        }))
    }

    /// Distance from the first namespace.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The namespace it was made in.
    pub fn parent(&self) -> Option<&Arc<PidNamespace>> {
        self.parent.as_ref()
    }

    /// Whether `self` is `other` or one of its ancestors.
    pub fn is_ancestor_or_self(self: &Arc<Self>, other: &Arc<PidNamespace>) -> bool {
        let mut ns = Some(other);
        while let Some(n) = ns.filter(|n| n.level >= self.level) {
            if Arc::ptr_eq(self, n) {
                return true;
            }
            ns = n.parent.as_ref();
        }
        false
    }

    /// Whether it has, or had, a first process.
    pub fn has_init(&self) -> bool {
        self.child_reaper.load(Ordering::Relaxed) != 0
    }

    /// The id with this number. Linux: `find_pid_ns`.
    pub fn find(&self, nr: u32) -> Option<Arc<Pid>> {
        self.state.lock().ids.get(&nr)?.upgrade()
    }

    /// All ids in use, ascending.
    pub fn ids(&self) -> Vec<Arc<Pid>> {
        self.state.lock().ids.values().filter_map(Weak::upgrade).collect()
    }

    /// The first id in use with a number of at least `nr`, and that number. Linux: `find_ge_pid`.
    pub fn find_ge(&self, nr: u32) -> Option<(u32, Arc<Pid>)> {
        let state = self.state.lock();
        state.ids.range(nr..).find_map(|(nr, pid)| Some((*nr, pid.upgrade()?)))
    }

    /// The next number that [`PidNamespace::alloc_pid`] would look at: `/proc/loadavg` and `ns_last_pid`.
    pub fn last_pid(&self) -> u32 {
        self.state.lock().last
    }

    /// Whether its first process is going or gone.
    pub(crate) fn is_dying(&self) -> bool {
        self.state.lock().dying
    }

    /// Shuts the namespace to new processes. Linux: `disable_pid_allocation`.
    pub(crate) fn disable_allocation(&self) {
        self.state.lock().dying = true;
    }

    /// A new id with a number in this namespace and each above it. `wanted` are numbers that `cred` asks for with clone3's
    /// `set_tid`, this namespace's first. Linux: `alloc_pid`.
    ///
    /// # Errors
    /// `ENOMEM` when the namespace's first process is gone; `EAGAIN` when there is no number left; of numbers asked for
    /// `EINVAL` for more than there are namespaces, or none that can be, `EPERM` without authority over the namespace,
    /// `EEXIST`.
    pub fn alloc_pid(self: &Arc<Self>, wanted: &[u32], cred: &Cred) -> Result<Arc<Pid>, Errno> {
        if wanted.len() > self.level + 1 {
            return Err(EINVAL);
        }
        let mut chain: SmallVec<[Arc<PidNamespace>; 1]> = SmallVec::new();
        let mut ns = Some(self);
        while let Some(n) = ns {
            chain.push(n.clone());
            ns = n.parent.as_ref();
        }
        let mut numbers: SmallVec<[(Arc<PidNamespace>, u32); 1]> = SmallVec::new();
        for (i, ns) in chain.into_iter().enumerate() {
            let nr = match ns.take_number(wanted.get(i).copied(), cred) {
                Ok(nr) => nr,
                Err(e) => {
                    for (ns, nr) in &numbers {
                        ns.forget(*nr);
                    }
                    return Err(e);
                }
            };
            numbers.push((ns, nr));
        }
        numbers.reverse();
        let pid = Arc::new(Pid::new(numbers.clone()));
        for (ns, nr) in &numbers {
            ns.state.lock().ids.insert(*nr, Arc::downgrade(&pid));
        }
        Ok(pid)
    }

    /// Linux: include/linux/capability.h, `checkpoint_restore_ns_capable`.
    fn may_choose(&self, cred: &Cred) -> bool {
        ns_capable(cred, &self.user_ns, CapSet::CHECKPOINT_RESTORE)
            || ns_capable(cred, &self.user_ns, CapSet::SYS_ADMIN)
    }

    fn take_number(&self, wanted: Option<u32>, cred: &Cred) -> Result<u32, Errno> {
        let mut state = self.state.lock();
        if state.dying {
            return Err(ENOMEM);
        }
        if let Some(nr) = wanted {
            if nr == 0 || nr >= PID_MAX || (nr != 1 && self.child_reaper.load(Ordering::Relaxed) == 0) {
                return Err(EINVAL);
            }
            if !self.may_choose(cred) {
                return Err(EPERM);
            }
            if state.ids.contains_key(&nr) {
                return Err(EEXIST);
            }
            state.ids.insert(nr, Weak::new());
            return Ok(nr);
        }
        let mut nr = state.last + 1;
        for _ in 0..PID_MAX {
            if nr >= PID_MAX {
                nr = RESERVED_PIDS;
            }
            if !state.ids.contains_key(&nr) {
                state.last = nr;
                state.ids.insert(nr, Weak::new());
                return Ok(nr);
            }
            nr += 1;
        }
        Err(EAGAIN)
    }

    pub(crate) fn forget(&self, nr: u32) {
        self.state.lock().ids.remove(&nr);
    }
}

impl Namespace for PidNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Pid
    }

    fn inum(&self) -> u64 {
        self.inum
    }

    fn owner(&self) -> Option<Arc<UserNamespace>> {
        Some(self.user_ns.clone())
    }

    /// Linux: `pidns_get_parent`.
    fn parent(&self, ctx: &dyn TaskContext) -> Result<Arc<dyn Namespace>, Errno> {
        let current: &CurrentTask = ctx.as_any().downcast_ref().ok_or(EPERM)?;
        let parent = self.parent.clone().ok_or(EPERM)?;
        if current.pid_ns().is_ancestor_or_self(&parent) { Ok(parent) } else { Err(EPERM) }
    }
}
