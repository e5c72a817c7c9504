//! The processor state of one task.

use crate::address_space::{FaultResult, KvmAddressSpace, Space};
use crate::arena::PAGE;
use crate::interrupt::KvmInterrupter;
use crate::pool::Pool;
use crate::trap::{self, Exception, GENERAL_PROTECTION, is_canonical};
use crate::vcpu::{Exit, Owner, Vcpu};
use platform::{
    AddressSpace, Answer, Context, Fault, FpState, Interrupter, PlatformError, PlatformStats, PtRegs, Trap,
};
use sentry_uapi::errno::EINVAL;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How often in a row the same fault may turn out to be none before the sentry is told.
const MAX_SPURIOUS: u32 = 8;

/// A context.
pub(crate) struct KvmContext {
    pool: Arc<Pool>,
    owner: Arc<Owner>,
    /// The processor it ran on last, which somebody else may have taken since.
    vcpu: Option<Arc<Vcpu>>,
    /// The address space it is counted in.
    space: Option<Arc<Space>>,
    interrupter: Arc<KvmInterrupter>,
    answers: Arc<[Answer]>,
}

fn space_of(aspace: &Arc<dyn AddressSpace>) -> Result<&Arc<Space>, PlatformError> {
    let own = aspace.as_any().downcast_ref::<KvmAddressSpace>();
    own.map(KvmAddressSpace::space).ok_or(PlatformError::Host { what: "address space", errno: EINVAL })
}

impl KvmContext {
    pub(crate) fn new(pool: Arc<Pool>) -> KvmContext {
        let (owner, interrupter) = (Arc::default(), Arc::default());
        KvmContext { pool, owner, vcpu: None, space: None, interrupter, answers: Arc::default() }
    }

    /// Counts the context in where it is going to run.
    fn attach(&mut self, aspace: &Arc<dyn AddressSpace>) -> Result<Arc<Space>, PlatformError> {
        if let Some(space) = self.space.as_ref().filter(|space| space.id == aspace.id()) {
            return Ok(space.clone());
        }
        let space = space_of(aspace)?;
        self.detach();
        space.join()?;
        self.space = Some(space.clone());
        Ok(space.clone())
    }

    fn detach(&mut self) {
        if let Some(space) = self.space.take() {
            space.part();
        }
    }

    /// Runs guest code once, on a processor with this context's extended state.
    fn run(&mut self, space: &Arc<Space>, regs: &mut PtRegs) -> Result<Exit, PlatformError> {
        loop {
            let vcpu = match &self.vcpu {
                Some(vcpu) => vcpu,
                None => {
                    let vcpu = self.pool.acquire(&self.owner)?;
                    self.interrupter.set_target(Some(vcpu.clone()));
                    self.vcpu.insert(vcpu)
                }
            };
            let Some(mut lease) = vcpu.lease_of(&self.owner) else {
                self.vcpu = None;
                continue;
            };
            if vcpu.reserved.load(Ordering::SeqCst) {
                lease.evict(self.pool.vm())?;
                drop(lease);
                self.vcpu = None;
                continue;
            }
            lease.set_answers(self.pool.vm(), &self.answers);
            PlatformStats::count(&self.pool.stats.exits);
            let left = || self.pool.left();
            let exit = vcpu.run(&mut lease, self.pool.vm(), space, regs, &self.interrupter, left);
            let answered = lease.take_answered(self.pool.vm());
            if answered != 0 {
                self.pool.stats.answered.fetch_add(answered, Ordering::Relaxed);
            }
            drop(lease);
            if matches!(exit, Ok(Exit::NotEntered)) {
                // It has not had its slice: the host kernel may have taken all of it to move the processor to this thread.
                vcpu.due.store(false, Ordering::SeqCst);
            } else {
                self.pool.released(vcpu);
            }
            return exit;
        }
    }

