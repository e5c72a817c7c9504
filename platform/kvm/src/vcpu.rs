//! A virtual processor: one way into guest code and out again.
//!
//! Linux: virt/kvm/kvm_main.c, arch/x86/kvm/x86.c. Between two runs the processor stands in ring 0, halted in the entry
//! code. A run sets the general registers and starts at one of the entry code's ways in; it ends at the next `hlt`, after
//! one `KVM_RUN`. Only a kick can end it elsewhere: then the processor is brought back to ring 0 from outside.

mod setup;

use crate::address_space::Space;
use crate::arena::Arena;
use crate::entry::{VECTOR_KERNEL, VECTOR_SYSCALL, X86_EFLAGS_TF};
use crate::interrupt::{KICK, KvmInterrupter};
use crate::percpu::{ANSWERED, CR3, FRAME, FS_BASE, GS_BASE, INFO, PerCpu, RAX, VECTOR};
use crate::trap::{Exception, is_canonical};
use crate::vm::{Vm, host};
use kvm_bindings::{kvm_regs, kvm_sregs, kvm_xsave};
use kvm_ioctls::{SyncReg, VcpuExit, VcpuFd};
use parking_lot::{Mutex, MutexGuard};
use platform::{Answer, FpState, PlatformError, PtRegs};
use platform_host::process::tgkill;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Linux: arch/x86/include/uapi/asm/processor-flags.h, arch/x86/include/asm/msr-index.h.
const X86_CR3_PCID_NOFLUSH: u64 = 1 << 63;
const X86_EFLAGS_FIXED: u64 = 2;

/// Process context identifiers in use: a processor keeps translations of this many address spaces.
const PCIDS: u64 = 64;

/// The task that a processor's extended state belongs to, and that state while it is not in a processor.
#[derive(Default)]
pub(crate) struct Owner {
    /// `None` is the initial state.
    pub(crate) fp: Mutex<Option<FpState>>,
}

/// What only the thread that has leased the processor touches.
pub(crate) struct Lease {
    fd: VcpuFd,
    percpu: PerCpu,
    pub(crate) owner: Option<Arc<Owner>>,
    /// The address space in CR3; it keeps the page table root.
    space: Option<Arc<Space>>,
    /// The address space and its generation as of the last flush, by process context identifier.
    flushed: Vec<(u64, u64)>,
    /// The calls that it answers, and how many it had answered when somebody last asked.
    answers: Arc<[Answer]>,
    answered: u64,
}

/// A virtual processor.
pub(crate) struct Vcpu {
    pub(crate) lease: Mutex<Lease>,
    /// Handed to a waiting thread, and not to be taken by others.
    pub(crate) reserved: AtomicBool,
    /// Somebody waits, and this one has had its slice.
    pub(crate) due: AtomicBool,
    /// The address space whose guest code it runs, or is about to; 0 for none.
    running_in: AtomicU64,
    /// Counts runs.
    stint: AtomicU32,
    tid: AtomicI32,
    immediate_exit: NonNull<AtomicU8>,
}

// SAFETY: the pointer leads into a mapping that lives as long as the lease's descriptor, and only to an atomic.
unsafe impl Send for Vcpu {}
// SAFETY: as above.
unsafe impl Sync for Vcpu {}

/// Why guest code stopped.
pub(crate) enum Exit {
    /// A `syscall`.
    Syscall,
    Exception(Exception),
    /// The host has no memory for a page that was touched.
    NoMemory,
    /// A kick; the registers are between two instructions.
    Kicked,
    /// A kick before the first instruction.
    NotEntered,
    /// There was a request before guest code was entered.
    Interrupted,
}

/// How a run ended.
enum End {
    Halted,
    Kicked,
    NoMemory,
}

fn broken(what: &str) -> PlatformError {
    PlatformError::Gone(format!("virtual processor: {what}"))
}

