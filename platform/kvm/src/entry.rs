//! Linux: arch/x86/entry/entry_64.S. The only code that runs in the guest's ring 0: it saves what an exit to the sentry
//! would not show, and halts.
//!
//! There is one way out. `syscall` and every vector of the IDT end at a `hlt`, which makes `KVM_RUN` return; all general
//! registers still hold what guest code had in them and are read through `KVM_CAP_SYNC_REGS`. Only what an exception
//! pushes, the segment bases and `rax`, which the code itself needs, lie in the processor's own page ([`crate::percpu`]).
//!
//! There are two ways in, `sysretq` and `iretq`, both also with a new CR3 first. The sentry has set the general registers,
//! `rsp` to the frame to pop and `rip` to one of [`Entry`]'s labels. It has also made sure that neither instruction can
//! fault: `rip` is canonical, and the selectors and flags are those of user code.
//!
//! # Calls that are answered here
//! A `syscall` whose number has an entry in the table of the processor's page ([`crate::percpu::ANSWERS`]) returns at once
//! with what stands there, as [`platform::Context::set_answers`] says. Its task can have changed nothing without an exit, and
//! the table is that of the context that was entered last. `sysretq` is safe here: `rcx` is what `syscall` left in ring 3, so
//! it is behind an instruction of the guest's, whose addresses end a page below the first that is not canonical; the flags in
//! `r11` are those ring 3 had. Only a single step would come one instruction late, as on the other way in, so a call with the
//! trap flag is not answered. A kick that meets this code has the call leave instead ([`Entry::without_answer`]), or a guest
//! that does nothing but such calls could not be stopped. The sentry does not see answered calls: its counters lack them, and
//! no `strace` shows them, which is why there are no answers under one.
//!
//! No interrupt is ever delivered: interrupts are off in ring 0 and the virtual machine has no interrupt controller.
//! Vectors that could hit ring 0 all the same have stacks of their own.
//!
//! # The sentry in ring 0
//! The next step would be to run the sentry itself in the guest's ring 0, as gVisor does, so that a call is served without an
//! exit at all. What that takes:
//! - *Mappings.* The sentry's text, heap, stacks and the window of the memory file must be there at their host addresses,
//!   supervisor-only. These are the guest's own, the lower half, so they need a second set of page tables, and a change of CR3
//!   each way. Every host mapping becomes a memory slot; what allocators map later is entered when it faults, with an exit.
//! - *Host calls.* A `syscall` in ring 0 goes to LSTAR as well. The entry code tells it by a word in the processor's page, and
//!   leaves; the thread takes the registers over, makes the call in host mode, and goes on there, at the same instruction, until
//!   it enters guest code next. So does whatever sleeps: a futex, a read of a host file.
//! - *Registers.* The extended state in the processor is the guest's, and Rust code uses it: one `xsaveopt` and one `xrstor`
//!   for a call. The red zone does not survive an exception on the running stack, so each vector needs a stack of its own.
//! - *Signals, the vDSO, `rdtscp` and CPUID* must look the same in both modes, or Rust's library trips over them.
//!
//! What it costs: today ring 0 holds nothing worth reading, and no guest-physical address leads to the sentry. Then the
//! sentry's memory is one wrong page table entry away from a guest, and what speculation reaches in ring 0 is all it has; on
//! processors with Meltdown or L1TF the tables must be apart, and the caches flushed, on each way in. Some 2000 lines that
//! switch modes join those to be trusted.
//!
//! What it gains: in QEMU's emulated machine `getppid`, with its exit, takes 84 µs, and a call that is answered here 0.07. On
//! hardware, of which none was at hand, an exit and the way back in are said to be 1 to 2 µs; two changes of CR3 and the
//! extended state should be some 0.3. That is for calls on what the sentry itself holds: pipes,
//! tmpfs, ids, signals. What reads a host file, maps memory or sleeps needs its exit as before, now for the host call.
//! `docs/performance.md` has the exits of single calls. Calls that are answered above need none either way.

use crate::address_space::USER_END;
use crate::percpu::{ANSWERED, ANSWERS, ANSWERS_LEN, CR3, FRAME_NULL, FS_BASE, GS_BASE, INFO, RAX, VECTOR};
use std::arch::global_asm;

/// Vectors with a handler of their own. The others cannot happen: `int n` is refused by the gates' privilege level.
pub(crate) const VECTORS: usize = 32;
/// Bytes from one vector's code to the next one's.
pub(crate) const VECTOR_STRIDE: u64 = 16;
/// What [`VECTOR`] holds after a `syscall`.
pub(crate) const VECTOR_SYSCALL: u64 = 0x100;
/// Added to the vector of an exception in ring 0.
pub(crate) const VECTOR_KERNEL: u64 = 0x200;

