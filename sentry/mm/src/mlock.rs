//! Linux: mm/mlock.c.

use crate::vma::{find_vma, page_down, page_up};
use crate::{MemoryManager, MmLimits, VmFlags};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOMEM};

impl MemoryManager {
    /// mlock(2), mlock2(2) with MLOCK_ONFAULT (`populate` false) and munlock(2) (`lock` false).
    pub fn mlock(
        &self,
        addr: u64,
        len: u64,
        lock: bool,
        populate: bool,
        limits: &MmLimits,
    ) -> Result<(), Errno> {
        let start = page_down(addr);
        let len = page_up(len.checked_add(addr - start).ok_or(EINVAL)?).ok_or(EINVAL)?;
        let end = start.checked_add(len).ok_or(EINVAL)?;
        let mut inner = self.inner.write();
        if lock {
            let already: u64 = inner
                .vmas
                .range(..end)
                .filter(|(_, v)| v.end > start && v.flags.contains(VmFlags::LOCKED))
                .map(|(s, v)| v.end.min(end) - (*s).max(start))
                .sum();
            if inner.locked.saturating_add(len - already.min(len)) > limits.memlock {
                return Err(ENOMEM);
            }
        }
        if start == end {
            return Ok(());
        }
        let mut at = start;
        while at < end {
            let Some((_, vma)) = find_vma(&inner.vmas, at) else { return Err(ENOMEM) };
            let stop = vma.end.min(end);
            if vma.flags.contains(VmFlags::LOCKED) != lock {
                self.split_at(&mut inner, at)?;
                self.split_at(&mut inner, stop)?;
                if let Some(v) = inner.vmas.get_mut(&at) {
                    v.flags.set(VmFlags::LOCKED, lock);
                }
                inner.locked =
                    if lock { inner.locked + (stop - at) } else { inner.locked.saturating_sub(stop - at) };
            }
            at = stop;
        }
        self.merge_around(&mut inner, start, end);
        if lock && populate {
            self.populate_locked(&mut inner, start, end, true).map_err(|_| ENOMEM)?;
        }
        Ok(())
    }

    /// mlockall(2): `current` and `future` mappings. Both false is munlockall(2).
    pub fn mlockall(
        &self,
        current: bool,
        future: bool,
        on_fault: bool,
        limits: &MmLimits,
    ) -> Result<(), Errno> {
        let mut inner = self.inner.write();
        if current && inner.total > limits.memlock {
            return Err(ENOMEM);
        }
        inner.def_flags.set(VmFlags::LOCKED, future);
        let lock = current;
        if !current && future {
            return Ok(());
        }
        let mut locked = 0;
        for (start, vma) in &mut inner.vmas {
            vma.flags.set(VmFlags::LOCKED, lock);
            if lock {
                locked += vma.end - start;
            }
        }
        inner.locked = locked;
        if lock && !on_fault {
            let ranges: Vec<(u64, u64)> = inner.vmas.iter().map(|(s, v)| (*s, v.end)).collect();
            for (s, e) in ranges {
                let _ = self.populate_locked(&mut inner, s, e, false);
            }
        }
        Ok(())
    }
}
