//! Linux: ipc/shm.c, `ksys_shmctl`.

use super::shm::ShmSegment;
use super::util::{IpcPerm, PermUpdate, S_IRUGO};
use crate::{CurrentTask, IpcNamespace, PidNamespace};
use fs_vfs::{File, Resource, TaskContext};
use sentry_auth::{CapSet, ns_capable};
use sentry_mm::PAGE_SIZE;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, ENOMEM, EPERM};
use sentry_uapi::shm::{SHM_DEST, SHM_LOCKED, SHM_STAT, SHM_STAT_ANY, ShmInfo, Shmid64Ds, Shminfo64};
use std::sync::Arc;

/// Bytes of a block as stat(2) counts them.
const BLOCK: u64 = 512;

/// What `/proc/sysvipc/shm` shows of a segment.
#[derive(Clone)]
pub struct ShmStatus {
    /// Whose it is.
    pub perm: IpcPerm,
    /// Size in bytes.
    pub size: u64,
    /// Mappings.
    pub nattch: u64,
    /// Creator.
    pub cpid: u32,
    /// Who attached or detached last.
    pub lpid: u32,
    /// Time of the last attachment.
    pub atime: i64,
    /// Time of the last detachment.
    pub dtime: i64,
    /// Time of the last change.
    pub ctime: i64,
    file: Arc<File>,
}

impl ShmStatus {
    fn of(segment: &ShmSegment, pid_ns: &Arc<PidNamespace>) -> ShmStatus {
        ShmStatus {
            perm: segment.perm.clone(),
            size: segment.size,
            nattch: segment.nattch,
            cpid: segment.cpid.nr_in(pid_ns),
            lpid: segment.lpid.as_ref().map_or(0, |pid| pid.nr_in(pid_ns)),
            atime: segment.atime,
            dtime: segment.dtime,
            ctime: segment.ctime,
            file: segment.file.clone(),
        }
    }

    /// Bytes present in memory.
    pub fn resident(&self) -> u64 {
        self.file.inode().getattr().map_or(0, |attr| attr.blocks.saturating_mul(BLOCK))
    }
}

impl IpcNamespace {
    /// All segments, by index, with process ids as `pid_ns` has them.
    pub fn shm_segments(&self, pid_ns: &Arc<PidNamespace>) -> Vec<ShmStatus> {
        self.shm.lock().ids.iter().map(|s| ShmStatus::of(s, pid_ns)).collect()
    }
}

impl CurrentTask {
    /// shmctl(IPC_STAT), shmctl(SHM_STAT), shmctl(SHM_STAT_ANY). Returns the id besides. Linux: `shmctl_stat`.
    ///
    /// # Errors
    /// `EINVAL`, `EACCES`.
    pub fn shmctl_stat(&self, shmid: i32, cmd: i32) -> Result<(Shmid64Ds, i32), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let pid_ns = self.pid_ns();
        let status = {
            let state = ns.shm.lock();
            let by_index = cmd == SHM_STAT || cmd == SHM_STAT_ANY;
            let segment = if by_index { state.ids.at(shmid)? } else { state.ids.get(shmid)? };
            if cmd != SHM_STAT_ANY && !segment.perm.permits(&cred, &ns.user_ns, S_IRUGO) {
                return Err(EACCES);
            }
            ShmStatus::of(segment, &pid_ns)
        };
        let out = Shmid64Ds {
            shm_perm: status.perm.to_user(&cred.user_ns),
            shm_segsz: status.size,
            shm_atime: status.atime,
            shm_dtime: status.dtime,
            shm_ctime: status.ctime,
            shm_cpid: i32::try_from(status.cpid).unwrap_or(0),
            shm_lpid: i32::try_from(status.lpid).unwrap_or(0),
            shm_nattch: status.nattch,
            ..Shmid64Ds::default()
        };
        Ok((out, status.perm.id))
    }

    /// shmctl(IPC_INFO). Returns the highest index in use besides. Linux: `shmctl_ipc_info`.
    pub fn shmctl_ipc_info(&self) -> (Shminfo64, u64) {
        let ns = self.ipc_ns();
        let state = ns.shm.lock();
        let mni = u64::try_from(state.limits.mni).unwrap_or(0);
        let info = Shminfo64 {
            shmmax: state.limits.max,
            shmmin: 1,
            shmmni: mni,
            shmseg: mni,
            shmall: state.limits.all,
            ..Shminfo64::default()
        };
        (info, state.ids.max_idx())
    }

    /// shmctl(SHM_INFO). Returns the highest index in use besides. Linux: `shmctl_shm_info`.
    pub fn shmctl_shm_info(&self) -> (ShmInfo, u64) {
        let ns = self.ipc_ns();
        let resident: u64 = ns.shm_segments(&self.pid_ns()).iter().map(ShmStatus::resident).sum();
        let state = ns.shm.lock();
        let info = ShmInfo {
            used_ids: i32::try_from(state.ids.in_use()).unwrap_or(i32::MAX),
            shm_tot: state.total,
            shm_rss: resident / PAGE_SIZE,
            ..ShmInfo::default()
        };
        (info, state.ids.max_idx())
    }

    /// shmctl(IPC_SET).
    ///
    /// # Errors
    /// `EINVAL`, `EPERM`.
    pub fn shmctl_set(&self, shmid: i32, update: &PermUpdate) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let now = self.real_seconds();
        let mut state = ns.shm.lock();
        let segment = state.ids.get_owned(shmid, &cred, &ns.user_ns)?;
        segment.perm.update(update)?;
        segment.ctime = now;
        Ok(())
    }

    /// shmctl(IPC_RMID): the segment goes, now or with its last attachment; no key finds it any more. Linux: `do_shm_rmid`.
    ///
    /// # Errors
    /// `EINVAL`, `EPERM`.
    pub fn shmctl_rmid(&self, shmid: i32) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let gone = {
            let mut state = ns.shm.lock();
            let segment = state.ids.get_owned(shmid, &cred, &ns.user_ns)?;
            segment.perm.mode |= SHM_DEST;
            state.ids.set_key_private(shmid);
            state.destroy_unused(shmid)
        };
        drop(gone);
        Ok(())
    }

    /// shmctl(SHM_LOCK), shmctl(SHM_UNLOCK). Nothing is ever swapped out; the flag is kept. Linux: `shmctl_do_lock`.
    ///
    /// # Errors
    /// `EINVAL`; `EPERM` for whoever does not own it or may lock nothing; `ENOMEM` for more than may be locked.
    pub fn shmctl_lock(&self, shmid: i32, lock: bool) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let limit = self.rlimit(Resource::Memlock);
        let privileged = ns_capable(&cred, &ns.user_ns, CapSet::IPC_LOCK);
        let mut state = ns.shm.lock();
        let segment = state.ids.get_mut(shmid)?;
        if !privileged && (!segment.perm.is_owner(&cred) || (lock && limit == 0)) {
            return Err(EPERM);
        }
        if lock {
            if !privileged && segment.size > limit {
                return Err(ENOMEM);
            }
            segment.perm.mode |= SHM_LOCKED;
        } else {
            segment.perm.mode &= !SHM_LOCKED;
        }
        Ok(())
    }
}
