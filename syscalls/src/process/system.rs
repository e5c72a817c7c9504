//! Linux: kernel/sys.c (uname, sysinfo, host names), drivers/char/random.c.

use crate::arg::{Addr, Bits};
use sentry_auth::{CapSet, ns_capable};
use sentry_kernel::{CurrentTask, OffsetClock, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM};
use std::sync::atomic::Ordering;
use zerocopy::{Immutable, IntoBytes};

/// Longest host or domain name.
const NEW_UTS_LEN: usize = 64;
/// What uname(2) shows as the release: the version whose behaviour is followed.
pub const RELEASE: &str = "6.1.0-runsc";
/// What uname(2) shows as the version.
pub const VERSION: &str = "#1 SMP runsc-rs";

/// uname(2).
pub(crate) fn uname(task: &mut CurrentTask, buf: Addr) -> SyscallResult {
    let names = task.task().ns().uts.names();
    let mut out = Vec::with_capacity(6 * (NEW_UTS_LEN + 1));
    let fields: [&[u8]; 6] =
        [b"Linux", &names.nodename, RELEASE.as_bytes(), VERSION.as_bytes(), b"x86_64", &names.domainname];
    for field in fields {
        let mut padded = field.to_vec();
        padded.resize(NEW_UTS_LEN + 1, 0);
        out.extend(padded);
    }
    task.user()?.copy_to_user(buf.0, &out)?;
    Ok(0)
}

fn read_name(task: &CurrentTask, name: Addr, len: i32) -> Result<Vec<u8>, Errno> {
    let cred = task.task().cred();
    if !ns_capable(&cred, &task.task().ns().uts.user_ns, CapSet::SYS_ADMIN) {
        return Err(EPERM);
    }
    let len = usize::try_from(len).ok().filter(|l| *l <= NEW_UTS_LEN).ok_or(EINVAL)?;
    let mut bytes = vec![0; len];
    task.user()?.copy_from_user(name.0, &mut bytes)?;
    Ok(bytes)
}

/// sethostname(2).
pub(crate) fn sethostname(task: &mut CurrentTask, name: Addr, len: i32) -> SyscallResult {
    let name = read_name(task, name, len)?;
    task.task().ns().uts.update(|n| n.nodename = name);
    Ok(0)
}

/// setdomainname(2).
pub(crate) fn setdomainname(task: &mut CurrentTask, name: Addr, len: i32) -> SyscallResult {
    let name = read_name(task, name, len)?;
    task.task().ns().uts.update(|n| n.domainname = name);
    Ok(0)
}

/// reboot(2). Linux: kernel/reboot.c.
///
/// Errors: `EPERM` without CAP_SYS_BOOT over the pid namespace, and in the first one, which ends with its first process;
/// `EINVAL` for wrong magic numbers, and for a command.
pub(crate) fn reboot(task: &mut CurrentTask, magic: u32, magic2: u32, cmd: u32, _arg: Addr) -> SyscallResult {
    const MAGIC: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    let pid_ns = task.pid_ns();
    if pid_ns.level() == 0 || !ns_capable(&task.task().cred(), &pid_ns.user_ns, CapSet::SYS_BOOT) {
        return Err(EPERM.into());
    }
    if magic != MAGIC || !MAGIC2.contains(&magic2) {
        return Err(EINVAL.into());
    }
    task.reboot_pid_ns(cmd)?;
    Ok(0)
}

/// `struct sysinfo`.
#[repr(C)]
#[derive(IntoBytes, Immutable, Default)]
struct SysInfo {
    uptime: i64,
    loads: [u64; 3],
    totalram: u64,
    freeram: u64,
    sharedram: u64,
    bufferram: u64,
    totalswap: u64,
    freeswap: u64,
    procs: u16,
    pad: u16,
    pad2: u32,
    totalhigh: u64,
    freehigh: u64,
    mem_unit: u32,
    end: u32,
}

