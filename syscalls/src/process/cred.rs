//! Linux: kernel/sys.c (set*id), kernel/groups.c, kernel/capability.c.

use crate::arg::Addr;
use fs_vfs::TaskContext;
use sentry_auth::{CapSet, Cred, GroupInfo, Kgid, Kuid, NGROUPS_MAX, SecureBits, UserNamespace, ns_capable};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_mm::MemoryManager;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, EINVAL, EPERM, ESRCH};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// "Leave as it is", in the calls that take several ids.
const KEEP: u32 = u32::MAX;

/// getuid(2).
pub(crate) fn getuid(task: &mut CurrentTask) -> SyscallResult {
    let c = task.cred();
    Ok(c.user_ns.from_kuid_munged(c.uid).into())
}

/// geteuid(2).
pub(crate) fn geteuid(task: &mut CurrentTask) -> SyscallResult {
    let c = task.cred();
    Ok(c.user_ns.from_kuid_munged(c.euid).into())
}

/// getgid(2).
pub(crate) fn getgid(task: &mut CurrentTask) -> SyscallResult {
    let c = task.cred();
    Ok(c.user_ns.from_kgid_munged(c.gid).into())
}

/// getegid(2).
pub(crate) fn getegid(task: &mut CurrentTask) -> SyscallResult {
    let c = task.cred();
    Ok(c.user_ns.from_kgid_munged(c.egid).into())
}

/// getresuid(2).
pub(crate) fn getresuid(task: &mut CurrentTask, r: Addr, e: Addr, s: Addr) -> SyscallResult {
    let c = task.cred();
    let mm = task.user()?;
    for (addr, id) in [(r, c.uid), (e, c.euid), (s, c.suid)] {
        mm.write_obj(addr.0, &c.user_ns.from_kuid_munged(id))?;
    }
    Ok(0)
}

/// getresgid(2).
pub(crate) fn getresgid(task: &mut CurrentTask, r: Addr, e: Addr, s: Addr) -> SyscallResult {
    let c = task.cred();
    let mm = task.user()?;
    for (addr, id) in [(r, c.gid), (e, c.egid), (s, c.sgid)] {
        mm.write_obj(addr.0, &c.user_ns.from_kgid_munged(id))?;
    }
    Ok(0)
}

/// Capabilities follow the user ids. Linux: security/commoncap.c, `cap_task_fix_setuid`, `cap_emulate_setxuid`.
fn fix_setuid(old: &Cred, new: &mut Cred) {
    if new.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
        return;
    }
    let root = old.user_ns.make_kuid(0);
    let any_root = |c: &Cred| c.uid == root || c.euid == root || c.suid == root;
    if any_root(old) && !any_root(new) {
        if !new.securebits.contains(SecureBits::KEEP_CAPS) {
            new.cap_permitted = CapSet::empty();
            new.cap_effective = CapSet::empty();
        }
        new.cap_ambient = CapSet::empty();
    }
    if old.euid == root && new.euid != root {
        new.cap_effective = CapSet::empty();
    }
    if old.euid != root && new.euid == root {
        new.cap_effective = new.cap_permitted;
    }
}

fn kuid(cred: &Cred, id: u32) -> Result<Kuid, Errno> {
    let kuid = cred.user_ns.make_kuid(id);
    if kuid.is_valid() { Ok(kuid) } else { Err(EINVAL) }
}

fn kgid(cred: &Cred, id: u32) -> Result<Kgid, Errno> {
    let kgid = cred.user_ns.make_kgid(id);
    if kgid.is_valid() { Ok(kgid) } else { Err(EINVAL) }
}

fn optional<T>(id: u32, make: impl Fn(u32) -> Result<T, Errno>) -> Result<Option<T>, Errno> {
    if id == KEEP { Ok(None) } else { make(id).map(Some) }
}

