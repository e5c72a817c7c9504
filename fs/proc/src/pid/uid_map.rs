//! `/proc/[pid]/uid_map`. Linux: kernel/user_namespace.c.

use crate::pid::ProcTask;
use crate::pid::id_map::{self, MapFile};
use fs_kernfs::Node;
use sentry_auth::{IdKind, Kuid, UserNamespace};

static UID_MAP: MapFile = MapFile {
    kind: IdKind::Uid,
    map: UserNamespace::uid_map,
    from_kernel: |ns, id| ns.from_kuid(Kuid::from_global(id)),
};

pub(crate) fn node(at: &ProcTask) -> Node {
    id_map::node(at, &UID_MAP)
}
