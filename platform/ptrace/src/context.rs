//! The processor state of one task: a stub thread and the host thread that traces it.

use crate::Shared;
use crate::access;
use crate::address_space::PtraceAddressSpace;
use crate::fpu;
use crate::interrupt::PtraceInterrupter;
use crate::process::{Spare, StubProcess};
use crate::thread::{StubThread, forget_traced, note_traced};
use crate::tracee::{self, ptrace_error};
use crate::trap;
use platform::{AddressSpace, Context, FpState, Interrupter, PlatformError, PlatformStats, PtRegs, Trap};
use platform_host::process;
use platform_host::ptrace::{self, Resume};
use platform_host::wait::{self, WaitStatus, wait_tracee};
use platform_placement::{Pair, StubThread as _};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::sync::Arc;

/// A context.
pub(crate) struct PtraceContext {
    shared: Arc<Shared>,
    attached: Option<Attachment>,
    /// A thread of the creator's process that waits for this context's first switch.
    reserved: Option<(Arc<StubProcess>, Spare)>,
    /// Extended state set before there was a thread to load it into; `None` is the initial one.
    fp: Option<FpState>,
    /// The registers the stub thread has, while it says that they are loaded.
    loaded: PtRegs,
    interrupter: Arc<PtraceInterrupter>,
}

/// The stub thread of a context.
struct Attachment {
    process: Arc<StubProcess>,
    thread: Arc<StubThread>,
    pair: Arc<Pair<StubThread>>,
}

/// What a stop comes to.
enum Stop {
    Trap(Trap),
    /// A signal from outside, or a kick.
    Ignored,
}

fn process_of(aspace: &Arc<dyn AddressSpace>) -> Result<&Arc<StubProcess>, PlatformError> {
    let own = aspace.as_any().downcast_ref::<PtraceAddressSpace>();
    own.map(PtraceAddressSpace::process).ok_or(PlatformError::Host { what: "address space", errno: EINVAL })
}

impl PtraceContext {
    pub(crate) fn new(shared: Arc<Shared>, reserved: Option<(Arc<StubProcess>, Spare)>) -> PtraceContext {
        PtraceContext {
            shared,
            attached: None,
            reserved,
            fp: None,
            loaded: PtRegs::default(),
            interrupter: Arc::default(),
        }
    }