fn setuid_capable(cred: &Cred) -> bool {
    ns_capable(cred, &cred.user_ns, CapSet::SETUID)
}

fn setgid_capable(cred: &Cred) -> bool {
    ns_capable(cred, &cred.user_ns, CapSet::SETGID)
}

/// setuid(2).
pub(crate) fn setuid(task: &mut CurrentTask, uid: u32) -> SyscallResult {
    let old = task.cred();
    let id = kuid(&old, uid)?;
    let mut new = (*old).clone();
    if setuid_capable(&old) {
        new.uid = id;
        new.suid = id;
    } else if id != old.uid && id != old.suid {
        return Err(EPERM.into());
    }
    new.euid = id;
    new.fsuid = id;
    fix_setuid(&old, &mut new);
    task.flag_nproc_exceeded(&new);
    task.commit_creds(new);
    Ok(0)
}

/// setgid(2).
pub(crate) fn setgid(task: &mut CurrentTask, gid: u32) -> SyscallResult {
    let old = task.cred();
    let id = kgid(&old, gid)?;
    let mut new = (*old).clone();
    if setgid_capable(&old) {
        new.gid = id;
        new.sgid = id;
    } else if id != old.gid && id != old.sgid {
        return Err(EPERM.into());
    }
    new.egid = id;
    new.fsgid = id;
    task.commit_creds(new);
    Ok(0)
}

/// setreuid(2).
pub(crate) fn setreuid(task: &mut CurrentTask, ruid: u32, euid: u32) -> SyscallResult {
    let old = task.cred();
    let (r, e) = (optional(ruid, |i| kuid(&old, i))?, optional(euid, |i| kuid(&old, i))?);
    let capable = setuid_capable(&old);
    let mut new = (*old).clone();
    if let Some(r) = r {
        if r != old.uid && r != old.euid && !capable {
            return Err(EPERM.into());
        }
        new.uid = r;
    }
    if let Some(e) = e {
        if e != old.uid && e != old.euid && e != old.suid && !capable {
            return Err(EPERM.into());
        }
        new.euid = e;
    }
    if r.is_some() || e.is_some_and(|e| e != old.uid) {
        new.suid = new.euid;
    }
    new.fsuid = new.euid;
    fix_setuid(&old, &mut new);
    task.flag_nproc_exceeded(&new);
    task.commit_creds(new);
    Ok(0)
}

/// setregid(2).
pub(crate) fn setregid(task: &mut CurrentTask, rgid: u32, egid: u32) -> SyscallResult {
    let old = task.cred();
    let (r, e) = (optional(rgid, |i| kgid(&old, i))?, optional(egid, |i| kgid(&old, i))?);
    let capable = setgid_capable(&old);
    let mut new = (*old).clone();
    if let Some(r) = r {
        if r != old.gid && r != old.egid && !capable {
            return Err(EPERM.into());
        }
        new.gid = r;
    }
    if let Some(e) = e {
        if e != old.gid && e != old.egid && e != old.sgid && !capable {
            return Err(EPERM.into());
        }
        new.egid = e;
    }
    if r.is_some() || e.is_some_and(|e| e != old.gid) {
        new.sgid = new.egid;
    }
    new.fsgid = new.egid;
    task.commit_creds(new);
    Ok(0)
}

/// setresuid(2).
pub(crate) fn setresuid(task: &mut CurrentTask, ruid: u32, euid: u32, suid: u32) -> SyscallResult {
    let old = task.cred();
    let ids = [ruid, euid, suid].map(|id| optional(id, |i| kuid(&old, i)));
    let mut new = (*old).clone();
    let capable = setuid_capable(&old);
    for (id, slot) in ids.into_iter().zip([&mut new.uid, &mut new.euid, &mut new.suid]) {
        let Some(id) = id? else { continue };
        if id != old.uid && id != old.euid && id != old.suid && !capable {
            return Err(EPERM.into());
        }
        *slot = id;
    }
    new.fsuid = new.euid;
    fix_setuid(&old, &mut new);
    task.flag_nproc_exceeded(&new);
    task.commit_creds(new);
    Ok(0)
}

