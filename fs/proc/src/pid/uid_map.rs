//! `/proc/[pid]/uid_map`. Linux: kernel/user_namespace.c, `uid_m_show`.

use crate::pid::entry::View;
use crate::seq::put;
use sentry_auth::{Cred, IdMap, UserNamespace};
use sentry_uapi::Errno;
use sentry_uapi::errno::EPERM;

/// An id of the first namespace as a reader's namespace has it; the invalid one where it has none.
fn shown(id: Option<u32>) -> u32 {
    id.unwrap_or(u32::MAX)
}

/// The namespace a map's lower ids are shown in: the reader's, but its parent where the map is the reader's own.
pub(crate) fn lower_ns<'a>(ns: &'a UserNamespace, reader: &'a Cred) -> &'a UserNamespace {
    let own = std::ptr::eq(ns, &*reader.user_ns);
    match ns.parent() {
        Some(parent) if own => parent,
        _ => &reader.user_ns,
    }
}

/// The lines of a map. Linux: `m_start`, `uid_m_show`.
pub(crate) fn show_map(map: &IdMap, lower: impl Fn(u32) -> Option<u32>, out: &mut Vec<u8>) {
    for extent in map.extents() {
        put(
            out,
            format_args!(
                "{:>10} {:>10} {:>10}\n",
                extent.first,
                shown(lower(extent.lower_first)),
                extent.count
            ),
        );
    }
}

pub(crate) fn show(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let ns = view.who.cred().user_ns.clone();
    let lower = lower_ns(&ns, view.file.cred());
    show_map(&ns.uid_map(), |id| lower.from_kuid(sentry_auth::Kuid::from_global(id)), out);
    Ok(())
}

/// A map cannot be written.
pub(crate) fn store(_view: &View<'_>, _bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    Err(EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_auth::IdMapExtent;

    #[test]
    fn lines_are_those_of_the_native_kernel() {
        let native = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let numbers = |l: &str| -> Vec<u32> { l.split_whitespace().filter_map(|w| w.parse().ok()).collect() };
        let extents = native.lines().map(numbers);
        let extents = extents.map(|n| IdMapExtent { first: n[0], lower_first: n[1], count: n[2] }).collect();
        let mut out = Vec::new();
        show_map(&IdMap::from_extents(extents), Some, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), native);
    }
}
