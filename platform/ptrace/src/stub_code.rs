//! The code of a stub and where it lies.
//!
//! A stub is a host process in which nothing is mapped but this page, a queue page, and what the guest is given. Every
//! `syscall` below is executed only while the sentry resumes the thread with `PTRACE_CONT`, or while the thread is
//! parked and untraced; guest code that jumps here is resumed with `PTRACE_SYSEMU` and traps like anywhere else.

use std::arch::global_asm;

/// Size of a page.
pub(crate) const PAGE: u64 = 4096;
/// Where the code page is mapped in every stub.
pub(crate) const STUB_BASE: u64 = 0x7fff_0000_0000;
/// Where the queue page is mapped in every stub, read-only.
pub(crate) const QUEUE_ADDR: u64 = STUB_BASE + PAGE;
/// First address behind the stub's own pages.
pub(crate) const STUB_END: u64 = QUEUE_ADDR + PAGE;
/// Linux: arch/x86/include/asm/page_64.h, `TASK_SIZE_MAX` with four-level page tables.
pub(crate) const TASK_SIZE_MAX: u64 = 0x7fff_ffff_f000;
/// Lowest address a guest may map: the usual vm.mmap_min_addr.
pub(crate) const USER_START: u64 = 0x1_0000;
/// End of what a guest may map. The pages between it and the stub stay unmapped.
pub(crate) const USER_END: u64 = STUB_BASE - 16 * PAGE;

/// `clone` flags of a new stub process: a child of the sentry that shares the descriptor table.
pub(crate) const FORK_FLAGS: u64 = (libc::CLONE_FILES | libc::CLONE_PARENT) as u64;
/// `clone` flags of a new thread of a stub.
pub(crate) const THREAD_FLAGS: u64 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM) as u64;

global_asm!(
    ".pushsection .text.runsc_stub, \"ax\", @progbits",
    ".balign 16",
    ".irp label, start, call, run, thread, fork, park, parked, end",
    ".globl runsc_stub_\\label",
    ".hidden runsc_stub_\\label",
    ".endr",
    "runsc_stub_start:",
    // One system call with the registers as they are.
    "runsc_stub_call:",
    "syscall",
    "int3",
    // rbx: the first of r12 operations of 64 bytes each (number, six arguments, unused). Stops at the first that fails,
    // with its result in rax and the operations left, itself included, in r12.
    "runsc_stub_run:",
    "mov rax, [rbx]",
    "mov rdi, [rbx + 8]",
    "mov rsi, [rbx + 16]",
    "mov rdx, [rbx + 24]",
    "mov r10, [rbx + 32]",
    "mov r8, [rbx + 40]",
    "mov r9, [rbx + 48]",
    "syscall",
    "cmp rax, -4095",
    "jae 2f",
    "add rbx, 64",
    "dec r12",
    "jnz runsc_stub_run",
    "2:",
    "int3",
    // clone with the registers as they are; the child is a thread and parks.
    "runsc_stub_thread:",
    "syscall",
    "test eax, eax",
    "jz runsc_stub_park",
    "int3",
    // clone with the registers as they are; the child is a process that asks to die with the sentry, whose id is in r12,
    // and parks.
    "runsc_stub_fork:",
    "syscall",
    "test eax, eax",
    "jz 3f",
    "int3",
    "3:",
    "mov eax, {sys_prctl}",
    "mov edi, {pr_set_pdeathsig}",
    "mov esi, {sigkill}",
    "syscall",
    "mov eax, {sys_getppid}",
    "syscall",
    "cmp eax, r12d",
    "je runsc_stub_park",
    "mov eax, {sys_exit_group}",
    "xor edi, edi",
    "syscall",
    "runsc_stub_park:",
    "mov eax, {sys_pause}",
    "syscall",
    "runsc_stub_parked:",
    "jmp runsc_stub_park",
    "runsc_stub_end:",
    ".popsection",
    sys_prctl = const libc::SYS_prctl,
    sys_getppid = const libc::SYS_getppid,
    sys_exit_group = const libc::SYS_exit_group,
    sys_pause = const libc::SYS_pause,
    pr_set_pdeathsig = const libc::PR_SET_PDEATHSIG,
    sigkill = const libc::SIGKILL,
);

unsafe extern "C" {
    static runsc_stub_start: u8;
    static runsc_stub_call: u8;
    static runsc_stub_run: u8;
    static runsc_stub_thread: u8;
    static runsc_stub_fork: u8;
    static runsc_stub_parked: u8;
    static runsc_stub_end: u8;
    /// The parking loop as the sentry itself has it mapped; where the first stub starts.
    pub(crate) fn runsc_stub_park() -> !;
}

/// Addresses of the entry points in a stub, or in the copy the sentry (and so a child it has just forked) has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// One system call, then a trap.
    pub(crate) call: u64,
    /// A list of system calls, then a trap.
    pub(crate) run: u64,
    /// `clone` of a thread.
    pub(crate) thread: u64,
    /// `clone` of a process.
    pub(crate) fork: u64,
    /// The parking loop.
    pub(crate) park: u64,
    /// Where a parked thread is in its `pause` call.
    pub(crate) parked: u64,
}

impl Entry {
    /// The entry points for code that starts at `base`.
    fn at(base: u64) -> Entry {
        let start = (&raw const runsc_stub_start).addr();
        let offset = |symbol: *const u8| u64::try_from(symbol.addr().wrapping_sub(start)).unwrap_or(0);
        let park = runsc_stub_park as unsafe extern "C" fn() -> ! as *const u8;
        Entry {
            call: base + offset(&raw const runsc_stub_call),
            run: base + offset(&raw const runsc_stub_run),
            thread: base + offset(&raw const runsc_stub_thread),
            fork: base + offset(&raw const runsc_stub_fork),
            park: base + offset(park),
            parked: base + offset(&raw const runsc_stub_parked),
        }
    }

    /// In every stub.
    pub(crate) fn in_stub() -> Entry {
        Entry::at(STUB_BASE)
    }

    /// In the sentry's own text.
    pub(crate) fn in_sentry() -> Entry {
        Entry::at(u64::try_from((&raw const runsc_stub_start).addr()).unwrap_or(0))
    }
}

/// The bytes of the code page.
pub(crate) fn code() -> &'static [u8] {
    let start = &raw const runsc_stub_start;
    let len = (&raw const runsc_stub_end).addr() - start.addr();
    // SAFETY: the two symbols enclose the instructions above, which nothing writes.
    unsafe { std::slice::from_raw_parts(start, len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_fits_its_page() {
        assert!(!code().is_empty() && code().len() < 4096);
        let entry = Entry::in_stub();
        assert_eq!(entry.call, STUB_BASE);
        assert!(entry.parked > entry.park && entry.parked < QUEUE_ADDR);
    }
}
