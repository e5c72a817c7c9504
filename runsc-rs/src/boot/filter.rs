//! The system calls a sentry may make on the host.
//!
//! Everything not listed ends the sentry. Where a row has no condition, the host decides it from a bitmap without
//! running the filter, so frequent calls are left unconditional unless an argument could do harm.

use anyhow::{Context, Result};
use nix::libc::*;
use platform_kvm::KvmDescriptors;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads, sock_filter,
};
use std::collections::BTreeMap;
use std::os::fd::RawFd;

/// What depends on the container.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    /// The sockets messages are exchanged on.
    pub(super) sockets: &'a [RawFd],
    /// Whether host files may be created, changed and removed.
    pub(super) writes_to_host: bool,
    /// The descriptors of the virtual machine that guests run in.
    pub(super) kvm: Option<KvmDescriptors>,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls allowed with any arguments.
const ALWAYS: &[i64] = &[
    // Memory of the sentry and, made by its stubs, of the guest.
    SYS_mmap,
    SYS_munmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_madvise,
    SYS_mincore,
    SYS_brk,
    SYS_memfd_create,
    // Streams and positions in files that are open already.
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_lseek,
    SYS_close,
    SYS_close_range,
    SYS_dup,
    SYS_fsync,
    SYS_fdatasync,
    // The size of the memory file, and of host files open for writing.
    SYS_ftruncate,
    SYS_fallocate,
    // Attributes, by descriptor or beneath a directory of the host's; the process's own root is empty.
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_fstatfs,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_fgetxattr,
    SYS_flistxattr,
    // Opens beneath a directory of the host's. Its structure is out of a filter's sight, but an absolute path or the
    // current directory only lead to the empty root, and writing is refused by the mount.
    SYS_openat2,
    // The same; the C library's allocator looks for /proc/sys/vm/overcommit_memory, which is not there.
    SYS_openat,
    // Waiting.
    SYS_futex,
    SYS_poll,
    SYS_ppoll,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_wait,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_restart_syscall,
    SYS_sched_yield,
    // Clocks, where the vDSO cannot answer.
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    // Stubs: the pid namespace holds nobody else who could be traced, waited for or sent a signal.
    SYS_ptrace,
    SYS_wait4,
    SYS_waitid,
    SYS_kill,
    SYS_tkill,
    SYS_tgkill,
    // Where stubs and their threads run.
    SYS_sched_setaffinity,
    SYS_sched_getaffinity,
    // A stub's own set-up: segment bases.
    SYS_arch_prctl,
    // Threads' start and end.
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_rseq,
    SYS_membarrier,
    SYS_exit,
    SYS_exit_group,
    // Signal handlers: faults on guest memory, interruptions of blocked threads.
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    // Who am I, and how much have I used.
    SYS_getpid,
    SYS_gettid,
    SYS_getrusage,
    SYS_getrandom,
];

/// Calls that make, change and remove host files, for containers that may.
const WRITES: &[i64] = &[
    SYS_mkdirat,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    // Devices are refused for want of CAP_MKNOD.
    SYS_mknodat,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_utimensat,
    SYS_fsetxattr,
    SYS_fremovexattr,
    SYS_copy_file_range,
    SYS_sync_file_range,
];

/// `ioctl(2)` requests, all about a terminal or a pipe of the caller's. TIOCSTI and TIOCLINUX, which type into a terminal,
/// are not among them, nor is TIOCSCTTY, which takes it over.
const IOCTLS: &[u64] =
    &[TCGETS, TCSETS, TCSETSW, TCSETSF, TCSBRK, TCXONC, TCFLSH, TIOCGWINSZ, TIOCSWINSZ, TIOCOUTQ, FIONREAD];

/// `fcntl(2)` commands: flags, duplicates, seals. Not the owner of a descriptor's signals, nor leases.
const FCNTLS: &[i32] = &[F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS];

/// `prctl(2)` options.
const PRCTLS: &[i32] = &[
    // Threads and stubs are named for ps(1); allocators name their memory.
    PR_SET_NAME,
    PR_SET_VMA,
    // A stub dies with the thread that made it.
    PR_SET_PDEATHSIG,
    // A stub takes a narrower filter than this one.
    PR_SET_NO_NEW_PRIVS,
    PR_SET_SECCOMP,
];

/// Every flag of clone(2) that makes a namespace.
const NEW_NAMESPACES: u64 = (CLONE_NEWNS
    | CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET)
    .cast_unsigned() as u64;

/// Compiles the filter and puts it on every thread of the process.
///
/// # Errors
/// When the host does not take it.
pub(super) fn install(needs: &Needs<'_>) -> Result<()> {
    let arch =
        TargetArch::try_from(std::env::consts::ARCH).context("no seccomp filters for this processor")?;
    let filter = SeccompFilter::new(rules(needs)?, SeccompAction::Trap, SeccompAction::Allow, arch)?;
    let calls: BpfProgram = filter.try_into()?;
    let program: BpfProgram = no_clone3()?.into_iter().chain(calls).collect();
    Ok(apply_filter_all_threads(&program)?)
}

