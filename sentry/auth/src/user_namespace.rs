//! Linux: kernel/user_namespace.c.

use crate::ucount::{Ucount, UcountTable, UcountType, inc_ucount};
use crate::{CapSet, Cred, IdMap, Kgid, Kuid, SecureBits};
use sentry_sync::{RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENOSPC, EPERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Deepest nesting of user namespaces.
const MAX_LEVEL: u32 = 32;
/// Number nsfs shows the first namespace by. Linux: include/linux/proc_ns.h, `PROC_USER_INIT_INO`.
const USER_INIT_INO: u64 = 0xefff_fffd;
/// Numbers of other namespaces count on from here. Linux: fs/proc/generic.c, `PROC_DYNAMIC_FIRST`.
const DYNAMIC_FIRST_INO: u64 = 0xf000_0000;
/// Namespaces of a kind a user may have in the first namespace: half of the threads there may be.
const INIT_UCOUNT_MAX: i32 = 7500;

/// A user namespace: maps between its ids and the kernel's, and the authority over what it owns.
#[derive(Debug)]
pub struct UserNamespace {
    parent: Option<Arc<UserNamespace>>,
    owner: Kuid,
    group: Kgid,
    level: u32,
    parent_could_setfcap: bool,
    inum: u64,
    /// Numbers for namespaces: one sequence for all of a kernel.
    next_inum: Arc<AtomicU64>,
    pub(crate) state: RwLock<State, { level::USER_NS }>,
    ucounts: UcountTable,
    /// The namespace itself, counted above.
    _ucount: Option<Ucount>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) uid_map: Arc<IdMap>,
    pub(crate) gid_map: Arc<IdMap>,
    pub(crate) projid_map: Arc<IdMap>,
    pub(crate) setgroups_allowed: bool,
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
            inum: USER_INIT_INO,
            next_inum: Arc::new(AtomicU64::new(DYNAMIC_FIRST_INO)),
            state: RwLock::new(State {
                uid_map: map.clone(),
                gid_map: map.clone(),
                projid_map: map,
                setgroups_allowed: true,
            }),
            ucounts: UcountTable::new(INIT_UCOUNT_MAX),
            _ucount: None,
        })
    }

    /// A child of the creator's namespace, with empty maps. `chrooted` says whether the creator's root is not that of its
    /// mount namespace: whoever made it so meant it not to be left. Linux: `create_user_ns`.
    ///
    /// # Errors
    /// In Linux's order: `ENOSPC` when nested too deeply, or when the creator, or the owner of a namespace above, has too
    /// many; `EPERM` for a chrooted creator; `EPERM` when its effective ids have no mapping in its namespace.
    pub fn create_user_ns(cred: &Cred, chrooted: bool) -> Result<Arc<UserNamespace>, Errno> {
        let parent = &cred.user_ns;
        if parent.level > MAX_LEVEL {
            return Err(ENOSPC);
        }
        let ucount = inc_ucount(parent, cred.euid, UcountType::UserNamespaces).ok_or(ENOSPC)?;
        if chrooted || parent.from_kuid(cred.euid).is_none() || parent.from_kgid(cred.egid).is_none() {
            return Err(EPERM);
        }
        let setgroups_allowed = parent.setgroups_allowed();
        Ok(Arc::new(UserNamespace {
            parent: Some(parent.clone()),
            owner: cred.euid,
            group: cred.egid,
            level: parent.level + 1,
            parent_could_setfcap: cred.cap_effective.contains(CapSet::SETFCAP),
            inum: parent.alloc_inum(),
            next_inum: parent.next_inum.clone(),
            state: RwLock::new(State {
                uid_map: Arc::default(),
                gid_map: Arc::default(),
                projid_map: Arc::default(),
                setgroups_allowed,
            }),
            ucounts: UcountTable::new(i32::MAX),
            _ucount: Some(ucount),
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

    /// The number nsfs shows it by. Linux: `ns.inum`.
    pub fn inum(&self) -> u64 {
        self.inum
    }

    /// A number for a namespace of any kind, which no other of the kernel has had; later ones are greater. Linux:
    /// `ns_alloc_inum`.
    pub fn alloc_inum(&self) -> u64 {
        self.next_inum.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn ucounts(&self) -> &UcountTable {
        &self.ucounts
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

    /// The project id map.
    pub fn projid_map(&self) -> Arc<IdMap> {
        self.state.read().projid_map.clone()
    }

    /// Whether `setgroups(2)` may be used in this namespace at all. Linux: `userns_may_setgroups`.
    ///
    /// Both halves matter: without a gid_map no group can be named, and once denied it stays denied, since dropping a
    /// group can *grant* access where a file's mode shuts the group out (CVE-2014-8989).
    pub fn may_setgroups(&self) -> bool {
        let state = self.state.read();
        !state.gid_map.is_empty() && state.setgroups_allowed
    }

    /// Allows or denies `setgroups(2)`, as far as that can be changed. Linux: `proc_setgroups_write`.
    ///
    /// # Errors
    /// `EPERM` for allowing what has been denied, here or above, and for denying once there is a gid_map.
    pub fn set_setgroups(&self, allow: bool) -> Result<(), Errno> {
        let mut state = self.state.write();
        if allow {
            return if state.setgroups_allowed { Ok(()) } else { Err(EPERM) };
        }
        if !state.gid_map.is_empty() {
            return Err(EPERM);
        }
        state.setgroups_allowed = false;
        Ok(())
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

impl Cred {
    /// The same ids in another user namespace, with every capability there. Linux: `set_cred_user_ns`.
    pub fn in_user_ns(&self, user_ns: Arc<UserNamespace>) -> Cred {
        Cred {
            cap_inheritable: CapSet::empty(),
            cap_permitted: CapSet::all(),
            cap_effective: CapSet::all(),
            cap_bset: CapSet::all(),
            cap_ambient: CapSet::empty(),
            securebits: SecureBits::empty(),
            user_ns,
            ..self.clone()
        }
    }
}
