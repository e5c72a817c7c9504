//! Linux: mm/mprotect.c.

use crate::mm::{Inner, push_map};
use crate::vma::{find_vma, page_up, split_pma};
use crate::{MemoryManager, MmLimits, PAGE_SIZE, VmFlags};
use platform::{MapOp, Prot};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, ENOMEM};

impl MemoryManager {
    /// mprotect(2). `grows_down` is PROT_GROWSDOWN: the change extends to the start of a stack.
    pub fn mprotect(
        &self,
        addr: u64,
        len: u64,
        prot: Prot,
        grows_down: bool,
        limits: &MmLimits,
    ) -> Result<(), Errno> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let end = page_up(len).and_then(|l| addr.checked_add(l)).ok_or(ENOMEM)?;
        let mut inner = self.inner.write();
        let Some((first, vma)) = find_vma(&inner.vmas, addr) else { return Err(ENOMEM) };
        let mut start = addr;
        if grows_down {
            if !vma.flags.contains(VmFlags::GROWSDOWN) {
                return Err(EINVAL);
            }
            start = first;
        }
        // Linux changes VMA by VMA and keeps what it has done when it meets a hole or a refusal.
        let mut at = start;
        let mut result = Ok(());
        while at < end {
            let Some((vma_start, vma)) = find_vma(&inner.vmas, at) else {
                result = Err(ENOMEM);
                break;
            };
            if !vma.max_prot.contains(prot) {
                result = Err(EACCES);
                break;
            }
            let stop = vma.end.min(end);
            if vma.prot != prot {
                let mut changed = vma.clone();
                changed.prot = prot;
                let becomes_data = prot.contains(Prot::WRITE) && !vma.prot.contains(Prot::WRITE);
                if becomes_data && let Err(e) = self.may_become_data(&inner, &changed, stop - at, limits) {
                    result = Err(e);
                    break;
                }
                if at != vma_start {
                    self.split_at(&mut inner, at)?;
                }
                self.split_at(&mut inner, stop)?;
                self.protect_one(&mut inner, at, prot)?;
            }
            at = stop;
        }
        self.merge_around(&mut inner, start, end);
        result
    }

    fn may_become_data(
        &self,
        inner: &Inner,
        vma: &crate::vma::Vma,
        len: u64,
        limits: &MmLimits,
    ) -> Result<(), Errno> {
        let unlimited = MmLimits { address_space: u64::MAX, ..*limits };
        self.may_expand(inner, vma, len, &unlimited)
    }

    /// Changes the access of the one VMA that starts at `start`.
    fn protect_one(&self, inner: &mut Inner, start: u64, prot: Prot) -> Result<(), Errno> {
        let Some(old) = inner.vmas.get(&start).cloned() else { return Ok(()) };
        let end = old.end;
        inner.account(&old, end - start, false);
        let mut vma = old.clone();
        vma.prot = prot;
        inner.account(&vma, end - start, true);
        inner.vmas.insert(start, vma.clone());
        split_pma(&mut inner.pmas, start);
        split_pma(&mut inner.pmas, end);
        let pmas: Vec<_> = inner.pmas.range(start..end).map(|(s, p)| (*s, *p)).collect();
        let mut ops = Vec::new();
        if prot != old.prot && pmas.iter().any(|(_, pma)| pma.shown.is_some()) {
            self.hide_text_in(inner, start, end)?;
        }
        let pmas: Vec<_> = inner.pmas.range(start..end).map(|(s, p)| (*s, *p)).collect();
        if prot.is_empty() {
            if !pmas.is_empty() {
                ops.push(MapOp::Unmap { addr: start, len: end - start });
            }
            return self.apply(ops);
        }
        for (s, pma) in &pmas {
            if old.prot.is_empty() {
                push_map(&self.memory, &mut ops, *s, pma, &vma, false);
            } else {
                let prot = crate::mm::map_prot(&vma, pma);
                if prot.is_empty() {
                    ops.push(MapOp::Unmap { addr: *s, len: pma.end - s });
                } else if crate::mm::map_prot(&old, pma).is_empty() {
                    push_map(&self.memory, &mut ops, *s, pma, &vma, false);
                } else {
                    ops.push(MapOp::Protect { addr: *s, len: pma.end - s, prot });
                }
            }
        }
        self.apply(ops)?;
        // Memory that was reserved without access gets its frames when it is first given some.
        if vma.file.is_none() && pmas.is_empty() && end - start <= crate::fault::EAGER_ANON {
            self.map_anonymous(inner, &vma, start, end).map_err(|_| ENOMEM)?;
        }
        Ok(())
    }
}
