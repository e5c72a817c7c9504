//! The processor state of one task: a guest thread of a stub.

use crate::Shared;
use crate::address_space::SystrapAddressSpace;
use crate::interrupt::SystrapInterrupter;
use crate::layout::slot;
use crate::pace::Pace;
use crate::process::StubProcess;
use crate::thread::StubThread;
use crate::trap::{self, Stop};
use platform::{AddressSpace, Context, FpState, Interrupter, PlatformError, PlatformStats, PtRegs, Trap};
use platform_placement::Pair;
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::sync::Arc;

/// A context.
pub(crate) struct SystrapContext {
    shared: Arc<Shared>,
    attached: Option<Attachment>,
    /// Extended state set before there was a thread; `None` is the initial one.
    fp: Option<FpState>,
    interrupter: Arc<SystrapInterrupter>,
}

/// The guest thread of a context.
struct Attachment {
    process: Arc<StubProcess>,
    thread: Arc<StubThread>,
    /// Where in the thread's slot the extended state is; `None` for the processor.
    xstate: Option<u64>,
    /// The call through the gate that the thread has come back with, if it has.
    gate: Option<GateCall>,
    pace: Pace,
    /// `None` before the first switch: it is the host thread of that one which belongs to it.
    pair: Option<Arc<Pair<StubThread>>>,
}

/// A call that came through the gate.
struct GateCall {
    /// The registers it was told with, while they still stand in the slot.
    regs: Option<PtRegs>,
    /// The address behind the call, and where guest code goes on in place of it.
    rip: u64,
    resume: u64,
}

impl GateCall {
    /// Whether `regs` are those of the call with nothing but a result added.
    fn returns_with(&self, regs: &PtRegs) -> bool {
        /// Single steps and nested tasks, which must begin with guest code and not before.
        const SLOW_FLAGS: u64 = 0x4_4100;
        self.regs.as_ref().is_some_and(|told| {
            let told = PtRegs { rax: regs.rax, orig_rax: regs.orig_rax, ..*told };
            told == *regs && regs.eflags & SLOW_FLAGS == 0
        })
    }
}

fn process_of(aspace: &Arc<dyn AddressSpace>) -> Result<&Arc<StubProcess>, PlatformError> {
    let own = aspace.as_any().downcast_ref::<SystrapAddressSpace>();
    own.map(SystrapAddressSpace::process).ok_or(PlatformError::Host { what: "address space", errno: EINVAL })
}

fn slot_error(errno: Errno) -> PlatformError {
    PlatformError::OutOfMemory(errno)
}

impl SystrapContext {
    pub(crate) fn new(shared: Arc<Shared>) -> SystrapContext {
        SystrapContext { shared, attached: None, fp: None, interrupter: Arc::default() }
    }

    /// Makes sure that the context has a guest thread in `aspace`.
    fn attach(&mut self, aspace: &Arc<dyn AddressSpace>) -> Result<(), PlatformError> {
        if self.attached.as_ref().is_some_and(|attached| attached.process.id == aspace.id()) {
            return Ok(());
        }
        let process = process_of(aspace)?.clone();
        self.detach();
        let thread = process.join()?;
        let fp = self.fp.take().unwrap_or_default();
        let image = self.shared.xstate.checked(&fp)?;
        let written = thread.slot.write(slot::XSTATE, image);
        self.interrupter.set_target(Some(thread.clone()));
        self.attached = Some(Attachment {
            process,
            thread,
            xstate: Some(slot::XSTATE),
            gate: None,
            pace: Pace::default(),
            pair: None,
        });
        written.map_err(slot_error)
    }

    /// Gives up the guest thread.
    fn detach(&mut self) {
        if let Some(Attachment { process, thread, mut pace, pair, .. }) = self.attached.take() {
            if let Some(pair) = pair {
                pace.end(&self.shared.processors, &pair);
                self.shared.placement.remove(&pair);
            }
            self.interrupter.set_target(None);
            process.part(thread);
        }
    }
}

