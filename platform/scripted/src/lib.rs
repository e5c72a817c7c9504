//! A platform without a processor: the guest is a list of traps, its memory is whatever the address space says.
//!
//! For unit tests and fuzzers that drive the kernel in one process, without stubs.
#![forbid(unsafe_code)]

use parking_lot::Mutex;
use platform::{
    AddressSpace, Backing, Context, FpState, Interrupter, MapOp, Platform, PlatformError, PlatformStats,
    Prot, PtRegs, Trap,
};
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One step of a scripted guest: changes the registers and says how the guest trapped.
pub type Step = Box<dyn FnMut(&mut PtRegs) -> Trap + Send>;

/// The scripted platform.
#[derive(Default)]
pub struct ScriptedPlatform {
    stats: PlatformStats,
    next_id: AtomicU64,
    script: Mutex<VecDeque<Step>>,
}

impl ScriptedPlatform {
    /// A platform whose contexts take their steps from one list, in the order in which they run.
    pub fn new(script: Vec<Step>) -> Arc<ScriptedPlatform> {
        Arc::new(ScriptedPlatform { script: Mutex::new(script.into()), ..ScriptedPlatform::default() })
    }
}

/// What is mapped at an address.
#[derive(Clone, Debug)]
struct Mapped {
    /// One past the last address of the run.
    end: u64,
    backing: Backing,
    prot: Prot,
}

impl Mapped {
    /// What is behind the byte that is `delta` further on.
    fn backing_at(&self, delta: u64) -> Backing {
        match &self.backing {
            Backing::Memory { offset } => Backing::Memory { offset: offset + delta },
            Backing::HostFile { fd, offset } => Backing::HostFile { fd: fd.clone(), offset: offset + delta },
        }
    }
}

/// An address space that remembers its mappings.
#[derive(Default)]
pub struct ScriptedAddressSpace {
    id: u64,
    mapped: Mutex<BTreeMap<u64, Mapped>>,
}

impl ScriptedAddressSpace {
    /// Offset in the memory file and access at `addr`.
    pub fn lookup(&self, addr: u64) -> Option<(u64, Prot)> {
        match self.lookup_backing(addr)? {
            (Backing::Memory { offset }, prot) => Some((offset, prot)),
            (Backing::HostFile { .. }, _) => None,
        }
    }

    /// What is mapped at `addr`, which may be a host file, and the access.
    pub fn lookup_backing(&self, addr: u64) -> Option<(Backing, Prot)> {
        let mapped = self.mapped.lock();
        let (start, m) = mapped.range(..=addr).next_back().filter(|(_, m)| m.end > addr)?;
        Some((m.backing_at(addr - start), m.prot))
    }
}

fn cut(mapped: &mut BTreeMap<u64, Mapped>, addr: u64) {
    if let Some((start, m)) = mapped.range_mut(..addr).next_back().filter(|(_, m)| m.end > addr) {
        let tail = Mapped { backing: m.backing_at(addr - start), ..m.clone() };
        m.end = addr;
        mapped.insert(addr, tail);
    }
}

impl AddressSpace for ScriptedAddressSpace {
    fn apply(&self, ops: Vec<MapOp>) -> Result<(), PlatformError> {
        let mut mapped = self.mapped.lock();
        for op in ops {
            let (addr, len) = match &op {
                MapOp::Map { addr, len, .. }
                | MapOp::Unmap { addr, len }
                | MapOp::Protect { addr, len, .. }
                | MapOp::AdviseHuge { addr, len } => (*addr, *len),
            };
            cut(&mut mapped, addr);
            cut(&mut mapped, addr + len);
            match op {
                MapOp::Map { prot, backing, .. } => {
                    mapped.retain(|s, _| *s < addr || *s >= addr + len);
                    mapped.insert(addr, Mapped { end: addr + len, backing, prot });
                }
                MapOp::AdviseHuge { .. } => {}
                MapOp::Unmap { .. } => mapped.retain(|s, _| *s < addr || *s >= addr + len),
                MapOp::Protect { prot, .. } => {
                    for (_, m) in mapped.range_mut(addr..addr + len) {
                        m.prot = prot;
                    }
                }
            }
        }
        Ok(())
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Platform for ScriptedPlatform {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn user_range(&self) -> (u64, u64) {
        (0x1_0000, 0x7fff_0000_0000)
    }

    fn maps_host_files(&self) -> bool {
        true
    }

    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(ScriptedAddressSpace { id, ..ScriptedAddressSpace::default() }))
    }

    fn new_context(&self) -> Result<Box<dyn Context + Send>, PlatformError> {
        let steps = std::mem::take(&mut *self.script.lock());
        Ok(Box::new(ScriptedContext { steps, fp: FpState::default(), interrupt: Arc::default() }))
    }

    fn stats(&self) -> &PlatformStats {
        &self.stats
    }
}

struct ScriptedContext {
    steps: VecDeque<Step>,
    fp: FpState,
    interrupt: Arc<Flag>,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Interrupter for Flag {
    fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Context for ScriptedContext {
    fn switch(&mut self, _aspace: &Arc<dyn AddressSpace>, regs: &mut PtRegs) -> Result<Trap, PlatformError> {
        if self.interrupt.0.swap(false, Ordering::SeqCst) {
            return Ok(Trap::Interrupted);
        }
        match self.steps.pop_front() {
            Some(mut step) => Ok(step(regs)),
            None => Err(PlatformError::Gone("the script has ended".into())),
        }
    }

    fn fp_state(&mut self) -> Result<FpState, PlatformError> {
        Ok(self.fp.clone())
    }

    fn set_fp_state(&mut self, state: &FpState) -> Result<(), PlatformError> {
        self.fp = state.clone();
        Ok(())
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.interrupt.clone()
    }

    fn new_sibling(
        &mut self,
        _aspace: &Arc<dyn AddressSpace>,
    ) -> Result<Box<dyn Context + Send>, PlatformError> {
        Ok(Box::new(ScriptedContext {
            steps: VecDeque::new(),
            fp: FpState::default(),
            interrupt: Arc::default(),
        }))
    }

    fn leave(&mut self) {}
}