    /// Makes sure that the context has a stub thread in `aspace`.
    fn attach(&mut self, aspace: &Arc<dyn AddressSpace>) -> Result<(), PlatformError> {
        if self.attached.as_ref().is_some_and(|attached| attached.process.id == aspace.id()) {
            return Ok(());
        }
        let process = process_of(aspace)?.clone();
        let reserved = self.reserved.take_if(|(reserved, _)| Arc::ptr_eq(reserved, &process));
        self.detach();
        let spare = match reserved {
            Some((_, spare)) => spare,
            None => process.take()?,
        };
        let thread = Arc::new(StubThread::new(process.pid, spare.tid));
        // Before it is woken, so that it is woken here.
        let pair = self.shared.placement.settle(&thread);
        let regs = match tracee::adopt(spare.tid) {
            Ok(regs) => regs,
            Err(error) => {
                self.shared.placement.remove(&pair);
                return Err(error);
            }
        };
        note_traced(&thread);
        process.join(&thread);
        self.interrupter.set_target(Some(thread.clone()));
        self.attached = Some(Attachment { process, thread, pair });
        if thread_is_unready(&regs, &self.shared.entry, &spare) {
            let (pdeathsig, sigkill) = (libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let word = |value: libc::c_int| u64::try_from(value).unwrap_or(0);
            let nr = u64::try_from(libc::SYS_prctl).unwrap_or(0);
            let call = [nr, word(pdeathsig), word(sigkill), 0, 0, 0, 0];
            tracee::call(spare.tid, &self.shared.entry, "prctl", call)?;
        }
        match self.fp.take() {
            Some(state) => {
                let image = self.shared.xstate.checked(&state)?;
                fpu::load(spare.tid, image)
            }
            None if spare.fresh => Ok(()),
            None => fpu::load(spare.tid, self.shared.xstate.initial()),
        }
    }

    /// Gives up the stub thread, or the one that waits. The thread parks for another context, or ends.
    fn detach(&mut self) {
        if let Some((process, spare)) = self.reserved.take() {
            process.give_back(spare);
        }
        let Some(Attachment { process, thread, pair }) = self.attached.take() else { return };
        self.shared.placement.remove(&pair);
        self.interrupter.set_target(None);
        process.part(&thread);
        forget_traced(&thread);
        let ours = pair.is_ours();
        debug_assert!(ours, "a context is dropped by the host thread that used it");
        if thread.is_gone() {
            return;
        }
        if !ours {
            // Only its tracer can end a single thread.
            process::kill_process(process.pid);
            return;
        }
        if Arc::strong_count(&process) == 1 {
            process.leave_traced(&thread);
            return;
        }
        let entry = &self.shared.entry;
        let result = if process.claim_place(thread.tid) {
            tracee::park(thread.tid, entry)
                .map(|()| process.park_claimed(Spare { tid: thread.tid, fresh: false }))
        } else {
            tracee::exit(thread.tid, entry)
        };
        if let Err(error) = result {
            tracing::debug!("stub thread {}: {error}", thread.tid);
            // It has been killed; as long as it is not reaped, its leader cannot be.
            if !thread.is_leader() {
                let _ = wait::reap(thread.tid);
            }
        }
    }

    /// Runs guest code until the thread stops, and reads its registers.
    fn run(&mut self, regs: &mut PtRegs) -> Result<Stop, PlatformError> {
        let Some(Attachment { process, thread, .. }) = &self.attached else { return Ok(Stop::Ignored) };
        let tid = thread.tid;
        let status = ptrace::resume(tid, Resume::Sysemu).and_then(|()| wait_tracee(tid));
        process.exit(thread);
        let status = status.map_err(ptrace_error("PTRACE_SYSEMU"))?;
        if status.is_end() {
            process.note_end(thread);
            return Err(tracee::gone(status));
        }
        ptrace::get_regs(tid, &mut self.loaded).map_err(ptrace_error("PTRACE_GETREGS"))?;
        *regs = self.loaded;
        Ok(match status {
            WaitStatus::SyscallStop => Stop::Trap(trap::syscall_stop(regs)),
            WaitStatus::SignalStop(_) => {
                let info = ptrace::get_siginfo(tid).map_err(ptrace_error("PTRACE_GETSIGINFO"))?;
                trap::signal_stop(regs, &info, |regs, addr| access::of_fault(tid, regs, addr))
                    .or_else(|| trap::passed_over(regs))
                    .map_or(Stop::Ignored, Stop::Trap)
            }
            _ => trap::passed_over(regs).map_or(Stop::Ignored, Stop::Trap),
        })
    }
}

/// Gives a stub thread its registers, where they differ from those it has.
fn load(thread: &StubThread, loaded: &mut PtRegs, wanted: &PtRegs) -> Result<(), Errno> {
    if thread.regs_loaded() {
        if wanted == loaded {
            return Ok(());
        }
        // The result of a system call, as a rule. `orig_rax`, which only matters with a result that looks like a request
        // to restart, is left as it is otherwise.
        let only_rax = PtRegs { rax: wanted.rax, orig_rax: wanted.orig_rax, ..*loaded } == *wanted;
        if only_rax && !trap::is_restart(wanted.rax) {
            ptrace::set_rax(thread.tid, wanted.rax)?;
            loaded.rax = wanted.rax;
            return Ok(());
        }
    }
    ptrace::set_regs(thread.tid, wanted)?;
    *loaded = *wanted;
    thread.set_regs_loaded(true);
    Ok(())
}

/// Whether a forked stub was met before it had asked to die with the sentry.
fn thread_is_unready(regs: &PtRegs, entry: &crate::stub_code::Entry, spare: &Spare) -> bool {
    spare.fresh && regs.rip != entry.parked
}

impl Context for PtraceContext {
    fn switch(&mut self, aspace: &Arc<dyn AddressSpace>, regs: &mut PtRegs) -> Result<Trap, PlatformError> {
        self.attach(aspace)?;
        PlatformStats::count(&self.shared.stats.switches);
        loop {
            let Some(Attachment { process, thread, pair }) = &self.attached else {
                return Err(PlatformError::Gone("no stub thread".into()));
            };
            if self.shared.placement.enter(pair) {
                self.shared.keeper.begin_sampling();
            }
            if let Some(trap) = trap::unreachable_rip(regs) {
                return Ok(trap);
            }
            if !process.try_enter(thread) {
                process.flush(thread)?;
                continue;
            }
            if self.interrupter.take() {
                process.exit(thread);
                return Ok(Trap::Interrupted);
            }
            let wanted = trap::loadable(regs);
            if let Err(errno) = load(thread, &mut self.loaded, &wanted) {
                process.exit(thread);
                return Err(ptrace_error("PTRACE_SETREGS")(errno));
            }
            let stop = self.run(regs)?;
            if let Stop::Trap(trap) = stop {
                return Ok(trap);
            }
        }
    }

    fn fp_state(&mut self) -> Result<FpState, PlatformError> {
        match (&self.attached, &self.fp) {
            (Some(attached), _) => fpu::read(&self.shared.xstate, attached.thread.tid),
            (None, Some(state)) => Ok(state.clone()),
            (None, None) => Ok(FpState::from_bytes(self.shared.xstate.initial().to_vec())),
        }
    }

    fn set_fp_state(&mut self, state: &FpState) -> Result<(), PlatformError> {
        let image = self.shared.xstate.checked(state)?;
        match &self.attached {
            Some(attached) => fpu::load(attached.thread.tid, image),
            None => {
                self.fp = Some(FpState::from_bytes(image.to_vec()));
                Ok(())
            }
        }
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.interrupter.clone()
    }

    fn new_sibling(
        &mut self,
        aspace: &Arc<dyn AddressSpace>,
    ) -> Result<Box<dyn Context + Send>, PlatformError> {
        self.attach(aspace)?;
        let Some(Attachment { process, thread, .. }) = &self.attached else {
            return Err(PlatformError::Gone("no stub thread".into()));
        };
        let spare = process.take_or_clone(thread)?;
        Ok(Box::new(PtraceContext::new(self.shared.clone(), Some((process.clone(), spare)))))
    }

    fn come_to(&self, cpu: u16) {
        if let Some(Attachment { pair, .. }) = &self.attached {
            self.shared.placement.come_to(pair, cpu);
        }
    }

    fn leave(&mut self) {
        self.detach();
    }
}

impl Drop for PtraceContext {
    fn drop(&mut self) {
        self.detach();
    }
}
