//! Address spaces. Linux: mm/.

use crate::arg::{Addr, Bits, Fd, MapBits, ProtBits};
use fs_vfs::File;
use sentry_kernel::{CurrentTask, SyscallResult, ptrace_may_access};
use sentry_mm::{
    Advice, MappedFile, MmapRequest, MremapMode, Placement, Prot, SharedAnon, UserAccess, UserRange, VmFlags,
    VmaFile,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EFAULT, EINVAL, ENODEV, ENOMEM, EOVERFLOW, EPERM, ESRCH};
use std::sync::Arc;

const MAP_SHARED: u64 = 0x01;
const MAP_PRIVATE: u64 = 0x02;
const MAP_SHARED_VALIDATE: u64 = 0x03;
const MAP_TYPE: u64 = 0x0f;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_32BIT: u64 = 0x40;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_LOCKED: u64 = 0x2000;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_POPULATE: u64 = 0x8000;
const MAP_NONBLOCK: u64 = 0x1_0000;
const MAP_STACK: u64 = 0x2_0000;
const MAP_HUGETLB: u64 = 0x4_0000;
const MAP_SYNC: u64 = 0x8_0000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
/// Flags MAP_SHARED_VALIDATE accepts. Linux: `LEGACY_MAP_MASK`.
const LEGACY_MAP_MASK: u64 = MAP_SHARED
    | MAP_PRIVATE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | 0x800
    | 0x1000
    | MAP_GROWSDOWN
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_STACK
    | MAP_HUGETLB
    | MAP_32BIT;
const PROT_KNOWN: u64 = 7;
const PROT_GROWSDOWN: u64 = 0x0100_0000;
const PROT_GROWSUP: u64 = 0x0200_0000;

fn prot(bits: u64) -> Prot {
    Prot::from_bits_truncate(u32::try_from(bits & PROT_KNOWN).unwrap_or(0))
}

/// The file behind a mapping and the most access it may ever have. Linux: the file half of `do_mmap`.
fn file_mapping(file: &Arc<File>, prot: Prot, shared: bool, offset: u64) -> Result<(VmaFile, Prot), Errno> {
    let mut max_prot = Prot::all();
    if shared && prot.contains(Prot::WRITE) && !file.writable() {
        return Err(EACCES);
    }
    if shared && !file.writable() {
        max_prot -= Prot::WRITE;
    }
    if !file.readable() {
        return Err(EACCES);
    }
    if file.path().is_noexec() {
        if prot.contains(Prot::EXEC) {
            return Err(sentry_uapi::errno::EPERM);
        }
        max_prot -= Prot::EXEC;
    }
    if file.inode().is_dir() {
        return Err(ENODEV);
    }
    let mappable = file.ops().mmap(file)?;
    let mapped: Arc<dyn MappedFile> = file.clone();
    Ok((VmaFile { mappable, file: Some(mapped), offset }, max_prot))
}

