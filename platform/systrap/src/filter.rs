//! The seccomp filters of a stub.
//!
//! A stub's first thread, the mapper, has the filter of [`mapper_filter`], which every other thread inherits; a guest
//! thread adds that of [`guest_filter`] before it has met the guest. Both are in force then, and the stricter answer
//! counts.
//!
//! Why no guest code can make the host kernel act:
//! - A `syscall` of the guest's own raises SIGSYS, as its instruction pointer is not in the code page, which nobody can
//!   write to and which stays where it is.
//! - Guest code can jump to any byte of the code page with any registers. There, a guest thread may make two calls.
//!   futex(2) may only wait on or wake a word of the slots, which the thread can also do by trapping; whoever is woken
//!   looks at the word again, and who sleeps there is brought back by a kick. rt_sigprocmask(2) may only set the mask
//!   that the thread has anyway. It reads no memory of the guest's: its one pointer is checked to be the constant.
//! - Calls that map are the mapper's alone. It runs no guest code, keeps its state in registers, reads its
//!   instructions and its queue from pages that no stub can write to, and blocks all signals, so guest threads, though
//!   they share its memory, have nothing to get hold of it by.
//! - A new guest thread has the mapper's filter until it has its own. Until then it blocks all signals and uses
//!   registers and read-only pages too; the one structure it reads from its slot describes its signal stack, and a guest
//!   that puts another there breaks its own thread.

use crate::layout::{CONSTANTS, PAGE, SLOTS, SLOTS_END, STUB_BASE, constants};
use crate::stub_code::{FORK_FLAGS, THREAD_FLAGS};
use libc::sock_filter;

/// Linux: include/uapi/linux/audit.h.
pub(crate) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// The one advice a mapper gives on memory. Linux: include/uapi/asm-generic/mman-common.h, `MADV_HUGEPAGE`.
pub(crate) const HUGE_ADVICE: u64 = 14;

/// Offsets in `struct seccomp_data`. Linux: include/uapi/linux/seccomp.h.
const DATA_NR: u32 = 0;
const DATA_ARCH: u32 = 4;
const DATA_IP: u32 = 8;
const DATA_ARGS: u32 = 16;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const JUMP_GREATER_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

fn op(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(0)
}

fn high(value: u64) -> u32 {
    low(value >> 32)
}

fn number(nr: libc::c_long) -> u32 {
    u32::try_from(nr).unwrap_or(u32::MAX)
}

fn arg(index: u32) -> u32 {
    DATA_ARGS + 8 * index
}

/// A condition on a 64-bit word of `struct seccomp_data`.
enum Condition {
    /// At this offset, equal to one of these.
    OneOf(u32, Vec<u64>),
    /// The lower half of the word at this offset, which is all the host kernel looks at, equal to one of these.
    LowOneOf(u32, Vec<u32>),
    /// At this offset, in this half-open range, which does not cross a border of 4 GiB.
    Within(u32, u64, u64),
}

impl Condition {
    /// Instructions that answer SIGSYS unless the condition holds, and go on behind themselves if it does.
    fn compile(&self, program: &mut Vec<sock_filter>) {
        let trap = op(RETURN, 0, 0, libc::SECCOMP_RET_TRAP);
        let one_of = |program: &mut Vec<sock_filter>, offset: u32, values: &[u32]| {
            program.push(op(LOAD, 0, 0, offset));
            for (index, value) in values.iter().enumerate() {
                let behind = u8::try_from(values.len() - index).unwrap_or(0);
                program.push(op(JUMP_EQUAL, behind, 0, *value));
            }
            program.push(trap);
        };
        match self {
            Condition::OneOf(offset, values) => {
                // The upper halves are equal wherever this is used.
                let upper = values.first().map_or(0, |value| high(*value));
                debug_assert!(values.iter().all(|value| high(*value) == upper));
                one_of(program, offset + 4, &[upper]);
                let lower: Vec<u32> = values.iter().map(|value| low(*value)).collect();
                one_of(program, *offset, &lower);
            }
            Condition::LowOneOf(offset, values) => one_of(program, *offset, values),
            Condition::Within(offset, start, end) => {
                debug_assert_eq!(high(*start), high(*end));
                one_of(program, offset + 4, &[high(*start)]);
                program.push(op(LOAD, 0, 0, *offset));
                program.push(op(JUMP_GREATER_EQUAL, 0, 1, low(*start)));
                program.push(op(JUMP_GREATER_EQUAL, 0, 1, low(*end)));
                program.push(trap);
            }
        }
    }
}

