//! `/proc/sys/user`. Linux: kernel/ucount.c, `user_table`.

use super::ctl::{dir, uint};
use fs_kernfs::Node;

/// Namespaces of a kind a user may have. Linux sets it to half of `threads-max`.
const MAX_NAMESPACES: i128 = 7500;

pub(super) fn tree() -> Node {
    let max = || uint(0o644, MAX_NAMESPACES);
    dir([
        ("max_cgroup_namespaces", max()),
        ("max_inotify_instances", uint(0o644, 128)),
        ("max_inotify_watches", uint(0o644, 65536)),
        ("max_ipc_namespaces", max()),
        ("max_mnt_namespaces", max()),
        ("max_net_namespaces", max()),
        ("max_pid_namespaces", max()),
        ("max_time_namespaces", max()),
        ("max_user_namespaces", max()),
        ("max_uts_namespaces", max()),
    ])
}
