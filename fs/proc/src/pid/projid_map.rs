//! `/proc/[pid]/projid_map`. Linux: kernel/user_namespace.c.

use crate::pid::ProcTask;
use crate::pid::id_map::{self, MapFile};
use fs_kernfs::Node;
use sentry_auth::{IdKind, UserNamespace};

static PROJID_MAP: MapFile = MapFile {
    kind: IdKind::Projid,
    map: UserNamespace::projid_map,
    from_kernel: |ns, id| ns.projid_map().map_up(id),
};

pub(crate) fn node(at: &ProcTask) -> Node {
    id_map::node(at, &PROJID_MAP)
}
