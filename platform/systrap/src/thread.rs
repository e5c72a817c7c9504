//! A guest thread of a stub, and the hand-off with it.

use crate::control_file::Slot;
use crate::layout::{SLOT_SIZE, frame, kind, mode, slot, state};
use crate::mapper::{Mapper, call_error, gone, plain};
use crate::stub_code::{KICK, RESET, THREAD_FLAGS, gate};
use crate::turn;
use platform::{PlatformError, PtRegs};
use platform_host::affinity::{self, CpuSet};
use platform_host::{process, wait};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How often in a row, a second apart, the sentry may find the same request to leave guest code unheeded. A guest can make its slot such
/// that kicks come to nothing.
const MAX_UNHEEDED: u32 = 10;

/// A guest thread.
pub(crate) struct StubThread {
    pub(crate) pid: i32,
    pub(crate) tid: i32,
    pub(crate) slot: Slot,
    /// Where the slot is in the stub.
    pub(crate) addr: u64,
    /// Whether it runs guest code, or is about to, for all the sentry knows.
    in_guest: AtomicBool,
    /// Counts entries into guest code.
    stint: AtomicU32,
    /// Whether it has been kicked since it was let go last. Cleared when it has been let go, not before: a kick that
    /// reaches it earlier is lost, and must not stand for those that follow.
    kicked: AtomicBool,
}

/// Starts a guest thread whose slot is at `addr`.
pub(crate) fn start(
    mapper: &mut Mapper,
    control: i32,
    addr: u64,
    slot: Slot,
) -> Result<StubThread, PlatformError> {
    let bits = |flags: libc::c_int| u64::try_from(flags).unwrap_or(0);
    let write = |offset: u64, word: u64| slot.word64(offset).store(word, Ordering::Relaxed);
    // stack_t: the address, the flags, the size.
    write(slot::STACK_T, addr + slot::STACK);
    write(slot::STACK_T + 8, 0);
    write(slot::STACK_T + 16, SLOT_SIZE - slot::STACK);
    write_gate(&slot, addr);
    let fd = u64::try_from(control).unwrap_or(u64::MAX);
    let (prot, flags) = (bits(libc::PROT_READ | libc::PROT_WRITE), bits(libc::MAP_SHARED | libc::MAP_FIXED));
    let nr = u64::try_from(libc::SYS_clone).unwrap_or(u64::MAX);
    let calls = [
        plain(libc::SYS_mmap, [addr, SLOT_SIZE, prot, flags, fd, slot.offset()]),
        [nr, THREAD_FLAGS, 0, addr + slot::TID, 0, 0, 0, kind::THREAD],
    ];
    mapper.run(&calls)?.map_err(call_error("clone"))?;
    let pid = mapper.pid();
    // A guest may have written another number there, but only one of a thread of its own helps it to anything.
    let tid = i32::try_from(slot.word(slot::TID).load(Ordering::SeqCst)).unwrap_or(0);
    process::tgkill(pid, tid, 0).map_err(|_| gone())?;
    Ok(StubThread {
        pid,
        tid,
        slot,
        addr,
        in_guest: AtomicBool::new(false),
        stint: AtomicU32::new(0),
        kicked: AtomicBool::new(false),
    })
}

/// Writes what the code of the gate looks up.
fn write_gate(slot: &Slot, addr: u64) {
    let gate = gate();
    let words = [
        (slot::GATE, gate.start),
        (slot::GATE_ELSEWHERE, gate.elsewhere),
        (slot::GATE_STACK, addr + slot::RESTORE),
    ];
    for (offset, word) in words {
        slot.word64(offset).store(word, Ordering::Relaxed);
    }
}

impl platform_placement::StubThread for StubThread {
    fn tid(&self) -> i32 {
        self.tid
    }

    fn is_in_guest(&self) -> bool {
        self.in_guest.load(Ordering::SeqCst)
    }

    fn stint(&self) -> u32 {
        self.stint.load(Ordering::Relaxed)
    }
}

