//! Who a container's processes are: its user namespace, and the credentials of its first process. runc:
//! libcontainer/rootfs_linux.go, init_linux.go.

use crate::container::{Capabilities, ContainerSpec, IdMapping, Process};
use anyhow::{Result, anyhow, bail};
use sentry_auth::{Cred, GroupInfo, IdKind, UserNamespace};
use sentry_kernel::Kernel;
use std::sync::Arc;

/// The identities of a container.
#[derive(Clone)]
pub(super) struct Identity {
    /// Its user namespace: one of its own, or the kernel's first.
    pub(super) user_ns: Arc<UserNamespace>,
    /// Makes its files and mounts: with every capability in the kernel, and the container's root for an owner.
    pub(super) maker: Cred,
    /// Root within, with every capability there.
    pub(super) root: Cred,
    /// Its first process.
    pub(super) process: Cred,
}

impl Identity {
    /// Makes the user namespace that the specification asks for.
    ///
    /// # Errors
    /// When its maps contradict themselves, or do not have the ids of the process.
    pub(super) fn new(kernel: &Kernel, spec: &ContainerSpec) -> Result<Identity> {
        let first = Cred::root(kernel.user_ns.clone());
        let root = match &spec.user_namespace {
            None => first.clone(),
            Some(wanted) => {
                let ns = UserNamespace::create_user_ns(&first, false)
                    .map_err(|e| anyhow!("cannot make a user namespace: {}", e.message()))?;
                map(&ns, IdKind::Uid, &wanted.uid_mappings, &first, "linux.uidMappings")?;
                if wanted.setgroups_denied {
                    ns.set_setgroups(false).map_err(|e| anyhow!("setgroups: {}", e.message()))?;
                }
                map(&ns, IdKind::Gid, &wanted.gid_mappings, &first, "linux.gidMappings")?;
                let (uid, gid) = (ns.make_kuid(0), ns.make_kgid(0));
                let mut root = first.in_user_ns(ns);
                if uid.is_valid() {
                    (root.uid, root.euid, root.suid, root.fsuid) = (uid, uid, uid, uid);
                }
                if gid.is_valid() {
                    (root.gid, root.egid, root.sgid, root.fsgid) = (gid, gid, gid, gid);
                }
                root
            }
        };
        let user_ns = root.user_ns.clone();
        let process = process_cred(&user_ns, &spec.process)?;
        Ok(Identity { maker: Cred { fsuid: root.fsuid, fsgid: root.fsgid, ..first }, user_ns, root, process })
    }

    /// Whether the container has a user namespace of its own.
    pub(super) fn is_mapped(&self) -> bool {
        self.user_ns.level() > 0
    }
}

fn map(
    ns: &Arc<UserNamespace>,
    kind: IdKind,
    mappings: &[IdMapping],
    writer: &Cred,
    place: &str,
) -> Result<()> {
    let line = |m: &IdMapping| format!("{} {} {}\n", m.container_id, m.host_id, m.size);
    let text: String = mappings.iter().map(line).collect();
    ns.map_write(kind, text.as_bytes(), writer, writer)
        .map_err(|e| anyhow!("{place}: expected ranges that do not overlap, {}", e.message().to_lowercase()))
}

fn process_cred(ns: &Arc<UserNamespace>, process: &Process) -> Result<Cred> {
    let user = &process.user;
    let (uid, gid) = (ns.make_kuid(user.uid), ns.make_kgid(user.gid));
    if !uid.is_valid() {
        bail!("process.user.uid: expected an id of linux.uidMappings, found {}", user.uid);
    }
    if !gid.is_valid() {
        bail!("process.user.gid: expected an id of linux.gidMappings, found {}", user.gid);
    }
    let groups = GroupInfo::from_user(ns, &user.additional_gids).map_err(|_| {
        anyhow!(
            "process.user.additionalGids: expected ids of linux.gidMappings, found {:?}",
            user.additional_gids
        )
    })?;
    let mut cred = Cred::user(ns.clone(), uid, gid, groups);
    let Capabilities { bounding, effective, inheritable, permitted, ambient } = process.capabilities;
    cred.cap_bset = bounding;
    cred.cap_effective = effective & permitted;
    cred.cap_inheritable = inheritable;
    cred.cap_permitted = permitted;
    // The rule of PR_CAP_AMBIENT_RAISE.
    cred.cap_ambient = ambient & permitted & inheritable;
    Ok(cred)
}
