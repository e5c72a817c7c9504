//! `/proc/[pid]/task/[tid]/children`. Linux: fs/proc/array.c, `children_seq_show`.

use crate::pid::entry::View;
use crate::seq::put;
use sentry_uapi::Errno;

/// Ids of the children this thread has made, each with a blank behind it.
pub(crate) fn children(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let tid = view.who.pid.global();
    let pids: Vec<_> = {
        let tree = view.who.kernel.tree.lock();
        let children = tree.processes.get(&view.who.group.id()).map(|p| p.children.as_slice());
        let processes = children.unwrap_or_default().iter().filter_map(|id| tree.processes.get(id));
        processes.filter(|p| p.parent_thread == tid).map(|p| p.group.pid.clone()).collect()
    };
    for pid in pids {
        put(out, format_args!("{} ", pid.nr_in(view.pid_ns())));
    }
    Ok(())
}