/// Goes before the list: clone3(2) is answered with `ENOSYS`, upon which glibc falls back to clone(2), whose flags a
/// filter can see. The compiler knows one answer for all calls that are not listed.
fn no_clone3() -> Result<[sock_filter; 3]> {
    let statement = |code: u32, k: u32| {
        Ok::<_, anyhow::Error>(sock_filter { code: u16::try_from(code)?, jt: 0, jf: 0, k })
    };
    let number = u32::try_from(std::mem::offset_of!(seccomp_data, nr))?;
    Ok([
        statement(BPF_LD | BPF_W | BPF_ABS, number)?,
        sock_filter { jf: 1, ..statement(BPF_JMP | BPF_JEQ | BPF_K, u32::try_from(SYS_clone3)?)? },
        statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS.cast_unsigned())?,
    ])
}

fn rules(needs: &Needs<'_>) -> Result<Rules> {
    let mut rules: Rules = ALWAYS.iter().map(|nr| (*nr, Vec::new())).collect();
    if needs.writes_to_host {
        rules.extend(WRITES.iter().map(|nr| (*nr, Vec::new())));
    }
    if let Some(kvm) = &needs.kvm {
        allow_kvm(&mut rules, kvm)?;
    }
    let null = |arg| SeccompCondition::new(arg, Len::Qword, Op::Eq, 0);

    allow_each(&mut rules, SYS_ioctl, 1, IOCTLS.iter().copied())?;
    allow_each(&mut rules, SYS_fcntl, 1, FCNTLS.iter().map(|cmd| u64::from(cmd.cast_unsigned())))?;
    allow_each(&mut rules, SYS_prctl, 0, PRCTLS.iter().map(|option| u64::from(option.cast_unsigned())))?;
    // Threads and stubs, in the namespaces there are.
    allow_if(
        &mut rules,
        SYS_clone,
        vec![SeccompCondition::new(0, Len::Qword, Op::MaskedEq(NEW_NAMESPACES), 0)?],
    )?;
    // A stub's own, narrower filter.
    allow_each(&mut rules, SYS_seccomp, 0, [u64::from(SECCOMP_SET_MODE_FILTER)])?;
    // Reading limits, not setting them.
    allow_if(&mut rules, SYS_prlimit64, vec![null(2)?])?;
    // Sockets that are open already (standard input or output may be one), and without an address to send to.
    allow_if(&mut rules, SYS_sendto, vec![null(4)?])?;
    allow_if(&mut rules, SYS_recvfrom, vec![null(4)?])?;
    // Messages with descriptors are for the command only.
    for fd in needs.sockets {
        for nr in [SYS_sendmsg, SYS_recvmsg] {
            let is_fd = SeccompCondition::new(0, Len::Dword, Op::Eq, u64::from(fd.cast_unsigned()))?;
            allow_if(&mut rules, nr, vec![is_fd])?;
        }
    }
    Ok(rules)
}

/// Each request on its own descriptors. Processors are made as they are needed, at numbers kept free for them.
fn allow_kvm(rules: &mut Rules, kvm: &KvmDescriptors) -> Result<()> {
    let value = |fd: RawFd| u64::from(fd.cast_unsigned());
    let is = |arg, value| SeccompCondition::new(arg, Len::Dword, Op::Eq, value);
    let is_vcpu = |arg| -> Result<[SeccompCondition; 2]> {
        Ok([
            SeccompCondition::new(arg, Len::Dword, Op::Ge, value(kvm.vcpus.start))?,
            SeccompCondition::new(arg, Len::Dword, Op::Lt, value(kvm.vcpus.end))?,
        ])
    };
    for request in platform_kvm::requests::VCPU {
        let [from, to] = is_vcpu(0)?;
        allow_if(rules, SYS_ioctl, vec![is(1, request.into())?, from, to])?;
    }
    for request in platform_kvm::requests::VM {
        allow_if(rules, SYS_ioctl, vec![is(0, value(kvm.vm))?, is(1, request.into())?])?;
    }
    let [from, to] = is_vcpu(1)?;
    allow_if(rules, SYS_dup3, vec![from, to, is(2, value(O_CLOEXEC))?])?;
    Ok(())
}

fn allow_if(rules: &mut Rules, nr: i64, conditions: Vec<SeccompCondition>) -> Result<()> {
    rules.entry(nr).or_default().push(SeccompRule::new(conditions)?);
    Ok(())
}

fn allow_each(rules: &mut Rules, nr: i64, arg: u8, values: impl IntoIterator<Item = u64>) -> Result<()> {
    for value in values {
        allow_if(rules, nr, vec![SeccompCondition::new(arg, Len::Dword, Op::Eq, value)?])?;
    }
    Ok(())
}
