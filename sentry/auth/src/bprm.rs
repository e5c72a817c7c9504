//! The credentials of a program that is executed. Linux: fs/exec.c, `bprm_fill_uid`; security/commoncap.c,
//! `cap_bprm_creds_from_file`.

use crate::vfs_caps::VfsCaps;
use crate::{CapSet, Cred, Kgid, Kuid, SecureBits, ns_capable};
use bitflags::bitflags;
use sentry_uapi::Errno;
use sentry_uapi::errno::EPERM;

bitflags! {
    /// Why a program must not gain privileges. Linux: include/linux/security.h, `LSM_UNSAFE_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct BprmUnsafe: u32 {
        /// Another process shares root and working directory with it.
        const SHARE = 1;
        /// `PR_SET_NO_NEW_PRIVS`.
        const NO_NEW_PRIVS = 4;
    }
}

/// What a file to be executed says about credentials, as far as mount and namespace let it count.
#[derive(Clone, Copy, Debug, Default)]
pub struct BprmFile {
    /// The user it belongs to, if it is a set-user-ID program.
    pub set_uid: Option<Kuid>,
    /// The group it belongs to, if it is a set-group-ID program.
    pub set_gid: Option<Kgid>,
    /// Its capabilities, if it has any attribute of that kind.
    pub caps: Option<VfsCaps>,
}

/// The outcome.
#[derive(Clone, Debug)]
pub struct BprmCreds {
    /// The new program's credentials.
    pub cred: Cred,
    /// It is more privileged than who started it, and must not trust its environment: `AT_SECURE`.
    pub secureexec: bool,
    /// Parts of the personality that would help an attacker are to go. Linux: `PER_CLEAR_ON_SETID`.
    pub per_clear: bool,
}

/// The credentials of a program that a task with `old` executes.
///
/// # Errors
/// `EPERM` for a program that would lack capabilities which its file says it cannot do without.
pub fn bprm_creds_from_file(old: &Cred, file: &BprmFile, unsafe_: BprmUnsafe) -> Result<BprmCreds, Errno> {
    let mut new = old.clone();
    let mut per_clear = file.set_uid.is_some() || file.set_gid.is_some();
    new.euid = file.set_uid.unwrap_or(old.euid);
    new.egid = file.set_gid.unwrap_or(old.egid);

    let mut effective = false;
    new.cap_permitted = CapSet::empty();
    if let Some(caps) = file.caps {
        new.cap_permitted = (old.cap_bset & caps.permitted) | (old.cap_inheritable & caps.inheritable);
        effective = caps.effective;
        // Such a program does not know capabilities, and so not how to do with fewer.
        if effective && !new.cap_permitted.contains(caps.permitted) {
            return Err(EPERM);
        }
    }

    let root = old.user_ns.make_kuid(0);
    handle_privileged_root(old, &mut new, root, file.caps.is_some(), &mut effective);

    let gained = !old.cap_permitted.contains(new.cap_permitted);
    per_clear |= gained;
    let is_setid = new.euid != old.euid || new.egid != old.egid;
    if (is_setid || gained) && !unsafe_.is_empty() {
        // It gets no more than its caller has, and perhaps less.
        if !ns_capable(old, &old.user_ns, CapSet::SETUID) || unsafe_.contains(BprmUnsafe::NO_NEW_PRIVS) {
            new.euid = new.uid;
            new.egid = new.gid;
        }
        new.cap_permitted &= old.cap_permitted;
    }
    (new.suid, new.fsuid) = (new.euid, new.euid);
    (new.sgid, new.fsgid) = (new.egid, new.egid);

    if file.caps.is_some() || is_setid {
        new.cap_ambient = CapSet::empty();
    }
    new.cap_permitted |= new.cap_ambient;
    new.cap_effective = if effective { new.cap_permitted } else { new.cap_ambient };
    new.securebits -= SecureBits::KEEP_CAPS;
    new.keyrings = old.keyrings.for_exec();

    let grew = !new.cap_ambient.contains(new.cap_permitted);
    let secureexec = is_setid || (new.uid != root && (effective || grew));
    Ok(BprmCreds { cred: new, secureexec, per_clear })
}

