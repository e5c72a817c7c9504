//! Linux: ipc/sem.c, `ksys_semctl`.

use super::sem::{SemArray, Semaphore};
use super::util::{IpcPerm, PermUpdate, S_IRUGO, S_IWUGO};
use crate::{CurrentTask, IpcNamespace};
use fs_vfs::TaskContext;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EIDRM, EINVAL, ERANGE};
use sentry_uapi::sem::{
    GETNCNT, GETPID, GETVAL, GETZCNT, SEM_INFO, SEM_STAT, SEM_STAT_ANY, SEMAEM, SEMMNS, SEMOPM, SEMVMX,
    Semid64Ds, Seminfo,
};

/// What `/proc/sysvipc/sem` shows of a set.
#[derive(Clone, Debug)]
pub struct SemStatus {
    /// Whose it is.
    pub perm: IpcPerm,
    /// Time of the last operation.
    pub otime: i64,
    /// Time of the last change.
    pub ctime: i64,
    /// Number of semaphores.
    pub nsems: u64,
}

impl SemStatus {
    fn of(array: &SemArray) -> SemStatus {
        SemStatus {
            perm: array.perm.clone(),
            otime: array.otime,
            ctime: array.ctime,
            nsems: u64::try_from(array.sems.len()).unwrap_or(u64::MAX),
        }
    }
}

impl IpcNamespace {
    /// All semaphore sets, by index.
    pub fn sem_sets(&self) -> Vec<SemStatus> {
        self.sem.lock().ids.iter().map(SemStatus::of).collect()
    }
}