impl Context for SystrapContext {
    fn switch(&mut self, aspace: &Arc<dyn AddressSpace>, regs: &mut PtRegs) -> Result<Trap, PlatformError> {
        self.attach(aspace)?;
        PlatformStats::count(&self.shared.stats.switches);
        loop {
            let Some(Attachment { process, thread, xstate, gate, pace, pair }) = &mut self.attached else {
                return Err(PlatformError::Gone("no stub thread".into()));
            };
            let placement = &*self.shared.placement;
            let pair = &**pair.get_or_insert_with(|| placement.settle(thread));
            if placement.enter(pair) {
                self.shared.keeper.begin_sampling();
            }
            if let Some(trap) = trap::unreachable_rip(regs) {
                return Ok(trap);
            }
            if !process.try_enter() {
                process.flush()?;
                continue;
            }
            thread.set_in_guest(true);
            if self.interrupter.take() {
                thread.set_in_guest(false);
                return Ok(Trap::Interrupted);
            }
            match &*gate {
                Some(call) if xstate.is_none() && call.returns_with(regs) => thread.load_result(regs.rax),
                call => {
                    let mut wanted = trap::loadable(regs);
                    if let Some(call) = call
                        && call.rip == wanted.rip
                    {
                        wanted.rip = call.resume;
                    }
                    thread.load(&wanted, xstate.map_or(0, |place| thread.addr + place));
                }
            }
            let processors = &self.shared.processors;
            let spin = pace.before_release(processors, pair, placement.active(), thread.is_asleep());
            thread.release(spin, || self.interrupter.is_requested());
            let result = match pace.look_on(processors, || thread.is_back()) {
                true => Ok(()),
                false => thread.wait(|| self.interrupter.is_requested()),
            };
            pace.after_trap(processors);
            thread.set_in_guest(false);
            result?;
            let code = &self.shared.gate;
            let (place, trap) = match trap::read(thread, code, regs) {
                Stop::NotEntered => continue,
                Stop::Gate(resume) => {
                    *gate = trap::entrance(resume).map(|resume| GateCall {
                        regs: Some(*regs),
                        rip: regs.rip,
                        resume,
                    });
                    (None, Some(Trap::Syscall))
                }
                Stop::InGate(resume, place) => {
                    *gate =
                        trap::entrance(resume).map(|resume| GateCall { regs: None, rip: regs.rip, resume });
                    (Some(place), Some(Trap::Syscall))
                }
                Stop::Trap(trap, place) => {
                    *gate = None;
                    (Some(place), Some(trap))
                }
                Stop::Kicked(place) => {
                    *gate = None;
                    (Some(place), None)
                }
            };
            *xstate = place;
            if let Some(trap) = trap {
                return Ok(trap);
            }
        }
    }

    fn fp_state(&mut self) -> Result<FpState, PlatformError> {
        let layout = &self.shared.xstate;
        let mut image = layout.initial().to_vec();
        match (&mut self.attached, &self.fp) {
            (Some(attached), _) => {
                let place = match attached.xstate {
                    Some(place) => place,
                    None => {
                        attached.thread.save_xstate()?;
                        *attached.xstate.insert(slot::XSTATE)
                    }
                };
                attached.thread.slot.read(place, &mut image).map_err(slot_error)?;
                layout.normalise(&mut image);
            }
            (None, Some(state)) => return Ok(state.clone()),
            (None, None) => {}
        }
        Ok(FpState::from_bytes(image))
    }

    fn set_fp_state(&mut self, state: &FpState) -> Result<(), PlatformError> {
        let image = self.shared.xstate.checked(state)?;
        match &mut self.attached {
            Some(attached) => {
                attached.thread.slot.write(slot::XSTATE, image).map_err(slot_error)?;
                attached.xstate = Some(slot::XSTATE);
            }
            None => self.fp = Some(FpState::from_bytes(image.to_vec())),
        }
        Ok(())
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.interrupter.clone()
    }

    fn new_sibling(
        &mut self,
        aspace: &Arc<dyn AddressSpace>,
    ) -> Result<Box<dyn Context + Send>, PlatformError> {
        let mut sibling = SystrapContext::new(self.shared.clone());
        sibling.attach(aspace)?;
        Ok(Box::new(sibling))
    }

    fn come_to(&self, cpu: u16) {
        if let Some(Attachment { pair: Some(pair), .. }) = &self.attached {
            self.shared.placement.come_to(pair, cpu);
        }
    }

    fn leave(&mut self) {
        self.detach();
    }

    fn used_gate(&self) -> bool {
        self.attached.as_ref().is_some_and(|attached| attached.gate.is_some())
    }
}

impl Drop for SystrapContext {
    fn drop(&mut self) {
        self.detach();
    }
}
