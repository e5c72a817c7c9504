//! Linux: mm/memory.c, `handle_mm_fault`; arch/x86/mm/fault.c.

use crate::huge::part_for_huge;
use crate::mm::{Inner, push_map};
use crate::vma::{Pma, Vma, VmaFile, find_pma, find_vma, insert_pma, page_down, take_pmas};
use crate::{FrameRange, MapFault, MemoryManager, MmLimits, PAGE_SIZE, VmFlags};
use platform::{AccessType, MapOp, Prot};
use sentry_uapi::Errno;
use sentry_uapi::errno::EFAULT;
use sentry_uapi::signal::{BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR, SIGBUS, SIGSEGV};
use std::sync::atomic::Ordering;

/// Anonymous memory up to this size gets its frames when it is mapped; of more, this much at a time when it is touched.
pub(crate) const EAGER_ANON: u64 = 1 << 34;
/// Up to this size it gets its memory with its frames: what is so small is used as a rule, and a fault costs four times
/// what a page does that is entered with others.
pub(crate) const POPULATED_ANON: u64 = 64 << 10;
/// Up to this size, file pages are entered in the host's page tables with the mapping. The host enters as many at a fault, so
/// more would cost more than it saves: of a library, a program touches a part.
const POPULATED_FILE: u64 = 64 << 10;
/// File pages entered by one fault.
const FILE_CLUSTER: u64 = 256 << 10;
/// The same where they are the host's, so that nothing is read.
pub(crate) const HOST_FILE_CLUSTER: u64 = 1 << 30;
/// Least and most that one copy-on-write fault copies: twice as much with each since the last exec or fork.
pub(crate) const COW_CLUSTER: u64 = 32 << 10;
const COW_CLUSTER_MAX: u64 = 256 << 10;
/// A stack grows by this much at a time, where there is room.
const STACK_STEP: u64 = 128 << 10;
/// Room kept between a stack and the mapping below it. Linux: `stack_guard_gap`.
pub(crate) const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE;

/// The signal a fault ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// SIGSEGV or SIGBUS with this `si_code`.
    Signal {
        /// Signal number.
        signo: i32,
        /// `si_code`.
        code: i32,
    },
    /// No memory: SIGKILL.
    OutOfMemory,
}

const MAPERR: FaultError = FaultError::Signal { signo: SIGSEGV, code: SEGV_MAPERR };
const ACCERR: FaultError = FaultError::Signal { signo: SIGSEGV, code: SEGV_ACCERR };

impl From<MapFault> for FaultError {
    fn from(fault: MapFault) -> FaultError {
        match fault {
            MapFault::Bus => FaultError::Signal { signo: SIGBUS, code: BUS_ADRERR },
            MapFault::OutOfMemory => FaultError::OutOfMemory,
        }
    }
}

impl FaultError {
    /// Why frames could not be copied.
    pub(crate) fn of_copy(error: Errno) -> FaultError {
        match error {
            // The host's file has become shorter.
            EFAULT => MapFault::Bus.into(),
            _ => FaultError::OutOfMemory,
        }
    }
}

/// Tells a fault that repeats from one that another thread resolved in the meantime; part of a task's own state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultHistory {
    last: Option<(u64, u64, u64, u64)>,
}

impl MemoryManager {
    /// Resolves a fault of guest code at instruction `rip`.
    pub fn handle_guest_fault(
        &self,
        addr: u64,
        access: AccessType,
        rip: u64,
        history: &mut FaultHistory,
        limits: &MmLimits,
    ) -> Result<(), FaultError> {
        self.count_fault();
        let mut inner = self.inner.write();
        let now = (addr, rip, self.changes.load(Ordering::Relaxed), self.id());
        let repeated = history.last == Some(now);
        let wants = match access {
            // The platform may have been misled by code that another thread rewrites.
            _ if repeated => None,
            AccessType::Read => Some(Prot::READ),
            AccessType::Write => Some(Prot::WRITE),
            AccessType::Execute => Some(Prot::EXEC),
            AccessType::Unknown => None,
        };
        let wants = match wants {
            Some(w) => w,
            None => {
                match self.guess_access(&mut inner, addr, repeated, limits)? {
                    Some(w) => w,
                    None => {
                        // Everything the VMA grants is mapped: another thread was faster, or the access is not allowed.
                        // Looking again tells.
                        history.last = Some(now);
                        return Ok(());
                    }
                }
            }
        };
        let result = self.fault_locked(&mut inner, addr, wants, limits);
        history.last = result.is_ok().then_some(now);
        result
    }