impl CurrentTask {
    /// semctl(IPC_STAT), semctl(SEM_STAT), semctl(SEM_STAT_ANY). Returns the id besides. Linux: `semctl_stat`.
    ///
    /// # Errors
    /// `EINVAL`, `EACCES`.
    pub fn semctl_stat(&self, semid: i32, cmd: i32) -> Result<(Semid64Ds, i32), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let status = {
            let state = ns.sem.lock();
            let by_index = cmd == SEM_STAT || cmd == SEM_STAT_ANY;
            let array = if by_index { state.ids.at(semid)? } else { state.ids.get(semid)? };
            if cmd != SEM_STAT_ANY && !array.perm.permits(&cred, &ns.user_ns, S_IRUGO) {
                return Err(EACCES);
            }
            SemStatus::of(array)
        };
        let out = Semid64Ds {
            sem_perm: status.perm.to_user(&cred.user_ns),
            sem_otime: status.otime,
            sem_ctime: status.ctime,
            sem_nsems: status.nsems,
            ..Semid64Ds::default()
        };
        Ok((out, status.perm.id))
    }

    /// semctl(IPC_INFO), semctl(SEM_INFO). Returns the highest index in use besides. Linux: `semctl_info`.
    pub fn semctl_info(&self, cmd: i32) -> (Seminfo, u64) {
        const SEMUSZ: i32 = 20;
        let ns = self.ipc_ns();
        let state = ns.sem.lock();
        let in_use = i32::try_from(state.ids.in_use()).unwrap_or(i32::MAX);
        let (semusz, semaem) = if cmd == SEM_INFO { (in_use, state.used_sems) } else { (SEMUSZ, SEMAEM) };
        let info = Seminfo {
            semmap: SEMMNS,
            semmni: state.limits.mni,
            semmns: state.limits.mns,
            semmnu: SEMMNS,
            semmsl: state.limits.msl,
            semopm: state.limits.opm,
            semume: SEMOPM,
            semusz,
            semvmx: SEMVMX,
            semaem,
        };
        (info, state.ids.max_idx())
    }

    /// Number of semaphores of a set the caller may use as `mode` says, for the size of what GETALL and SETALL copy.
    ///
    /// # Errors
    /// `EINVAL`, `EACCES`.
    pub fn semctl_nsems(&self, semid: i32, set: bool) -> Result<usize, Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let state = ns.sem.lock();
        let array = state.ids.get(semid)?;
        let mode = if set { S_IWUGO } else { S_IRUGO };
        if array.perm.permits(&cred, &ns.user_ns, mode) { Ok(array.sems.len()) } else { Err(EACCES) }
    }

    /// semctl(GETALL).
    ///
    /// # Errors
    /// `EINVAL`, `EACCES`.
    pub fn semctl_getall(&self, semid: i32) -> Result<Vec<u16>, Errno> {
        self.semctl_nsems(semid, false)?;
        let ns = self.ipc_ns();
        let state = ns.sem.lock();
        let array = state.ids.get(semid).map_err(|_| EIDRM)?;
        Ok(array.sems.iter().map(|s| u16::try_from(s.value).unwrap_or(0)).collect())
    }

    /// semctl(SETALL).
    ///
    /// # Errors
    /// `ERANGE` for a value; `EIDRM` when the set is gone since its size was asked for.
    pub fn semctl_setall(&self, semid: i32, values: &[u16]) -> Result<(), Errno> {
        if values.iter().any(|v| i32::from(*v) > SEMVMX) {
            return Err(ERANGE);
        }
        let pid = self.ipc_pid();
        self.change_values(semid, EIDRM, |array| {
            for (sem, value) in array.sems.iter_mut().zip(values) {
                *sem = Semaphore { value: i32::from(*value), pid: Some(pid.clone()) };
            }
            for undo in &mut array.undos {
                undo.semadj.fill(0);
            }
            Ok(())
        })
    }

    /// semctl(SETVAL). Linux: `semctl_setval`.
    ///
    /// # Errors
    /// `ERANGE`, `EINVAL`, `EACCES`.
    pub fn semctl_setval(&self, semid: i32, semnum: i32, value: i32) -> Result<(), Errno> {
        if !(0..=SEMVMX).contains(&value) {
            return Err(ERANGE);
        }
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let pid = self.ipc_pid();
        self.change_values(semid, EINVAL, |array| {
            let num = usize::try_from(semnum).map_err(|_| EINVAL)?;
            if num >= array.sems.len() {
                return Err(EINVAL);
            }
            if !array.perm.permits(&cred, &ns.user_ns, S_IWUGO) {
                return Err(EACCES);
            }
            *array.sems.get_mut(num).ok_or(EINVAL)? = Semaphore { value, pid: Some(pid) };
            for undo in &mut array.undos {
                if let Some(adj) = undo.semadj.get_mut(num) {
                    *adj = 0;
                }
            }
            Ok(())
        })
    }

    /// Changes values, and lets those proceed who waited for them. `gone` is the error if there is no such set.
    fn change_values(
        &self,
        semid: i32,
        gone: Errno,
        change: impl FnOnce(&mut SemArray) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let now = self.real_seconds();
        let mut state = ns.sem.lock();
        let array = state.ids.get_mut(semid).map_err(|_| gone)?;
        change(array)?;
        array.ctime = now;
        if array.update_queue() {
            array.otime = now;
        }
        Ok(())
    }

    /// semctl(GETVAL), semctl(GETPID), semctl(GETNCNT), semctl(GETZCNT).
    ///
    /// # Errors
    /// `EINVAL`, `EACCES`.
    pub fn semctl_get(&self, semid: i32, semnum: i32, cmd: i32) -> Result<u64, Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let pid_ns = self.pid_ns();
        let state = ns.sem.lock();
        let array = state.ids.get(semid)?;
        if !array.perm.permits(&cred, &ns.user_ns, S_IRUGO) {
            return Err(EACCES);
        }
        let num = u16::try_from(semnum).map_err(|_| EINVAL)?;
        let sem = array.sems.get(usize::from(num)).ok_or(EINVAL)?;
        let count = |zero| {
            let all = array.pending_alter.iter().chain(&array.pending_const);
            u64::try_from(all.filter(|q| q.waits_for(num, zero)).count()).unwrap_or(u64::MAX)
        };
        match cmd {
            GETVAL => u64::try_from(sem.value).map_err(|_| EINVAL),
            GETPID => Ok(sem.pid.as_ref().map_or(0, |pid| pid.nr_in(&pid_ns)).into()),
            GETNCNT => Ok(count(false)),
            GETZCNT => Ok(count(true)),
            _ => Err(EINVAL),
        }
    }

    /// semctl(IPC_SET).
    ///
    /// # Errors
    /// `EINVAL`, `EPERM`.
    pub fn semctl_set(&self, semid: i32, update: &PermUpdate) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let now = self.real_seconds();
        let mut state = ns.sem.lock();
        let array = state.ids.get_owned(semid, &cred, &ns.user_ns)?;
        array.perm.update(update)?;
        array.ctime = now;
        Ok(())
    }

    /// semctl(IPC_RMID): whoever waits fails with `EIDRM`. Linux: `freeary`.
    ///
    /// # Errors
    /// `EINVAL`, `EPERM`.
    pub fn semctl_rmid(&self, semid: i32) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let array = {
            let mut state = ns.sem.lock();
            state.ids.get_owned(semid, &cred, &ns.user_ns)?;
            let Some(array) = state.ids.remove(semid) else { return Err(EINVAL) };
            state.used_sems -= i32::try_from(array.sems.len()).unwrap_or(0);
            for q in array.pending_const.iter().chain(&array.pending_alter) {
                q.fail(EIDRM);
            }
            array
        };
        for undo in &array.undos {
            undo.forget(semid);
        }
        Ok(())
    }
}