impl Vcpu {
    pub(crate) fn new(vm: &Vm, id: usize) -> Result<Vcpu, PlatformError> {
        let percpu = vm.new_percpu(id)?;
        let mut fd = vm.create_vcpu(id)?;
        fd.set_cpuid2(&vm.cpuid.table).map_err(host("KVM_SET_CPUID2"))?;
        fd.set_sync_valid_reg(SyncReg::Register);
        let immediate_exit = NonNull::from(&mut fd.get_kvm_run().immediate_exit).cast();
        let flushed = vec![(0, 0); usize::try_from(PCIDS).unwrap_or(1)];
        let (answers, answered) = (Arc::default(), 0);
        let lease = Lease { fd, percpu, owner: None, space: None, flushed, answers, answered };
        lease.set_up(vm)?;
        Ok(Vcpu {
            lease: Mutex::new(lease),
            reserved: AtomicBool::new(false),
            due: AtomicBool::new(false),
            running_in: AtomicU64::new(0),
            stint: AtomicU32::new(0),
            tid: AtomicI32::new(0),
            immediate_exit,
        })
    }

    fn immediate_exit(&self) -> &AtomicU8 {
        // SAFETY: a byte of the shared mapping that lives as long as this; the host kernel only reads it.
        unsafe { self.immediate_exit.as_ref() }
    }

    /// Names the thread that is going to run it.
    pub(crate) fn set_thread(&self, tid: i32) {
        self.tid.store(tid, Ordering::SeqCst);
    }

    /// Brings it out of guest code, if it is there.
    pub(crate) fn kick(&self) {
        if self.running_in.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.immediate_exit().store(1, Ordering::SeqCst);
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        // It fails for a thread that has just ended, and does no harm to one that is elsewhere.
        let _ = tgkill(pid, self.tid.load(Ordering::SeqCst), KICK);
    }

    /// The lease, if the processor still holds this owner's extended state. Nobody else's guest code is waited for.
    pub(crate) fn lease_of(&self, owner: &Arc<Owner>) -> Option<MutexGuard<'_, Lease>> {
        loop {
            match self.lease.try_lock() {
                Some(lease) => return lease.belongs_to(owner).then_some(lease),
                // It is not the caller's, so somebody has claimed it and put the caller's state aside.
                None if self.is_running() => return None,
                // Somebody is about to.
                None => std::thread::yield_now(),
            }
        }
    }

    /// Reserves it, unless it is in use. Whoever holds the lease finds the mark, or had it when this looked.
    pub(crate) fn reserve(&self) -> bool {
        if self.reserved.swap(true, Ordering::SeqCst) {
            return false;
        }
        let idle = !self.lease.is_locked();
        if !idle {
            self.reserved.store(false, Ordering::SeqCst);
        }
        idle
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running_in.load(Ordering::SeqCst) != 0
    }

    /// The run it is in, if that is one in the address space `id`.
    pub(crate) fn stint_in(&self, id: u64) -> Option<u32> {
        let stint = self.stint.load(Ordering::SeqCst);
        (self.running_in.load(Ordering::SeqCst) == id).then_some(stint)
    }

    /// Runs guest code from `regs` until it stops, and stores the registers it had then. `left` is called as soon as no
    /// guest code runs any more.
    pub(crate) fn run(
        &self,
        lease: &mut Lease,
        vm: &Vm,
        space: &Arc<Space>,
        regs: &mut PtRegs,
        interrupter: &KvmInterrupter,
        left: impl FnOnce(),
    ) -> Result<Exit, PlatformError> {
        self.immediate_exit().store(0, Ordering::SeqCst);
        // Written by one thread at a time.
        self.stint.store(self.stint.load(Ordering::Relaxed).wrapping_add(1), Ordering::SeqCst);
        self.running_in.store(space.id, Ordering::SeqCst);
        let result = if interrupter.take() {
            Ok(Exit::Interrupted)
        } else {
            lease.load(vm, space, regs).and_then(|switched| self.enter(lease, vm, regs, switched))
        };
        self.running_in.store(0, Ordering::SeqCst);
        left();
        if result.is_err() {
            lease.reset(vm);
        }
        result
    }

    /// The run itself. `previous` is what CR3 held, if the way in loads it.
    fn enter(
        &self,
        lease: &mut Lease,
        vm: &Vm,
        regs: &mut PtRegs,
        mut previous: Option<Switched>,
    ) -> Result<Exit, PlatformError> {
        loop {
            match lease.run_once()? {
                End::Halted => return lease.read_trap(vm, regs),
                end => {
                    let sregs = lease.fd.get_sregs().map_err(host("KVM_GET_SREGS"))?;
                    let rip = lease.fd.sync_regs().regs.rip;
                    let in_user = sregs.cs.selector & 3 == 3;
                    let entering = Vm::code_offset(rip).is_some_and(|offset| offset >= vm.entry.enter);
                    if matches!(end, End::NoMemory) && !in_user {
                        return Err(broken("no memory for its own pages"));
                    }
                    // A trap that is under way is seen through: what it has saved could not be told otherwise.
                    let pending = lease.has_pending_event()?;
                    if pending || !(in_user || entering) {
                        if !pending && !in_user {
                            lease.give_no_answer(vm);
                        }
                        self.immediate_exit().store(0, Ordering::SeqCst);
                        continue;
                    }
                    lease.return_to_ring0(&sregs)?;
                    if !in_user {
                        lease.undo_switch(&sregs, previous.take());
                        return Ok(Exit::NotEntered);
                    }
                    lease.read_user(&sregs, regs);
                    return Ok(if matches!(end, End::NoMemory) { Exit::NoMemory } else { Exit::Kicked });
                }
            }
        }
    }
}

