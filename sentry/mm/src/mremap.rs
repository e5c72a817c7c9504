//! Linux: mm/mremap.c.

use crate::FrameRange;
use crate::mm::{Inner, push_map};
use crate::vma::{find_vma, insert_pma, page_up, take_pmas};
use crate::{MemoryManager, MmLimits, PAGE_SIZE, VmFlags};
use platform::MapOp;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EFAULT, EINVAL, ENOMEM};

/// Where mremap(2) may put the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MremapMode {
    /// Where it is.
    InPlace,
    /// Elsewhere if need be.
    MayMove,
    /// Here.
    Fixed(u64),
}

impl MemoryManager {
    /// mremap(2). Returns the new address. With `dont_unmap` the old range stays mapped, emptied.
    pub fn mremap(
        &self,
        old: u64,
        old_len: u64,
        new_len: u64,
        mode: MremapMode,
        dont_unmap: bool,
        limits: &MmLimits,
    ) -> Result<u64, Errno> {
        if !old.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let old_len = page_up(old_len).ok_or(EINVAL)?;
        let new_len = page_up(new_len).filter(|l| *l > 0).ok_or(EINVAL)?;
        let (min, max) = self.platform.user_range();
        let old_end = old.checked_add(old_len).ok_or(EINVAL)?;
        let mut inner = self.inner.write();
        if let MremapMode::Fixed(to) = mode {
            let to_end = to.checked_add(new_len).filter(|e| *e <= max && to >= min).ok_or(EINVAL)?;
            if !to.is_multiple_of(PAGE_SIZE) || (old < to_end && to < old_end) {
                return Err(EINVAL);
            }
        }
        let Some((start, vma)) = find_vma(&inner.vmas, old).map(|(s, v)| (s, v.clone())) else {
            return Err(EFAULT);
        };
        if old_len == 0 {
            // Makes a second mapping of the same shared pages.
            if !vma.is_shared() || mode == MremapMode::InPlace {
                return Err(EINVAL);
            }
        } else if vma.end < old_end {
            return Err(EFAULT);
        }
        if dont_unmap && old_len != new_len {
            return Err(EINVAL);
        }
        let stays = mode == MremapMode::InPlace || (mode == MremapMode::MayMove && !dont_unmap);
        if stays && old_len >= new_len {
            if old_len > new_len {
                self.unmap_locked(&mut inner, old + new_len, old_end)?;
            }
            return Ok(old);
        }
        let grow = new_len.saturating_sub(old_len);
        if vma.flags.contains(VmFlags::LOCKED) && inner.locked + grow > limits.memlock {
            return Err(EAGAIN);
        }
        self.may_expand(&inner, &vma, if dont_unmap { new_len } else { grow }, limits)?;
        let in_place =
            !matches!(mode, MremapMode::Fixed(_)) && !dont_unmap && old_len > 0 && old_end == vma.end;
        if in_place && old + new_len <= max && !inner.overlaps(old_end, old + new_len) {
            self.extend(&mut inner, start, old_end, old + new_len)?;
            return Ok(old);
        }
        let to = match mode {
            MremapMode::InPlace => return Err(ENOMEM),
            MremapMode::Fixed(to) => {
                self.unmap_locked(&mut inner, to, to + new_len)?;
                if old_len > new_len {
                    self.unmap_locked(&mut inner, old + new_len, old_end)?;
                }
                to
            }
            MremapMode::MayMove => self.get_unmapped_area(&inner, 0, new_len, inner.mmap_base)?,
        };
        self.move_vma(&mut inner, old, old_len.min(new_len), to, new_len, dont_unmap)?;
        Ok(to)
    }

    fn extend(&self, inner: &mut Inner, start: u64, old_end: u64, new_end: u64) -> Result<(), Errno> {
        let Some(vma) = inner.vmas.get_mut(&start) else { return Err(EFAULT) };
        vma.end = new_end;
        let vma = vma.clone();
        inner.account(&vma, new_end - old_end, true);
        if vma.file.is_none() && !vma.prot.is_empty() && new_end - old_end <= crate::fault::EAGER_ANON {
            self.map_anonymous(inner, &vma, old_end, new_end).map_err(|_| ENOMEM)?;
        }
        self.merge_around(inner, start, new_end);
        Ok(())
    }

    fn move_vma(
        &self,
        inner: &mut Inner,
        old: u64,
        old_len: u64,
        to: u64,
        new_len: u64,
        dont_unmap: bool,
    ) -> Result<(), Errno> {
        if old_len > 0 {
            self.split_at(inner, old)?;
            self.split_at(inner, old + old_len)?;
        }
        let Some((start, vma)) = find_vma(&inner.vmas, old).map(|(s, v)| (s, v.clone())) else {
            return Err(EFAULT);
        };
        let mut moved = vma.advanced(old - start);
        moved.end = to + new_len;
        self.note_file(&moved, true)?;
        inner.account(&moved, new_len, true);
        inner.vmas.insert(to, moved.clone());
        let mut ops = Vec::new();
        let pmas = take_pmas(&mut inner.pmas, old, old + old_len);
        if !pmas.is_empty() {
            ops.push(MapOp::Unmap { addr: old, len: old_len });
        }
        for (s, pma) in pmas {
            let at = to + (s - old);
            // Code that moves does not reach what was written for it where it was.
            if let Some(at) = pma.shown {
                self.memory.dec_ref(FrameRange { start: at, end: at + (pma.end - s) });
            }
            let pma = crate::vma::Pma { end: to + (pma.end - old), shown: None, ..pma };
            insert_pma(&mut inner.pmas, at, pma);
            push_map(&self.memory, &mut ops, at, &pma, &moved, false);
        }
        self.apply(ops)?;
        if moved.file.is_none() && !moved.prot.is_empty() && new_len > old_len {
            self.map_anonymous(inner, &moved, to + old_len, to + new_len).map_err(|_| ENOMEM)?;
        }
        if dont_unmap {
            if vma.file.is_none() && !vma.prot.is_empty() {
                self.map_anonymous(inner, &vma, old, old + old_len).map_err(|_| ENOMEM)?;
            }
        } else if old_len > 0 {
            self.unmap_locked(inner, old, old + old_len)?;
        }
        self.merge_around(inner, to, to + new_len);
        Ok(())
    }
}