/// mmap(2).
pub(crate) fn mmap(
    task: &mut CurrentTask,
    addr: Addr,
    len: usize,
    protection: ProtBits,
    flags: MapBits,
    fd: Fd,
    offset: u64,
) -> SyscallResult {
    if !offset.is_multiple_of(sentry_mm::PAGE_SIZE) {
        return Err(EINVAL.into());
    }
    let flags = flags.0;
    let file = if flags & MAP_ANONYMOUS == 0 { Some(task.task().files()?.get(fd.0)?) } else { None };
    if flags & MAP_HUGETLB != 0 {
        // No huge pages are set aside.
        return Err(if file.is_some() { EINVAL } else { ENOMEM }.into());
    }
    if len == 0 {
        return Err(EINVAL.into());
    }
    let shared = match flags & MAP_TYPE {
        MAP_SHARED => true,
        MAP_SHARED_VALIDATE if file.is_some() => {
            if flags & !(LEGACY_MAP_MASK | MAP_SYNC | MAP_FIXED_NOREPLACE) != 0 || flags & MAP_SYNC != 0 {
                return Err(sentry_uapi::errno::EOPNOTSUPP.into());
            }
            true
        }
        MAP_PRIVATE => false,
        _ => return Err(EINVAL.into()),
    };
    let len = len as u64;
    if offset.checked_add(len).is_none() {
        return Err(EOVERFLOW.into());
    }
    let prot = prot(protection.0);
    let place = if flags & MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedNoReplace(addr.0)
    } else if flags & MAP_FIXED != 0 {
        Placement::Fixed(addr.0)
    } else if flags & MAP_32BIT != 0 {
        Placement::Low
    } else {
        Placement::Hint(addr.0)
    };
    let mut vm = VmFlags::empty();
    vm.set(VmFlags::SHARED, shared);
    vm.set(VmFlags::GROWSDOWN, flags & MAP_GROWSDOWN != 0);
    vm.set(VmFlags::LOCKED, flags & MAP_LOCKED != 0);
    vm.set(VmFlags::NORESERVE, flags & MAP_NORESERVE != 0);
    // Linux since 6.7: of a stack, little is used as a rule.
    vm.set(VmFlags::NOHUGEPAGE, flags & MAP_STACK != 0);
    let limits = task.mm_limits();
    if flags & MAP_LOCKED != 0 && limits.memlock == 0 {
        return Err(EPERM.into());
    }
    let mm = task.user()?.clone();
    let (file, max_prot) = match &file {
        Some(file) => {
            if flags & MAP_GROWSDOWN != 0 {
                return Err(EINVAL.into());
            }
            let (file, max) = file_mapping(file, prot, shared, offset)?;
            (Some(file), max)
        }
        None if shared => {
            if flags & MAP_GROWSDOWN != 0 {
                return Err(EINVAL.into());
            }
            let rounded = len.checked_next_multiple_of(sentry_mm::PAGE_SIZE).ok_or(ENOMEM)?;
            if rounded > limits.address_space {
                return Err(ENOMEM.into());
            }
            let mappable = SharedAnon::new(mm.memory(), rounded)?;
            (Some(VmaFile { mappable, file: None, offset: 0 }), Prot::all())
        }
        None => (None, Prot::all()),
    };
    let request = MmapRequest {
        place,
        len,
        prot,
        max_prot,
        flags: vm,
        file,
        name: None,
        populate: flags & MAP_POPULATE != 0 && flags & MAP_NONBLOCK == 0,
    };
    Ok(mm.mmap(&request, &limits)?)
}

/// munmap(2).
pub(crate) fn munmap(task: &mut CurrentTask, addr: Addr, len: usize) -> SyscallResult {
    task.user()?.munmap(addr.0, len as u64)?;
    Ok(0)
}

/// mprotect(2).
pub(crate) fn mprotect(
    task: &mut CurrentTask,
    addr: Addr,
    len: usize,
    protection: ProtBits,
) -> SyscallResult {
    let bits = protection.0;
    if bits & !(PROT_KNOWN | 8 | PROT_GROWSDOWN | PROT_GROWSUP) != 0
        || bits & (PROT_GROWSDOWN | PROT_GROWSUP) == PROT_GROWSDOWN | PROT_GROWSUP
    {
        return Err(EINVAL.into());
    }
    let limits = task.mm_limits();
    task.user()?.mprotect(addr.0, len as u64, prot(bits), bits & PROT_GROWSDOWN != 0, &limits)?;
    Ok(0)
}

/// brk(2).
pub(crate) fn brk(task: &mut CurrentTask, addr: Addr) -> SyscallResult {
    let limits = task.mm_limits();
    Ok(task.user()?.brk(addr.0, &limits))
}

/// mremap(2).
pub(crate) fn mremap(
    task: &mut CurrentTask,
    old: Addr,
    old_len: usize,
    new_len: usize,
    flags: Bits,
    new: Addr,
) -> SyscallResult {
    const MAYMOVE: u32 = 1;
    const FIXED: u32 = 2;
    const DONTUNMAP: u32 = 4;
    let f = flags.0;
    if f & !(MAYMOVE | FIXED | DONTUNMAP) != 0
        || (f & FIXED != 0 && f & MAYMOVE == 0)
        || (f & DONTUNMAP != 0 && (f & MAYMOVE == 0 || old_len != new_len))
    {
        return Err(EINVAL.into());
    }
    let mode = if f & FIXED != 0 {
        MremapMode::Fixed(new.0)
    } else if f & MAYMOVE != 0 {
        MremapMode::MayMove
    } else {
        MremapMode::InPlace
    };
    let limits = task.mm_limits();
    Ok(task.user()?.mremap(old.0, old_len as u64, new_len as u64, mode, f & DONTUNMAP != 0, &limits)?)
}

/// remap_file_pages(2): a new mapping of the same file. Linux: mm/mmap.c.
pub(crate) fn remap_file_pages(
    task: &mut CurrentTask,
    start: Addr,
    size: usize,
    protection: ProtBits,
    pgoff: u64,
    _flags: MapBits,
) -> SyscallResult {
    if protection.0 != 0 {
        return Err(EINVAL.into());
    }
    task.user()?.remap_file_pages(start.0, size as u64, pgoff, &task.mm_limits())?;
    Ok(0)
}

