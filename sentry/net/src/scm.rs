//! Linux: net/core/scm.c: control messages as values. Descriptors, the reader's user namespace and its pid namespace are
//! the caller's business: files, kernel ids and global pids cross here.

use fs_vfs::{File, TaskContext};
use sentry_auth::{CapSet, Cred, Kgid, Kuid, UserNamespace, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM};
use sentry_uapi::socket::Ucred;
use std::sync::Arc;

/// Who sent something, in kernel ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScmCreds {
    /// Process id in the first pid namespace; 0 for none.
    pub pid: u32,
    /// User id; invalid for none.
    pub uid: Kuid,
    /// Group id.
    pub gid: Kgid,
}

impl ScmCreds {
    /// Those of the caller, as they are attached for SO_PASSCRED: real ids. Linux: `maybe_add_creds`.
    pub fn current(ctx: &dyn TaskContext) -> ScmCreds {
        let cred = ctx.cred();
        ScmCreds { pid: ctx.ids().0, uid: cred.uid, gid: cred.gid }
    }

    /// Nobody's.
    pub const NONE: ScmCreds = ScmCreds { pid: 0, uid: Kuid::INVALID, gid: Kgid::INVALID };

    /// Those an SCM_CREDENTIALS message names. `pid` is the message's pid, translated to the first pid namespace.
    ///
    /// # Errors
    /// `EINVAL` if an id has no mapping. Whether the caller may claim them is checked when they are sent.
    pub fn from_user(user_ns: &UserNamespace, ucred: Ucred, pid: u32) -> Result<ScmCreds, Errno> {
        let (uid, gid) = (user_ns.make_kuid(ucred.uid), user_ns.make_kgid(ucred.gid));
        if uid.is_valid() && gid.is_valid() { Ok(ScmCreds { pid, uid, gid }) } else { Err(EINVAL) }
    }

    /// As a reader of `user_ns` sees them. `pid` is the pid, translated to the reader's pid namespace (0 if it is not
    /// in there).
    pub fn to_user(self, user_ns: &UserNamespace, pid: u32) -> Ucred {
        Ucred { pid, uid: user_ns.from_kuid_munged(self.uid), gid: user_ns.from_kgid_munged(self.gid) }
    }

    /// Whether the caller may claim to be these. Linux: `scm_check_creds`.
    pub(crate) fn check(self, ctx: &dyn TaskContext) -> Result<(), Errno> {
        let cred: &Cred = &ctx.cred();
        let pid = self.pid == ctx.ids().0 || ns_capable(cred, &ctx.pid_user_ns(), CapSet::SYS_ADMIN);
        let uid = [cred.uid, cred.euid, cred.suid].contains(&self.uid) || cred.capable(CapSet::SETUID);
        let gid = [cred.gid, cred.egid, cred.sgid].contains(&self.gid) || cred.capable(CapSet::SETGID);
        if pid && uid && gid { Ok(()) } else { Err(EPERM) }
    }
}

/// A control message to send.
pub enum SendControl {
    /// SCM_RIGHTS. At most `SCM_MAX_FD` files in a call; the caller has checked.
    Rights(Vec<Arc<File>>),
    /// SCM_CREDENTIALS.
    Credentials(ScmCreds),
    /// Of another level than SOL_SOCKET, or of a type of it that the family may know.
    Other {
        /// `cmsg_level`.
        level: i32,
        /// `cmsg_type`.
        ty: i32,
        /// The bytes behind the header.
        data: Vec<u8>,
    },
}

/// A control message received.
pub enum ControlMsg {
    /// SCM_RIGHTS: files to make descriptors for. Dropping them is fine (MSG_CTRUNC).
    Rights(Vec<Arc<File>>),
    /// SCM_CREDENTIALS.
    Credentials(ScmCreds),
    /// SCM_PIDFD: a pidfd for the process with this global pid.
    Pidfd(u32),
    /// Anything else, as bytes.
    Other {
        /// `cmsg_level`.
        level: i32,
        /// `cmsg_type`.
        ty: i32,
        /// The bytes behind the header.
        data: Vec<u8>,
    },
}
