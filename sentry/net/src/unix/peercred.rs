//! Linux: net/core/sock.c and net/unix/af_unix.c, `init_peercred` and `copy_peercred`.

use super::UnixSock;
use crate::sockopt::{NO_PEER, clip};
use crate::{GetOptError, ScmCreds};
use fs_vfs::TaskContext;
use sentry_auth::GroupInfo;
use sentry_uapi::errno::{ENODATA, ERANGE};
use sentry_uapi::socket::{SO_PEERCRED, SO_PEERGROUPS};
use zerocopy::IntoBytes;

/// Who made the other end, or listened there, at that time.
#[derive(Clone)]
pub(super) struct PeerCred {
    pub(super) creds: ScmCreds,
    groups: GroupInfo,
}

impl PeerCred {
    pub(super) fn current(ctx: &dyn TaskContext) -> PeerCred {
        let cred = ctx.cred();
        // Effective ids, unlike SCM_CREDENTIALS. Linux: `cred_to_ucred`.
        let creds = ScmCreds { pid: ctx.ids().0, uid: cred.euid, gid: cred.egid };
        PeerCred { creds, groups: cred.groups.clone() }
    }
}

impl UnixSock {
    /// The credentials of the peer in kernel ids; nobody's without one.
    pub(crate) fn peercred(&self) -> Option<ScmCreds> {
        self.state.lock().peer_cred.as_ref().map(|p| p.creds)
    }

    /// SO_PEERCRED and SO_PEERGROUPS, in the caller's user namespace. The pid is the global one: a caller in another pid
    /// namespace translates it.
    pub(super) fn peercred_option(
        &self,
        ctx: &dyn TaskContext,
        name: i32,
        len: usize,
    ) -> Result<Vec<u8>, GetOptError> {
        let ns = &ctx.cred().user_ns;
        let peer = self.state.lock().peer_cred.clone();
        match name {
            SO_PEERCRED => Ok(clip(&peer.map_or(NO_PEER, |p| p.creds.to_user(ns, p.creds.pid)), len)),
            SO_PEERGROUPS => {
                let peer = peer.ok_or(ENODATA)?;
                let gids: Vec<u32> = peer.groups.as_slice().iter().map(|g| ns.from_kgid_munged(*g)).collect();
                let bytes = gids.as_bytes();
                if len < bytes.len() {
                    return Err(GetOptError { errno: ERANGE, len: Some(bytes.len()) });
                }
                Ok(bytes.to_vec())
            }
            // SO_PEERPIDFD makes a descriptor, which is the caller's: see `Socket::peercred`.
            _ => Err(ENODATA.into()),
        }
    }
}