/// Vectors that the rest of the crate names. Linux: arch/x86/include/asm/trapnr.h.
pub(crate) const X86_TRAP_DB: u64 = 1;
/// The trap flag. Linux: arch/x86/include/uapi/asm/processor-flags.h.
pub(crate) const X86_EFLAGS_TF: u64 = 0x100;

// No `syscall` of ring 3 has a return address that is not canonical.
const _: () = assert!(USER_END < 1 << 47);

global_asm!(
    ".pushsection .text.runsc_kvm_entry, \"ax\", @progbits",
    ".balign 4096",
    // Other parts of the crate may be compiled apart from this.
    ".irp label, entry, syscall, answer, answered, again, leave, enter, sysret, sysret_cr3, iret, iret_cr3, end",
    ".globl runsc_kvm_\\label",
    ".hidden runsc_kvm_\\label",
    ".endr",
    "runsc_kvm_entry:",
    // Vectors, each at its place. Those of the mask push an error code themselves: 8, 10 to 14, 17, 21, 29 and 30.
    ".set runsc_kvm_vector, 0",
    ".rept {vectors}",
    ".balign {stride}",
    ".if ((0x60227d00 >> runsc_kvm_vector) & 1) == 0",
    "push 0",
    ".endif",
    ".byte 0x6a, runsc_kvm_vector",
    "jmp runsc_kvm_exception",
    ".set runsc_kvm_vector, runsc_kvm_vector + 1",
    ".endr",
    // rsp: vector, error code, rip, cs, rflags, rsp, ss.
    ".balign 64",
    "runsc_kvm_exception:",
    "test byte ptr [rsp + 24], 3",
    "jz 2f",
    "swapgs",
    "mov gs:[{rax}], rax",
    "mov rax, [rsp]",
    "mov gs:[{vector}], rax",
    "cmp rax, {debug}",
    "je 7f",
    "mov rax, cr2",
    "mov gs:[{info}], rax",
    "jmp 4f",
    // What caused a debug exception stays in the register until it is cleared.
    "7: mov rax, dr6",
    "mov gs:[{info}], rax",
    "mov eax, 0xffff0ff0",
    "mov dr6, rax",
    "jmp 4f",
    // In ring 0. A single step that was put off to the first instruction of the handler (`mov ss` before `int3`, say) is
    // passed over; anything else is a defect of this code.
    "2: cmp byte ptr [rsp], {debug}",
    "jne 3f",
    "and dword ptr [rsp + 32], 0xfffffeff",
    "add rsp, 16",
    "iretq",
    "3: push rax",
    "push rdx",
    "push rcx",
    "mov ecx, 0xc0000101",
    "rdmsr",
    "test edx, edx",
    "js 5f",
    "swapgs",
    "5: mov rax, [rsp + 24]",
    "add rax, {kernel}",
    "mov gs:[{vector}], rax",
    "mov rax, cr2",
    "mov gs:[{info}], rax",
    "pop rcx",
    "pop rdx",
    "pop rax",
    "6: hlt",
    "jmp 6b",
    ".balign 64",
    "runsc_kvm_syscall:",
    "swapgs",
    "mov gs:[{rax}], rax",
    "runsc_kvm_answer:",
    "cmp rax, {answers_len}",
    "jae runsc_kvm_leave",
    "test r11d, {trap_flag}",
    "jnz runsc_kvm_leave",
    "mov eax, gs:[{answers} + rax * 4]",
    "cmp eax, -1",
    "je runsc_kvm_leave",
    "inc qword ptr gs:[{answered}]",
    "swapgs",
    "runsc_kvm_answered:",
    "sysretq",
    // The start once more, without an answer.
    "runsc_kvm_again:",
    "swapgs",
    "mov gs:[{rax}], rax",
    "runsc_kvm_leave:",
    "mov eax, {syscall}",
    "mov gs:[{vector}], rax",
    "4: rdfsbase rax",
    "mov gs:[{fs}], rax",
    "swapgs",
    "rdgsbase rax",
    "swapgs",
    "mov gs:[{gs}], rax",
    "mov rax, gs:[{rax}]",
    "6: hlt",
    "jmp 6b",
    // From here on nothing of the guest's is in the registers that is not at hand elsewhere.
    ".balign 64",
    "runsc_kvm_enter:",
    ".macro runsc_kvm_load",
    "xor eax, eax",
    "mov ds, eax",
    "mov es, eax",
    "mov fs, eax",
    "mov rax, gs:[{fs}]",
    "wrfsbase rax",
    "mov rax, gs:[{gs}]",
    "swapgs",
    "mov gs, word ptr [rsp + {null}]",
    "wrgsbase rax",
    "pop rax",
    ".endm",
    "runsc_kvm_sysret_cr3:",
    "mov rax, gs:[{cr3}]",
    "mov cr3, rax",
    "runsc_kvm_sysret:",
    "runsc_kvm_load",
    "pop rsp",
    "sysretq",
    ".balign 64",
    "runsc_kvm_iret_cr3:",
    "mov rax, gs:[{cr3}]",
    "mov cr3, rax",
    "runsc_kvm_iret:",
    "runsc_kvm_load",
    "iretq",
    "runsc_kvm_end:",
    ".popsection",
    vectors = const VECTORS,
    stride = const VECTOR_STRIDE,
    debug = const X86_TRAP_DB,
    kernel = const VECTOR_KERNEL,
    syscall = const VECTOR_SYSCALL,
    answers = const ANSWERS,
    answers_len = const ANSWERS_LEN,
    answered = const ANSWERED,
    trap_flag = const X86_EFLAGS_TF,
    rax = const RAX,
    fs = const FS_BASE,
    gs = const GS_BASE,
    cr3 = const CR3,
    vector = const VECTOR,
    info = const INFO,
    null = const FRAME_NULL,
);