    /// What kind of access faulted at `addr`, where the platform does not say. `None`: it should have succeeded.
    fn guess_access(
        &self,
        inner: &mut Inner,
        addr: u64,
        repeated: bool,
        limits: &MmLimits,
    ) -> Result<Option<Prot>, FaultError> {
        self.grow_stack(inner, addr, limits)?;
        let Some((_, vma)) = find_vma(&inner.vmas, addr) else { return Err(MAPERR) };
        if vma.prot.is_empty() {
            return Err(ACCERR);
        }
        match find_pma(&inner.pmas, addr) {
            None if vma.prot.contains(Prot::READ) => Ok(Some(Prot::READ)),
            None => Ok(Some(vma.prot)),
            Some((_, pma)) if pma.write_protected && vma.prot.contains(Prot::WRITE) => Ok(Some(Prot::WRITE)),
            Some(_) if repeated => Err(ACCERR),
            Some(_) => Ok(None),
        }
    }

    /// Makes the page at `addr` accessible for `wants`.
    pub(crate) fn fault_locked(
        &self,
        inner: &mut Inner,
        addr: u64,
        wants: Prot,
        limits: &MmLimits,
    ) -> Result<(), FaultError> {
        self.grow_stack(inner, addr, limits)?;
        let Some((start, vma)) = find_vma(&inner.vmas, addr) else { return Err(MAPERR) };
        let allowed = vma.prot.contains(wants) || (wants == Prot::READ && !vma.prot.is_empty());
        if !allowed {
            return Err(ACCERR);
        }
        let vma = vma.clone();
        let page = page_down(addr);
        match find_pma(&inner.pmas, page) {
            None => self.fault_missing(inner, start, &vma, page, wants.contains(Prot::WRITE)),
            Some((pma_start, pma)) if pma.write_protected && wants.contains(Prot::WRITE) => {
                self.fault_write(inner, start, &vma, page, pma_start, pma)
            }
            Some((pma_start, pma)) => {
                // Mapped already; map it again in case the address space does not know yet. That is no change.
                let mut ops = Vec::new();
                push_map(&self.memory, &mut ops, pma_start, &pma, &vma_slice(&vma), false);
                self.apply_again(ops).map_err(|_| FaultError::OutOfMemory)
            }
        }
    }

    fn fault_missing(
        &self,
        inner: &mut Inner,
        start: u64,
        vma: &Vma,
        page: u64,
        write: bool,
    ) -> Result<(), FaultError> {
        // The hole in the PMAs around the page bounds what may be entered.
        let low = inner.pmas.range(..page).next_back().map_or(start, |(_, p)| p.end.max(start));
        let high = inner.pmas.range(page..).next().map_or(vma.end, |(s, _)| (*s).min(vma.end));
        let Some(f) = &vma.file else {
            let from = low.max(page & !(EAGER_ANON - 1));
            let to = high.min((page & !(EAGER_ANON - 1)).saturating_add(EAGER_ANON));
            return self.map_anonymous(inner, vma, from, to);
        };
        let private_write = write && !vma.is_shared();
        let cluster = if f.mappable.is_host_mapped() { HOST_FILE_CLUSTER } else { FILE_CLUSTER };
        let from = low.max(page & !(cluster - 1));
        let to = high.min((page & !(cluster - 1)) + cluster);
        self.map_file(inner, start, vma, page, to, write && vma.is_shared())?;
        if from < page {
            // What lies before the page is a bonus: no error.
            let _ = self.map_file(inner, start, vma, from, page, false);
        }
        debug_assert!(f.offset.is_multiple_of(PAGE_SIZE));
        if private_write && let Some((pma_start, pma)) = find_pma(&inner.pmas, page) {
            return self.fault_write(inner, start, vma, page, pma_start, pma);
        }
        Ok(())
    }

    /// Gives `from..to` of an anonymous VMA frames of its own.
    pub(crate) fn map_anonymous(
        &self,
        inner: &mut Inner,
        vma: &Vma,
        from: u64,
        to: u64,
    ) -> Result<(), FaultError> {
        self.map_anonymous_up_to(inner, vma, from, to, POPULATED_ANON)
    }

