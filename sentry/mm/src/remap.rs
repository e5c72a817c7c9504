//! Linux: mm/mmap.c, `remap_file_pages`.

use crate::{MemoryManager, MmLimits, MmapRequest, PAGE_SIZE, Placement, VmFlags, VmaFile, VmaInfo};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::sync::Arc;

/// Whether `next` goes on where `vma` ends, in what both are.
fn continues(vma: &VmaInfo, next: &VmaInfo) -> bool {
    let file = |v: &VmaInfo| v.file.as_ref().map(|f| Arc::as_ptr(&f.mappable).cast::<()>());
    vma.end == next.start && file(vma) == file(next) && vma.flags == next.flags && vma.prot == next.prot
}

impl MemoryManager {
    /// remap_file_pages(2): a range of a shared mapping shows the file from page `pgoff` on.
    ///
    /// # Errors
    /// `EINVAL` for a range that is none, or not of one shared mapping; those of mmap(2).
    pub fn remap_file_pages(
        &self,
        start: u64,
        size: u64,
        pgoff: u64,
        limits: &MmLimits,
    ) -> Result<(), Errno> {
        let mask = !(PAGE_SIZE - 1);
        let (start, size) = (start & mask, size & mask);
        let end = start.checked_add(size).filter(|end| *end > start).ok_or(EINVAL)?;
        pgoff.checked_add(size / PAGE_SIZE).ok_or(EINVAL)?;
        let offset = pgoff.checked_mul(PAGE_SIZE).filter(|o| o.checked_add(size).is_some()).ok_or(EINVAL)?;
        let vma = self.vma_at(start).filter(|v| v.flags.contains(VmFlags::SHARED)).ok_or(EINVAL)?;
        let mut last = vma.clone();
        while last.end < end {
            last = self.vma_at(last.end).filter(|next| continues(&last, next)).ok_or(EINVAL)?;
        }
        let file = vma.file.map(|f| VmaFile { offset, ..f });
        let request = MmapRequest {
            place: Placement::Fixed(start),
            len: size,
            prot: vma.prot,
            max_prot: vma.max_prot,
            flags: vma.flags,
            file,
            name: vma.name,
            populate: true,
        };
        self.mmap(&request, limits).map(drop)
    }
}
