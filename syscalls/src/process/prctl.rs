//! Linux: kernel/sys.c, `prctl`; arch/x86/kernel/process_64.c, `do_arch_prctl_64`.

use crate::arg::Addr;
use sentry_auth::{CapSet, SecureBits};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, EINVAL, EPERM};
use sentry_uapi::signal::NSIG;
use std::sync::atomic::Ordering;

/// Numbers of include/uapi/linux/prctl.h.
mod op {
    pub(super) const SET_PDEATHSIG: i32 = 1;
    pub(super) const GET_PDEATHSIG: i32 = 2;
    pub(super) const GET_DUMPABLE: i32 = 3;
    pub(super) const SET_DUMPABLE: i32 = 4;
    pub(super) const GET_KEEPCAPS: i32 = 7;
    pub(super) const SET_KEEPCAPS: i32 = 8;
    pub(super) const GET_TIMING: i32 = 13;
    pub(super) const SET_TIMING: i32 = 14;
    pub(super) const SET_NAME: i32 = 15;
    pub(super) const GET_NAME: i32 = 16;
    pub(super) const GET_SECCOMP: i32 = 21;
    pub(super) const CAPBSET_READ: i32 = 23;
    pub(super) const CAPBSET_DROP: i32 = 24;
    pub(super) const GET_SECUREBITS: i32 = 27;
    pub(super) const SET_SECUREBITS: i32 = 28;
    pub(super) const SET_TIMERSLACK: i32 = 29;
    pub(super) const GET_TIMERSLACK: i32 = 30;
    pub(super) const MCE_KILL: i32 = 33;
    pub(super) const MCE_KILL_GET: i32 = 34;
    pub(super) const SET_CHILD_SUBREAPER: i32 = 36;
    pub(super) const GET_CHILD_SUBREAPER: i32 = 37;
    pub(super) const SET_NO_NEW_PRIVS: i32 = 38;
    pub(super) const GET_NO_NEW_PRIVS: i32 = 39;
    pub(super) const GET_TID_ADDRESS: i32 = 40;
    pub(super) const SET_THP_DISABLE: i32 = 41;
    pub(super) const GET_THP_DISABLE: i32 = 42;
    pub(super) const CAP_AMBIENT: i32 = 47;
}

