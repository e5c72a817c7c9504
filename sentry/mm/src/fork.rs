//! Linux: kernel/fork.c, `dup_mmap`; mm/memory.c, `copy_page_range`.

use crate::fault::COW_CLUSTER;
use crate::mm::{Inner, push_map};
use crate::vma::{Pma, PmaMap, Vma, VmaMap, find_pma, find_vma, page_down, split_pma};
use crate::{MemoryManager, PAGE_SIZE, VmFlags};
use platform::{MapOp, Prot};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOMEM;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most that is copied at once.
const COPIED: u64 = 64 << 10;
/// What a stack pointer's page and its neighbours hold that both sides of a fork soon write to: below and above.
const BELOW: u64 = PAGE_SIZE;
const ABOVE: u64 = 2 * PAGE_SIZE;

impl MemoryManager {
    /// Notes that more than one task runs in the address space from here on.
    pub fn note_sibling(&self) {
        self.has_siblings.store(true, Ordering::Relaxed);
    }

    /// A copy for fork(2): private pages are shared until one side writes. A few that both sides will write to are copied
    /// at once, which costs a tenth of the two faults: those about the stack pointer, `stack`, and small stretches that
    /// the parent has written to since its last fork. Not so where other threads may write meanwhile: they could go on with
    /// what has been copied and what has not, and the child see the later of two writes but not the earlier.
    pub fn fork(&self, stack: u64) -> Result<Arc<MemoryManager>, Errno> {
        let mut parent = self.inner.write();
        let mut child = Inner {
            vmas: VmaMap::new(),
            pmas: PmaMap::new(),
            mmap_base: parent.mmap_base,
            cow_cluster: COW_CLUSTER,
            brk_start: parent.brk_start,
            brk: parent.brk,
            total: 0,
            data: 0,
            locked: 0,
            def_flags: VmFlags::empty(),
            peak: parent.peak,
        };
        parent.cow_cluster = COW_CLUSTER;
        let mut parent_ops = Vec::new();
        let mut child_ops = Vec::new();
        for (start, vma) in &parent.vmas {
            if vma.flags.contains(VmFlags::DONTCOPY) {
                continue;
            }
            let mut copy = vma.clone();
            copy.flags -= VmFlags::LOCKED;
            child.account(&copy, copy.end - start, true);
            child.vmas.insert(*start, copy);
        }
        // PMAs are cut at VMA borders first, so that each has one set of properties.
        let borders: Vec<u64> = parent.vmas.iter().flat_map(|(s, v)| [*s, v.end]).collect();
        for b in borders {
            split_pma(&mut parent.pmas, b);
        }
        let mut budget = 0;
        if !self.has_siblings.load(Ordering::Relaxed) {
            parent.cut_out_stack_top(stack);
            budget = COPIED;
        }
        // New views are opened when the lock is free again.
        let held = self.held.lock().clone();
        held.cut_out(&mut parent);
        let inner = &mut *parent;
        for (start, pma) in &mut inner.pmas {
            let Some((_, vma)) = find_vma(&child.vmas, *start) else { continue };
            if vma.flags.contains(VmFlags::WIPEONFORK) {
                continue;
            }
            let len = pma.end - start;
            let is_private = pma.anonymous && !vma.is_shared() && !pma.write_protected;
            if is_private
                && vma.prot.contains(Prot::WRITE)
                && (len <= budget || held.overlaps(*start, pma.end))
                && let Ok(frames) = self.memory.allocate_copy(pma.frame, len)
            {
                budget = budget.saturating_sub(len);
                let copy = Pma { frame: frames.start, ..*pma };
                child.pmas.insert(*start, copy);
                push_map(&self.memory, &mut child_ops, *start, &copy, vma, true);
                continue;
            }
            pma.frames(*start).for_each(|frames| self.memory.inc_ref(frames));
            if is_private {
                pma.write_protected = true;
                if vma.prot.contains(Prot::WRITE) {
                    let prot = vma.prot - Prot::WRITE;
                    parent_ops.push(MapOp::Protect { addr: *start, len, prot });
                }
            }
            child.pmas.insert(*start, *pma);
            push_map(&self.memory, &mut child_ops, *start, pma, vma, false);
        }
        let info = self.info();
        let vmas: Vec<Vma> = child.vmas.values().cloned().collect();
        let forked = MemoryManager::with_inner(self.memory.clone(), self.platform.clone(), child, info);
        let result = self.apply(parent_ops);
        drop(parent);
        let forked = forked.map_err(|_| ENOMEM)?;
        forked.text.inherit(&self.text);
        for vma in &vmas {
            forked.note_file(vma, true)?;
        }
        result?;
        forked.apply(child_ops)?;
        Ok(forked)
    }
}

impl Inner {
    /// Makes what is about the stack pointer a stretch of its own, if it has been written to since the last fork.
    fn cut_out_stack_top(&mut self, stack: u64) {
        let Some((_, pma)) = find_pma(&self.pmas, stack) else { return };
        if pma.anonymous && !pma.write_protected {
            let page = page_down(stack);
            split_pma(&mut self.pmas, page.saturating_sub(BELOW));
            split_pma(&mut self.pmas, page.saturating_add(ABOVE));
        }
    }
}
