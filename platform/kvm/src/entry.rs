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
//! No interrupt is ever delivered: interrupts are off in ring 0 and the virtual machine has no interrupt controller.
//! Vectors that could hit ring 0 all the same have stacks of their own.
//!
//! # The sentry in ring 0
//! The next step would be to run the sentry itself in the guest's ring 0, as gVisor does: its pages mapped supervisor-only
//! at their host addresses in every address space, and a trap from guest code a plain jump to its task's loop, some 100 ns
//! instead of 1–2 µs. A host call of the sentry then is what needs an exit: `syscall` in ring 0 leads to the LSTAR code
//! below, which would leave with all registers and have the thread go on in host mode at the same instruction. What that
//! costs: the sentry's whole address space mirrored into the guest's page tables, kept true while allocators map and unmap
//! (a slot per host mapping, faulted in); no signal, vDSO or `rdtscp` difference between the two modes that Rust's library
//! could trip over; a red zone free build, since exceptions push on the running stack, or IST stacks for all of them; and
//! the loss of what stands here now, that ring 0 holds nothing worth reading. On parts with Meltdown it would need a second
//! set of tables, and a switch of CR3 each way.

use crate::percpu::{CR3, FRAME_NULL, FS_BASE, GS_BASE, INFO, RAX, VECTOR};
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

global_asm!(
    ".pushsection .text.runsc_kvm_entry, \"ax\", @progbits",
    ".balign 4096",
    // Other parts of the crate may be compiled apart from this.
    ".irp label, entry, syscall, enter, sysret, sysret_cr3, iret, iret_cr3, end",
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
            enter: offset(&raw const runsc_kvm_enter),
            sysret: offset(&raw const runsc_kvm_sysret),
            sysret_cr3: offset(&raw const runsc_kvm_sysret_cr3),
            iret: offset(&raw const runsc_kvm_iret),
            iret_cr3: offset(&raw const runsc_kvm_iret_cr3),
        }
    }

    /// The code, which runs wherever it is put.
    pub(crate) fn code() -> &'static [u8] {
        let (start, end) = (&raw const runsc_kvm_entry, &raw const runsc_kvm_end);
        // SAFETY: the two labels bound bytes of this program's text.
        unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) }
    }
}
