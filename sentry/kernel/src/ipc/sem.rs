//! Semaphore sets and operations on them. Linux: ipc/sem.c. Differs: waiting operations of a set stand in two lists, as
//! Linux has them once one of them names several semaphores.

use super::memory::{IpcCharge, IpcMemory};
use super::sem_undo::{SemUndoList, Undo};
use super::util::{Found, IpcIds, IpcObject, IpcPerm, S_IRUGO, S_IWUGO};
use super::wait::Waiter;
use crate::pid::PidNumbers;
use crate::{CurrentTask, IpcNamespace};
use fs_vfs::TaskContext;
use sentry_sync::{Mutex, MutexGuard, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EAGAIN, EFBIG, EIDRM, EINTR, EINVAL, ENOSPC, ERANGE};
use sentry_uapi::ipc::IPC_NOWAIT;
use sentry_uapi::sem::{SEM_UNDO, SEMAEM, SEMMNI, SEMMNS, SEMMSL, SEMOPM, SEMVMX, Sembuf};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// `/proc/sys/kernel/sem`.
#[derive(Clone, Copy, Debug)]
pub struct SemLimits {
    /// Semaphores a set may have.
    pub msl: i32,
    /// Semaphores of all sets.
    pub mns: i32,
    /// Operations of a call.
    pub opm: i32,
    /// Sets.
    pub mni: i32,
}

/// The semaphore sets of a namespace.
pub struct SemIds {
    state: Mutex<SemState, { level::IPC }>,
    memory: IpcMemory,
}

pub(super) struct SemState {
    pub(super) limits: SemLimits,
    pub(super) ids: IpcIds<SemArray>,
    /// Semaphores of all sets.
    pub(super) used_sems: i32,
}

pub(super) struct Semaphore {
    pub(super) value: i32,
    /// Who changed it last. Linux: `sempid`.
    pub(super) pid: Option<Arc<PidNumbers>>,
}

/// A set. Linux: `struct sem_array`.
pub(super) struct SemArray {
    pub(super) perm: IpcPerm,
    pub(super) sems: Vec<Semaphore>,
    pub(super) otime: i64,
    pub(super) ctime: i64,
    /// Operations that would change something, in the order they came.
    pub(super) pending_alter: VecDeque<SemQueue>,
    /// Operations that only wait for zero.
    pub(super) pending_const: VecDeque<SemQueue>,
    pub(super) undos: Vec<Undo>,
    _charge: IpcCharge,
}

impl IpcObject for SemArray {
    fn perm(&self) -> &IpcPerm {
        &self.perm
    }

    fn perm_mut(&mut self) -> &mut IpcPerm {
        &mut self.perm
    }
}

/// Operations to be done together. Linux: `struct sem_queue`.
pub(super) struct SemQueue {
    sops: Vec<Sembuf>,
    undo: Option<Arc<SemUndoList>>,
    pid: Arc<PidNumbers>,
    /// The operation that cannot proceed, while they wait.
    blocking: Option<Sembuf>,
    waiter: Arc<Waiter<Result<(), Errno>>>,
}

impl SemQueue {
    fn alters(&self) -> bool {
        self.sops.iter().any(|s| s.sem_op != 0)
    }

    pub(super) fn fail(&self, error: Errno) {
        self.waiter.complete(Err(error));
    }

    /// Whether it waits for semaphore `num`: to become zero, or to grow. Linux: `check_qop`.
    pub(super) fn waits_for(&self, num: u16, zero: bool) -> bool {
        self.blocking.is_some_and(|s| s.sem_num == num && if zero { s.sem_op == 0 } else { s.sem_op < 0 })
    }
}

impl SemArray {
    fn semaphore(&mut self, num: u16) -> Result<&mut Semaphore, Errno> {
        self.sems.get_mut(usize::from(num)).ok_or(EFBIG)
    }