/// sysinfo(2).
pub(crate) fn sysinfo(task: &mut CurrentTask, addr: Addr) -> SyscallResult {
    let kernel = task.kernel();
    let total = kernel.memory.limit();
    let used = kernel.memory.resident();
    let procs = kernel.tree.lock().tasks.len();
    let info = SysInfo {
        uptime: kernel
            .clocks
            .boottime()
            .saturating_sub(kernel.clocks.boot())
            .saturating_add(task.task().ns().time.offset(OffsetClock::Boottime))
            / 1_000_000_000,
        totalram: total,
        freeram: total.saturating_sub(used),
        procs: u16::try_from(procs).unwrap_or(u16::MAX),
        mem_unit: 1,
        ..SysInfo::default()
    };
    task.user()?.write_obj(addr.0, &info)?;
    Ok(0)
}

/// getrandom(2).
pub(crate) fn getrandom(task: &mut CurrentTask, buf: Addr, len: usize, flags: Bits) -> SyscallResult {
    const GRND_RANDOM: u32 = 2;
    const GRND_INSECURE: u32 = 4;
    if flags.0 & !7 != 0 || flags.0 & (GRND_RANDOM | GRND_INSECURE) == GRND_RANDOM | GRND_INSECURE {
        return Err(EINVAL.into());
    }
    /// As much as is made between two looks for signals.
    const CHUNK: usize = 64 << 10;
    let len = len.min(usize::try_from(i32::MAX).unwrap_or(0));
    let mut done = 0;
    let mut chunk = vec![0; len.min(CHUNK)];
    while done < len {
        let n = (len - done).min(CHUNK);
        let part = &mut chunk[..n];
        task.kernel().random(part);
        let copied = task.user()?.copy_to_user_partial(
            buf.0.wrapping_add(done as u64),
            part,
            sentry_mm::UserAccess::Write,
        );
        done += copied;
        if copied < n {
            if done == 0 {
                return Err(sentry_uapi::errno::EFAULT.into());
            }
            break;
        }
        if task.signal_pending() {
            break;
        }
    }
    Ok(done as u64)
}

/// personality(2).
pub(crate) fn personality(task: &mut CurrentTask, persona: u32) -> SyscallResult {
    let old = task.personality.load(Ordering::Relaxed);
    if persona != u32::MAX {
        task.personality.store(persona.into(), Ordering::Relaxed);
    }
    Ok(old)
}

/// rseq(2): the registration is kept and checked; the area says the first CPU, and no critical section is aborted by
/// migration, because the guest cannot tell one.
pub(crate) fn rseq(task: &mut CurrentTask, addr: Addr, len: u32, flags: Bits, sig: u32) -> SyscallResult {
    use sentry_uapi::errno::{EBUSY, EFAULT};
    const UNREGISTER: u32 = 1;
    /// Size and alignment of the first published `struct rseq`.
    const RSEQ_SIZE: u32 = 32;
    if flags.0 & UNREGISTER != 0 {
        if flags.0 != UNREGISTER {
            return Err(EINVAL.into());
        }
        let Some((a, l, s)) = task.rseq else { return Err(EINVAL.into()) };
        if a != addr.0 || l != len {
            return Err(EINVAL.into());
        }
        if s != sig {
            return Err(EPERM.into());
        }
        task.rseq = None;
        return Ok(0);
    }
    if flags.0 != 0 {
        return Err(EINVAL.into());
    }
    if let Some((a, l, s)) = task.rseq {
        if a != addr.0 || l != len {
            return Err(EINVAL.into());
        }
        return Err(if s == sig { EBUSY } else { EPERM }.into());
    }
    if !addr.0.is_multiple_of(RSEQ_SIZE.into()) || len != RSEQ_SIZE {
        return Err(EINVAL.into());
    }
    // cpu_id_start and cpu_id: the first CPU of the affinity.
    let cpu = task.sched.lock().affinity.iter().find(|w| **w != 0).map_or(0, |w| w.trailing_zeros());
    task.user()?.write_obj(addr.0, &[cpu, cpu]).map_err(|_| EFAULT)?;
    task.rseq = Some((addr.0, len, sig));
    Ok(0)
}
