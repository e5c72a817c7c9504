//! Linux: mm/mmap.c, `sys_brk`.

use crate::fault::POPULATED_ANON;
use crate::vma::{Vma, page_up};
use crate::{MemoryManager, MmLimits};
use platform::Prot;
use sentry_uapi::Errno;

/// A heap's growth gets its memory at once up to this size: an allocator grows it by 132 KiB.
const POPULATED_HEAP: u64 = 256 << 10;

impl MemoryManager {
    /// brk(2): moves the end of the heap, or leaves it where it is if that cannot be. Returns where it is.
    pub fn brk(&self, new: u64, limits: &MmLimits) -> u64 {
        let mut inner = self.inner.write();
        let old = inner.brk;
        if new < inner.brk_start {
            return old;
        }
        if self.set_brk(&mut inner, new, limits).is_ok() {
            inner.brk = new;
        }
        inner.brk
    }

    fn set_brk(&self, inner: &mut crate::mm::Inner, new: u64, limits: &MmLimits) -> Result<(), Errno> {
        use sentry_uapi::errno::ENOMEM;
        if new - inner.brk_start > limits.data {
            return Err(ENOMEM);
        }
        let old_page = page_up(inner.brk).ok_or(ENOMEM)?;
        let new_page = page_up(new).filter(|n| *n <= self.platform.user_range().1).ok_or(ENOMEM)?;
        if new_page <= old_page {
            return if new_page < old_page { self.unmap_locked(inner, new_page, old_page) } else { Ok(()) };
        }
        // A page is kept free below what lies above. Linux: `vm_start_gap` of the next VMA.
        if inner.overlaps(old_page, new_page.saturating_add(crate::PAGE_SIZE)) {
            return Err(ENOMEM);
        }
        let vma = Vma {
            end: new_page,
            prot: Prot::READ | Prot::WRITE,
            max_prot: Prot::all(),
            flags: inner.def_flags,
            file: None,
            name: None,
        };
        let len = new_page - old_page;
        self.may_expand(inner, &vma, len, limits)?;
        inner.account(&vma, len, true);
        inner.vmas.insert(old_page, vma.clone());
        self.merge_around(inner, old_page, new_page);
        // What the heap has grown to at first may be more than the program needs; what it asks for later it uses.
        let grows = old_page > page_up(inner.brk_start).ok_or(ENOMEM)?;
        let populated = if grows { POPULATED_HEAP } else { POPULATED_ANON };
        self.map_anonymous_up_to(inner, &vma, old_page, new_page, populated).map_err(|_| ENOMEM)
    }
}
