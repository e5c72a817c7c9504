//! `/proc/[pid]/gid_map`. Linux: kernel/user_namespace.c.

use crate::pid::ProcTask;
use crate::pid::id_map::{self, MapFile};
use fs_kernfs::Node;
use sentry_auth::{IdKind, Kgid, UserNamespace};

static GID_MAP: MapFile = MapFile {
    kind: IdKind::Gid,
    map: UserNamespace::gid_map,
    from_kernel: |ns, id| ns.from_kgid(Kgid::from_global(id)),
};

pub(crate) fn node(at: &ProcTask) -> Node {
    id_map::node(at, &GID_MAP)
}