    /// Does all operations or none. `Ok(false)`: one has to wait. Linux: `perform_atomic_semop`.
    ///
    /// # Errors
    /// `ERANGE` for a value or an adjustment that grows too large; `EAGAIN` for an operation that shall not wait.
    fn perform_atomic_semop(&mut self, q: &mut SemQueue) -> Result<bool, Errno> {
        let mut done = 0;
        let mut failure = None;
        for sop in &q.sops {
            match self.try_one(q.undo.as_ref(), *sop) {
                Ok(true) => done += 1,
                Ok(false) => {
                    q.blocking = Some(*sop);
                    let nowait = i32::from(sop.sem_flg) & IPC_NOWAIT != 0;
                    failure = Some(if nowait { Err(EAGAIN) } else { Ok(false) });
                    break;
                }
                Err(e) => {
                    failure = Some(Err(e));
                    break;
                }
            }
        }
        if let Some(failure) = failure {
            for sop in q.sops.iter().take(done).rev() {
                let op = i32::from(sop.sem_op);
                self.semaphore(sop.sem_num)?.value -= op;
                if sop.sem_flg & SEM_UNDO != 0 {
                    self.adjust(q.undo.as_ref(), *sop, op);
                }
            }
            return failure;
        }
        for sop in &q.sops {
            self.semaphore(sop.sem_num)?.pid = Some(q.pid.clone());
        }
        Ok(true)
    }

    /// Does one operation, unless it has to wait.
    fn try_one(&mut self, undo: Option<&Arc<SemUndoList>>, sop: Sembuf) -> Result<bool, Errno> {
        let op = i32::from(sop.sem_op);
        let old = self.semaphore(sop.sem_num)?.value;
        let new = old + op;
        if (op == 0 && old != 0) || new < 0 {
            return Ok(false);
        }
        if new > SEMVMX {
            return Err(ERANGE);
        }
        if sop.sem_flg & SEM_UNDO != 0 && !self.adjust(undo, sop, -op) {
            return Err(ERANGE);
        }
        self.semaphore(sop.sem_num)?.value = new;
        Ok(true)
    }

    /// Adds to what is undone at the end of a process. False if that would grow too large.
    fn adjust(&mut self, undo: Option<&Arc<SemUndoList>>, sop: Sembuf, by: i32) -> bool {
        let Some(list) = undo else { return false };
        let slot = self
            .undos
            .iter_mut()
            .find(|u| u.is_of(list))
            .and_then(|u| u.semadj.get_mut(usize::from(sop.sem_num)));
        let Some(slot) = slot else { return false };
        match i16::try_from(i32::from(*slot) + by) {
            Ok(new) if i32::from(new) <= SEMAEM => {
                *slot = new;
                true
            }
            _ => false,
        }
    }

    /// Does what can be done of the operations in one list, from its front. Linux: `wake_const_ops`.
    fn wake_const_ops(&mut self) -> bool {
        let mut completed = false;
        for mut q in std::mem::take(&mut self.pending_const) {
            match self.perform_atomic_semop(&mut q) {
                Ok(false) => self.pending_const.push_back(q),
                outcome => {
                    completed |= outcome.is_ok();
                    q.waiter.complete(outcome.map(drop));
                }
            }
        }
        completed
    }

    /// Does whatever waiting operations can proceed now that values have changed. Returns whether one could. Linux:
    /// `do_smart_update`.
    pub(super) fn update_queue(&mut self) -> bool {
        let mut completed = self.wake_const_ops();
        let mut at = 0;
        while let Some(mut q) = self.pending_alter.remove(at) {
            match self.perform_atomic_semop(&mut q) {
                Ok(false) => {
                    self.pending_alter.insert(at, q);
                    at += 1;
                }
                outcome => {
                    if outcome.is_ok() {
                        completed = true;
                        self.wake_const_ops();
                        // It may be what an older one waits for.
                        at = 0;
                    }
                    q.waiter.complete(outcome.map(drop));
                }
            }
        }
        completed
    }
}

impl SemIds {
    pub(crate) fn new(memory: IpcMemory) -> SemIds {
        let limits = SemLimits { msl: SEMMSL, mns: SEMMNS, opm: SEMOPM, mni: SEMMNI };
        SemIds { state: Mutex::new(SemState { limits, ids: IpcIds::new(), used_sems: 0 }), memory }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SemState, { level::IPC }> {
        self.state.lock()
    }

    /// The limits.
    pub fn limits(&self) -> SemLimits {
        self.state.lock().limits
    }

    /// Changes the limits.
    pub fn set_limits(&self, limits: SemLimits) {
        self.state.lock().limits = limits;
    }

    /// The id the next set is to get; -1 for any.
    pub fn next_id(&self) -> i32 {
        self.state.lock().ids.next_id
    }

    /// Sets the id the next set is to get.
    pub fn set_next_id(&self, id: i32) {
        self.state.lock().ids.next_id = id;
    }
}

impl CurrentTask {
    /// The IPC namespace.
    pub fn ipc_ns(&self) -> Arc<IpcNamespace> {
        self.task().ns().ipc.clone()
    }