/// What a way in that loads CR3 replaces.
struct Switched {
    space: Option<Arc<Space>>,
    pcid: usize,
}

impl Lease {
    /// Puts guest registers where the way in takes them from.
    fn load(
        &mut self,
        vm: &Vm,
        space: &Arc<Space>,
        regs: &PtRegs,
    ) -> Result<Option<Switched>, PlatformError> {
        let regs = regs.sanitised();
        let arena = &vm.arena;
        let base = |value| if is_canonical(value) { value } else { 0 };
        self.percpu.store(arena, FS_BASE, base(regs.fs_base));
        self.percpu.store(arena, GS_BASE, base(regs.gs_base));
        // As after a system call whose result is all that has changed. `sysretq` to an address that is not canonical would
        // fault in ring 0, and a single step comes one instruction late.
        let by_sysret = regs.rcx == regs.rip
            && regs.r11 == regs.eflags
            && regs.eflags & X86_EFLAGS_TF == 0
            && is_canonical(regs.rip);
        let frame = if by_sysret {
            [regs.rax, regs.rsp, 0, 0, 0, 0]
        } else {
            [regs.rax, regs.rip, regs.cs, regs.eflags, regs.rsp, regs.ss]
        };
        for (offset, word) in (FRAME..).step_by(8).zip(frame) {
            self.percpu.store(arena, offset, word);
        }
        let generation = space.generation();
        let number = space.id % PCIDS;
        let pcid = usize::try_from(number).unwrap_or(0);
        let known = self.flushed.get(pcid) == Some(&(space.id, generation));
        let loaded = self.space.as_ref().is_some_and(|loaded| Arc::ptr_eq(loaded, space));
        let switched = if known && loaded {
            None
        } else {
            let keep = known && vm.cpuid.has_pcid;
            let cr3 = if vm.cpuid.has_pcid { space.root() | number } else { space.root() };
            self.percpu.store(arena, CR3, if keep { cr3 | X86_CR3_PCID_NOFLUSH } else { cr3 });
            if let Some(slot) = self.flushed.get_mut(pcid) {
                *slot = (space.id, generation);
            }
            Some(Switched { space: self.space.replace(space.clone()), pcid })
        };
        let entry = &vm.entry;
        let rip = match (by_sysret, switched.is_some()) {
            (true, true) => entry.sysret_cr3,
            (true, false) => entry.sysret,
            (false, true) => entry.iret_cr3,
            (false, false) => entry.iret,
        };
        self.fd.sync_regs_mut().regs = kvm_regs {
            rax: 0,
            rbx: regs.rbx,
            rcx: regs.rcx,
            rdx: regs.rdx,
            rsi: regs.rsi,
            rdi: regs.rdi,
            rsp: self.percpu.frame(),
            rbp: regs.rbp,
            r8: regs.r8,
            r9: regs.r9,
            r10: regs.r10,
            r11: regs.r11,
            r12: regs.r12,
            r13: regs.r13,
            r14: regs.r14,
            r15: regs.r15,
            rip: Vm::code_addr(rip),
            rflags: X86_EFLAGS_FIXED,
        };
        self.fd.set_sync_dirty_reg(SyncReg::Register);
        Ok(switched)
    }

