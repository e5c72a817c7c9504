//! Linux: kernel/ptrace.c, `__ptrace_may_access`.

use crate::{CurrentTask, Task};
use sentry_auth::{CapSet, Cred, UserNamespace, ns_capable};
use sentry_mm::dumpable;
use std::sync::Arc;

/// Whether the caller may look into (or, the rule being the same here, attach to) another task. `real` checks with the
/// real ids rather than the filesystem's, as system calls do and `/proc` does not.
pub fn ptrace_may_access(caller: &CurrentTask, target: &Arc<Task>, real: bool) -> bool {
    Arc::ptr_eq(&caller.group, &target.group) || cred_may_access(&caller.task().cred(), target, real)
}

/// As [`ptrace_may_access`], for somebody of another process of whom only the credentials are known.
pub fn cred_may_access(cred: &Cred, target: &Task, real: bool) -> bool {
    let other = target.cred();
    let (uid, gid) = if real { (cred.uid, cred.gid) } else { (cred.fsuid, cred.fsgid) };
    let same =
        [other.euid, other.suid, other.uid] == [uid; 3] && [other.egid, other.sgid, other.gid] == [gid; 3];
    let traces = |ns: &Arc<UserNamespace>| ns_capable(cred, ns, CapSet::SYS_PTRACE);
    if !same && !traces(&other.user_ns) {
        return false;
    }
    let open = target
        .mm()
        .map_or(true, |mm| mm.dumpable() == dumpable::USER || mm.user_ns().is_some_and(|ns| traces(&ns)));
    if !open {
        return false;
    }
    // No looking into somebody with more capabilities. Linux: `cap_ptrace_access_check`.
    let own = if real { cred.cap_permitted } else { cred.cap_effective };
    (Arc::ptr_eq(&cred.user_ns, &other.user_ns) && own.contains(other.cap_permitted))
        || traces(&other.user_ns)
}