/// prctl(2).
pub(crate) fn prctl(
    task: &mut CurrentTask,
    option: i32,
    a2: Addr,
    a3: Addr,
    a4: Addr,
    a5: Addr,
) -> SyscallResult {
    let (a2, a3, a4, a5) = (a2.0, a3.0, a4.0, a5.0);
    let rest_zero = a3 == 0 && a4 == 0 && a5 == 0;
    match option {
        op::SET_PDEATHSIG => {
            let signo = i32::try_from(a2).ok().filter(|s| (0..=NSIG).contains(s)).ok_or(EINVAL)?;
            task.pdeath_signal.store(signo, Ordering::Relaxed);
            Ok(0)
        }
        op::GET_PDEATHSIG => {
            task.user()?.write_obj(a2, &task.pdeath_signal.load(Ordering::Relaxed))?;
            Ok(0)
        }
        op::GET_DUMPABLE => Ok(task.user()?.dumpable().into()),
        op::SET_DUMPABLE => {
            let value = u8::try_from(a2).ok().filter(|v| *v <= 1).ok_or(EINVAL)?;
            task.user()?.update_info(|info| info.dumpable = value);
            Ok(0)
        }
        op::GET_KEEPCAPS => Ok(task.task().cred().securebits.contains(SecureBits::KEEP_CAPS).into()),
        op::SET_KEEPCAPS => set_keepcaps(task, a2),
        op::GET_TIMING | op::GET_SECCOMP => Ok(0),
        op::SET_TIMING if a2 == 0 => Ok(0),
        op::SET_NAME => {
            let mut name = [0; 15];
            let n = task.user()?.copy_from_user_partial(a2, &mut name, sentry_mm::UserAccess::Read);
            if n == 0 || (n < name.len() && !name[..n].contains(&0)) {
                return Err(EFAULT.into());
            }
            task.set_comm(&name[..n]);
            Ok(0)
        }
        op::GET_NAME => {
            let mut name = task.comm();
            name.resize(sentry_kernel::TASK_COMM_LEN, 0);
            task.user()?.copy_to_user(a2, &name)?;
            Ok(0)
        }
        op::CAPBSET_READ => {
            let cap = cap_bit(a2)?;
            Ok(task.task().cred().cap_bset.contains(cap).into())
        }
        op::CAPBSET_DROP => {
            let cred = task.task().cred();
            if !cred.capable(CapSet::SETPCAP) {
                return Err(EPERM.into());
            }
            let cap = cap_bit(a2)?;
            let mut new = (*cred).clone();
            new.cap_bset -= cap;
            task.commit_creds(new);
            Ok(0)
        }
        op::GET_SECUREBITS => Ok(task.task().cred().securebits.bits().into()),
        op::SET_SECUREBITS => set_securebits(task, a2),
        op::SET_TIMERSLACK => {
            let slack = if a2.cast_signed() <= 0 { 50_000 } else { a2 };
            task.timer_slack.store(slack, Ordering::Relaxed);
            Ok(0)
        }
        op::GET_TIMERSLACK => Ok(task.timer_slack.load(Ordering::Relaxed)),
        op::SET_CHILD_SUBREAPER => {
            let mut tree = task.kernel().tree.lock();
            if let Some(p) = tree.processes.get_mut(&task.group.id()) {
                p.is_subreaper = a2 != 0;
            }
            if a2 != 0 {
                tree.mark_subreaper_descendants(task.group.id());
            }
            Ok(0)
        }
        op::GET_CHILD_SUBREAPER => {
            let is =
                task.kernel().tree.lock().processes.get(&task.group.id()).is_some_and(|p| p.is_subreaper);
            task.user()?.write_obj(a2, &i32::from(is))?;
            Ok(0)
        }
        op::SET_NO_NEW_PRIVS => {
            if a2 != 1 || !rest_zero {
                return Err(EINVAL.into());
            }
            task.no_new_privs.store(true, Ordering::Relaxed);
            Ok(0)
        }
        op::GET_NO_NEW_PRIVS => {
            if a2 != 0 || !rest_zero {
                return Err(EINVAL.into());
            }
            Ok(task.no_new_privs.load(Ordering::Relaxed).into())
        }
        op::GET_TID_ADDRESS => {
            task.user()?.write_obj(a2, &task.clear_child_tid.load(Ordering::Relaxed))?;
            Ok(0)
        }
        op::SET_THP_DISABLE if rest_zero => {
            task.user()?.update_info(|info| info.thp_disable = a2 != 0);
            Ok(0)
        }
        op::GET_THP_DISABLE if a2 == 0 && rest_zero => Ok(task.user()?.info().thp_disable.into()),
        op::MCE_KILL if a4 == 0 && a5 == 0 => match (a2, a3) {
            // Clear, or set to one of the three policies.
            (0, 0) | (1, 0..=2) => Ok(0),
            _ => Err(EINVAL.into()),
        },
        // PR_MCE_KILL_DEFAULT.
        op::MCE_KILL_GET if a2 == 0 && rest_zero => Ok(2),
        op::CAP_AMBIENT => cap_ambient(task, a2, a3, a4, a5),
        // Among them PR_SET_VMA and PR_SET_PTRACER, which exist only where Linux is built with them.
        _ => Err(EINVAL.into()),
    }
}

fn cap_bit(number: u64) -> Result<CapSet, Errno> {
    let cap = CapSet::from_number(u32::try_from(number).map_err(|_| EINVAL)?);
    if cap.is_empty() { Err(EINVAL) } else { Ok(cap) }
}

