//! Robust futexes: what happens to locks whose owner ends. Linux: kernel/futex/core.c, `exit_robust_list`.

use crate::Task;
use crate::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS};
use sentry_mm::MemoryManager;
use std::sync::atomic::Ordering;

/// Longest list that is walked. Linux: `ROBUST_LIST_LIMIT`.
const ROBUST_LIST_LIMIT: usize = 2048;

/// Marks every lock on the task's list as ownerless and wakes a waiter of each.
pub(crate) fn exit_robust_list(task: &Task, mm: &MemoryManager) {
    let head = task.robust_list.swap(0, Ordering::Relaxed);
    if head == 0 {
        return;
    }
    // struct robust_list_head: list, futex_offset, list_op_pending.
    let Ok([first, offset, pending]) = mm.read_obj::<[u64; 3]>(head) else { return };
    let mut entry = first;
    for _ in 0..ROBUST_LIST_LIMIT {
        let at = entry & !1;
        if at == head {
            break;
        }
        // Read on before the entry is given away: its new owner may unlink it.
        let next = mm.read_obj::<u64>(at);
        if at != pending & !1 {
            handle_death(task, mm, at.wrapping_add(offset), entry & 1 != 0, false);
        }
        match next {
            Ok(n) => entry = n,
            Err(_) => break,
        }
    }
    if pending != 0 {
        handle_death(task, mm, (pending & !1).wrapping_add(offset), pending & 1 != 0, true);
    }
}

/// Linux: `handle_futex_death`.
fn handle_death(task: &Task, mm: &MemoryManager, addr: u64, pi: bool, pending: bool) {
    if !addr.is_multiple_of(4) {
        return;
    }
    let Ok(mut value) = mm.load_u32(addr) else { return };
    let own = task.pid().nr_in(&task.pid_ns());
    loop {
        if pending && !pi && value == 0 {
            // The owner died between unlocking and waking: wake in its stead.
            let _ = task.kernel.futexes.wake(mm, addr, false, 1, u32::MAX);
            return;
        }
        if value & FUTEX_TID_MASK != own {
            return;
        }
        let new = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        match mm.cmpxchg_u32(addr, value, new) {
            Ok(seen) if seen == value => break,
            Ok(seen) => value = seen,
            Err(_) => return,
        }
    }
    if pi {
        task.kernel.futexes.hand_over_pi(mm, addr);
    } else if value & FUTEX_WAITERS != 0 {
        let _ = task.kernel.futexes.wake(mm, addr, false, 1, u32::MAX);
        let _ = task.kernel.futexes.wake(mm, addr, true, 1, u32::MAX);
    }
}
