//! Linux: kernel/ptrace.c, `__ptrace_may_access`.

use crate::{CurrentTask, Task};
use sentry_auth::{CapSet, Cred, ns_capable};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Whether the caller may look into (or, the rule being the same here, attach to) another task. `real` checks with the
/// real ids rather than the filesystem's, as system calls do and `/proc` does not.
pub fn ptrace_may_access(caller: &CurrentTask, target: &Arc<Task>, real: bool) -> bool {
    Arc::ptr_eq(&caller.group, &target.group) || cred_may_access(&caller.task().cred(), target, real)
}

/// As [`ptrace_may_access`], for somebody of another process of whom only the credentials are known.
pub fn cred_may_access(cred: &Cred, target: &Task, real: bool) -> bool {
    let other = target.cred();
    let (uid, gid) = if real { (cred.uid, cred.gid) } else { (cred.fsuid, cred.fsgid) };
    let same = uid == other.euid
        && uid == other.suid
        && uid == other.uid
        && gid == other.egid
        && gid == other.sgid
        && gid == other.gid;
    let capable = ns_capable(cred, &other.user_ns, CapSet::SYS_PTRACE);
    if !same && !capable {
        return false;
    }
    if target.dumpable.load(Ordering::Relaxed) != 1 && !capable {
        return false;
    }
    // Commoncap: no looking into somebody with more capabilities.
    capable
        || (Arc::ptr_eq(&cred.user_ns, &other.user_ns) && cred.cap_permitted.contains(other.cap_permitted))
}
