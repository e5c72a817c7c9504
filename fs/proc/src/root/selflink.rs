//! `/proc/{self,thread-self}`. Linux: fs/proc/self.c, fs/proc/thread_self.c.

use crate::procfs::{Instance, current};
use fs_kernfs::Node;
use fs_kernfs::simple::link;
use fs_vfs::LinkTarget;
use sentry_uapi::errno::ENOENT;
use std::sync::Arc;

/// The caller's process; `ENOENT` where the instance's namespace does not see it.
pub(crate) fn of_process(fs: &Arc<Instance>) -> Node {
    let fs = fs.clone();
    link(move |ctx| {
        let nr = current(ctx).map_or(0, |c| c.group.pid.nr_in(&fs.pid_ns));
        if nr == 0 { Err(ENOENT) } else { Ok(LinkTarget::Path(nr.to_string().into_bytes())) }
    })
}

/// The caller.
pub(crate) fn of_thread(fs: &Arc<Instance>) -> Node {
    let fs = fs.clone();
    link(move |ctx| {
        let task = current(ctx).ok_or(ENOENT)?;
        let (pid, tid) = (task.group.pid.nr_in(&fs.pid_ns), task.pid().nr_in(&fs.pid_ns));
        if tid == 0 { Err(ENOENT) } else { Ok(LinkTarget::Path(format!("{pid}/task/{tid}").into_bytes())) }
    })
}
