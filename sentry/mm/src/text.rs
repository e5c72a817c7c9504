//! Showing guest code other text than the sentry and everybody else sees. See [`crate::CallSites`].

use crate::mm::{Inner, push_map};
use crate::vma::{Pma, Vma, find_pma, find_vma, insert_pma, page_down, take_pmas};
use crate::{CallSites, FrameRange, Mappable, MemoryManager, MmLimits, PAGE_SIZE};
use platform::{MapOp, Prot};
use sentry_uapi::Errno;
use sentry_uapi::errno::EFAULT;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether an address space may be, and is, shown rewritten text.
#[derive(Default)]
pub(crate) struct TextState {
    shown: AtomicBool,
    refused: AtomicBool,
}

impl TextState {
    pub(crate) fn inherit(&self, other: &TextState) {
        self.shown.store(other.shown.load(Ordering::Relaxed), Ordering::Relaxed);
        self.refused.store(other.refused.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Program text at an address.
pub struct TextAt {
    /// The file.
    pub file: Arc<dyn Mappable>,
    /// Offset in the file of the address.
    pub offset: u64,
    /// Offsets in the file between which it is mapped.
    pub mapped: (u64, u64),
}

/// Whether the pages of a mapping may be shown in another version.
fn is_text(vma: &Vma) -> bool {
    vma.prot.contains(Prot::EXEC) && !vma.prot.contains(Prot::WRITE) && !vma.is_shared()
}

impl MemoryManager {
    /// The program text at `addr`; `None` if nothing is mapped there that could be rewritten.
    pub fn text_at(&self, addr: u64) -> Option<TextAt> {
        let inner = self.inner.read();
        let (start, vma) = find_vma(&inner.vmas, addr).filter(|(_, vma)| is_text(vma))?;
        let file = vma.file.as_ref()?;
        Some(TextAt {
            file: file.mappable.clone(),
            offset: vma.file_offset(start, addr),
            mapped: (file.offset, file.offset + (vma.end - start)),
        })
    }

    /// Whether guest code is shown a copy of the page at `addr`.
    pub fn is_text_shown(&self, addr: u64) -> bool {
        find_pma(&self.inner.read().pmas, addr).is_some_and(|(_, pma)| pma.shown.is_some())
    }

    /// Whether guest code is, or was, shown rewritten text.
    pub fn shows_text(&self) -> bool {
        self.text.shown.load(Ordering::Relaxed)
    }

    /// Whether guest code may be shown rewritten text.
    pub fn may_show_text(&self) -> bool {
        !self.text.refused.load(Ordering::Relaxed)
    }

    /// Shows guest code the file's copy of the page at `addr`. Does nothing if there is none, or if the page is not
    /// the file's any more.
    ///
    /// # Errors
    /// `ENOMEM` when the host cannot map it, `EFAULT` if the page is not there.
    pub fn show_text(&self, addr: u64, limits: &MmLimits) -> Result<(), Errno> {
        self.show_text_after(addr, limits, None)
    }

    /// [`Self::show_text`] where other threads may be in the middle of what changes. In between nobody can execute the page,
    /// and `stop` has all others leave guest code, so that they find out where to go on: who runs there faults, and who does
    /// not run has a signal to take first.
    ///
    /// # Errors
    /// As [`Self::show_text`].
    pub fn exchange_text(&self, addr: u64, limits: &MmLimits, stop: &dyn Fn()) -> Result<(), Errno> {
        self.show_text_after(addr, limits, Some(stop))
    }

    fn show_text_after(&self, addr: u64, limits: &MmLimits, stop: Option<&dyn Fn()>) -> Result<(), Errno> {
        let page = page_down(addr);
        // Faults wait for the lock until the page is there again.
        let mut inner = self.inner.write();
        if find_pma(&inner.pmas, page).is_none() {
            // This shows the copy, too, and nobody can be there.
            self.text.shown.store(true, Ordering::Relaxed);
            return self.fault_locked(&mut inner, page, Prot::EXEC, limits).map_err(|_| EFAULT);
        }
        let Some((start, vma)) = find_vma(&inner.vmas, page).map(|(start, vma)| (start, vma.clone())) else {
            return Ok(());
        };
        let Some(sites) = self.sites_shown(start, &vma) else { return Ok(()) };
        let protect = |prot: Prot| MapOp::Protect { addr: page, len: PAGE_SIZE, prot };
        let mut ops = Vec::new();
        if let Some(stop) = stop {
            self.apply(vec![protect(vma.prot - Prot::EXEC)])?;
            stop();
        }
        let offset = vma.file_offset(start, page);
        let old = self.show_page(&mut inner, &mut ops, sites, &vma, page, offset);
        if stop.is_some() && ops.is_empty() {
            // There is no copy.
            ops.push(protect(vma.prot));
        }
        let result = self.apply(ops);
        old.into_iter().for_each(|frames| self.memory.dec_ref(frames));
        result
    }

    /// What is known of a mapping's calls, if guest code may be shown it rewritten.
    pub(crate) fn sites_shown<'a>(&self, start: u64, vma: &'a Vma) -> Option<&'a CallSites> {
        let file = vma.file.as_ref().filter(|_| is_text(vma) && self.may_show_text())?;
        let sites = file.mappable.call_sites()?;
        // Jumps must lead somewhere.
        let cave = page_down(sites.cave()?.end - 1);
        let end = file.offset.saturating_add(vma.end - start);
        (file.offset..end).contains(&cave).then_some(sites)
    }

    /// Shows the copies of the pages of a PMA that has just been entered at `start`, where the file has `offset`.
    pub(crate) fn show_known(
        &self,
        inner: &mut Inner,
        ops: &mut Vec<MapOp>,
        sites: &CallSites,
        vma: &Vma,
        start: u64,
        offset: u64,
    ) {
        let Some((pma_start, pma)) = find_pma(&inner.pmas, start) else { return };
        let end = offset + (pma.end - start.max(pma_start));
        for page in sites.pages(offset, end) {
            let old = self.show_page(inner, ops, sites, vma, start + (page - offset), page);
            old.into_iter().for_each(|frames| self.memory.dec_ref(frames));
        }
    }

    /// Enters the copy of one page that is present. Gives the copy that it takes the place of.
    fn show_page(
        &self,
        inner: &mut Inner,
        ops: &mut Vec<MapOp>,
        sites: &CallSites,
        vma: &Vma,
        page: u64,
        offset: u64,
    ) -> Option<FrameRange> {
        let (start, pma) = find_pma(&inner.pmas, page).filter(|(_, pma)| !pma.anonymous)?;
        let frames = sites.shown(offset, pma.frame + (page - start))?;
        self.text.shown.store(true, Ordering::Relaxed);
        let mut old = None;
        for (start, pma) in take_pmas(&mut inner.pmas, page, page + PAGE_SIZE) {
            old = pma.shown.map(|at| FrameRange { start: at, end: at + PAGE_SIZE });
            let pma = Pma { shown: Some(frames.start), ..pma };
            insert_pma(&mut inner.pmas, start, pma);
            push_map(&self.memory, ops, start, &pma, vma, true);
        }
        old
    }

    /// Shows guest code the file's own pages in a range again.
    pub(crate) fn hide_text_in(&self, inner: &mut Inner, start: u64, end: u64) -> Result<(), Errno> {
        let shown: Vec<(u64, Pma)> = inner
            .pmas
            .range(start..end)
            .filter(|(_, pma)| pma.shown.is_some())
            .map(|(s, p)| (*s, *p))
            .collect();
        let mut ops = Vec::new();
        for (at, pma) in &shown {
            let Some((_, vma)) = find_vma(&inner.vmas, *at) else { continue };
            let own = Pma { shown: None, ..*pma };
            push_map(&self.memory, &mut ops, *at, &own, vma, true);
            take_pmas(&mut inner.pmas, *at, pma.end);
            insert_pma(&mut inner.pmas, *at, own);
        }
        let result = self.apply(ops);
        for (at, pma) in shown {
            pma.frames(at).skip(1).for_each(|frames| self.memory.dec_ref(frames));
        }
        result
    }

    /// Shows guest code the file's own pages again, and no others from then on; caves excepted, which somebody may be in.
    ///
    /// # Errors
    /// `ENOMEM` when the host cannot map them.
    pub fn hide_text(&self) -> Result<(), Errno> {
        self.text.refused.store(true, Ordering::Relaxed);
        let mut inner = self.inner.write();
        let is_cave = |vmas: &crate::vma::VmaMap, at: u64| {
            find_vma(vmas, at).is_some_and(|(start, vma)| {
                let sites = vma.file.as_ref().and_then(|file| file.mappable.call_sites());
                let cave = sites.and_then(CallSites::cave);
                cave.is_some_and(|cave| page_down(cave.end - 1) == vma.file_offset(start, at))
            })
        };
        let pages: Vec<u64> =
            inner.pmas.iter().filter(|(_, pma)| pma.shown.is_some()).map(|(start, _)| *start).collect();
        for page in pages {
            if !is_cave(&inner.vmas, page) {
                self.hide_text_in(&mut inner, page, page + PAGE_SIZE)?;
            }
        }
        Ok(())
    }
}
