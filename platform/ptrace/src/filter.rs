//! The seccomp filter of the stubs.
//!
//! It is the second wall: guest code is resumed with `PTRACE_SYSEMU`, under which no system call reaches the filter, let
//! alone the host kernel. What does reach it is the stub's own code, and a call into the vsyscall page, which the host
//! kernel serves from its page fault handler. That one is answered with SIGSYS, from which the trap is made.

use crate::stub_code::{FORK_FLAGS, PAGE, STUB_BASE, THREAD_FLAGS};
use libc::sock_filter;

/// Linux: include/uapi/linux/audit.h.
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// Offsets in `struct seccomp_data`. Linux: include/uapi/linux/seccomp.h.
const DATA_NR: u32 = 0;
const DATA_ARCH: u32 = 4;
const DATA_IP_LOW: u32 = 8;
const DATA_IP_HIGH: u32 = 12;
const DATA_ARG0_LOW: u32 = 16;
const DATA_ARG0_HIGH: u32 = 20;

/// The one advice a stub gives on memory. Linux: include/uapi/asm-generic/mman-common.h, `MADV_HUGEPAGE`.
pub(crate) const HUGE_ADVICE: u64 = 14;

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

/// Allows the call in the accumulator when it is `nr` and its argument `index` is one of `values`.
fn allow_argument(program: &mut Vec<sock_filter>, nr: libc::c_long, index: u32, values: &[u32]) {
    let (value_low, value_high) = (DATA_ARG0_LOW + 8 * index, DATA_ARG0_HIGH + 8 * index);
    let steps = u8::try_from(values.len() * 2).unwrap_or(0);
    program.push(op(JUMP_EQUAL, 0, steps + 4, number(nr)));
    program.push(op(LOAD, 0, 0, value_high));
    program.push(op(JUMP_EQUAL, 0, steps + 1, 0));
    program.push(op(LOAD, 0, 0, value_low));
    for value in values {
        program.push(op(JUMP_EQUAL, 0, 1, *value));
        program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    }
    program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_TRAP));
}

/// The program. Only code in the stub's own page may call, and only what that code is there for.
pub(crate) fn stub_filter() -> Vec<sock_filter> {
    let trap = op(RETURN, 0, 0, libc::SECCOMP_RET_TRAP);
    let mut program = vec![
        op(LOAD, 0, 0, DATA_ARCH),
        op(JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64),
        op(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        op(LOAD, 0, 0, DATA_IP_HIGH),
        op(JUMP_EQUAL, 1, 0, high(STUB_BASE)),
        trap,
        op(LOAD, 0, 0, DATA_IP_LOW),
        op(JUMP_GREATER_EQUAL, 0, 1, low(STUB_BASE)),
        op(JUMP_GREATER_EQUAL, 0, 1, low(STUB_BASE + PAGE)),
        trap,
        op(LOAD, 0, 0, DATA_NR),
    ];
    for nr in [
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mprotect,
        // Parking, and what a new process asks before it parks.
        libc::SYS_pause,
        libc::SYS_restart_syscall,
        libc::SYS_getppid,
        // The end of one thread, or of a process whose sentry is gone.
        libc::SYS_exit,
        libc::SYS_exit_group,
    ] {
        program.push(op(JUMP_EQUAL, 0, 1, number(nr)));
        program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    }
    allow_argument(&mut program, libc::SYS_madvise, 2, &[low(HUGE_ADVICE)]);
    allow_argument(&mut program, libc::SYS_prctl, 0, &[u32::try_from(libc::PR_SET_PDEATHSIG).unwrap_or(0)]);
    allow_argument(&mut program, libc::SYS_clone, 0, &[low(FORK_FLAGS), low(THREAD_FLAGS)]);
    program.push(trap);
    program
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::control_file::{Call, ControlFile};
    use crate::stub_code::Entry;
    use crate::zygote::Zygote;
    use crate::{tracee, zygote::FreshStub};
    use platform::PlatformError;

    fn call(nr: libc::c_long, args: [u64; 3]) -> Call {
        [u64::try_from(nr).unwrap(), args[0], args[1], args[2], 0, 0, 0]
    }

    /// A stub resumed with `PTRACE_CONT`, as a mistake of the sentry's might, has nothing but the filter about it.
    #[test]
    fn the_filter_alone_holds_a_stub() {
        let control = ControlFile::new().unwrap();
        let (zygote, _) = Zygote::new(&control).unwrap();
        let entry = Entry::in_stub();
        let refused = [
            call(libc::SYS_getpid, [0; 3]),
            call(libc::SYS_read, [0, STUB_BASE, 1]),
            call(libc::SYS_write, [2, STUB_BASE, 1]),
            call(libc::SYS_execve, [0; 3]),
            call(libc::SYS_kill, [1, 0, 0]),
            call(libc::SYS_prctl, [4, 0, 0]),
            call(libc::SYS_prctl, [1 | 1 << 32, 0, 0]),
            call(libc::SYS_madvise, [STUB_BASE, PAGE, 4]),
            call(libc::SYS_clone, [0; 3]),
            call(libc::SYS_clone, [FORK_FLAGS | 1 << 32, 0, 0]),
            call(libc::SYS_clone, [THREAD_FLAGS | 0x1000_0000, 0, 0]),
            // The x32 table.
            call(libc::SYS_munmap | 0x4000_0000, [0x1_0000, PAGE, 0]),
        ];
        for call in refused {
            let FreshStub { pid, queue } = zygote.fork().unwrap();
            tracee::adopt(pid).unwrap();
            let result = tracee::call(pid, &entry, "test", call);
            let message = format!("signal {} in stub code", libc::SIGSYS);
            let trapped = matches!(&result, Err(PlatformError::Gone(text)) if text.starts_with(&message));
            assert!(trapped, "{call:x?}: {result:?}");
            platform_host::process::kill_process(pid);
            platform_host::wait::reap(pid).unwrap();
            drop(queue);
        }
        // A call that is allowed, but made by code that is not the stub's: `syscall; int3` in a page of the guest's.
        let FreshStub { pid, queue: _queue } = zygote.fork().unwrap();
        tracee::adopt(pid).unwrap();
        let (rx, shared) = (5, 0x11);
        let map = [9, 0x1_0000, PAGE, rx, shared, control.raw_fd(), 0];
        assert_eq!(tracee::call(pid, &entry, "mmap", map).unwrap(), 0x1_0000);
        let elsewhere = Entry { call: 0x1_0000, ..entry };
        let result = tracee::call(pid, &elsewhere, "test", call(libc::SYS_munmap, [0x10_0000, PAGE, 0]));
        assert!(matches!(result, Err(PlatformError::Gone(_))), "{result:?}");
        platform_host::process::kill_process(pid);
        platform_host::wait::reap(pid).unwrap();
    }
}
