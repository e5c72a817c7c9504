//! The code of a stub.
//!
//! Two things happen in it. The *mapper*, a stub's first thread, makes the calls its queue page names. A *guest
//! thread* runs guest code, and comes to the signal handler whenever that traps.
//!
//! The mapper keeps what it knows in registers and reads nothing but pages that the stub cannot write to, since guest
//! threads share its memory. Guest threads need no such care: what they may call is harmless with any arguments
//! ([`crate::filter`]), so it does not matter what guest code makes of the instructions here, or of a slot.
//!
//! Guest code whose call sites were rewritten comes to the *gate* instead, by a jump: there is no signal, and the extended
//! state stays in the processor until somebody asks for it or the host kernel puts it into the frame of a kick.
//!
//! A guest thread's handler never returns by rt_sigreturn(2), so nothing is masked while it runs, and a kick may come
//! between any two of its instructions. Its handler then looks where the interrupted one was: it goes back to the start
//! of that part, each of which can be done again.

use crate::layout::{
    CONSTANTS, QUEUE, SLOT_SIZE, STUB_BASE, constants, frame, kind, mode, queue, slot, state,
};
use std::arch::global_asm;

/// The signal that brings a thread out of guest code.
pub(crate) const KICK: i32 = libc::SIGURG;

/// The signal that brings a thread back to where it waits, whatever it was at. Its number is above that of every other, so that
/// where several are pending its handler runs first.
pub(crate) const RESET: i32 = 64;

/// `clone` flags of a new stub process: a child of the sentry that shares the descriptor table.
pub(crate) const FORK_FLAGS: u64 =
    (libc::CLONE_FILES | libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID) as u64;
/// `clone` flags of a new guest thread.
pub(crate) const THREAD_FLAGS: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_PARENT_SETTID) as u64;

/// Offsets of registers in a `ucontext`. Linux: arch/x86/include/uapi/asm/sigcontext.h.
const UC_RSP: u64 = 40 + 15 * 8;
const UC_RIP: u64 = 40 + 16 * 8;
const UC_FPSTATE: u64 = 40 + 23 * 8;
/// Flags that disturb stub code: single steps, direction, nested tasks, alignment checks.
const UNWELCOME_FLAGS: u64 = 0x4_4500;
/// Size of a `ucontext`, behind which a frame has the `siginfo`.
pub(crate) const UC_SIZE: usize = 304;