    /// The same, with memory behind the frames at once if they are `populated` bytes at most.
    pub(crate) fn map_anonymous_up_to(
        &self,
        inner: &mut Inner,
        vma: &Vma,
        from: u64,
        to: u64,
        populated: u64,
    ) -> Result<(), FaultError> {
        let mut ops = Vec::new();
        let mut enter = |frames: Result<FrameRange, Errno>, from, to, populate| -> Result<(), FaultError> {
            let frame = frames.map_err(|_| FaultError::OutOfMemory)?.start;
            let pma = Pma { end: to, frame, write_protected: false, anonymous: true, shown: None };
            insert_pma(&mut inner.pmas, from, pma);
            push_map(&self.memory, &mut ops, from, &pma, vma, populate);
            Ok(())
        };
        let huge = if self.memory.has_huge_pages() { part_for_huge(vma, from, to) } else { None };
        let (start, end) = huge.unwrap_or((to, to));
        if start < end {
            enter(self.memory.allocate_huge(end - start), start, end, false)?;
        }
        for (from, to) in [(from, start), (end, to)].into_iter().filter(|(from, to)| from < to) {
            match self.memory.allocate_present(to - from) {
                Some(frames) => enter(Ok(frames), from, to, true)?,
                None => {
                    enter(self.memory.allocate_at(to - from, from), from, to, to - from <= populated)?;
                }
            }
        }
        self.apply(ops).map_err(|_| FaultError::OutOfMemory)
    }

    /// [`crate::Mappable::map_pages`], of pages that belong to the file still. Those that stop to from here on are taken out
    /// of the address space when its lock is free.
    pub(crate) fn pages_of(
        &self,
        file: &VmaFile,
        offset: u64,
        max: u64,
        write: bool,
    ) -> Result<FrameRange, MapFault> {
        loop {
            let generation = file.mappable.generation();
            let frames = file.mappable.map_pages(offset, max, write)?;
            if file.mappable.generation() == generation {
                return Ok(frames);
            }
            self.memory.dec_ref(frames);
        }
    }

    /// Enters pages `from..to` of a file mapping, as far as the file has them. Fails only if there is none at `from`.
    pub(crate) fn map_file(
        &self,
        inner: &mut Inner,
        start: u64,
        vma: &Vma,
        from: u64,
        to: u64,
        write: bool,
    ) -> Result<(), FaultError> {
        let Some(f) = &vma.file else { return Ok(()) };
        let mut ops = Vec::new();
        let mut at = from;
        let mut result = Ok(());
        while at < to {
            let frames = match self.pages_of(f, vma.file_offset(start, at), to - at, write) {
                Ok(frames) => frames,
                Err(fault) => {
                    if at == from {
                        result = Err(fault.into());
                    }
                    break;
                }
            };
            let end = at + frames.len();
            let write_protected = if vma.is_shared() { !write } else { true };
            for old in inner.take_frames(at, end) {
                self.memory.dec_ref(old);
            }
            let pma = Pma { end, frame: frames.start, write_protected, anonymous: false, shown: None };
            insert_pma(&mut inner.pmas, at, pma);
            push_map(&self.memory, &mut ops, at, &pma, vma, end - at <= POPULATED_FILE);
            if let Some(sites) = self.sites_shown(start, vma) {
                self.show_known(inner, &mut ops, sites, vma, at, vma.file_offset(start, at));
            }
            at = end;
        }
        self.apply(ops).map_err(|_| FaultError::OutOfMemory)?;
        result
    }

