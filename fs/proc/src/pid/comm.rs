//! `/proc/[pid]/comm`. Linux: fs/proc/base.c, `comm_show`, `comm_write`.

use crate::pid::entry::View;
use crate::procfs::current;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ESRCH};
use std::sync::Arc;

pub(crate) fn show(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    // A name may hold any byte but zero; newline and backslash are escaped everywhere.
    crate::seq::escape(out, &view.who.comm(), b"\n\\");
    out.push(b'\n');
    Ok(())
}

/// A thread's name may be set by the threads of its process.
pub(crate) fn store(view: &View<'_>, bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    let own = current(view.ctx).is_some_and(|c| Arc::ptr_eq(&c.group, &view.who.group));
    let task = view.who.task().ok_or(ESRCH)?;
    if !own {
        return Err(EINVAL);
    }
    task.set_comm(bytes);
    Ok(())
}
