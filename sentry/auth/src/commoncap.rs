//! Linux: security/commoncap.c and kernel/capability.c.

use crate::{CapSet, Cred, Kgid, Kuid, UserNamespace};
use std::sync::Arc;

/// Whether `cred` has `cap` in `target`. Linux: `cap_capable`.
///
/// In its own namespace a task has what its effective set holds; in a descendant of it, everything, if the task's
/// effective user made the namespace through which the descent begins.
pub fn ns_capable(cred: &Cred, target: &Arc<UserNamespace>, cap: CapSet) -> bool {
    let mut ns = target;
    loop {
        if Arc::ptr_eq(ns, &cred.user_ns) {
            return cred.cap_effective.contains(cap);
        }
        if ns.level() <= cred.user_ns.level() {
            return false;
        }
        let Some(parent) = ns.parent() else { return false };
        if Arc::ptr_eq(parent, &cred.user_ns) && ns.owner() == cred.euid {
            return true;
        }
        ns = parent;
    }
}

/// Whether `subset` can do nothing that `set` cannot: its capabilities are among those of `set`, or it is in a namespace
/// that the user of `set` made, or in one below that. Linux: kernel/cred.c, `cred_cap_issubset`.
pub fn cred_cap_issubset(set: &Cred, subset: &Cred) -> bool {
    if Arc::ptr_eq(&set.user_ns, &subset.user_ns) {
        return set.cap_permitted.contains(subset.cap_permitted);
    }
    let mut ns = &subset.user_ns;
    while let Some(parent) = ns.parent() {
        if Arc::ptr_eq(parent, &set.user_ns) && ns.owner() == set.euid {
            return true;
        }
        ns = parent;
    }
    false
}

/// Whether `cred` has `cap` over an inode owned by `uid` and `gid`: both must be mapped in the task's namespace.
/// Linux: `capable_wrt_inode_uidgid`.
pub fn capable_wrt_inode_uidgid(cred: &Cred, uid: Kuid, gid: Kgid, cap: CapSet) -> bool {
    cred.cap_effective.contains(cap)
        && cred.user_ns.from_kuid(uid).is_some()
        && cred.user_ns.from_kgid(gid).is_some()
}

/// Whether `cred` owns an inode of `uid`, or may act as its owner. Linux: fs/inode.c, `inode_owner_or_capable`.
pub fn inode_owner_or_capable(cred: &Cred, uid: Kuid) -> bool {
    cred.fsuid == uid
        || (cred.user_ns.from_kuid(uid).is_some() && cred.cap_effective.contains(CapSet::FOWNER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupInfo;

    #[test]
    fn the_maker_of_a_namespace_has_all_capabilities_in_it_and_below() {
        let init = UserNamespace::new_initial();
        let maker =
            Cred::user(init.clone(), Kuid::from_global(1000), Kgid::from_global(1000), GroupInfo::default());
        let other =
            Cred::user(init.clone(), Kuid::from_global(1001), Kgid::from_global(1001), GroupInfo::default());
        let Ok(child) = UserNamespace::create_user_ns(&maker, false) else {
            unreachable!("the ids are mapped")
        };
        assert!(ns_capable(&maker, &child, CapSet::SYS_ADMIN));
        assert!(!ns_capable(&other, &child, CapSet::SYS_ADMIN));
        assert!(!ns_capable(&maker, &init, CapSet::SYS_ADMIN));
        let inside = Cred { cap_effective: CapSet::all(), user_ns: child.clone(), ..maker };
        assert!(ns_capable(&inside, &child, CapSet::SYS_ADMIN));
        assert!(!ns_capable(&inside, &init, CapSet::SYS_ADMIN));
    }
}
