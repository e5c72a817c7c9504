//! How the zygote comes into being: a copy of the sentry that replaces its memory's upper end by the stub's own pages, and
//! goes on in the [stub's code](crate::stub_code) there.

use crate::layout::{CONSTANTS, STUB_BASE, ZYGOTE_QUEUE};
use std::arch::global_asm;

global_asm!(
    ".pushsection .text.runsc_systrap_spawn, \"ax\", @progbits",
    ".balign 64",
    // fn(control descriptor, offset of the queue page, result): the zygote, in the sentry's copy of the code.
    //
    // The C library has registered every thread with rseq(2), which fork inherits; so the calling thread makes a process
    // that shares its memory, which has no registration, and that one forks the zygote as the caller's child. Neither
    // uses the stack, which all have in common.
    ".globl runsc_systrap_spawn",
    ".hidden runsc_systrap_spawn",
    "runsc_systrap_spawn:",
    "push rbx",
    "push r12",
    "push r13",
    "mov r12, rdi",
    "mov r13, rsi",
    "mov rbx, rdx",
    "mov eax, {sys_clone}",
    "mov edi, {spawn_flags}",
    "xor esi, esi",
    "xor edx, edx",
    "xor r10d, r10d",
    "xor r8d, r8d",
    "syscall",
    "test rax, rax",
    "jz 1f",
    "pop r13",
    "pop r12",
    "pop rbx",
    "ret",
    "1:",
    "mov eax, {sys_clone}",
    "mov edi, {zygote_flags}",
    "xor esi, esi",
    "syscall",
    "test rax, rax",
    "jz 2f",
    "mov [rbx], rax",
    "mov eax, {sys_exit}",
    "xor edi, edi",
    "syscall",
    "ud2",
    "2:",
    "mov r8, r12",
    "mov r10d, {map_flags}",
    "mov eax, {sys_mmap}",
    "mov rdi, {stub_base}",
    "mov esi, 4096",
    "mov edx, {prot_rx}",
    "xor r9d, r9d",
    "syscall",
    "cmp rax, rdi",
    "jne 3f",
    "mov eax, {sys_mmap}",
    "mov rdi, {constants}",
    "mov edx, {prot_r}",
    "mov r9d, 4096",
    "syscall",
    "cmp rax, rdi",
    "jne 3f",
    "mov eax, {sys_mmap}",
    "mov rdi, {zygote_queue}",
    "mov edx, {prot_rw}",
    "mov r9, r13",
    "syscall",
    "cmp rax, rdi",
    "jne 3f",
    "mov rbx, rdi",
    "xor r15d, r15d",
    "mov rax, {stub_base}",
    "jmp rax",
    "3:",
    "mov eax, {sys_exit_group}",
    "mov edi, 1",
    "syscall",
    "ud2",
    ".popsection",
    sys_clone = const libc::SYS_clone,
    sys_exit = const libc::SYS_exit,
    sys_exit_group = const libc::SYS_exit_group,
    sys_mmap = const libc::SYS_mmap,
    spawn_flags = const libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES,
    zygote_flags = const libc::CLONE_FILES | libc::CLONE_PARENT,
    map_flags = const libc::MAP_SHARED | libc::MAP_FIXED,
    prot_rx = const libc::PROT_READ | libc::PROT_EXEC,
    prot_r = const libc::PROT_READ,
    prot_rw = const libc::PROT_READ | libc::PROT_WRITE,
    stub_base = const STUB_BASE,
    constants = const CONSTANTS,
    zygote_queue = const ZYGOTE_QUEUE,
);

unsafe extern "C" {
    /// Makes the zygote. Gives the id of the process that has made it, which is a zombie by then, or a negated error
    /// number; writes that of the zygote, or a negated error number, to the last argument.
    fn runsc_systrap_spawn(control: i32, queue: u64, result: *mut i64) -> i64;
}

/// Makes the zygote: gives the id of the process that has made it, to be reaped, and of the zygote itself. `queue` is the
/// offset of its queue page in the control file. All signals must be blocked, as they stay in the zygote.
pub(crate) fn spawn(control: i32, queue: u64) -> (i64, i64) {
    let mut zygote = 0;
    // SAFETY: the code keeps to the C calling convention, and the two processes it makes leave the caller's memory as it
    // is but for the result.
    let helper = unsafe { runsc_systrap_spawn(control, queue, &raw mut zygote) };
    (helper, zygote)
}
