//! An address space: regions, the page tables made from them, and the processors that run in it.
//!
//! Linux: arch/x86/mm/tlb.c. What processors keep of page tables is dated by a counter per address space. A change that
//! takes something away raises the counter, then brings every processor out of guest code that runs in the address
//! space. Whoever enters guest code says so first, then reads the counter, and reloads CR3 if it is behind. So either the
//! change sees the processor, or the processor sees the change.

use crate::arena::{PAGE, PhysPage};
use crate::page_table::{PageTable, TABLE_SPAN};
use crate::pool::Pool;
use crate::regions::{Region, Regions};
use crate::vm::Vm;
use parking_lot::Mutex;
use platform::{AccessType, AddressSpace, Backing, MapOp, PlatformError, PlatformStats, Prot};
use sentry_uapi::errno::{EBUSY, EINVAL};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The lowest address a guest may map, as with the other back-ends. Linux: `vm.mmap_min_addr`.
pub(crate) const USER_START: u64 = 0x1_0000;
/// Linux: arch/x86/include/asm/page_64.h, `TASK_SIZE_MAX` with four-level page tables. The page that is left out keeps
/// the address behind a `syscall` canonical.
pub(crate) const USER_END: u64 = 0x7fff_ffff_f000;

/// Mappings up to this size are entered into the page tables at once; of larger ones, each span of a last-level table when
/// it is first touched, which costs an exit that the sentry does not hear of.
const EAGER: u64 = 16 << 20;

struct State {
    regions: Regions,
    /// Contexts that run in the address space, or will.
    members: usize,
    /// Whether it must not be entered any more, and has no page tables.
    closed: bool,
}

/// What is shared by the sentry's handle, the contexts, and the processors whose CR3 it was last.
pub(crate) struct Space {
    pub(crate) id: u64,
    vm: Arc<Vm>,
    root: PhysPage,
    /// Counts changes that processors must hear of.
    generation: AtomicU64,
    state: Mutex<State>,
}

/// What became of a page fault.
pub(crate) enum FaultResult {
    /// The access is allowed, and the page tables have it now.
    Resolved,
    /// The mapping reaches behind the end of the memory file.
    Bus,
    /// It is the sentry's to handle.
    Denied,
}

impl Space {
    pub(crate) fn new(vm: Arc<Vm>, id: u64) -> Result<Arc<Space>, PlatformError> {
        let root = vm.new_root()?;
        let state = State { regions: Regions::default(), members: 0, closed: false };
        Ok(Arc::new(Space { id, vm, root, generation: AtomicU64::new(1), state: Mutex::new(state) }))
    }

