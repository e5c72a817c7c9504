//! What is undone of a process's semaphore operations when it ends. Linux: ipc/sem.c, `struct sem_undo_list`, `exit_sem`.

use super::memory::{IpcCharge, IpcMemory};
use super::sem::SemArray;
use crate::{CurrentTask, Task};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::sched::CloneFlags;
use sentry_uapi::sem::SEMVMX;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The adjustments of a process, or of several that share them (CLONE_SYSVSEM).
pub(crate) struct SemUndoList {
    /// Tasks that have it. Linux: `refcnt`.
    users: AtomicUsize,
    /// The sets that hold adjustments of it.
    semids: Mutex<Vec<i32>, { level::LEAF }>,
}

/// The adjustments of one list to one set. Linux: `struct sem_undo`.
pub(super) struct Undo {
    list: Arc<SemUndoList>,
    pub(super) semadj: Vec<i16>,
    _charge: IpcCharge,
}

impl Undo {
    pub(super) fn is_of(&self, list: &Arc<SemUndoList>) -> bool {
        Arc::ptr_eq(&self.list, list)
    }

    /// The set is gone.
    pub(super) fn forget(&self, semid: i32) {
        self.list.semids.lock().retain(|id| *id != semid);
    }
}

impl SemArray {
    /// Makes room for adjustments of a list.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn find_alloc_undo(
        &mut self,
        list: &Arc<SemUndoList>,
        memory: &IpcMemory,
    ) -> Result<(), Errno> {
        if self.undos.iter().any(|u| u.is_of(list)) {
            return Ok(());
        }
        let count = self.sems.len();
        let bytes = size_of::<Undo>().saturating_add(count.saturating_mul(size_of::<i16>()));
        let _charge = memory.charge(bytes)?;
        self.undos.push(Undo { list: list.clone(), semadj: vec![0; count], _charge });
        list.semids.lock().push(self.perm.id);
        Ok(())
    }
}

impl Task {
    /// Gives up the list of a task that never ran.
    pub(crate) fn put_semundo(&self) {
        if let Some(list) = self.sem_undo.lock().take() {
            list.users.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl CurrentTask {
    /// The list of this task, made when it is first needed. Linux: `get_undo_list`.
    pub(super) fn sem_undo_list(&self) -> Arc<SemUndoList> {
        let new = || Arc::new(SemUndoList { users: AtomicUsize::new(1), semids: Mutex::new(Vec::new()) });
        self.task().sem_undo.lock().get_or_insert_with(new).clone()
    }

    /// The list of a child. Linux: `copy_semundo`.
    pub(crate) fn copy_semundo(&self, flags: CloneFlags) -> Option<Arc<SemUndoList>> {
        if !flags.contains(CloneFlags::SYSVSEM) {
            return None;
        }
        let list = self.sem_undo_list();
        list.users.fetch_add(1, Ordering::Relaxed);
        Some(list)
    }

    /// The task gives up its list; the last one to do so has it carried out. Linux: `exit_sem`.
    pub(crate) fn exit_sem(&self) {
        let Some(list) = self.task().sem_undo.lock().take() else { return };
        if list.users.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let semids = std::mem::take(&mut *list.semids.lock());
        let ns = self.ipc_ns();
        let (pid, now) = (self.ipc_pid(), self.real_seconds());
        for semid in semids {
            let mut state = ns.sem.lock();
            let Ok(array) = state.ids.get_mut(semid) else { continue };
            let Some(at) = array.undos.iter().position(|u| u.is_of(&list)) else { continue };
            let undo = array.undos.swap_remove(at);
            for (sem, adjust) in array.sems.iter_mut().zip(&undo.semadj).filter(|(_, adj)| **adj != 0) {
                sem.value = (sem.value + i32::from(*adjust)).clamp(0, SEMVMX);
                sem.pid = Some(pid.clone());
            }
            array.update_queue();
            array.otime = now;
        }
    }
}
