//! Linux: kernel/groups.c.

use crate::{Kgid, UserNamespace};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::sync::Arc;

/// Most supplementary groups a task may have (Linux: `NGROUPS_MAX`).
pub const NGROUPS_MAX: usize = 65536;

/// A task's supplementary groups, sorted. Duplicates stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupInfo {
    gids: Arc<[Kgid]>,
}

impl GroupInfo {
    /// The groups with these ids of `ns`.
    ///
    /// # Errors
    /// `EINVAL` if one of them has no mapping, or there are more than [`NGROUPS_MAX`].
    pub fn from_user(ns: &UserNamespace, gids: &[u32]) -> Result<GroupInfo, Errno> {
        if gids.len() > NGROUPS_MAX {
            return Err(EINVAL);
        }
        let kgids: Vec<Kgid> = gids.iter().map(|g| ns.make_kgid(*g)).collect();
        if kgids.iter().any(|g| !g.is_valid()) {
            return Err(EINVAL);
        }
        Ok(GroupInfo::from_kgids(kgids))
    }

    /// The groups with these kernel ids.
    pub fn from_kgids(mut gids: Vec<Kgid>) -> GroupInfo {
        gids.sort_unstable();
        GroupInfo { gids: gids.into() }
    }

    /// Whether `gid` is one of them (Linux: `groups_search`).
    pub fn contains(&self, gid: Kgid) -> bool {
        self.gids.binary_search(&gid).is_ok()
    }

    /// The groups, ascending.
    pub fn as_slice(&self) -> &[Kgid] {
        &self.gids
    }
}