/// madvise(2).
pub(crate) fn madvise(task: &mut CurrentTask, addr: Addr, len: usize, advice: i32) -> SyscallResult {
    let none = VmFlags::empty();
    let flags = |set, clear| Advice::Flags { set, clear };
    let advice = match advice {
        0 => flags(none, VmFlags::SEQ_READ | VmFlags::RAND_READ),
        1 => flags(VmFlags::RAND_READ, VmFlags::SEQ_READ),
        2 => flags(VmFlags::SEQ_READ, VmFlags::RAND_READ),
        3 => Advice::WillNeed,
        4 => Advice::DontNeed(false),
        8 => Advice::Free,
        9 => Advice::Remove,
        10 => flags(VmFlags::DONTCOPY, none),
        11 => flags(none, VmFlags::DONTCOPY),
        12 => flags(VmFlags::MERGEABLE, none),
        13 => flags(none, VmFlags::MERGEABLE),
        14 => flags(VmFlags::HUGEPAGE, VmFlags::NOHUGEPAGE),
        15 => flags(VmFlags::NOHUGEPAGE, VmFlags::HUGEPAGE),
        16 => flags(VmFlags::DONTDUMP, none),
        17 => flags(none, VmFlags::DONTDUMP),
        18 => flags(VmFlags::WIPEONFORK, none),
        19 => flags(none, VmFlags::WIPEONFORK),
        20 | 21 | 25 => Advice::Nothing,
        22 => Advice::Populate(false),
        23 => Advice::Populate(true),
        24 => Advice::DontNeed(true),
        _ => return Err(EINVAL.into()),
    };
    task.user()?.madvise(addr.0, len as u64, advice)?;
    Ok(0)
}

/// mincore(2).
pub(crate) fn mincore(task: &mut CurrentTask, addr: Addr, len: usize, vec: Addr) -> SyscallResult {
    /// Looked at in one go.
    const STEP: u64 = 64 << 20;
    if !addr.0.is_multiple_of(sentry_mm::PAGE_SIZE) {
        return Err(EINVAL.into());
    }
    let mm = task.user()?;
    let end = addr.0.checked_add(len as u64).ok_or(ENOMEM)?;
    let (mut at, mut out) = (addr.0, vec.0);
    while at < end {
        let step = (end - at).min(STEP);
        let pages = mm.mincore(at, step)?;
        mm.copy_to_user(out, &pages)?;
        at += step;
        out = out.checked_add(pages.len() as u64).ok_or(EFAULT)?;
    }
    Ok(0)
}

/// msync(2).
pub(crate) fn msync(task: &mut CurrentTask, addr: Addr, len: usize, flags: Bits) -> SyscallResult {
    const ASYNC: u32 = 1;
    const INVALIDATE: u32 = 2;
    const SYNC: u32 = 4;
    if flags.0 & !(ASYNC | INVALIDATE | SYNC) != 0 || flags.0 & (ASYNC | SYNC) == ASYNC | SYNC {
        return Err(EINVAL.into());
    }
    task.user()?.msync(addr.0, len as u64, flags.0 & INVALIDATE != 0, flags.0 & SYNC != 0)?;
    Ok(0)
}

fn lock(task: &mut CurrentTask, addr: Addr, len: usize, lock: bool, populate: bool) -> SyscallResult {
    let limits = task.mm_limits();
    if lock && limits.memlock == 0 {
        return Err(EPERM.into());
    }
    task.user()?.mlock(addr.0, len as u64, lock, populate, &limits)?;
    Ok(0)
}

/// mlock(2).
pub(crate) fn mlock(task: &mut CurrentTask, addr: Addr, len: usize) -> SyscallResult {
    lock(task, addr, len, true, true)
}

/// mlock2(2).
pub(crate) fn mlock2(task: &mut CurrentTask, addr: Addr, len: usize, flags: Bits) -> SyscallResult {
    /// MLOCK_ONFAULT.
    const ONFAULT: u32 = 1;
    if flags.0 & !ONFAULT != 0 {
        return Err(EINVAL.into());
    }
    lock(task, addr, len, true, flags.0 & ONFAULT == 0)
}

/// munlock(2).
pub(crate) fn munlock(task: &mut CurrentTask, addr: Addr, len: usize) -> SyscallResult {
    lock(task, addr, len, false, false)
}