    /// The guest-physical address of the page table root.
    pub(crate) fn root(&self) -> u64 {
        self.root.gpa()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Counts a context in.
    pub(crate) fn join(&self) -> Result<(), PlatformError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(PlatformError::Host {
                what: "switch to an address space that was left",
                errno: EBUSY,
            });
        }
        state.members += 1;
        Ok(())
    }

    /// Counts a context out, which runs no guest code. With the last one the address space comes to its end.
    pub(crate) fn part(&self) {
        let mut state = self.state.lock();
        state.members = state.members.saturating_sub(1);
        if state.members == 0 {
            self.close(&mut state);
        }
    }

    fn drop_handle(&self) {
        let mut state = self.state.lock();
        if state.members == 0 {
            self.close(&mut state);
        }
    }

    /// Gives the page tables back but the root, which may still be in a processor's CR3.
    fn close(&self, state: &mut State) {
        state.closed = true;
        state.regions = Regions::default();
        let mut garbage = Vec::new();
        self.table().clear(0, 1 << 47, &mut garbage);
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.vm.arena.free(garbage);
    }

    fn table(&self) -> PageTable<'_> {
        PageTable { arena: &self.vm.arena, root: self.root }
    }

    fn apply(&self, ops: &[MapOp], pool: &Pool) -> Result<(), PlatformError> {
        let mut state = self.state.lock();
        if state.closed {
            return Ok(());
        }
        let mut garbage = Vec::new();
        let mut stale = false;
        let mut result = Ok(());
        for op in ops {
            match self.change(&mut state.regions, op, &mut garbage) {
                Ok(found) => stale |= found,
                Err(error) => {
                    // What was done so far must be seen all the same.
                    (stale, result) = (true, Err(error));
                    break;
                }
            }
        }
        if stale {
            self.generation.fetch_add(1, Ordering::SeqCst);
            pool.shoot_down(self.id);
        }
        self.vm.arena.free(garbage);
        result
    }

    /// Carries out one operation; tells whether processors may have kept what is no longer true.
    fn change(
        &self,
        regions: &mut Regions,
        op: &MapOp,
        garbage: &mut Vec<PhysPage>,
    ) -> Result<bool, PlatformError> {
        match op {
            MapOp::Map { addr, len, prot, backing: Backing::Memory { offset }, populate } => {
                let region = Region { start: *addr, end: addr + len, offset: *offset, prot: *prot };
                regions.insert(region);
                let fill = *populate || *len <= EAGER;
                let stale = if fill { false } else { self.table().clear(region.start, region.end, garbage) };
                Ok(stale | if fill { self.enter(&region, true)? } else { false })
            }
            MapOp::Map { backing: Backing::HostFile { .. }, .. } => {
                Err(PlatformError::Host { what: "map of a host file", errno: EINVAL })
            }
            // The host's page tables follow the sentry's window, which has asked already.
            MapOp::AdviseHuge { .. } => Ok(false),
            MapOp::Unmap { addr, len } => {
                regions.remove(*addr, addr + len);
                Ok(self.table().clear(*addr, addr + len, garbage))
            }
            MapOp::Protect { addr, len, prot } => {
                let mut stale = false;
                for part in regions.protect(*addr, addr + len, *prot) {
                    stale |= self.enter(&part, part.end - part.start <= EAGER)?;
                }
                Ok(stale)
            }
        }
    }

    /// Makes page table entries for a region, or brings those up to date that there are.
    fn enter(&self, region: &Region, fill: bool) -> Result<bool, PlatformError> {
        let mut stale = false;
        let mut at = region.start;
        while at < region.end {
            let offset = region.offset_of(at);
            let stop = region.end.min(at.saturating_add(self.vm.contiguous_len(offset)));
            // What lies behind the file's end has no entries, so that it faults.
            let (prot, base) = match self.vm.gpa_of(offset)? {
                Some(base) => (region.prot, base),
                None => (Prot::empty(), 0),
            };
            let file_pages = |addr: u64| Ok(base + (addr - at));
            stale |= self.table().set(at, stop, prot, fill, &mut { file_pages })?;
            at = stop;
        }
        Ok(stale)
    }

    /// Looks whether a fault of user code at `addr` is one only because the page tables have no entry yet.
    pub(crate) fn handle_fault(&self, addr: u64, access: AccessType) -> Result<FaultResult, PlatformError> {
        let state = self.state.lock();
        let Some(region) = state.regions.find(addr) else { return Ok(FaultResult::Denied) };
        let needed = match access {
            AccessType::Write => Prot::WRITE,
            AccessType::Execute => Prot::EXEC,
            AccessType::Read | AccessType::Unknown => Prot::READ,
        };
        // The processor knows no access without reading.
        let allowed =
            if needed == Prot::READ { !region.prot.is_empty() } else { region.prot.contains(needed) };
        if !allowed {
            return Ok(FaultResult::Denied);
        }
        if self.vm.gpa_of(region.offset_of(addr))?.is_none() {
            return Ok(FaultResult::Bus);
        }
        let span = addr / TABLE_SPAN * TABLE_SPAN;
        for part in state.regions.parts(span, span + TABLE_SPAN) {
            self.enter(&part, true)?;
        }
        Ok(FaultResult::Resolved)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.vm.arena.free([self.root]);
    }
}

/// The sentry's handle on an address space.
pub(crate) struct KvmAddressSpace {
    space: Arc<Space>,
    pool: Arc<Pool>,
}

impl KvmAddressSpace {
    pub(crate) fn new(space: Arc<Space>, pool: Arc<Pool>) -> KvmAddressSpace {
        KvmAddressSpace { space, pool }
    }

    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }
}

impl AddressSpace for KvmAddressSpace {
    fn apply(&self, ops: Vec<MapOp>) -> Result<(), PlatformError> {
        if ops.is_empty() {
            return Ok(());
        }
        if !ops.iter().all(|op| op.is_well_formed(USER_START, USER_END)) {
            return Err(PlatformError::Host { what: "map operation", errno: EINVAL });
        }
        let stats = &self.pool.stats;
        PlatformStats::count(&stats.map_batches);
        stats.map_ops.fetch_add(u64::try_from(ops.len()).unwrap_or(0), Ordering::Relaxed);
        self.space.apply(&ops, &self.pool)
    }

    fn id(&self) -> u64 {
        self.space.id
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for KvmAddressSpace {
    fn drop(&mut self) {
        self.space.drop_handle();
    }
}

const _: () = assert!(USER_START.is_multiple_of(PAGE) && USER_END.is_multiple_of(PAGE));
