//! The code of the guests' vDSO, and the page of clock parameters it reads.
//!
//! The code is never run by the sentry: it is data here, placed by the loader in an ELF image. It makes no call, uses
//! no stack, and finds its parameters one page before the image.
//!
//! Linux: arch/x86/entry/vdso/vclock_gettime.c, vgetcpu.c and lib/vdso/gettimeofday.c. Differs in that a reader never
//! waits for long: where Linux spins, or the parameters are too old, this makes the system call.

use std::arch::global_asm;
use std::mem::offset_of;
use zerocopy::{Immutable, IntoBytes};

/// Clock ids below this can be answered from [`Vvar`].
pub const CLOCKS: usize = 8;

/// The parameters, at the start of their page. Native byte order.
///
/// A reader takes `seq`, waits while it is odd, reads, and starts again if `seq` has changed meanwhile.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoBytes, Immutable)]
pub struct Vvar {
    /// Odd while the rest is being replaced.
    pub seq: u32,
    /// Bit `n`: `base[n]` is valid.
    pub clocks: u32,
    /// Counter at which the clocks stood at `base`.
    pub tsc: u64,
    /// Ticks after `tsc` for which the parameters hold.
    pub max_delta: u64,
    /// Nanoseconds a tick, times 2^32.
    pub mult: u64,
    /// Nanoseconds, by clock id.
    pub base: [u64; CLOCKS],
    /// Not 0: `rdtscp` gives CPU and node as Linux encodes them.
    pub getcpu: u64,
}

/// Size of the page before the image.
pub const VVAR_SIZE: usize = 4096;

/// Where the code belongs in the image; it finds its parameters relative to itself.
pub const TEXT_OFFSET: usize = 0x800;

/// A function of the vDSO.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name, without the prefix `__vdso_`.
    pub name: &'static str,
    /// Where it starts in [`text`].
    pub offset: usize,
    /// Its length in bytes.
    pub len: usize,
}

global_asm!(
    // rax = nanoseconds on the clock whose id is in rdi; or goes to `fallback`, with rdi and rsi as they were.
    // Uses rcx, rdx, r8, r9, r10.
    ".macro runsc_vdso_read fallback",
    "lea r8, [rip + .Lrunsc_vdso_text - {distance}]",
    "mov r10d, {spins}",
    "jmp 2f",
    "3:",
    "dec r10d",
    "jz \\fallback",
    "pause",
    "2:",
    "mov r9d, dword ptr [r8 + {seq}]",
    "test r9d, 1",
    "jnz 3b",
    "mov ecx, dword ptr [r8 + {clocks}]",
    "bt ecx, edi",
    "jnc \\fallback",
    "lfence",
    "rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    // The second look at seq must not come before the counter was read: its address is made to depend on it.
    "mov rcx, rax",
    "and rcx, 0",
    // A counter before the base gives a huge difference, and so the system call.
    "sub rax, qword ptr [r8 + {tsc}]",
    "cmp rax, qword ptr [r8 + {max_delta}]",
    "ja \\fallback",
    "mul qword ptr [r8 + {mult}]",
    "shrd rax, rdx, 32",
    "add rax, qword ptr [r8 + {base} + rdi*8]",
    "cmp r9d, dword ptr [r8 + {seq} + rcx]",
    "jne 3b",
    ".endm",
    // rdx = seconds, rcx = remaining nanoseconds of rax, which is lost. The division by 10^9 is the multiplication by
    // its reciprocal that compilers make of it, exact for every 64-bit number.
    ".macro runsc_vdso_split",
    "mov rcx, rax",
    "shr rax, 9",
    "movabs rdx, 0x44b82fa09b5a53",
    "mul rdx",
    "shr rdx, 11",
    "imul rax, rdx, 1000000000",
    "sub rcx, rax",
    ".endm",
    ".pushsection .rodata.runsc_vdso, \"a\", @progbits",
    ".p2align 4",
    ".globl runsc_vdso_text",
    "runsc_vdso_text:",
    ".Lrunsc_vdso_text:",
    // int clock_gettime(clockid_t: edi, struct timespec *: rsi)
    ".globl runsc_vdso_clock_gettime",
    "runsc_vdso_clock_gettime:",
    "mov edi, edi",
    "cmp edi, {clock_count}",
    "jae 9f",
    "runsc_vdso_read 9f",
    "runsc_vdso_split",
    "mov qword ptr [rsi], rdx",
    "mov qword ptr [rsi + 8], rcx",
    "xor eax, eax",
    "ret",
    "9:",
    "mov eax, {sys_clock_gettime}",
    "syscall",
    "ret",
    ".p2align 4, 0xcc",
    // int gettimeofday(struct timeval *: rdi, struct timezone *: rsi)
    ".globl runsc_vdso_gettimeofday",
    "runsc_vdso_gettimeofday:",
    "mov r11, rdi",
    "test rsi, rsi",
    "jnz 9f",
    "test rdi, rdi",
    "jz 8f",
    "xor edi, edi",
    "runsc_vdso_read 9f",
    "runsc_vdso_split",
    "mov qword ptr [r11], rdx",
    // Below 10^9, a division by 1000.
    "imul rcx, rcx, 274877907",
    "shr rcx, 38",
    "mov qword ptr [r11 + 8], rcx",
    "8:",
    "xor eax, eax",
    "ret",
    "9:",
    "mov rdi, r11",
    "mov eax, {sys_gettimeofday}",
    "syscall",
    "ret",
    ".p2align 4, 0xcc",
    // time_t time(time_t *: rdi)
    ".globl runsc_vdso_time",
    "runsc_vdso_time:",
    "mov r11, rdi",
    "xor edi, edi",
    "runsc_vdso_read 9f",
    "runsc_vdso_split",
    "mov rax, rdx",
    "test r11, r11",
    "jz 8f",
    "mov qword ptr [r11], rdx",
    "8:",
    "ret",
    "9:",
    "mov rdi, r11",
    "mov eax, {sys_time}",
    "syscall",
    "ret",
    ".p2align 4, 0xcc",
    // int clock_getres(clockid_t: edi, struct timespec *: rsi)
    ".globl runsc_vdso_clock_getres",
    "runsc_vdso_clock_getres:",
    "mov eax, {fine_clocks}",
    "cmp edi, {clock_count}",
    "jae 9f",
    "bt eax, edi",
    "jnc 9f",
    "xor eax, eax",
    "test rsi, rsi",
    "jz 8f",
    "mov qword ptr [rsi], 0",
    "mov qword ptr [rsi + 8], 1",
    "8:",
    "ret",
    "9:",
    "mov eax, {sys_clock_getres}",
    "syscall",
    "ret",
    ".p2align 4, 0xcc",
    // int getcpu(unsigned *: rdi, unsigned *: rsi, void *: rdx)
    ".globl runsc_vdso_getcpu",
    "runsc_vdso_getcpu:",
    "cmp qword ptr [rip + .Lrunsc_vdso_text - {distance} + {getcpu}], 0",
    "je 9f",
    "rdtscp",
    "test rdi, rdi",
    "jz 7f",
    "mov eax, ecx",
    "and eax, 0xfff",
    "mov dword ptr [rdi], eax",
    "7:",
    "test rsi, rsi",
    "jz 8f",
    "shr ecx, 12",
    "mov dword ptr [rsi], ecx",
    "8:",
    "xor eax, eax",
    "ret",
    "9:",
    "mov eax, {sys_getcpu}",
    "syscall",
    "ret",
    ".globl runsc_vdso_end",
    "runsc_vdso_end:",
    ".popsection",
    distance = const TEXT_OFFSET + VVAR_SIZE,
    spins = const 64,
    seq = const offset_of!(Vvar, seq),
    clocks = const offset_of!(Vvar, clocks),
    tsc = const offset_of!(Vvar, tsc),
    max_delta = const offset_of!(Vvar, max_delta),
    mult = const offset_of!(Vvar, mult),
    base = const offset_of!(Vvar, base),
    getcpu = const offset_of!(Vvar, getcpu),
    clock_count = const CLOCKS,
    // The coarse clocks have another resolution, CLOCK_MONOTONIC_RAW and the CPU clocks another source.
    fine_clocks = const 1 << libc::CLOCK_REALTIME | 1 << libc::CLOCK_MONOTONIC | 1 << libc::CLOCK_BOOTTIME,
    sys_clock_gettime = const libc::SYS_clock_gettime,
    sys_gettimeofday = const libc::SYS_gettimeofday,
    sys_time = const libc::SYS_time,
    sys_clock_getres = const libc::SYS_clock_getres,
    sys_getcpu = const libc::SYS_getcpu,
);

