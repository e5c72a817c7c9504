//! `/proc/sys/user`: the limits of the user namespace whose task opens the file. Linux: kernel/ucount.c.

use super::ctl::{dir, parse_numbers, uint};
use crate::seq::put;
use fs_kernfs::{Node, NodeAttr, NodeOps, SeqNode};
use fs_vfs::{Access, Attr, File, FileType, TaskContext};
use sentry_auth::{CapSet, Cred, UcountType};
use sentry_mm::IoSrc;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL};
use std::any::Any;

/// Most bytes one write may have.
const STORE_MAX: usize = 4096;

struct UcountMax {
    kind: UcountType,
}

impl NodeOps for UcountMax {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(NodeAttr::root(0o644))
    }

    /// Whoever may raise limits in the namespace may write; the rest reads. Linux: `set_permissions`.
    fn permission(
        &self,
        _attr: &Attr,
        _file_type: FileType,
        cred: &Cred,
        access: Access,
    ) -> Result<(), Errno> {
        let refused = access.contains(Access::EXEC)
            || (access.contains(Access::WRITE) && !cred.capable(CapSet::SYS_RESOURCE));
        if refused { Err(EACCES) } else { Ok(()) }
    }
}

impl SeqNode for UcountMax {
    fn show(&self, file: &File, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        put(out, format_args!("{}\n", file.cred().user_ns.ucount_max(self.kind)));
        Ok(())
    }

    fn write(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        if src.remaining() > STORE_MAX {
            return Err(EINVAL);
        }
        let bytes = src.read_vec(STORE_MAX)?;
        if pos == 0 {
            let value = parse_numbers(&bytes, 1)?.first().copied().ok_or(EINVAL)?;
            let max = i32::try_from(value).ok().filter(|n| *n >= 0).ok_or(EINVAL)?;
            file.cred().user_ns.set_ucount_max(self.kind, max);
        }
        Ok(bytes.len())
    }
}

pub(super) fn tree() -> Node {
    let max = |kind| Node::seq(UcountMax { kind });
    dir([
        ("max_cgroup_namespaces", max(UcountType::CgroupNamespaces)),
        ("max_inotify_instances", uint(0o644, 128)),
        ("max_inotify_watches", uint(0o644, 65536)),
        ("max_ipc_namespaces", max(UcountType::IpcNamespaces)),
        ("max_mnt_namespaces", max(UcountType::MntNamespaces)),
        ("max_net_namespaces", max(UcountType::NetNamespaces)),
        ("max_pid_namespaces", max(UcountType::PidNamespaces)),
        ("max_time_namespaces", max(UcountType::TimeNamespaces)),
        ("max_user_namespaces", max(UcountType::UserNamespaces)),
        ("max_uts_namespaces", max(UcountType::UtsNamespaces)),
    ])
}