global_asm!(
    ".pushsection .text.runsc_systrap, \"ax\", @progbits",
    ".balign 64",
    ".irp label, start, mapper, handler, gate, gate_elsewhere, gate_switched, gate_saved, gate_published, end",
    ".globl runsc_systrap_\\label",
    ".hidden runsc_systrap_\\label",
    ".endr",
    "runsc_systrap_start:",

    // The mapper. rbx: queue page; r15d: the request served last.
    "runsc_systrap_mapper:",
    "mov eax, {sys_futex}",
    "lea rdi, [rbx + {q_request}]",
    "mov esi, {futex_wait}",
    "mov edx, r15d",
    "xor r10d, r10d",
    "syscall",
    "mov eax, [rbx + {q_request}]",
    "cmp eax, r15d",
    "je runsc_systrap_mapper",
    "mov r15d, eax",
    "lea r12, [rbx + {q_calls}]",
    "mov r13d, [rbx + {q_count}]",
    "2:",
    "mov rax, [r12]",
    "mov rdi, [r12 + 8]",
    "mov rsi, [r12 + 16]",
    "mov rdx, [r12 + 24]",
    "mov r10, [r12 + 32]",
    "mov r8, [r12 + 40]",
    "mov r9, [r12 + 48]",
    // A child must not look at the queue, which may hold other calls by the time it runs.
    "mov r14, [r12 + 56]",
    "syscall",
    "cmp rax, -4095",
    "jae 4f",
    "test rax, rax",
    "jnz 3f",
    "cmp r14, {kind_thread}",
    "je 5f",
    "cmp r14, {kind_fork}",
    "je 6f",
    "3:",
    "add r12, {q_stride}",
    "dec r13d",
    "jnz 2b",
    "xor eax, eax",
    "4:",
    // Tells the result, in words that are there beforehand: what the mapper wrote itself, a guest could overwrite.
    "neg rax",
    "mov rsi, {constants} + {c_results}",
    "lea rsi, [rsi + rax * 8]",
    "mov eax, {sys_write}",
    "mov edi, [rbx + {q_event}]",
    "mov edx, 8",
    "syscall",
    "jmp runsc_systrap_mapper",

    // A new guest thread; rdx is the address of its id. Its signals stay blocked until its filter stands.
    "5:",
    "mov rbp, rdx",
    "and rbp, -{slot_size}",
    "mov eax, {sys_sigaltstack}",
    "lea rdi, [rbp + {s_stack_t}]",
    "xor esi, esi",
    "syscall",
    "mov eax, {sys_seccomp}",
    "mov edi, {seccomp_set_mode_filter}",
    "mov esi, {seccomp_filter_flag_spec_allow}",
    "mov rdx, {constants} + {c_program}",
    "syscall",
    "test rax, rax",
    "jnz 7f",
    "mov eax, {sys_rt_sigprocmask}",
    "mov edi, {sig_setmask}",
    "mov rsi, {constants} + {c_signal_mask}",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "runsc_systrap_started:",
    "mov rsp, rbp",
    "jmp runsc_systrap_wait",

    "runsc_systrap_forked:",
    // A new stub; rbx is the zygote's queue page. It asks to die with the sentry.
    "6:",
    "mov eax, {sys_prctl}",
    "mov edi, {pr_set_pdeathsig}",
    "mov esi, {sigkill}",
    "syscall",
    "mov eax, {sys_getppid}",
    "syscall",
    "cmp eax, [rbx + {q_parent}]",
    "jne 7f",
    "mov eax, {sys_munmap}",
    "mov rdi, rbx",
    "mov esi, 4096",
    "syscall",
    "test rax, rax",
    "jnz 7f",
    "mov rbx, {queue}",
    "xor r15d, r15d",
    "jmp runsc_systrap_mapper",
    "7:",
    "mov eax, {sys_exit_group}",
    "mov edi, 1",
    "syscall",
    "ud2",

    // The handler of guest threads' signals. Of what it is given, the number tells a reset; else only rdx, the ucontext, is
    // made use of. The frame begins 8 bytes before it, and the stack pointer stays there or one word below.
    "runsc_systrap_handler:",
    "cmp edi, {reset}",
    "je runsc_systrap_reset",
    "lea rsp, [rdx - 8]",
    "mov rax, [rdx + {uc_rip}]",
    "lea rcx, [rip + runsc_systrap_start]",
    "cmp rax, rcx",
    "jb 1f",
    "lea rcx, [rip + runsc_systrap_end]",
    "cmp rax, rcx",
    "jb 8f",
    // Guest code has trapped.
    "1:",
    // Alignment checks and nested-task flags are the guest's.
    "push 2",
    "popfq",
    "mov rbp, rsp",
    "and rbp, -{slot_size}",
    "mov [rbp + {s_frame}], rdx",
    "rdfsbase rax",
    "mov [rbp + {s_trap_bases}], rax",
    "rdgsbase rax",
    "mov [rbp + {s_trap_bases} + 8], rax",
    "mov eax, {trapped}",
    "xchg [rbp + {s_state}], eax",
    // From here on the trap is known.
    "runsc_systrap_published:",
    "cmp eax, {running_asleep}",
    "jne runsc_systrap_wait",
    "mov rbp, rsp",
    "and rbp, -{slot_size}",
    "mov eax, {sys_futex}",
    "lea rdi, [rbp + {s_state}]",
    "mov esi, {futex_wake}",
    "mov edx, 1",
    "xor r10d, r10d",
    "syscall",
    "jmp runsc_systrap_wait",
    // A kick came in the lines above.
    "runsc_systrap_rewake:",
    "mov rbp, rsp",
    "and rbp, -{slot_size}",
    "mov eax, {sys_futex}",
    "lea rdi, [rbp + {s_state}]",
    "mov esi, {futex_wake}",
    "mov edx, 1",
    "xor r10d, r10d",
    "syscall",
    "jmp runsc_systrap_rewait",

    // A new beginning: nothing of what was interrupted is kept.
    "runsc_systrap_reset:",
    "push 2",
    "popfq",
    "jmp runsc_systrap_unentered",

    // Waits for the sentry's answer. All it needs is a stack pointer into its slot.
    "runsc_systrap_wait:",
    "mov rbp, rsp",
    "and rbp, -{slot_size}",
    "lea rsp, [rbp + {s_restore}]",
    "mov esi, [rbp + {s_spin}]",
    "test esi, esi",
    "jz 3f",
    "rdtsc",
    "shl rdx, 32",
    "or rdx, rax",
    "add rsi, rdx",
    "2:",
    "cmp dword ptr [rbp + {s_state}], {running}",
    "jae runsc_systrap_restore",
    "pause",
    "rdtsc",
    "shl rdx, 32",
    "or rdx, rax",
    "cmp rdx, rsi",
    "jb 2b",
    "3:",
    "mov eax, {trapped}",
    "mov ecx, {trapped_asleep}",
    "lock cmpxchg [rbp + {s_state}], ecx",
    "cmp eax, {running}",
    "jae runsc_systrap_restore",
    "mov eax, {sys_futex}",
    "lea rdi, [rbp + {s_state}]",
    "mov esi, {futex_wait}",
    "mov edx, {trapped_asleep}",
    "xor r10d, r10d",
    "syscall",
    "mov eax, [rbp + {s_state}]",
    "cmp eax, {running}",
    "jb 3b",
    "jmp runsc_systrap_restore",
    // A kick came in the lines above. It means this entry if the sentry has let the thread go already.
    "runsc_systrap_rewait:",
    "mov rbp, rsp",
    "and rbp, -{slot_size}",
    "cmp dword ptr [rbp + {s_state}], {running}",
    "jae runsc_systrap_unentered",
    "jmp runsc_systrap_wait",

    // Enters guest code. Up to its last instruction it can be given up: the sentry knows what it wanted.
    "runsc_systrap_restore:",
    "cmp dword ptr [rbp + {s_mode}], {mode_return}",
    "je 5f",
    "ja 6f",
    "mov rcx, [rbp + {s_bases} + 16]",
    "jrcxz 4f",
    "mov eax, -1",
    "mov edx, -1",
    "xrstor64 [rcx]",
    "4:",
    "mov rax, [rbp + {s_bases}]",
    "wrfsbase rax",
    "mov rax, [rbp + {s_bases} + 8]",
    "wrgsbase rax",
    "lea rsp, [rbp + {s_restore}]",
    "mov rax, [rsp + 40]",
    "mov rbx, [rsp + 48]",
    "mov rcx, [rsp + 56]",
    "mov rdx, [rsp + 64]",
    "mov rsi, [rsp + 72]",
    "mov rdi, [rsp + 80]",
    "mov rbp, [rsp + 88]",
    "mov r8, [rsp + 96]",
    "mov r9, [rsp + 104]",
    "mov r10, [rsp + 112]",
    "mov r11, [rsp + 120]",
    "mov r12, [rsp + 128]",
    "mov r13, [rsp + 136]",
    "mov r14, [rsp + 144]",
    "mov r15, [rsp + 152]",
    "iretq",
    // Returns from a call through the gate. The segment bases are as they were.
    "5:",
    "lea rsp, [rbp + {s_restore}]",
    "push qword ptr [rbp + {g_flags}]",
    "popfq",
    "mov rax, [rbp + {s_result}]",
    "mov rcx, [rbp + {g_rcx}]",
    "mov rdx, [rbp + {g_rdx}]",
    "mov rsi, [rbp + {g_rsi}]",
    "mov rdi, [rbp + {g_rdi}]",
    "mov r8, [rbp + {g_r8}]",
    "mov r9, [rbp + {g_r9}]",
    "mov r10, [rbp + {g_r10}]",
    "mov r11, [rbp + {g_flags}]",
    "mov rbx, [rbp + {g_rbx}]",
    "mov r12, [rbp + {g_r12}]",
    "mov r13, [rbp + {g_r13}]",
    "mov r14, [rbp + {g_r14}]",
    "mov r15, [rbp + {g_r15}]",
    "mov rsp, [rbp + {g_rsp}]",
    "mov rbp, [rbp + {g_rbp}]",
    "jmp qword ptr gs:[{g_resume}]",
    // Writes the extended state, and comes back.
    "6:",
    "mov eax, -1",
    "mov edx, -1",
    "xsave64 [rbp + {s_xstate}]",
    "mov qword ptr [rbp + {s_frame}], {frame_saved}",
    "jmp runsc_systrap_tell",
    // A kick came before that: says so to the sentry.
    "runsc_systrap_unentered:",
    "mov rbp, rsp",
    "and rbp, -{slot_size}",
    "lea rsp, [rbp + {s_restore}]",
    "mov qword ptr [rbp + {s_frame}], {frame_not_entered}",
    "runsc_systrap_tell:",
    "mov eax, {trapped}",
    "xchg [rbp + {s_state}], eax",
    "runsc_systrap_given_up:",
    "jmp runsc_systrap_published",

    // The gate: a call whose site was rewritten; the number is in rax, and rcx says where it returns to. There guest code
    // goes on, or at r11. GS is the slot's. Nothing but r11 is changed before all is stored.
    "runsc_systrap_gate:",
    "mov r11, rcx",
    "runsc_systrap_gate_elsewhere:",
    "mov qword ptr gs:[{g_resume}], r11",
    "mov qword ptr gs:[{g_rsp}], rsp",
    "mov rsp, qword ptr gs:[{gate_stack}]",
    "runsc_systrap_gate_switched:",
    "pushfq",
    "pop qword ptr gs:[{g_flags}]",
    "mov qword ptr gs:[{g_rax}], rax",
    "mov qword ptr gs:[{g_rcx}], rcx",
    "mov qword ptr gs:[{g_rdx}], rdx",
    "mov qword ptr gs:[{g_rsi}], rsi",
    "mov qword ptr gs:[{g_rdi}], rdi",
    "mov qword ptr gs:[{g_r8}], r8",
    "mov qword ptr gs:[{g_r9}], r9",
    "mov qword ptr gs:[{g_r10}], r10",
    "mov qword ptr gs:[{g_rbx}], rbx",
    "mov qword ptr gs:[{g_rbp}], rbp",
    "mov qword ptr gs:[{g_r12}], r12",
    "mov qword ptr gs:[{g_r13}], r13",
    "mov qword ptr gs:[{g_r14}], r14",
    "mov qword ptr gs:[{g_r15}], r15",
    "rdfsbase r11",
    "mov qword ptr gs:[{g_fs}], r11",
    "runsc_systrap_gate_saved:",
    "mov rbp, rsp",
    "and rbp, -{slot_size}",
    "test dword ptr [rbp + {g_flags}], {unwelcome_flags}",
    "jz 2f",
    "push 2",
    "popfq",
    "2:",
    "mov qword ptr [rbp + {s_frame}], {frame_gate}",
    "mov eax, {trapped}",
    "xchg [rbp + {s_state}], eax",
    "runsc_systrap_gate_published:",
    "jmp runsc_systrap_published",

    // A signal in stub code: rax is where. A kick, as a rule, or another that somebody has sent; if the host kernel has
    // raised it, a guest has jumped here or broken its slot, and it is told what has come of it.
    "8:",
    "cmp dword ptr [rdx + {uc_size} + 8], 0",
    "jg 1b",
    // The host kernel has put the extended state into the frame, and an initial one into the processor.
    "mov r8, rax",
    "mov r9, rdx",
    "mov rcx, [rdx + {uc_fpstate}]",
    "mov eax, -1",
    "mov edx, -1",
    "xrstor64 [rcx]",
    "mov rax, r8",
    "mov rdx, r9",
    "lea rcx, [rip + runsc_systrap_started]",
    "cmp rax, rcx",
    "jb 1b",
    // A new thread that has just unblocked its signals.
    "lea rcx, [rip + runsc_systrap_forked]",
    "cmp rax, rcx",
    "jb runsc_systrap_rewait",
    "lea rcx, [rip + runsc_systrap_handler]",
    "cmp rax, rcx",
    "jb 1b",
    "lea rcx, [rip + runsc_systrap_published]",
    "cmp rax, rcx",
    "jb 9f",
    "lea rcx, [rip + runsc_systrap_wait]",
    "cmp rax, rcx",
    "jb runsc_systrap_rewake",
    "lea rcx, [rip + runsc_systrap_restore]",
    "cmp rax, rcx",
    "jb runsc_systrap_rewait",
    "lea rcx, [rip + runsc_systrap_given_up]",
    "cmp rax, rcx",
    "jb runsc_systrap_unentered",
    "je runsc_systrap_rewake",
    "lea rcx, [rip + runsc_systrap_gate_published]",
    "cmp rax, rcx",
    "jb 1b",
    "je runsc_systrap_rewake",
    // The handler itself was interrupted before it had told the trap: its ucontext, which is aligned to 16 bytes, is where
    // its stack pointer was, or one or two words above.
    "9:",
    "mov rdx, [rdx + {uc_rsp}]",
    "add rdx, 23",
    "and rdx, -16",
    "jmp runsc_systrap_handler",
    "runsc_systrap_end:",
    ".popsection",
    sys_futex = const libc::SYS_futex,
    sys_write = const libc::SYS_write,
    sys_sigaltstack = const libc::SYS_sigaltstack,
    sys_seccomp = const libc::SYS_seccomp,
    sys_rt_sigprocmask = const libc::SYS_rt_sigprocmask,
    sys_prctl = const libc::SYS_prctl,
    sys_getppid = const libc::SYS_getppid,
    sys_munmap = const libc::SYS_munmap,
    sys_exit_group = const libc::SYS_exit_group,
    futex_wait = const libc::FUTEX_WAIT,
    futex_wake = const libc::FUTEX_WAKE,
    seccomp_set_mode_filter = const libc::SECCOMP_SET_MODE_FILTER,
    seccomp_filter_flag_spec_allow = const libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    sig_setmask = const libc::SIG_SETMASK,
    pr_set_pdeathsig = const libc::PR_SET_PDEATHSIG,
    reset = const RESET,
    sigkill = const libc::SIGKILL,
    constants = const CONSTANTS,
    queue = const QUEUE,
    c_results = const constants::RESULTS,
    c_program = const constants::PROGRAM,
    c_signal_mask = const constants::SIGNAL_MASK,
    q_request = const queue::REQUEST,
    q_count = const queue::COUNT,
    q_event = const queue::EVENT,
    q_parent = const queue::PARENT,
    q_calls = const queue::CALLS,
    q_stride = const queue::STRIDE,
    kind_thread = const kind::THREAD,
    kind_fork = const kind::FORK,
    slot_size = const SLOT_SIZE,
    s_restore = const slot::RESTORE,
    s_bases = const slot::BASES,
    s_state = const slot::STATE,
    s_spin = const slot::SPIN,
    s_frame = const slot::FRAME,
    s_trap_bases = const slot::TRAP_BASES,
    s_stack_t = const slot::STACK_T,
    trapped = const state::TRAPPED,
    trapped_asleep = const state::TRAPPED_ASLEEP,
    running = const state::RUNNING,
    running_asleep = const state::RUNNING_ASLEEP,
    s_mode = const slot::MODE,
    s_result = const slot::RESULT,
    s_xstate = const slot::XSTATE,
    mode_return = const mode::RETURN,
    frame_not_entered = const frame::NOT_ENTERED,
    frame_gate = const frame::GATE,
    frame_saved = const frame::SAVED,
    gate_stack = const slot::GATE_STACK,
    g_rax = const slot::GATE_REGS,
    g_rcx = const slot::GATE_REGS + 8,
    g_rdx = const slot::GATE_REGS + 16,
    g_rsi = const slot::GATE_REGS + 24,
    g_rdi = const slot::GATE_REGS + 32,
    g_r8 = const slot::GATE_REGS + 40,
    g_r9 = const slot::GATE_REGS + 48,
    g_r10 = const slot::GATE_REGS + 56,
    g_rsp = const slot::GATE_REGS + 64,
    g_flags = const slot::GATE_REGS + 72,
    g_rbx = const slot::GATE_REGS + 80,
    g_rbp = const slot::GATE_REGS + 88,
    g_r12 = const slot::GATE_REGS + 96,
    g_r13 = const slot::GATE_REGS + 104,
    g_r14 = const slot::GATE_REGS + 112,
    g_r15 = const slot::GATE_REGS + 120,
    g_fs = const slot::GATE_REGS + 128,
    g_resume = const slot::GATE_REGS + 136,
    unwelcome_flags = const UNWELCOME_FLAGS,
    uc_rip = const UC_RIP,
    uc_rsp = const UC_RSP,
    uc_fpstate = const UC_FPSTATE,
    uc_size = const UC_SIZE,
);