unsafe extern "C" {
    static runsc_vdso_text: u8;
    static runsc_vdso_clock_gettime: u8;
    static runsc_vdso_gettimeofday: u8;
    static runsc_vdso_time: u8;
    static runsc_vdso_clock_getres: u8;
    static runsc_vdso_getcpu: u8;
    static runsc_vdso_end: u8;
}

/// The code. It may be placed anywhere, [`TEXT_OFFSET`] bytes into an image that follows its parameters.
pub fn text() -> &'static [u8] {
    let start = &raw const runsc_vdso_text;
    let len = (&raw const runsc_vdso_end).addr() - start.addr();
    // SAFETY: the labels bound one section of read-only data.
    unsafe { std::slice::from_raw_parts(start, len) }
}

/// The functions, in the order of their addresses.
pub fn functions() -> [Function; 5] {
    let starts = [
        ("clock_gettime", &raw const runsc_vdso_clock_gettime),
        ("gettimeofday", &raw const runsc_vdso_gettimeofday),
        ("time", &raw const runsc_vdso_time),
        ("clock_getres", &raw const runsc_vdso_clock_getres),
        ("getcpu", &raw const runsc_vdso_getcpu),
    ];
    let base = (&raw const runsc_vdso_text).addr();
    let mut end = text().len();
    let mut functions = starts.map(|(name, at)| Function { name, offset: at.addr() - base, len: 0 });
    for f in functions.iter_mut().rev() {
        f.len = end - f.offset;
        end = f.offset;
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_cover_the_code_and_end_in_ret_or_padding() {
        let text = text();
        let mut at = 0;
        for f in functions() {
            assert_eq!(f.offset, at, "{}", f.name);
            assert!(f.offset.is_multiple_of(16) && f.len > 16);
            at += f.len;
            let code = &text[f.offset..at];
            let last = code.iter().rposition(|b| *b != 0xcc).map(|i| &code[i - 2..=i]);
            assert_eq!(last, Some(&[0x0f, 0x05, 0xc3][..]), "{} ends in syscall; ret", f.name);
        }
        assert_eq!(at, text.len());
        assert!(TEXT_OFFSET + text.len() <= 4096);
    }
}
