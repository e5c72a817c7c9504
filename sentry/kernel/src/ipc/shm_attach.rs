//! Attaching segments. Linux: ipc/shm.c, `do_shmat`, `ksys_shmdt`, `shm_vm_ops`.

use super::shm::ShmIds;
use super::util::{S_IRUGO, S_IWUGO, S_IXUGO};
use crate::CurrentTask;
use fs_vfs::{File, TaskContext};
use sentry_mm::{
    MappedFile, MemoryManager, MmapRequest, PAGE_SIZE, Placement, Prot, VmFlags, VmaFile, VmaInfo,
};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EEXIST, EINVAL};
use sentry_uapi::shm::{SHM_EXEC, SHM_RDONLY, SHM_REMAP, SHM_RND};
use std::any::Any;
use std::sync::Arc;

/// A segment as one shmat(2) has mapped it; also counts the mappings. Linux: `struct shm_file_data`.
struct ShmAttach {
    ids: Arc<ShmIds>,
    id: i32,
    file: Arc<File>,
    clocks: Arc<Clocks>,
}

impl MappedFile for ShmAttach {
    /// `/proc` shows it as the file it is.
    fn as_any(&self) -> &dyn Any {
        &*self.file
    }

    /// The id takes the place of the inode number. Linux: the end of `newseg`.
    fn dev_ino(&self) -> (u64, u64) {
        let (dev, _) = self.file.dev_ino();
        (dev, u64::try_from(self.id).unwrap_or(0))
    }

    fn map_writable(&self, come: bool) -> Result<(), Errno> {
        self.file.map_writable(come)
    }

    fn vm_open(&self) {
        let now = self.clocks.realtime().tv_sec;
        if let Ok(segment) = self.ids.lock().ids.get_mut(self.id) {
            segment.nattch += 1;
            segment.atime = now;
        }
    }

    fn vm_close(&self) {
        let now = self.clocks.realtime().tv_sec;
        let gone = {
            let mut state = self.ids.lock();
            if let Ok(segment) = state.ids.get_mut(self.id) {
                segment.nattch = segment.nattch.saturating_sub(1);
                segment.dtime = now;
            }
            state.destroy_unused(self.id)
        };
        drop(gone);
    }
}

/// The attachment behind a mapping.
fn attachment(vma: &VmaInfo) -> Option<&ShmAttach> {
    let file: &dyn Any = &**vma.file.as_ref()?.file.as_ref()?;
    file.downcast_ref()
}

/// The attachment behind a mapping that is `addr` and what follows it. Linux: the condition of `ksys_shmdt`.
fn starts_at(vma: &VmaInfo, addr: u64) -> Option<&ShmAttach> {
    let offset = vma.file.as_ref()?.offset;
    (vma.start.checked_sub(addr) == Some(offset)).then(|| attachment(vma)).flatten()
}

impl CurrentTask {
    /// shmat(2). Returns the address.
    ///
    /// # Errors
    /// `EINVAL` for an id or an address; `EACCES`; `ENOMEM`.
    pub fn shmat(&self, shmid: i32, addr: u64, flags: i32) -> Result<u64, Errno> {
        let remap = flags & SHM_REMAP != 0;
        let addr = match addr % PAGE_SIZE {
            0 => addr,
            rest if flags & SHM_RND != 0 => addr - rest,
            _ => return Err(EINVAL),
        };
        if addr == 0 && remap {
            return Err(EINVAL);
        }
        let (mut prot, mut mode) = (Prot::READ, S_IRUGO);
        let mut max_prot = Prot::all();
        if flags & SHM_RDONLY == 0 {
            prot |= Prot::WRITE;
            mode |= S_IWUGO;
        } else {
            max_prot -= Prot::WRITE;
        }
        if flags & SHM_EXEC != 0 {
            prot |= Prot::EXEC;
            mode |= S_IXUGO;
        }
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let (attach, size) = {
            let mut state = ns.shm.lock();
            let segment = state.ids.get_mut(shmid)?;
            if !segment.perm.permits(&cred, &ns.user_ns, mode) {
                return Err(EACCES);
            }
            let attach = ShmAttach {
                ids: ns.shm.clone(),
                id: shmid,
                file: segment.file.clone(),
                clocks: self.kernel().clocks.clone(),
            };
            // Held until it is mapped, so that it does not go meanwhile.
            segment.nattch += 1;
            (Arc::new(attach), segment.size)
        };
        let place = match addr {
            0 => Placement::Hint(0),
            addr if remap => Placement::Fixed(addr),
            addr => Placement::FixedNoReplace(addr),
        };
        self.kernel().note_shm();
        let mapped = self.map_segment(&attach, size, place, prot, max_prot);
        let gone = {
            let mut state = ns.shm.lock();
            if let Ok(segment) = state.ids.get_mut(shmid) {
                segment.nattch = segment.nattch.saturating_sub(1);
                if mapped.is_ok() {
                    segment.lpid = Some(self.ipc_pid());
                }
            }
            state.destroy_unused(shmid)
        };
        drop(gone);
        mapped
    }

    fn map_segment(
        &self,
        attach: &Arc<ShmAttach>,
        size: u64,
        place: Placement,
        prot: Prot,
        max_prot: Prot,
    ) -> Result<u64, Errno> {
        if let Placement::FixedNoReplace(addr) = place
            && addr.checked_add(size).is_none()
        {
            return Err(EINVAL);
        }
        let mappable = attach.file.ops().mmap(&attach.file)?;
        let file: Arc<dyn MappedFile> = attach.clone();
        let request = MmapRequest {
            place,
            len: size,
            prot,
            max_prot,
            flags: VmFlags::SHARED,
            file: Some(VmaFile { mappable, file: Some(file), offset: 0 }),
            name: None,
            populate: false,
        };
        let mapped = self.user()?.mmap(&request, &self.mm_limits());
        mapped.map_err(|e| if e == EEXIST { EINVAL } else { e })
    }

    /// shmdt(2): unmaps what is left of the attachment that began at `addr`.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub fn shmdt(&self, addr: u64) -> Result<(), Errno> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let mm = self.user()?;
        let vmas = mm.vmas();
        let mut rest = vmas.iter().filter(|v| v.end > addr);
        let first = rest.find(|v| starts_at(v, addr).is_some()).ok_or(EINVAL)?;
        let attach = starts_at(first, addr).ok_or(EINVAL)?;
        let size = attach.file.ops().size(&attach.file)?.next_multiple_of(PAGE_SIZE);
        if let Ok(segment) = attach.ids.lock().ids.get_mut(attach.id) {
            segment.lpid = Some(self.ipc_pid());
        }
        mm.munmap(first.start, first.end - first.start)?;
        for vma in rest.take_while(|v| v.end - addr <= size) {
            if starts_at(vma, addr).is_some_and(|a| std::ptr::eq(a, attach)) {
                mm.munmap(vma.start, vma.end - vma.start)?;
            }
        }
        Ok(())
    }

    /// The task is about to let go of its address space: it is the last one to have used its segments. Linux gets there by
    /// `shm_close`, which runs in the task that ends.
    pub(crate) fn note_last_user(&self, mm: &MemoryManager) {
        if !self.kernel().has_shm() {
            return;
        }
        let pid = self.ipc_pid();
        for vma in mm.vmas() {
            if let Some(attach) = attachment(&vma)
                && let Ok(segment) = attach.ids.lock().ids.get_mut(attach.id)
            {
                segment.lpid = Some(pid.clone());
            }
        }
    }
}
