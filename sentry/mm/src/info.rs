//! What `/proc/[pid]/{maps,smaps,statm,status}` and getrusage(2) show. Linux: fs/proc/task_mmu.c.

use crate::mm::Inner;
use crate::vma::{Vma, VmaFile, find_vma};
use crate::{FrameRange, MemoryManager, VmFlags};
use platform::Prot;

/// One mapping.
#[derive(Clone)]
pub struct VmaInfo {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// Access.
    pub prot: Prot,
    /// The most access it may get.
    pub max_prot: Prot,
    /// Properties.
    pub flags: VmFlags,
    /// The file.
    pub file: Option<VmaFile>,
    /// `[heap]`, `[stack]`, `[vdso]` …
    pub name: Option<&'static str>,
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MmUsage {
    /// Mapped.
    pub total: u64,
    /// Most ever mapped.
    pub peak: u64,
    /// Private and writable.
    pub data: u64,
    /// Locked.
    pub locked: u64,
    /// Present in memory, of which:
    pub resident: u64,
    /// … pages of files.
    pub resident_file: u64,
    /// … pages of shared memory.
    pub resident_shared: u64,
    /// Stack mappings.
    pub stack: u64,
    /// Executable mappings.
    pub exec: u64,
}

/// Presence of the pages of one mapping, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct VmaUsage {
    /// Present.
    pub resident: u64,
    /// Present and private to the process.
    pub anonymous: u64,
}

impl MemoryManager {
    /// All mappings, ascending.
    pub fn vmas(&self) -> Vec<VmaInfo> {
        let inner = self.inner.read();
        inner.vmas.iter().map(|(start, vma)| inner.info(*start, vma)).collect()
    }

    /// The mapping that holds `addr`. Linux: `vma_lookup`.
    pub fn vma_at(&self, addr: u64) -> Option<VmaInfo> {
        let inner = self.inner.read();
        find_vma(&inner.vmas, addr).map(|(start, vma)| inner.info(start, vma))
    }

    /// Start and end of the heap.
    pub fn heap(&self) -> (u64, u64) {
        let inner = self.inner.read();
        (inner.brk_start, inner.brk)
    }

    /// Presence of the pages of a range.
    pub fn usage_of(&self, start: u64, end: u64) -> VmaUsage {
        let inner = self.inner.read();
        let mut usage = VmaUsage::default();
        for (pma, frames) in inner.frames_in(start, end) {
            let present = self.memory.resident_in(frames);
            usage.resident += present;
            usage.anonymous += if pma.anonymous { present } else { 0 };
        }
        usage
    }

    /// Sizes of the whole address space. Looks at every page: not for hot paths.
    pub fn usage(&self) -> MmUsage {
        let inner = self.inner.read();
        let mut usage = MmUsage {
            total: inner.total,
            peak: inner.peak,
            data: inner.data,
            locked: inner.locked,
            ..MmUsage::default()
        };
        for (start, vma) in &inner.vmas {
            if vma.flags.contains(VmFlags::GROWSDOWN) {
                usage.stack += vma.end - start;
            }
            if vma.prot.contains(Prot::EXEC) {
                usage.exec += vma.end - start;
            }
        }
        for (start, pma) in &inner.pmas {
            let frames = FrameRange { start: pma.frame, end: pma.frame + (pma.end - start) };
            let present = self.memory.resident_in(frames);
            usage.resident += present;
            if !pma.anonymous {
                let shm = crate::vma::find_vma(&inner.vmas, *start)
                    .is_some_and(|(_, v)| v.file.as_ref().is_some_and(|f| f.file.is_none()));
                if shm {
                    usage.resident_shared += present;
                } else {
                    usage.resident_file += present;
                }
            }
        }
        usage
    }
}

impl Inner {
    fn info(&self, start: u64, vma: &Vma) -> VmaInfo {
        let heap = self.brk_start..self.brk.max(self.brk_start);
        let is_heap = vma.file.is_none() && vma.name.is_none() && start < heap.end && vma.end > heap.start;
        VmaInfo {
            start,
            end: vma.end,
            prot: vma.prot,
            max_prot: vma.max_prot,
            flags: vma.flags,
            file: vma.file.clone(),
            name: if is_heap { Some("[heap]") } else { vma.name },
        }
    }
}
