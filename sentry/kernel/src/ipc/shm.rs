//! Segments of shared memory. Linux: ipc/shm.c. A segment is a file of the kernel's own tmpfs.

use super::memory::{IpcCharge, IpcMemory};
use super::util::{Found, IpcIds, IpcObject, IpcPerm};
use crate::CurrentTask;
use crate::pid::PidNumbers;
use fs_vfs::{File, TaskContext};
use sentry_mm::PAGE_SIZE;
use sentry_sync::{Mutex, MutexGuard, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, ENOMEM, ENOSPC};
use sentry_uapi::shm::{SHM_DEST, SHM_HUGETLB, SHM_NORESERVE, SHMALL, SHMMAX, SHMMNI};
use std::sync::Arc;

/// What a segment takes of the kernel's memory besides its pages: a file, an inode, a name.
const OVERHEAD: usize = 2048;

/// `/proc/sys/kernel/{shmmax,shmall,shmmni,shm_rmid_forced}`.
#[derive(Clone, Copy, Debug)]
pub struct ShmLimits {
    /// Bytes of a segment.
    pub max: u64,
    /// Pages of all segments.
    pub all: u64,
    /// Segments.
    pub mni: i32,
    /// Segments go with their last attachment once their creator has ended.
    pub rmid_forced: bool,
}

/// The segments of a namespace.
pub struct ShmIds {
    state: Mutex<ShmState, { level::IPC }>,
    memory: IpcMemory,
}

pub(super) struct ShmState {
    pub(super) limits: ShmLimits,
    pub(super) ids: IpcIds<ShmSegment>,
    /// Pages of all segments.
    pub(super) total: u64,
}

/// A segment. Linux: `struct shmid_kernel`.
pub(super) struct ShmSegment {
    pub(super) perm: IpcPerm,
    pub(super) size: u64,
    pub(super) file: Arc<File>,
    pub(super) nattch: u64,
    pub(super) atime: i64,
    pub(super) dtime: i64,
    pub(super) ctime: i64,
    pub(super) cpid: Arc<PidNumbers>,
    pub(super) lpid: Option<Arc<PidNumbers>>,
    /// The thread that made it, as long as it lives.
    creator: Option<u32>,
    _charge: IpcCharge,
}

impl IpcObject for ShmSegment {
    fn perm(&self) -> &IpcPerm {
        &self.perm
    }

    fn perm_mut(&mut self) -> &mut IpcPerm {
        &mut self.perm
    }
}

fn pages(size: u64) -> u64 {
    size.div_ceil(PAGE_SIZE)
}

impl ShmState {
    /// Takes a segment out; its memory goes when the caller drops it, without the lock. Linux: `shm_destroy`.
    pub(super) fn destroy(&mut self, id: i32) -> Option<ShmSegment> {
        let segment = self.ids.remove(id)?;
        self.total = self.total.saturating_sub(pages(segment.size));
        Some(segment)
    }

    /// As [`ShmState::destroy`], if nobody uses the segment and it is to go. Linux: `shm_may_destroy`.
    pub(super) fn destroy_unused(&mut self, id: i32) -> Option<ShmSegment> {
        let forced = self.limits.rmid_forced;
        let segment = self.ids.get(id).ok()?;
        let goes = segment.nattch == 0 && (forced || segment.perm.mode & SHM_DEST != 0);
        if goes { self.destroy(id) } else { None }
    }

    /// Checks a new segment against the limits. Linux: the head of `newseg`.
    fn check_new(&self, size: u64) -> Result<(), Errno> {
        if size < 1 || size > self.limits.max {
            return Err(EINVAL);
        }
        let total = self.total.checked_add(pages(size)).ok_or(ENOSPC)?;
        if size > u64::MAX - PAGE_SIZE || total > self.limits.all { Err(ENOSPC) } else { Ok(()) }
    }
}