fn set_keepcaps(task: &mut CurrentTask, value: u64) -> SyscallResult {
    if value > 1 {
        return Err(EINVAL.into());
    }
    let cred = task.task().cred();
    if cred.securebits.contains(SecureBits::KEEP_CAPS_LOCKED) {
        return Err(EPERM.into());
    }
    let mut new = (*cred).clone();
    new.securebits.set(SecureBits::KEEP_CAPS, value == 1);
    task.commit_creds(new);
    Ok(0)
}

/// Linux: security/commoncap.c, `cap_task_prctl`.
fn set_securebits(task: &mut CurrentTask, value: u64) -> SyscallResult {
    let cred = task.task().cred();
    let old = cred.securebits.bits();
    let new = u32::try_from(value).map_err(|_| EPERM)?;
    let locks = SecureBits::NOROOT_LOCKED.bits()
        | SecureBits::NO_SETUID_FIXUP_LOCKED.bits()
        | SecureBits::KEEP_CAPS_LOCKED.bits()
        | SecureBits::NO_CAP_AMBIENT_RAISE_LOCKED.bits();
    let locked = (old & locks) >> 1;
    if locked & (old ^ new) != 0
        || old & locks & !new != 0
        || new & !SecureBits::all().bits() != 0
        || !cred.capable(CapSet::SETPCAP)
    {
        return Err(EPERM.into());
    }
    let mut changed = (*cred).clone();
    changed.securebits = SecureBits::from_bits_truncate(new);
    task.commit_creds(changed);
    Ok(0)
}

fn cap_ambient(task: &mut CurrentTask, what: u64, cap: u64, a4: u64, a5: u64) -> SyscallResult {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    let cred = task.task().cred();
    let mut new = (*cred).clone();
    if what == CLEAR_ALL {
        if cap != 0 || a4 != 0 || a5 != 0 {
            return Err(EINVAL.into());
        }
        new.cap_ambient = CapSet::empty();
        task.commit_creds(new);
        return Ok(0);
    }
    if a4 != 0 || a5 != 0 {
        return Err(EINVAL.into());
    }
    let bit = cap_bit(cap)?;
    match what {
        IS_SET => return Ok(cred.cap_ambient.contains(bit).into()),
        RAISE => {
            let may = cred.cap_permitted.contains(bit)
                && cred.cap_inheritable.contains(bit)
                && !cred.securebits.contains(SecureBits::NO_CAP_AMBIENT_RAISE);
            if !may {
                return Err(EPERM.into());
            }
            new.cap_ambient |= bit;
        }
        LOWER => new.cap_ambient -= bit,
        _ => return Err(EINVAL.into()),
    }
    task.commit_creds(new);
    Ok(0)
}

/// arch_prctl(2).
pub(crate) fn arch_prctl(task: &mut CurrentTask, code: i32, addr: Addr) -> SyscallResult {
    const ARCH_SET_GS: i32 = 0x1001;
    const ARCH_SET_FS: i32 = 0x1002;
    const ARCH_GET_FS: i32 = 0x1003;
    const ARCH_GET_GS: i32 = 0x1004;
    let max = task.kernel().platform.user_range().1;
    match code {
        ARCH_SET_FS | ARCH_SET_GS => {
            if addr.0 >= max {
                return Err(EPERM.into());
            }
            if code == ARCH_SET_FS {
                task.regs.fs_base = addr.0;
            } else {
                task.regs.gs_base = addr.0;
            }
            Ok(0)
        }
        ARCH_GET_FS => {
            task.user()?.write_obj(addr.0, &task.regs.fs_base)?;
            Ok(0)
        }
        ARCH_GET_GS => {
            task.user()?.write_obj(addr.0, &task.regs.gs_base)?;
            Ok(0)
        }
        _ => Err(EINVAL.into()),
    }
}
