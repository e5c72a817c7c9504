//! `/proc/[pid]/setgroups`. Linux: kernel/user_namespace.c, `proc_setgroups_show`.

use crate::pid::entry::View;
use sentry_uapi::Errno;
use sentry_uapi::errno::EPERM;

pub(crate) fn show(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let allowed = view.who.cred().user_ns.setgroups_allowed();
    out.extend_from_slice(if allowed { b"allow\n" } else { b"deny\n" });
    Ok(())
}

/// It cannot be written.
pub(crate) fn store(_view: &View<'_>, _bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    Err(EPERM)
}
