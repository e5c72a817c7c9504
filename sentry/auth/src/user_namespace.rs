//! Linux: kernel/user_namespace.c.

use crate::{CapSet, Cred, IdMap, Kgid, Kuid};
use sentry_sync::{RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENOSPC, EPERM};
use std::sync::{Arc, OnceLock};

/// Deepest nesting of user namespaces.
const MAX_LEVEL: u32 = 32;

/// A user namespace: maps between its ids and the kernel's, and the authority over what it owns.
#[derive(Debug)]
pub struct UserNamespace {
    parent: Option<Arc<UserNamespace>>,
    owner: Kuid,
    group: Kgid,
    level: u32,
    parent_could_setfcap: bool,
    inum: OnceLock<u64>,
    state: RwLock<State, { level::USER_NS }>,
}

#[derive(Debug)]
struct State {
    uid_map: Arc<IdMap>,
    gid_map: Arc<IdMap>,
    setgroups_allowed: bool,
}

impl UserNamespace {
    /// The first namespace of a kernel: every id stands for itself.
    pub fn new_initial() -> Arc<UserNamespace> {
        let map = Arc::new(IdMap::identity());
        Arc::new(UserNamespace {
            parent: None,
            owner: Kuid::GLOBAL_ROOT,
            group: Kgid::GLOBAL_ROOT,
            level: 0,
            parent_could_setfcap: true,
            inum: OnceLock::new(),
            state: RwLock::new(State { uid_map: map.clone(), gid_map: map, setgroups_allowed: true }),
        })
    }

    /// A child of the creator's namespace, with empty maps. Linux: `create_user_ns`.
    ///
    /// # Errors
    /// `ENOSPC` when nested too deeply; `EPERM` when the creator's effective ids have no mapping in its namespace.
    /// The check for a chrooted caller is the caller's: this crate knows no file.
    pub fn create_user_ns(cred: &Cred) -> Result<Arc<UserNamespace>, Errno> {
        let parent = &cred.user_ns;
        if parent.level > MAX_LEVEL {
            return Err(ENOSPC);
        }
        if parent.from_kuid(cred.euid).is_none() || parent.from_kgid(cred.egid).is_none() {
            return Err(EPERM);
        }
        let setgroups_allowed = parent.state.read().setgroups_allowed;
        Ok(Arc::new(UserNamespace {
            parent: Some(parent.clone()),
            owner: cred.euid,
            group: cred.egid,
            level: parent.level + 1,
            parent_could_setfcap: cred.cap_effective.contains(CapSet::SETFCAP),
            inum: OnceLock::new(),
            state: RwLock::new(State { uid_map: Arc::default(), gid_map: Arc::default(), setgroups_allowed }),
        }))
    }

    /// The namespace it was made in; none for the first one.
    pub fn parent(&self) -> Option<&Arc<UserNamespace>> {
        self.parent.as_ref()
    }

    /// The effective user id of its creator.
    pub fn owner(&self) -> Kuid {
        self.owner
    }

    /// The effective group id of its creator.
    pub fn group(&self) -> Kgid {
        self.group
    }

    /// Distance from the first namespace.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// Whether the creator held CAP_SETFCAP, which mapping the parent's root from inside needs.
    pub fn parent_could_setfcap(&self) -> bool {
        self.parent_could_setfcap
    }

    /// The number nsfs shows it by: `alloc`'s, asked for once. Linux: `ns.inum`.
    pub fn inum(&self, alloc: impl FnOnce() -> u64) -> u64 {
        *self.inum.get_or_init(alloc)
    }

    /// What `/proc/[pid]/setgroups` shows. Linux: `USERNS_SETGROUPS_ALLOWED`.
    pub fn setgroups_allowed(&self) -> bool {
        self.state.read().setgroups_allowed
    }

    /// The user id map.
    pub fn uid_map(&self) -> Arc<IdMap> {
        self.state.read().uid_map.clone()
    }

    /// The group id map.
    pub fn gid_map(&self) -> Arc<IdMap> {
        self.state.read().gid_map.clone()
    }

    /// Whether `setgroups(2)` may be used in this namespace at all. Linux: `userns_may_setgroups`.
    ///
    /// Both halves matter: without a gid_map no group can be named, and once denied it stays denied, since dropping a
    /// group can *grant* access where a file's mode shuts the group out (CVE-2014-8989).
    pub fn may_setgroups(&self) -> bool {
        let state = self.state.read();
        !state.gid_map.is_empty() && state.setgroups_allowed
    }

    /// Whether `self` is `other` or one of its ancestors. Linux: `in_userns`.
    pub fn is_ancestor_or_self(self: &Arc<Self>, other: &Arc<UserNamespace>) -> bool {
        let mut ns = Some(other);
        while let Some(n) = ns {
            if Arc::ptr_eq(self, n) {
                return true;
            }
            ns = n.parent.as_ref();
        }
        false
    }
}