/// A filter that lets code in the code page make calls that meet their conditions, and answers SIGSYS to all others.
fn filter(rules: &[(libc::c_long, Vec<Condition>)]) -> Vec<sock_filter> {
    let mut program = Vec::new();
    Condition::Within(DATA_IP, STUB_BASE, STUB_BASE + PAGE).compile(&mut program);
    Condition::LowOneOf(DATA_ARCH, vec![AUDIT_ARCH_X86_64]).compile(&mut program);
    program.push(op(LOAD, 0, 0, DATA_NR));
    for (nr, conditions) in rules {
        let mut body = Vec::new();
        for condition in conditions {
            condition.compile(&mut body);
        }
        body.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
        program.push(op(JUMP_EQUAL, 0, u8::try_from(body.len()).unwrap_or(0), number(*nr)));
        program.extend(body);
    }
    program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_TRAP));
    program
}

/// The mapper's filter, and that of a guest thread until it has its own.
pub(crate) fn mapper_filter() -> Vec<sock_filter> {
    let word = |value: libc::c_int| u64::try_from(value).unwrap_or(0);
    filter(&[
        (libc::SYS_futex, vec![]),
        (libc::SYS_mmap, vec![]),
        (libc::SYS_munmap, vec![]),
        (libc::SYS_mprotect, vec![]),
        (libc::SYS_madvise, vec![Condition::OneOf(arg(2), vec![HUGE_ADVICE])]),
        // Results.
        (libc::SYS_write, vec![Condition::OneOf(arg(2), vec![8])]),
        // Threads, and the zygote's processes.
        (libc::SYS_clone, vec![Condition::OneOf(arg(0), vec![FORK_FLAGS, THREAD_FLAGS])]),
        (libc::SYS_prctl, vec![Condition::OneOf(arg(0), vec![word(libc::PR_SET_PDEATHSIG)])]),
        (libc::SYS_getppid, vec![]),
        // The beginning of a guest thread.
        (libc::SYS_sigaltstack, vec![]),
        (
            libc::SYS_seccomp,
            vec![
                Condition::OneOf(arg(0), vec![u64::from(libc::SECCOMP_SET_MODE_FILTER)]),
                Condition::OneOf(arg(2), vec![CONSTANTS + constants::PROGRAM]),
            ],
        ),
        (libc::SYS_rt_sigprocmask, vec![]),
        (libc::SYS_exit_group, vec![]),
    ])
}

/// The filter of a thread that runs guest code.
pub(crate) fn guest_filter() -> Vec<sock_filter> {
    let word = |value: libc::c_int| u64::try_from(value).unwrap_or(0);
    filter(&[
        (
            libc::SYS_futex,
            vec![
                Condition::Within(arg(0), SLOTS, SLOTS_END),
                Condition::LowOneOf(
                    arg(1),
                    [libc::FUTEX_WAIT, libc::FUTEX_WAKE].map(i32::cast_unsigned).to_vec(),
                ),
                Condition::OneOf(arg(3), vec![0]),
            ],
        ),
        (
            libc::SYS_rt_sigprocmask,
            vec![
                Condition::OneOf(arg(0), vec![word(libc::SIG_SETMASK)]),
                Condition::OneOf(arg(1), vec![CONSTANTS + constants::SIGNAL_MASK]),
                Condition::OneOf(arg(2), vec![0]),
            ],
        ),
    ])
}

/// The bytes of a program.
pub(crate) fn bytes(program: &[sock_filter]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for op in program {
        bytes.extend_from_slice(&op.code.to_ne_bytes());
        bytes.extend_from_slice(&[op.jt, op.jf]);
        bytes.extend_from_slice(&op.k.to_ne_bytes());
    }
    bytes
}