    /// The process, as objects remember it.
    pub(super) fn ipc_pid(&self) -> Arc<PidNumbers> {
        Arc::new(self.group.pid.numbers())
    }

    /// Wall-clock seconds. Linux: `ktime_get_real_seconds`.
    pub(super) fn real_seconds(&self) -> i64 {
        self.kernel().clocks.realtime().tv_sec
    }

    /// semget(2). Returns the id.
    ///
    /// # Errors
    /// `EINVAL` for a number of semaphores; `ENOENT`, `EEXIST`, `EACCES`, `ENOSPC`, `ENOMEM`.
    pub fn semget(&self, key: i32, nsems: i32, flags: i32) -> Result<i32, Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let now = self.real_seconds();
        let mut state = ns.sem.lock();
        let count = usize::try_from(nsems).map_err(|_| EINVAL)?;
        if nsems > state.limits.msl {
            return Err(EINVAL);
        }
        if let Found::Id(id) = state.ids.find(key, flags)? {
            let array = state.ids.get(id)?;
            if count > array.sems.len() {
                return Err(EINVAL);
            }
            return if array.perm.permits(&cred, &ns.user_ns, flags) { Ok(id) } else { Err(EACCES) };
        }
        if count == 0 {
            return Err(EINVAL);
        }
        let used = state.used_sems.checked_add(nsems).filter(|n| *n <= state.limits.mns).ok_or(ENOSPC)?;
        let bytes = size_of::<SemArray>().saturating_add(count.saturating_mul(size_of::<Semaphore>()));
        let array = SemArray {
            perm: IpcPerm::new(key, flags, &cred),
            _charge: ns.sem.memory.charge(bytes)?,
            sems: std::iter::repeat_with(|| Semaphore { value: 0, pid: None }).take(count).collect(),
            otime: 0,
            ctime: now,
            pending_alter: VecDeque::new(),
            pending_const: VecDeque::new(),
            undos: Vec::new(),
        };
        let limit = state.limits.mni;
        let id = state.ids.add(array, limit)?;
        state.used_sems = used;
        Ok(id)
    }

    /// semtimedop(2). The number of operations has been checked.
    ///
    /// # Errors
    /// `EINVAL`, `EFBIG`, `EACCES`, `ERANGE`, `ENOMEM`; `EAGAIN` also when the deadline passes; `EIDRM`; `EINTR`, since
    /// the call is never made again.
    pub fn semtimedop(&self, semid: i32, sops: Vec<Sembuf>, deadline: Option<Instant>) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let now = self.real_seconds();
        let undos = sops.iter().any(|s| s.sem_flg & SEM_UNDO != 0);
        let undo = undos.then(|| self.sem_undo_list());
        let mut q = SemQueue { sops, undo, pid: self.ipc_pid(), blocking: None, waiter: Waiter::new(self) };
        let waiter = q.waiter.clone();
        {
            let mut state = ns.sem.lock();
            let array = state.ids.get_mut(semid)?;
            if q.sops.iter().any(|s| usize::from(s.sem_num) >= array.sems.len()) {
                return Err(EFBIG);
            }
            let alters = q.alters();
            if !array.perm.permits(&cred, &ns.user_ns, if alters { S_IWUGO } else { S_IRUGO }) {
                return Err(EACCES);
            }
            if let Some(list) = &q.undo {
                array.find_alloc_undo(list, &ns.sem.memory)?;
            }
            if array.perform_atomic_semop(&mut q)? {
                if alters {
                    array.update_queue();
                }
                array.otime = now;
                return Ok(());
            }
            if alters {
                array.pending_alter.push_back(q);
            } else {
                array.pending_const.push_back(q);
            }
        }
        let failure = match waiter.wait(self, deadline) {
            Ok(Some(outcome)) => return outcome,
            Ok(None) => EAGAIN,
            Err(_) => EINTR,
        };
        let mut state = ns.sem.lock();
        if let Some(outcome) = waiter.take() {
            return outcome;
        }
        let Ok(array) = state.ids.get_mut(semid) else { return Err(EIDRM) };
        array.pending_alter.retain(|q| !Arc::ptr_eq(&q.waiter, &waiter));
        array.pending_const.retain(|q| !Arc::ptr_eq(&q.waiter, &waiter));
        Err(failure)
    }
}
