//! `/proc/[pid]/gid_map`. Linux: kernel/user_namespace.c, `gid_m_show`.

use crate::pid::entry::View;
use crate::pid::uid_map::{lower_ns, show_map};
use sentry_auth::Kgid;
use sentry_uapi::Errno;
use sentry_uapi::errno::EPERM;

pub(crate) fn show(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let ns = view.who.cred().user_ns.clone();
    let lower = lower_ns(&ns, view.file.cred());
    show_map(&ns.gid_map(), |id| lower.from_kgid(Kgid::from_global(id)), out);
    Ok(())
}

/// A map cannot be written.
pub(crate) fn store(_view: &View<'_>, _bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    Err(EPERM)
}