    fn run_once(&mut self) -> Result<End, PlatformError> {
        match self.fd.run() {
            Ok(VcpuExit::Hlt) => Ok(End::Halted),
            Ok(VcpuExit::MemoryFault { .. }) => Ok(End::NoMemory),
            Ok(VcpuExit::Intr) => Ok(End::Kicked),
            Ok(exit) => Err(broken(&format!("{exit:?}"))),
            Err(error) => match error.errno() {
                libc::EINTR | libc::EAGAIN => Ok(End::Kicked),
                libc::EFAULT | libc::EHWPOISON => Ok(End::NoMemory),
                _ => Err(host("KVM_RUN")(error)),
            },
        }
    }

    /// Has a call that is being answered leave instead.
    fn give_no_answer(&mut self, vm: &Vm) {
        let rip = self.fd.sync_regs().regs.rip;
        let Some((offset, restore)) = Vm::code_offset(rip).and_then(|at| vm.entry.without_answer(at)) else {
            return;
        };
        let number = self.percpu.load(&vm.arena, RAX);
        let regs = &mut self.fd.sync_regs_mut().regs;
        regs.rip = Vm::code_addr(offset);
        if restore {
            regs.rax = number;
        }
        self.fd.set_sync_dirty_reg(SyncReg::Register);
    }

    /// Whether an exception is on its way that the processor would take next.
    fn has_pending_event(&self) -> Result<bool, PlatformError> {
        let events = self.fd.get_vcpu_events().map_err(host("KVM_GET_VCPU_EVENTS"))?;
        let exception = events.exception.injected | events.exception.pending;
        Ok(exception | events.interrupt.injected | events.nmi.injected | events.nmi.pending != 0)
    }

    /// Reads the registers after the entry code has halted.
    fn read_trap(&mut self, vm: &Vm, regs: &mut PtRegs) -> Result<Exit, PlatformError> {
        let arena = &vm.arena;
        let vector = self.percpu.load(arena, VECTOR);
        let kvm = self.fd.sync_regs().regs;
        if vector >= VECTOR_KERNEL {
            let (number, rip) = (vector - VECTOR_KERNEL, self.percpu.stacked(arena, kvm.rsp + 16));
            let offset = Vm::code_offset(rip).unwrap_or(rip);
            return Err(broken(&format!("exception {number} at {offset:#x} of its own code")));
        }
        self.general(&kvm, regs);
        self.read_bases(arena, regs);
        if vector == VECTOR_SYSCALL {
            (regs.rip, regs.eflags, regs.rsp) = (kvm.rcx, kvm.r11, kvm.rsp);
            regs.orig_rax = regs.rax;
            *regs = PtRegs { eflags: regs.r11, ..regs.sanitised() };
            return Ok(Exit::Syscall);
        }
        let stacked = |index: u64| self.percpu.stacked(arena, kvm.rsp.wrapping_add(8 * index));
        let error = stacked(1);
        (regs.rip, regs.eflags, regs.rsp) = (stacked(2), stacked(4), stacked(5));
        *regs = regs.sanitised();
        Ok(Exit::Exception(Exception { vector, error, info: self.percpu.load(arena, INFO) }))
    }

    /// Reads the registers of guest code that was interrupted.
    fn read_user(&self, sregs: &kvm_sregs, regs: &mut PtRegs) {
        let kvm = self.fd.sync_regs().regs;
        self.general(&kvm, regs);
        (regs.rip, regs.eflags, regs.rsp) = (kvm.rip, kvm.rflags, kvm.rsp);
        (regs.fs_base, regs.gs_base) = (sregs.fs.base, sregs.gs.base);
        *regs = regs.sanitised();
    }

    fn general(&self, kvm: &kvm_regs, regs: &mut PtRegs) {
        *regs = PtRegs {
            r15: kvm.r15,
            r14: kvm.r14,
            r13: kvm.r13,
            r12: kvm.r12,
            rbp: kvm.rbp,
            rbx: kvm.rbx,
            r11: kvm.r11,
            r10: kvm.r10,
            r9: kvm.r9,
            r8: kvm.r8,
            rax: kvm.rax,
            rcx: kvm.rcx,
            rdx: kvm.rdx,
            rsi: kvm.rsi,
            rdi: kvm.rdi,
            orig_rax: u64::MAX,
            ..PtRegs::default()
        };
    }