unsafe extern "C" {
    static runsc_systrap_start: u8;
    static runsc_systrap_handler: u8;
    static runsc_systrap_gate: u8;
    static runsc_systrap_gate_elsewhere: u8;
    static runsc_systrap_gate_switched: u8;
    static runsc_systrap_gate_saved: u8;
    static runsc_systrap_gate_published: u8;
    static runsc_systrap_end: u8;
}

/// The bytes of the code page.
pub(crate) fn code() -> &'static [u8] {
    let start = &raw const runsc_systrap_start;
    let len = (&raw const runsc_systrap_end).addr() - start.addr();
    // SAFETY: the two symbols enclose the instructions above, which nothing writes.
    unsafe { std::slice::from_raw_parts(start, len) }
}

/// Offset in the code page of a label in it.
fn offset_of(label: *const u8) -> u64 {
    u64::try_from(label.addr() - (&raw const runsc_systrap_start).addr()).unwrap_or(0)
}

/// Offset of the signal handler in the code page.
pub(crate) fn handler_offset() -> u64 {
    offset_of(&raw const runsc_systrap_handler)
}

/// Addresses in the code of the gate.
#[derive(Clone, Copy)]
pub(crate) struct Gate {
    /// Its first instruction.
    pub(crate) start: u64,
    /// The one that expects in r11 where guest code goes on.
    pub(crate) elsewhere: u64,
    /// From here on the stack pointer is the stub's.
    pub(crate) switched: u64,
    /// From here on all registers are stored.
    pub(crate) saved: u64,
    /// Behind its last instruction that has not told the sentry.
    pub(crate) end: u64,
}

/// Where the gate is in a stub.
pub(crate) fn gate() -> Gate {
    let at = |label: *const u8| STUB_BASE + offset_of(label);
    Gate {
        start: at(&raw const runsc_systrap_gate),
        elsewhere: at(&raw const runsc_systrap_gate_elsewhere),
        switched: at(&raw const runsc_systrap_gate_switched),
        saved: at(&raw const runsc_systrap_gate_saved),
        end: at(&raw const runsc_systrap_gate_published),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_file::HANDLED;
    use crate::layout::{MAX_THREADS, PAGE};

    #[test]
    fn a_reset_is_handled_before_all_others() {
        assert_eq!(HANDLED.iter().max(), Some(&RESET));
    }

    #[test]
    fn code_fits_its_page() {
        assert!(!code().is_empty() && code().len() < usize::try_from(PAGE).unwrap_or(0));
        assert!(handler_offset() > 0);
    }

    #[test]
    fn slots_are_counted_in_numbers_that_fit() {
        assert!(u64::from(MAX_THREADS) * SLOT_SIZE <= 1 << 31);
    }
}