/// mlockall(2).
pub(crate) fn mlockall(task: &mut CurrentTask, flags: Bits) -> SyscallResult {
    const CURRENT: u32 = 1;
    const FUTURE: u32 = 2;
    const ONFAULT: u32 = 4;
    if flags.0 == 0 || flags.0 & !7 != 0 || flags.0 == ONFAULT {
        return Err(EINVAL.into());
    }
    let limits = task.mm_limits();
    if limits.memlock == 0 {
        return Err(EPERM.into());
    }
    let f = flags.0;
    task.user()?.mlockall(f & CURRENT != 0, f & FUTURE != 0, f & ONFAULT != 0, &limits)?;
    Ok(0)
}

/// munlockall(2).
pub(crate) fn munlockall(task: &mut CurrentTask) -> SyscallResult {
    let limits = task.mm_limits();
    task.user()?.mlockall(false, false, false, &limits)?;
    Ok(0)
}

/// Reads an array of `struct iovec`.
fn read_iovec(task: &CurrentTask, addr: Addr, count: usize) -> Result<Vec<UserRange>, Errno> {
    const UIO_MAXIOV: usize = 1024;
    if count > UIO_MAXIOV {
        return Err(EINVAL);
    }
    let mut total = 0usize;
    let pairs = task.user()?.read_array::<[u64; 2]>(addr.0, count)?;
    pairs
        .into_iter()
        .map(|[addr, len]| {
            let len = usize::try_from(len).map_err(|_| EINVAL)?;
            total = total.checked_add(len).filter(|t| isize::try_from(*t).is_ok()).ok_or(EINVAL)?;
            Ok(UserRange { addr, len })
        })
        .collect()
}

fn process_vm(
    task: &mut CurrentTask,
    pid: i32,
    local: (Addr, usize),
    remote: (Addr, usize),
    flags: Addr,
    write: bool,
) -> SyscallResult {
    if flags.0 != 0 {
        return Err(EINVAL.into());
    }
    let local = read_iovec(task, local.0, local.1)?;
    let remote = read_iovec(task, remote.0, remote.1)?;
    if local.iter().all(|r| r.len == 0) || remote.iter().all(|r| r.len == 0) {
        return Ok(0);
    }
    let nr = u32::try_from(pid).map_err(|_| ESRCH)?;
    let target = task.kernel().find_task(&task.pid_ns(), nr).ok_or(ESRCH)?;
    if !ptrace_may_access(task, &target, true) {
        return Err(EPERM.into());
    }
    let theirs = target.mm()?;
    let ours = task.user()?.clone();
    /// Bytes copied through the sentry at a time.
    const CHUNK: usize = 64 << 10;
    let mut buf = vec![0; CHUNK];
    let mut done = 0u64;
    let mut local = local.into_iter();
    let mut here = UserRange { addr: 0, len: 0 };
    for mut there in remote {
        while there.len > 0 {
            while here.len == 0 {
                match local.next() {
                    Some(next) => here = next,
                    None => return Ok(done),
                }
            }
            let n = there.len.min(here.len).min(CHUNK);
            let part = &mut buf[..n];
            let moved = if write {
                let got = ours.copy_from_user_partial(here.addr, part, UserAccess::Read);
                theirs.copy_to_user_partial(there.addr, &part[..got], UserAccess::Write)
            } else {
                let got = theirs.copy_from_user_partial(there.addr, part, UserAccess::Read);
                ours.copy_to_user_partial(here.addr, &part[..got], UserAccess::Write)
            };
            done += moved as u64;
            if moved < n {
                return if done > 0 { Ok(done) } else { Err(EFAULT.into()) };
            }
            for range in [&mut here, &mut there] {
                range.addr += n as u64;
                range.len -= n;
            }
        }
    }
    Ok(done)
}

/// process_vm_readv(2).
pub(crate) fn process_vm_readv(
    task: &mut CurrentTask,
    pid: i32,
    local: Addr,
    local_count: usize,
    remote: Addr,
    remote_count: usize,
    flags: Addr,
) -> SyscallResult {
    process_vm(task, pid, (local, local_count), (remote, remote_count), flags, false)
}

/// process_vm_writev(2).
pub(crate) fn process_vm_writev(
    task: &mut CurrentTask,
    pid: i32,
    local: Addr,
    local_count: usize,
    remote: Addr,
    remote_count: usize,
    flags: Addr,
) -> SyscallResult {
    process_vm(task, pid, (local, local_count), (remote, remote_count), flags, true)
}