    fn read_bases(&self, arena: &Arena, regs: &mut PtRegs) {
        regs.fs_base = self.percpu.load(arena, FS_BASE);
        regs.gs_base = self.percpu.load(arena, GS_BASE);
    }

    /// Puts the record of CR3 right after a way in that was cut short, perhaps before it had loaded CR3.
    fn undo_switch(&mut self, sregs: &kvm_sregs, switched: Option<Switched>) {
        let Some(Switched { space, pcid }) = switched else { return };
        if let Some(slot) = self.flushed.get_mut(pcid) {
            *slot = (0, 0);
        }
        let is_loaded = self.space.as_ref().is_some_and(|space| space.root() == sregs.cr3 & !0xfff);
        if !is_loaded {
            self.space = space;
        }
    }

    /// Puts the processor, stopped anywhere, where a way in may start.
    fn return_to_ring0(&self, sregs: &kvm_sregs) -> Result<(), PlatformError> {
        let mut sregs = *sregs;
        self.ring0_segments(&mut sregs);
        self.fd.set_sregs(&sregs).map_err(host("KVM_SET_SREGS"))
    }

    /// Makes a processor usable again that has failed.
    fn reset(&mut self, vm: &Vm) {
        self.flushed.fill((0, 0));
        let events = kvm_bindings::kvm_vcpu_events::default();
        let done = self.fd.set_vcpu_events(&events).map_err(host("KVM_SET_VCPU_EVENTS"));
        match done.and_then(|()| self.set_up(vm)) {
            // CR3 is that of no address space now.
            Ok(()) => self.space = None,
            Err(error) => tracing::warn!("a virtual processor is lost: {error}"),
        }
    }

    /// Makes `answers` those of the calls that ring 0 answers.
    pub(crate) fn set_answers(&mut self, vm: &Vm, answers: &Arc<[Answer]>) {
        if !Arc::ptr_eq(&self.answers, answers) {
            self.percpu.set_answers(&vm.arena, &self.answers, answers);
            self.answers = answers.clone();
        }
    }

    /// How many calls it has answered since this was asked last.
    pub(crate) fn take_answered(&mut self, vm: &Vm) -> u64 {
        let now = self.percpu.load(&vm.arena, ANSWERED);
        now.wrapping_sub(std::mem::replace(&mut self.answered, now))
    }

    /// Whether the processor holds this owner's extended state.
    pub(crate) fn belongs_to(&self, owner: &Arc<Owner>) -> bool {
        self.owner.as_ref().is_some_and(|current| Arc::ptr_eq(current, owner))
    }

    /// Gives the owner its extended state back; the processor is nobody's then.
    pub(crate) fn evict(&mut self, vm: &Vm) -> Result<(), PlatformError> {
        if let Some(owner) = self.owner.take() {
            *owner.fp.lock() = Some(self.fp_state(vm)?);
        }
        Ok(())
    }

    /// The extended state in the processor.
    pub(crate) fn fp_state(&self, vm: &Vm) -> Result<FpState, PlatformError> {
        let xsave = self.fd.get_xsave().map_err(host("KVM_GET_XSAVE"))?;
        let words = xsave.region.iter().flat_map(|word| word.to_ne_bytes());
        let mut image: Vec<u8> = words.take(vm.cpuid.xstate.initial().len()).collect();
        vm.cpuid.xstate.normalise(&mut image);
        Ok(FpState::from_bytes(image))
    }

    /// Loads an image that was checked.
    pub(crate) fn set_fp_state(&self, vm: &Vm, image: &[u8]) -> Result<(), PlatformError> {
        let mut image = image.to_vec();
        vm.cpuid.xstate.write_out_legacy(&mut image);
        let mut xsave = kvm_xsave::default();
        for (word, bytes) in xsave.region.iter_mut().zip(image.chunks_exact(4)) {
            *word = bytes.try_into().map_or(0, u32::from_ne_bytes);
        }
        // SAFETY: no feature beyond the structure's 4096 bytes is enabled for the guest: tiles are not in its XCR0.
        unsafe { self.fd.set_xsave(&xsave) }.map_err(host("KVM_SET_XSAVE"))
    }
}