unsafe extern "C" {
    static runsc_kvm_entry: u8;
    static runsc_kvm_syscall: u8;
    static runsc_kvm_answer: u8;
    static runsc_kvm_answered: u8;
    static runsc_kvm_again: u8;
    static runsc_kvm_leave: u8;
    static runsc_kvm_enter: u8;
    static runsc_kvm_sysret: u8;
    static runsc_kvm_sysret_cr3: u8;
    static runsc_kvm_iret: u8;
    static runsc_kvm_iret_cr3: u8;
    static runsc_kvm_end: u8;
}

/// Where the labels are, in bytes from the start of the code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) syscall: u64,
    /// From here on, the call's number is in the processor's page.
    answer: u64,
    /// The last instruction of an answer, with the guest's GS.
    answered: u64,
    /// What stands at `syscall`, for a call that is not to be answered.
    again: u64,
    /// Where a call leaves.
    leave: u64,
    /// From here on, an interrupted entry can be started anew.
    pub(crate) enter: u64,
    pub(crate) sysret: u64,
    pub(crate) sysret_cr3: u64,
    pub(crate) iret: u64,
    pub(crate) iret_cr3: u64,
}

impl Entry {
    pub(crate) fn new() -> Entry {
        let start = &raw const runsc_kvm_entry;
        let offset = |label: *const u8| u64::try_from(label.addr() - start.addr()).unwrap_or(0);
        Entry {
            syscall: offset(&raw const runsc_kvm_syscall),
            answer: offset(&raw const runsc_kvm_answer),
            answered: offset(&raw const runsc_kvm_answered),
            again: offset(&raw const runsc_kvm_again),
            leave: offset(&raw const runsc_kvm_leave),
            enter: offset(&raw const runsc_kvm_enter),
            sysret: offset(&raw const runsc_kvm_sysret),
            sysret_cr3: offset(&raw const runsc_kvm_sysret_cr3),
            iret: offset(&raw const runsc_kvm_iret),
            iret_cr3: offset(&raw const runsc_kvm_iret_cr3),
        }
    }

    /// Where a call that may be answered from `offset` on is to go on instead, so that it leaves; and whether `rax` must
    /// hold its number again. `None` outside of that code.
    pub(crate) fn without_answer(&self, offset: u64) -> Option<(u64, bool)> {
        match offset {
            _ if offset < self.syscall || offset > self.answered => None,
            _ if offset < self.answer => Some((offset - self.syscall + self.again, false)),
            _ if offset < self.answered => Some((self.leave, false)),
            _ => Some((self.again, true)),
        }
    }

    /// The code, which runs wherever it is put.
    pub(crate) fn code() -> &'static [u8] {
        let (start, end) = (&raw const runsc_kvm_entry, &raw const runsc_kvm_end);
        // SAFETY: the two labels bound bytes of this program's text.
        unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_any_state_can_leave() {
        let entry = Entry::new();
        let bytes =
            |from: u64, to: u64| &Entry::code()[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
        assert_eq!(bytes(entry.syscall, entry.answer), bytes(entry.again, entry.leave));
        // swapgs; sysretq
        assert_eq!(bytes(entry.answered - 3, entry.again), [0x0f, 0x01, 0xf8, 0x48, 0x0f, 0x07]);
        assert_eq!(entry.without_answer(entry.syscall - 1), None);
        assert_eq!(entry.without_answer(entry.syscall), Some((entry.again, false)));
        assert_eq!(entry.without_answer(entry.answer), Some((entry.leave, false)));
        assert_eq!(entry.without_answer(entry.answered - 3), Some((entry.leave, false)));
        assert_eq!(entry.without_answer(entry.answered), Some((entry.again, true)));
        assert_eq!(entry.without_answer(entry.again), None);
    }
}