    /// What an exception comes to; `None` for one that was none.
    fn trap_of(
        &mut self,
        exception: Exception,
        space: &Arc<Space>,
        regs: &PtRegs,
    ) -> Result<Option<Trap>, PlatformError> {
        if exception.is_malformed_table() {
            return Err(PlatformError::Gone("malformed page table".into()));
        }
        if let Some((addr, access)) = exception.page_fault() {
            return Ok(match space.handle_fault(addr, access)? {
                FaultResult::Resolved => None,
                FaultResult::Bus => Some(trap::bus_error(addr)),
                FaultResult::Denied => Some(Trap::Fault(Fault { addr, access })),
            });
        }
        let fp = if exception.is_floating_point() { Some(self.fp_state()?) } else { None };
        Ok(Some(exception.signal(regs, fp.as_ref())))
    }
}

impl Context for KvmContext {
    fn switch(&mut self, aspace: &Arc<dyn AddressSpace>, regs: &mut PtRegs) -> Result<Trap, PlatformError> {
        let space = self.attach(aspace)?;
        PlatformStats::count(&self.pool.stats.switches);
        if !is_canonical(regs.rip) {
            return Ok(GENERAL_PROTECTION);
        }
        // The page of the last fault that was none, and how often it was that one.
        let (mut last, mut spurious) = (0, 0);
        loop {
            match self.run(&space, regs)? {
                Exit::Syscall => return Ok(Trap::Syscall),
                Exit::Interrupted => return Ok(Trap::Interrupted),
                Exit::NoMemory => return Ok(trap::bus_error(0)),
                Exit::Kicked | Exit::NotEntered => {
                    if self.interrupter.take() {
                        return Ok(Trap::Interrupted);
                    }
                }
                Exit::Exception(exception) => {
                    if let Some(trap) = self.trap_of(exception, &space, regs)? {
                        return Ok(trap);
                    }
                    let Some((addr, access)) = exception.page_fault() else { continue };
                    spurious = if addr / PAGE == last { spurious + 1 } else { 0 };
                    last = addr / PAGE;
                    if spurious > MAX_SPURIOUS {
                        return Ok(Trap::Fault(Fault { addr, access }));
                    }
                }
            }
        }
    }

    fn fp_state(&mut self) -> Result<FpState, PlatformError> {
        let vm = self.pool.vm();
        if let Some(lease) = self.vcpu.as_ref().and_then(|vcpu| vcpu.lease_of(&self.owner)) {
            return lease.fp_state(vm);
        }
        let initial = || FpState::from_bytes(vm.cpuid.xstate.initial().to_vec());
        Ok(self.owner.fp.lock().clone().unwrap_or_else(initial))
    }

    fn set_fp_state(&mut self, state: &FpState) -> Result<(), PlatformError> {
        let image = self.pool.vm().cpuid.xstate.checked(state)?;
        if let Some(lease) = self.vcpu.as_ref().and_then(|vcpu| vcpu.lease_of(&self.owner)) {
            return lease.set_fp_state(self.pool.vm(), image);
        }
        *self.owner.fp.lock() = Some(FpState::from_bytes(image.to_vec()));
        Ok(())
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.interrupter.clone()
    }

    fn new_sibling(
        &mut self,
        aspace: &Arc<dyn AddressSpace>,
    ) -> Result<Box<dyn Context + Send>, PlatformError> {
        let space = space_of(aspace)?;
        let mut sibling = KvmContext::new(self.pool.clone());
        space.join()?;
        sibling.space = Some(space.clone());
        Ok(Box::new(sibling))
    }

    fn set_answers(&mut self, answers: &[Answer]) {
        self.answers = answers.into();
    }

    fn leave(&mut self) {
        self.detach();
    }
}

impl Drop for KvmContext {
    fn drop(&mut self) {
        self.interrupter.set_target(None);
        if let Some(vcpu) = self.vcpu.take() {
            self.pool.give_back(&vcpu, &self.owner);
        }
        self.detach();
    }
}