/// What user 0 gets because it is user 0. Linux: `handle_privileged_root`.
fn handle_privileged_root(old: &Cred, new: &mut Cred, root: Kuid, has_caps: bool, effective: &mut bool) {
    if old.securebits.contains(SecureBits::NOROOT) {
        return;
    }
    let (real, eff) = (new.uid == root, new.euid == root);
    // Of a set-user-ID program with file capabilities, those decide.
    if has_caps && eff && !real {
        return;
    }
    if eff || real {
        new.cap_permitted = old.cap_bset | old.cap_inheritable;
    }
    if eff {
        *effective = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GroupInfo, UserNamespace};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn set() -> impl Strategy<Value = CapSet> {
        // Few capabilities, so that sets overlap; and all of them now and then.
        prop_oneof![4 => (0u64..16).prop_map(CapSet::from_bits_truncate), 1 => Just(CapSet::all())]
    }

    fn id() -> impl Strategy<Value = u32> {
        0u32..3
    }

    prop_compose! {
        fn cred()(uid in id(), euid in id(), suid in id(), gid in id(), inheritable in set(), permitted in set(),
                  effective in set(), bset in set(), ambient in set(), bits in 0u32..256) -> Cred {
            let ns: Arc<UserNamespace> = UserNamespace::new_initial();
            let kgid = Kgid::from_global(gid);
            let base = Cred::user(ns, Kuid::from_global(uid), kgid, GroupInfo::default());
            Cred {
                euid: Kuid::from_global(euid),
                suid: Kuid::from_global(suid),
                cap_inheritable: inheritable,
                cap_permitted: permitted,
                cap_effective: effective & permitted,
                cap_bset: bset,
                cap_ambient: ambient & permitted & inheritable,
                securebits: SecureBits::from_bits_truncate(bits),
                ..base
            }
        }
    }

    prop_compose! {
        fn file()(set_uid in prop::option::of(id()), set_gid in prop::option::of(id()),
                  caps in prop::option::of((set(), set(), any::<bool>()))) -> BprmFile {
            BprmFile {
                set_uid: set_uid.map(Kuid::from_global),
                set_gid: set_gid.map(Kgid::from_global),
                caps: caps.map(|(permitted, inheritable, effective)| VfsCaps { permitted, inheritable, effective }),
            }
        }
    }

    /// The section "Transformation of capabilities during execve()" of capabilities(7), and the one on root, by the letter.
    /// Gives the permitted, effective and ambient sets.
    fn manual(p: &Cred, f: &BprmFile) -> Option<(CapSet, CapSet, CapSet)> {
        let euid = f.set_uid.unwrap_or(p.euid);
        let egid = f.set_gid.unwrap_or(p.egid);
        let (ruid_is_0, euid_is_0) = (p.uid == Kuid::GLOBAL_ROOT, euid == Kuid::GLOBAL_ROOT);
        let from_file = f.caps.unwrap_or_default();
        // Capability-dumb binaries: what was refused is compared before root is considered.
        let safe = (p.cap_inheritable & from_file.inheritable) | (p.cap_bset & from_file.permitted);
        if from_file.effective && !safe.contains(from_file.permitted) {
            return None;
        }
        let (mut f_permitted, mut f_inheritable, mut f_effective) =
            (from_file.permitted, from_file.inheritable, from_file.effective);
        let noroot = p.securebits.contains(SecureBits::NOROOT);
        let set_uid_root_with_caps = f.caps.is_some() && euid_is_0 && !ruid_is_0;
        if !noroot && !set_uid_root_with_caps {
            if ruid_is_0 || euid_is_0 {
                (f_permitted, f_inheritable) = (CapSet::all(), CapSet::all());
            }
            f_effective |= euid_is_0;
        }
        // "Privileged" are files with capabilities, and set-ID ones where that changes an id.
        let privileged = f.caps.is_some() || euid != p.euid || egid != p.egid;
        let ambient = if privileged { CapSet::empty() } else { p.cap_ambient };
        let permitted = (p.cap_inheritable & f_inheritable) | (f_permitted & p.cap_bset) | ambient;
        let effective = if f_effective { permitted } else { ambient };
        Some((permitted, effective, ambient))
    }

    proptest! {
        #[test]
        fn exec_transforms_capabilities_as_the_manual_says(old in cred(), file in file()) {
            let new = bprm_creds_from_file(&old, &file, BprmUnsafe::empty());
            match (manual(&old, &file), new) {
                (None, new) => prop_assert_eq!(new.err(), Some(EPERM)),
                (Some(expected), Ok(BprmCreds { cred, .. })) => {
                    prop_assert_eq!((cred.cap_permitted, cred.cap_effective, cred.cap_ambient), expected);
                    prop_assert_eq!(cred.cap_inheritable, old.cap_inheritable);
                    prop_assert_eq!(cred.cap_bset, old.cap_bset);
                    let keep = SecureBits::KEEP_CAPS;
                    prop_assert_eq!(cred.securebits, old.securebits - keep);
                }
                (Some(_), Err(e)) => prop_assert!(false, "{:?}", e),
            }
        }

        #[test]
        fn no_new_privs_means_none(old in cred(), file in file()) {
            // As fs/exec.c has it, the bits of the mode are not even looked at then.
            let file = BprmFile { set_uid: None, set_gid: None, ..file };
            if let Ok(new) = bprm_creds_from_file(&old, &file, BprmUnsafe::NO_NEW_PRIVS) {
                prop_assert!(old.cap_permitted.contains(new.cred.cap_permitted));
                prop_assert!([old.uid, old.euid].contains(&new.cred.euid));
            }
        }

        #[test]
        fn who_gains_is_told_to_distrust_its_environment(old in cred(), file in file()) {
            if let Ok(new) = bprm_creds_from_file(&old, &file, BprmUnsafe::empty()) {
                let gained = !old.cap_permitted.contains(new.cred.cap_permitted);
                let ids = new.cred.euid != old.euid || new.cred.egid != old.egid;
                if ids || (gained && old.uid != Kuid::GLOBAL_ROOT) {
                    prop_assert!(new.secureexec && new.per_clear);
                }
                let ambient = new.cred.cap_permitted & new.cred.cap_inheritable;
                prop_assert!(ambient.contains(new.cred.cap_ambient));
                prop_assert!(new.cred.cap_permitted.contains(new.cred.cap_effective));
            }
        }

        #[test]
        fn sharing_the_working_directory_gives_nothing_to_who_may_not_set_ids(old in cred(), file in file()) {
            if let Ok(new) = bprm_creds_from_file(&old, &file, BprmUnsafe::SHARE) {
                prop_assert!(old.cap_permitted.contains(new.cred.cap_permitted));
                if !old.cap_effective.contains(CapSet::SETUID) {
                    let ids = new.cred.euid == old.uid || new.cred.euid == old.euid;
                    prop_assert!(ids);
                }
            }
        }
    }
}
