//! Linux: include/linux/cred.h. Credentials are immutable and swapped whole.

use crate::keys::Keyrings;
use crate::{CapSet, GroupInfo, Kgid, Kuid, UserNamespace};
use bitflags::bitflags;
use std::sync::Arc;

bitflags! {
    /// `prctl(PR_SET_SECUREBITS)`. Linux: include/uapi/linux/securebits.h.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SecureBits: u32 {
        /// User id 0 gets no capabilities on exec.
        const NOROOT = 1 << 0;
        /// The above cannot be changed any more.
        const NOROOT_LOCKED = 1 << 1;
        /// Changes between uid 0 and others leave the capability sets alone.
        const NO_SETUID_FIXUP = 1 << 2;
        /// The above cannot be changed any more.
        const NO_SETUID_FIXUP_LOCKED = 1 << 3;
        /// Permitted capabilities survive giving up uid 0, until the next exec.
        const KEEP_CAPS = 1 << 4;
        /// The above cannot be changed any more.
        const KEEP_CAPS_LOCKED = 1 << 5;
        /// Ambient capabilities cannot be raised.
        const NO_CAP_AMBIENT_RAISE = 1 << 6;
        /// The above cannot be changed any more.
        const NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7;
    }
}

/// What a task may do, and as whom. To change one, clone it, change the clone, and commit that.
#[derive(Clone, Debug)]
pub struct Cred {
    /// Real user id.
    pub uid: Kuid,
    /// Effective user id.
    pub euid: Kuid,
    /// Saved user id.
    pub suid: Kuid,
    /// Filesystem user id.
    pub fsuid: Kuid,
    /// Real group id.
    pub gid: Kgid,
    /// Effective group id.
    pub egid: Kgid,
    /// Saved group id.
    pub sgid: Kgid,
    /// Filesystem group id.
    pub fsgid: Kgid,
    /// Supplementary groups.
    pub groups: GroupInfo,
    /// Capabilities kept across exec of a file that has them inheritable.
    pub cap_inheritable: CapSet,
    /// Capabilities the task may make effective.
    pub cap_permitted: CapSet,
    /// Capabilities in force.
    pub cap_effective: CapSet,
    /// Limit on what exec may grant.
    pub cap_bset: CapSet,
    /// Capabilities kept across exec of an ordinary file.
    pub cap_ambient: CapSet,
    /// `prctl(PR_SET_SECUREBITS)`.
    pub securebits: SecureBits,
    /// Keyrings of its own.
    pub keyrings: Keyrings,
    /// The namespace the ids and capabilities belong to.
    pub user_ns: Arc<UserNamespace>,
}

impl Cred {
    /// Root of the first namespace with every capability.
    pub fn root(user_ns: Arc<UserNamespace>) -> Cred {
        let all = CapSet::all();
        Cred {
            cap_permitted: all,
            cap_effective: all,
            cap_bset: all,
            ..Cred::user(user_ns, Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT, GroupInfo::default())
        }
    }

    /// An ordinary user without capabilities, whose bounding set is full.
    pub fn user(user_ns: Arc<UserNamespace>, uid: Kuid, gid: Kgid, groups: GroupInfo) -> Cred {
        Cred {
            uid,
            euid: uid,
            suid: uid,
            fsuid: uid,
            gid,
            egid: gid,
            sgid: gid,
            fsgid: gid,
            groups,
            cap_inheritable: CapSet::empty(),
            cap_permitted: CapSet::empty(),
            cap_effective: CapSet::empty(),
            cap_bset: CapSet::all(),
            cap_ambient: CapSet::empty(),
            securebits: SecureBits::empty(),
            keyrings: Keyrings::default(),
            user_ns,
        }
    }

    /// Whether `gid` is the filesystem group or a supplementary one. Linux: `in_group_p`.
    pub fn in_group_p(&self, gid: Kgid) -> bool {
        self.fsgid == gid || self.groups.contains(gid)
    }

    /// Whether `gid` is the effective group or a supplementary one. Linux: `in_egroup_p`.
    pub fn in_egroup_p(&self, gid: Kgid) -> bool {
        self.egid == gid || self.groups.contains(gid)
    }

    /// The capabilities in force in the task's own namespace.
    pub fn capable(&self, cap: CapSet) -> bool {
        self.cap_effective.contains(cap)
    }
}
