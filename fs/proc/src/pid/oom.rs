//! `/proc/[pid]/{oom_score,oom_adj,oom_score_adj}`. Linux: fs/proc/base.c, `__set_oom_adj`.

use crate::pid::entry::{View, parse_int};
use crate::seq::put;
use sentry_auth::CapSet;
use sentry_mm::PAGE_SIZE;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL};
use std::sync::atomic::Ordering;

/// Linux: include/uapi/linux/oom.h.
const OOM_SCORE_ADJ_MAX: i32 = 1000;
const OOM_DISABLE: i32 = -17;
const OOM_ADJUST_MAX: i32 = 15;
const OOM_ADJUST_MIN: i32 = -16;

/// Linux: mm/oom_kill.c, `oom_badness`, scaled as `proc_oom_score` does.
pub(crate) fn score(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let who = &view.who;
    let pages = |bytes: u64| i64::try_from(bytes / PAGE_SIZE).unwrap_or(i64::MAX);
    let total = pages(crate::root::memory_total(&who.kernel)).max(1);
    let adj = who.group.oom_score_adj.load(Ordering::Relaxed);
    let used = who.mm().map_or(0, |mm| pages(mm.usage().resident));
    let badness = used.saturating_add(i64::from(adj) * total / 1000);
    let points = if adj == -OOM_SCORE_ADJ_MAX || who.mm().is_none() {
        0
    } else {
        (1000 + badness.saturating_mul(1000) / total) * 2 / 3
    };
    put(out, format_args!("{}\n", points.max(0)));
    Ok(())
}

pub(crate) fn show_score_adj(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    put(out, format_args!("{}\n", view.who.group.oom_score_adj.load(Ordering::Relaxed)));
    Ok(())
}

pub(crate) fn show_adj(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let adj = legacy(view.who.group.oom_score_adj.load(Ordering::Relaxed));
    put(out, format_args!("{adj}\n"));
    Ok(())
}

/// Linux: `oom_adj_read`.
fn legacy(score_adj: i32) -> i32 {
    if score_adj == OOM_SCORE_ADJ_MAX {
        return OOM_ADJUST_MAX;
    }
    (score_adj * -OOM_DISABLE / OOM_SCORE_ADJ_MAX).min(OOM_ADJUST_MAX)
}

pub(crate) fn store_score_adj(view: &View<'_>, bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    let adj = i32::try_from(parse_int(bytes)?).map_err(|_| EINVAL)?;
    if !(-OOM_SCORE_ADJ_MAX..=OOM_SCORE_ADJ_MAX).contains(&adj) {
        return Err(EINVAL);
    }
    set_oom_adj(view, adj)
}

pub(crate) fn store_adj(view: &View<'_>, bytes: &[u8], _pos: u64) -> Result<(), Errno> {
    let adj = i32::try_from(parse_int(bytes)?).map_err(|_| EINVAL)?;
    if !(OOM_ADJUST_MIN..=OOM_ADJUST_MAX).contains(&adj) && adj != OOM_DISABLE {
        return Err(EINVAL);
    }
    let scaled =
        if adj == OOM_ADJUST_MAX { OOM_SCORE_ADJ_MAX } else { adj * OOM_SCORE_ADJ_MAX / -OOM_DISABLE };
    set_oom_adj(view, scaled)
}

/// To be less likely to be killed needs a capability. Differs: the least value so far is not kept apart from the present
/// one.
fn set_oom_adj(view: &View<'_>, adj: i32) -> Result<(), Errno> {
    let value = &view.who.group.oom_score_adj;
    let privileged = view.ctx.vfs().capable(&view.ctx.cred(), CapSet::SYS_RESOURCE);
    if adj < value.load(Ordering::Relaxed) && !privileged {
        return Err(EACCES);
    }
    value.store(adj, Ordering::Relaxed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_scale() {
        assert_eq!(legacy(0), 0);
        assert_eq!(legacy(1000), 15);
        assert_eq!(legacy(-1000), -17);
        assert_eq!(legacy(999), 15);
        assert_eq!(legacy(500), 8);
    }
}