/// setresgid(2).
pub(crate) fn setresgid(task: &mut CurrentTask, rgid: u32, egid: u32, sgid: u32) -> SyscallResult {
    let old = task.cred();
    let ids = [rgid, egid, sgid].map(|id| optional(id, |i| kgid(&old, i)));
    let mut new = (*old).clone();
    let capable = setgid_capable(&old);
    for (id, slot) in ids.into_iter().zip([&mut new.gid, &mut new.egid, &mut new.sgid]) {
        let Some(id) = id? else { continue };
        if id != old.gid && id != old.egid && id != old.sgid && !capable {
            return Err(EPERM.into());
        }
        *slot = id;
    }
    new.fsgid = new.egid;
    task.commit_creds(new);
    Ok(0)
}

/// setfsuid(2): always returns the old id.
pub(crate) fn setfsuid(task: &mut CurrentTask, uid: u32) -> SyscallResult {
    let old = task.cred();
    let previous = old.user_ns.from_kuid_munged(old.fsuid);
    let id = old.user_ns.make_kuid(uid);
    let allowed = [old.uid, old.euid, old.suid, old.fsuid].contains(&id) || setuid_capable(&old);
    if id.is_valid() && allowed && id != old.fsuid {
        let mut new = (*old).clone();
        new.fsuid = id;
        let root = old.user_ns.make_kuid(0);
        if !new.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
            if old.fsuid == root && id != root {
                new.cap_effective -= CapSet::FS_SET;
            }
            if old.fsuid != root && id == root {
                new.cap_effective |= new.cap_permitted & CapSet::FS_SET;
            }
        }
        task.commit_creds(new);
    }
    Ok(previous.into())
}

/// setfsgid(2): always returns the old id.
pub(crate) fn setfsgid(task: &mut CurrentTask, gid: u32) -> SyscallResult {
    let old = task.cred();
    let previous = old.user_ns.from_kgid_munged(old.fsgid);
    let id = old.user_ns.make_kgid(gid);
    let allowed = [old.gid, old.egid, old.sgid, old.fsgid].contains(&id) || setgid_capable(&old);
    if id.is_valid() && allowed && id != old.fsgid {
        let mut new = (*old).clone();
        new.fsgid = id;
        task.commit_creds(new);
    }
    Ok(previous.into())
}

/// getgroups(2).
pub(crate) fn getgroups(task: &mut CurrentTask, size: i32, list: Addr) -> SyscallResult {
    let size = usize::try_from(size).map_err(|_| EINVAL)?;
    let cred = task.cred();
    let gids: Vec<u32> = cred.groups.as_slice().iter().map(|g| cred.user_ns.from_kgid_munged(*g)).collect();
    if size != 0 {
        if gids.len() > size {
            return Err(EINVAL.into());
        }
        task.user()?.write_obj(list.0, gids.as_slice())?;
    }
    Ok(gids.len() as u64)
}

/// Linux: kernel/groups.c, `groups_from_user`: a group is checked before the next one is read.
fn groups_from_user(
    mm: &MemoryManager,
    user_ns: &UserNamespace,
    list: u64,
    count: usize,
) -> Result<GroupInfo, Errno> {
    if let Ok(ids) = mm.read_array::<u32>(list, count) {
        return GroupInfo::from_user(user_ns, &ids);
    }
    for at in (list..).step_by(size_of::<u32>()).take(count) {
        GroupInfo::from_user(user_ns, &[mm.read_obj(at)?])?;
    }
    Err(EFAULT)
}