impl ShmIds {
    pub(crate) fn new(memory: IpcMemory) -> Arc<ShmIds> {
        let limits = ShmLimits { max: SHMMAX, all: SHMALL, mni: SHMMNI, rmid_forced: false };
        Arc::new(ShmIds { state: Mutex::new(ShmState { limits, ids: IpcIds::new(), total: 0 }), memory })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ShmState, { level::IPC }> {
        self.state.lock()
    }

    /// The limits.
    pub fn limits(&self) -> ShmLimits {
        self.state.lock().limits
    }

    /// Changes the limits. Segments that should have gone already go now. Linux: `shm_destroy_orphaned`.
    pub fn set_limits(&self, limits: ShmLimits) {
        self.state.lock().limits = limits;
        if limits.rmid_forced {
            self.destroy_where(|segment| segment.creator.is_none());
        }
    }

    /// The id the next segment is to get; -1 for any.
    pub fn next_id(&self) -> i32 {
        self.state.lock().ids.next_id
    }

    /// Sets the id the next segment is to get.
    pub fn set_next_id(&self, id: i32) {
        self.state.lock().ids.next_id = id;
    }

    /// Destroys those that `which` names, nobody uses, and are to go.
    fn destroy_where(&self, which: impl Fn(&ShmSegment) -> bool) {
        let gone: Vec<ShmSegment> = {
            let mut state = self.state.lock();
            let ids: Vec<i32> = state.ids.iter().filter(|s| which(s)).map(|s| s.perm.id).collect();
            ids.into_iter().filter_map(|id| state.destroy_unused(id)).collect()
        };
        drop(gone);
    }

    /// A thread ends, or leaves the namespace. Linux: `exit_shm`.
    fn creator_gone(&self, tid: u32) {
        let mut made = Vec::new();
        {
            let mut state = self.state.lock();
            made.extend(state.ids.iter().filter(|s| s.creator == Some(tid)).map(|s| s.perm.id));
            for id in &made {
                if let Ok(segment) = state.ids.get_mut(*id) {
                    segment.creator = None;
                }
            }
            if !state.limits.rmid_forced {
                return;
            }
        }
        self.destroy_where(|segment| made.contains(&segment.perm.id));
    }
}

impl CurrentTask {
    /// Linux: `exit_shm`.
    pub(crate) fn exit_shm(&self) {
        self.ipc_ns().shm.creator_gone(self.tid());
    }

    /// shmget(2). Returns the id.
    ///
    /// # Errors
    /// `EINVAL` for a size; `ENOENT`, `EEXIST`, `EACCES`, `ENOSPC`, `ENOMEM`.
    pub fn shmget(&self, key: i32, size: u64, flags: i32) -> Result<i32, Errno> {
        if let Some(id) = self.shm_find(key, size, flags)? {
            return Ok(id);
        }
        if flags & SHM_HUGETLB != 0 {
            // No huge pages are set aside.
            return Err(ENOMEM);
        }
        if i64::try_from(size).is_err() {
            return Err(EINVAL);
        }
        let kernel = self.kernel();
        if flags & SHM_NORESERVE == 0 && size > kernel.memory.limit() {
            return Err(ENOMEM);
        }
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let _charge = ns.shm.memory.charge(OVERHEAD)?;
        let file = kernel.shmem()?.new_file(&format!("SYSV{key:08x}"), size, cred.clone())?;
        // Somebody may have made it meanwhile.
        if let Some(id) = self.shm_find(key, size, flags)? {
            return Ok(id);
        }
        let segment = ShmSegment {
            perm: IpcPerm::new(key, flags, &cred),
            size,
            file,
            nattch: 0,
            atime: 0,
            dtime: 0,
            ctime: self.real_seconds(),
            cpid: self.ipc_pid(),
            lpid: None,
            creator: Some(self.tid()),
            _charge,
        };
        let mut state = ns.shm.lock();
        let limit = state.limits.mni;
        let id = state.ids.add(segment, limit)?;
        state.total = state.total.saturating_add(pages(size));
        Ok(id)
    }

    /// The segment of this key, or `None` if one may be made.
    fn shm_find(&self, key: i32, size: u64, flags: i32) -> Result<Option<i32>, Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let state = ns.shm.lock();
        let Found::Id(id) = state.ids.find(key, flags)? else {
            state.check_new(size)?;
            return Ok(None);
        };
        let segment = state.ids.get(id)?;
        if segment.size < size {
            return Err(EINVAL);
        }
        if segment.perm.permits(&cred, &ns.user_ns, flags) { Ok(Some(id)) } else { Err(EACCES) }
    }
}
