//! `/proc/[pid]/projid_map`. Linux: kernel/user_namespace.c, `projid_m_show`. Project ids exist in the first namespace only.

use crate::pid::entry::View;
use crate::pid::uid_map::show_map;
use sentry_auth::IdMap;
use sentry_uapi::Errno;
use sentry_uapi::errno::EPERM;

pub(crate) fn show(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    if view.who.cred().user_ns.parent().is_none() {
        show_map(&IdMap::identity(), Some, out);
    }
    Ok(())
}

/// A map cannot be written.
pub(crate) fn store(_view: &View<'_>, _bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    Err(EPERM)
}