impl StubThread {
    pub(crate) fn set_in_guest(&self, value: bool) {
        if value {
            // Written by one thread only.
            self.stint.store(self.stint.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        // Whoever asks for an interruption sets its mark, then looks here; the other way round on entry.
        self.in_guest.store(value, if value { Ordering::SeqCst } else { Ordering::Release });
    }

    /// Brings the thread out of guest code, if it is there. Only the first of many does something: the thread masks
    /// nothing, so that signals that come faster than it handles them would fill its stack.
    pub(crate) fn kick(&self) {
        if self.in_guest.load(Ordering::SeqCst) && !self.kicked.swap(true, Ordering::SeqCst) {
            self.kick_again();
        }
    }

    /// The same, for those who know that an earlier one may have been lost.
    fn kick_again(&self) {
        // It fails only for a thread that is dying, which whoever waits for it will see.
        let _ = process::tgkill(self.pid, self.tid, KICK);
    }

    /// Writes what the thread is to enter guest code with. `xstate` is the address of the extended state, or 0 for the one
    /// that is in the processor. Where guest code has none of its own, GS is the slot's.
    pub(crate) fn load(&self, regs: &PtRegs, xstate: u64) {
        let gs_base = if regs.gs_base == 0 { self.addr } else { regs.gs_base };
        let words = [
            regs.rip,
            regs.cs,
            regs.eflags,
            regs.rsp,
            regs.ss,
            regs.rax,
            regs.rbx,
            regs.rcx,
            regs.rdx,
            regs.rsi,
            regs.rdi,
            regs.rbp,
            regs.r8,
            regs.r9,
            regs.r10,
            regs.r11,
            regs.r12,
            regs.r13,
            regs.r14,
            regs.r15,
            regs.fs_base,
            gs_base,
            xstate,
        ];
        for (offset, word) in (slot::RESTORE..).step_by(8).zip(words) {
            self.slot.word64(offset).store(word, Ordering::Relaxed);
        }
        self.slot.word(slot::MODE).store(mode::ENTER, Ordering::Relaxed);
    }

    /// Has the thread return from a call that came through the gate.
    pub(crate) fn load_result(&self, result: u64) {
        self.slot.word64(slot::RESULT).store(result, Ordering::Relaxed);
        self.slot.word(slot::MODE).store(mode::RETURN, Ordering::Relaxed);
    }

    /// Has the thread, which is not in guest code, write its extended state to its place in the slot.
    pub(crate) fn save_xstate(&self) -> Result<(), PlatformError> {
        // Kicks that come late can keep the thread from it, and so can a guest that writes to the slot.
        for _ in 0..MAX_UNHEEDED {
            self.slot.word(slot::MODE).store(mode::SAVE, Ordering::Relaxed);
            self.release(0, || false);
            self.wait(|| true)?;
            if self.slot.word64(slot::FRAME).load(Ordering::Acquire) == frame::SAVED {
                break;
            }
        }
        Ok(())
    }

    /// Makes the thread fit for another guest. It has no context, nothing of the guest's is mapped any more, and it is the
    /// first one of its stub, started before there was guest code: its id and its signal stack are what they should be.
    ///
    /// What the words in the slot say of the thread may be the guest's forgery, and it may be at any instruction of the stub's
    /// code, with any registers. So it is sent a signal whose handler drops all that ([`RESET`]), and then kept from running
    /// anywhere but on this processor, where it does not run as long as the caller does: it cannot execute another
    /// instruction before the handler's. Only after that may anything be mapped for the next guest. The handler's answer
    /// is forgeable again, and serves nobody but the old guest, whose remains are removed then.
    pub(crate) fn reset(&self) -> Result<(), PlatformError> {
        /// How long a thread may take to fall asleep.
        const PATIENCE: Duration = Duration::from_millis(2);
        let state = self.slot.word(slot::STATE);
        let begin = Instant::now();
        while state.load(Ordering::Relaxed) != state::TRAPPED_ASLEEP {
            if begin.elapsed() > PATIENCE {
                return Err(gone());
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        state.store(state::RUNNING, Ordering::SeqCst);
        process::tgkill(self.pid, self.tid, RESET).map_err(|_| gone())?;
        loop {
            let here = affinity::current_cpu();
            affinity::set(self.tid, &CpuSet::single(here)).map_err(call_error("sched_setaffinity"))?;
            if affinity::current_cpu() == here {
                break;
            }
        }
        if !turn::sleep(state).map_err(call_error("futex"))? {
            return Err(gone());
        }
        self.slot.empty().map_err(call_error("fallocate"))?;
        write_gate(&self.slot, self.addr);
        self.kicked.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Whether the thread sleeps since its last trap.
    pub(crate) fn is_asleep(&self) -> bool {
        self.slot.word(slot::STATE).load(Ordering::Relaxed) == state::TRAPPED_ASLEEP
    }

    /// Whether the thread has trapped.
    pub(crate) fn is_back(&self) -> bool {
        turn::is_back(self.slot.word(slot::STATE))
    }

    /// Lets the thread go; at its next trap it looks on for that many steps of the time-stamp counter before it sleeps.
    /// Kicks mean this entry from here on. `is_requested` says whether somebody has asked for one since the thread was said
    /// to be in guest code; that kick may have come too early.
    pub(crate) fn release(&self, spin: u32, is_requested: impl Fn() -> bool) {
        self.slot.word(slot::SPIN).store(spin, Ordering::Relaxed);
        turn::release(self.slot.word(slot::STATE));
        if self.kicked.load(Ordering::SeqCst) {
            self.kicked.store(false, Ordering::SeqCst);
        }
        if is_requested() {
            self.kick();
        }
    }

    /// Sleeps until the thread traps. `is_requested` says whether it was asked to leave guest code; one that does not do
    /// so is killed, with its stub.
    pub(crate) fn wait(&self, is_requested: impl Fn() -> bool) -> Result<(), PlatformError> {
        let mut unheeded = 0;
        while !turn::sleep(self.slot.word(slot::STATE)).map_err(call_error("futex"))? {
            unheeded = if is_requested() { unheeded + 1 } else { 0 };
            if unheeded == MAX_UNHEEDED {
                tracing::debug!("stub {} does not heed interruptions", self.pid);
                process::kill_process(self.pid);
            }
            // It may have been killed from outside.
            if wait::has_ended(self.pid) {
                return Err(gone());
            }
            if unheeded > 0 {
                self.kick_again();
            }
        }
        Ok(())
    }
}

const _: () = assert!(slot::BASES == slot::RESTORE + 20 * 8);