    /// A write to a page that is mapped without write access.
    fn fault_write(
        &self,
        inner: &mut Inner,
        start: u64,
        vma: &Vma,
        page: u64,
        pma_start: u64,
        pma: Pma,
    ) -> Result<(), FaultError> {
        let low = pma_start.max(start);
        let high = pma.end.min(vma.end);
        if vma.is_shared() {
            let to = high.min(page + FILE_CLUSTER);
            return self.map_file(inner, start, vma, page, to, true);
        }
        let frame_at = |addr: u64| pma.frame + (addr - pma_start);
        if pma.anonymous {
            let rest = FrameRange { start: frame_at(page), end: frame_at(high) };
            let (shared, len) = self.memory.shared_prefix(rest);
            if !shared {
                // Nobody else has these frames any more: no copy needed.
                let end = page + len;
                for (s, p) in take_pmas(&mut inner.pmas, page, end) {
                    insert_pma(&mut inner.pmas, s, Pma { write_protected: false, ..p });
                }
                let ops = vec![MapOp::Protect { addr: page, len, prot: vma.prot }];
                return self.apply(ops).map_err(|_| FaultError::OutOfMemory);
            }
        }
        let step = inner.cow_cluster;
        let cluster = page & !(step - 1);
        let mut from = low.max(cluster);
        let mut to = high.min(cluster + step);
        if pma.anonymous {
            // Only the stretch of shared frames around the page.
            let (_, len) = self.memory.shared_prefix(FrameRange { start: frame_at(page), end: frame_at(to) });
            to = page + len;
            let (shared, len) = self
                .memory
                .shared_prefix(FrameRange { start: frame_at(from), end: frame_at(page + PAGE_SIZE) });
            if !shared || from + len <= page {
                from = page;
            }
            inner.cow_cluster = (step * 2).min(COW_CLUSTER_MAX);
            // Pages that nobody has touched are not copied.
            if self.memory.present_run(frame_at(from), (page - from) / PAGE_SIZE) < (page - from) / PAGE_SIZE
            {
                from = page;
            }
            let behind = (to - page) / PAGE_SIZE;
            to = page + self.memory.present_run(frame_at(page), behind).max(1) * PAGE_SIZE;
        } else if MemoryManager::is_program_data(inner, vma, start) {
            inner.cow_cluster = (step * 2).min(COW_CLUSTER_MAX);
        } else {
            from = page;
        }
        let mut frames = self.memory.allocate_copy(frame_at(from), to - from);
        if frames == Err(EFAULT) {
            // The host has cut the file short, but perhaps not here.
            (from, to) = (page, page + PAGE_SIZE);
            frames = self.memory.allocate_copy(frame_at(from), PAGE_SIZE);
        }
        let frames = frames.map_err(FaultError::of_copy)?;
        let old = inner.take_frames(from, to);
        let copy = Pma { end: to, frame: frames.start, write_protected: false, anonymous: true, shown: None };
        insert_pma(&mut inner.pmas, from, copy);
        let mut ops = Vec::new();
        push_map(&self.memory, &mut ops, from, &copy, vma, true);
        let result = self.apply(ops).map_err(|_| FaultError::OutOfMemory);
        for range in old {
            self.memory.dec_ref(range);
        }
        result
    }

    /// Extends a stack downwards to hold `addr`, if the mapping above is one and there is room. Linux: `expand_stack`.
    fn grow_stack(&self, inner: &mut Inner, addr: u64, limits: &MmLimits) -> Result<(), FaultError> {
        if find_vma(&inner.vmas, addr).is_some() {
            return Ok(());
        }
        let Some((start, vma)) = inner.vmas.range(addr..).next().map(|(s, v)| (*s, v.clone())) else {
            return Err(MAPERR);
        };
        if !vma.flags.contains(VmFlags::GROWSDOWN) {
            return Err(MAPERR);
        }
        let below = inner.vmas.range(..addr).next_back();
        let floor = match below {
            // An inaccessible mapping is guard enough. Linux: `vma_is_accessible`.
            Some((_, v)) if v.prot.is_empty() || v.flags.contains(VmFlags::GROWSDOWN) => v.end,
            Some((_, v)) => v.end.saturating_add(STACK_GUARD_GAP),
            None => self.platform.user_range().0,
        };
        let page = page_down(addr);
        let lowest = vma.end.saturating_sub(limits.stack.min(vma.end));
        let by_size = start.saturating_sub(limits.address_space.saturating_sub(inner.total));
        let floor = floor.max(lowest).max(by_size);
        if page < floor {
            return Err(MAPERR);
        }
        let step = start.saturating_sub(STACK_STEP);
        let new_start = page.min(step.max(floor).next_multiple_of(PAGE_SIZE));
        let mut grown = vma;
        inner.vmas.remove(&start);
        inner.account(&grown, start - new_start, true);
        if let Some(f) = &mut grown.file {
            f.offset = f.offset.saturating_sub(start - new_start);
        }
        inner.vmas.insert(new_start, grown.clone());
        if grown.file.is_none() && !grown.prot.is_empty() {
            self.map_anonymous(inner, &grown, new_start, start)?;
        }
        Ok(())
    }
}

/// A VMA without its file, for its access alone.
fn vma_slice(vma: &Vma) -> Vma {
    Vma { file: None, ..vma.clone() }
}