/// setgroups(2): replaces the caller's supplementary groups.
///
/// Errors in Linux's order: `EPERM` without CAP_SETGID in the caller's user namespace, or while that namespace has no
/// gid_map or has denied setgroups; `EINVAL` above NGROUPS_MAX; `EFAULT`; `EINVAL` for an unmapped gid.
pub(crate) fn setgroups(task: &mut CurrentTask, size: i32, list: Addr) -> SyscallResult {
    let cred = task.cred();
    if !setgid_capable(&cred) || !cred.user_ns.may_setgroups() {
        return Err(EPERM.into());
    }
    let count = usize::try_from(size).ok().filter(|n| *n <= NGROUPS_MAX).ok_or(EINVAL)?;
    let groups = groups_from_user(task.user()?, &cred.user_ns, list.0, count)?;
    task.commit_creds(Cred { groups, ..(*cred).clone() });
    Ok(0)
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

/// Reads the header; tells how many words a set has. An unknown version is answered with the one preferred.
fn read_header(task: &CurrentTask, addr: Addr) -> Result<(CapHeader, usize), Errno> {
    let mm = task.user()?;
    let header: CapHeader = mm.read_obj(addr.0)?;
    match header.version {
        VERSION_1 => Ok((header, 1)),
        VERSION_2 | VERSION_3 => Ok((header, 2)),
        _ => {
            mm.write_obj(addr.0, &VERSION_3)?;
            Err(EINVAL)
        }
    }
}

/// capget(2).
pub(crate) fn capget(task: &mut CurrentTask, header: Addr, data: Addr) -> SyscallResult {
    let (h, words) = match read_header(task, header) {
        Ok(found) => found,
        // A probe for the version.
        Err(EINVAL) if data.0 == 0 => return Ok(0),
        Err(e) => return Err(e.into()),
    };
    if h.pid < 0 {
        return Err(EINVAL.into());
    }
    let cred = if h.pid == 0 {
        task.cred()
    } else {
        task.kernel().find_task(&task.pid_ns(), h.pid.unsigned_abs()).ok_or(ESRCH)?.cred()
    };
    if data.0 == 0 {
        return Ok(0);
    }
    let word = |set: CapSet, i: usize| u32::try_from((set.bits() >> (32 * i)) & 0xffff_ffff).unwrap_or(0);
    let out: Vec<CapData> = (0..words)
        .map(|i| CapData {
            effective: word(cred.cap_effective, i),
            permitted: word(cred.cap_permitted, i),
            inheritable: word(cred.cap_inheritable, i),
        })
        .collect();
    task.user()?.write_obj(data.0, out.as_slice())?;
    Ok(0)
}

/// capset(2).
pub(crate) fn capset(task: &mut CurrentTask, header: Addr, data: Addr) -> SyscallResult {
    let (h, words) = read_header(task, header)?;
    if h.pid != 0 && h.pid.unsigned_abs() != task.pid().nr_in(&task.pid_ns()) {
        return Err(EPERM.into());
    }
    let data = task.user()?.read_array::<CapData>(data.0, words)?;
    let set = |f: fn(&CapData) -> u32| {
        let bits = data.iter().enumerate().fold(0, |bits, (i, d)| bits | u64::from(f(d)) << (32 * i));
        CapSet::from_bits_truncate(bits)
    };
    let (effective, permitted, inheritable) =
        (set(|d| d.effective), set(|d| d.permitted), set(|d| d.inheritable));
    let old = task.cred();
    let raises =
        !old.capable(CapSet::SETPCAP) && !(old.cap_inheritable | old.cap_permitted).contains(inheritable);
    if raises
        || !(old.cap_inheritable | old.cap_bset).contains(inheritable)
        || !old.cap_permitted.contains(permitted)
        || !permitted.contains(effective)
    {
        return Err(EPERM.into());
    }
    let mut new = (*old).clone();
    new.cap_effective = effective;
    new.cap_permitted = permitted;
    new.cap_inheritable = inheritable;
    new.cap_ambient &= permitted & inheritable;
    task.commit_creds(new);
    Ok(0)
}
