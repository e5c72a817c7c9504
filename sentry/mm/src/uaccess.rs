//! Access to guest memory from the sentry. Linux: include/linux/uaccess.h, lib/iov_iter.c, mm/gup.c.

use crate::fault::FaultError;
use crate::memory_file::Pin;
use crate::mm::Inner;
use crate::uio::Segs;
use crate::vma::{find_pma, find_vma};
use crate::{IoDst, IoSrc, MemoryManager, MmLimits, PAGE_SIZE};
use platform::Prot;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, ENAMETOOLONG};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Most bytes one view of guest memory spans.
pub const MAX_VIEW: usize = 4 << 20;

/// How the sentry wants to access guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserAccess {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Read or write whatever the mapping's own protection says, as ptrace(2) and `/proc/[pid]/mem` may.
    Force(bool),
}

impl UserAccess {
    pub(crate) fn writes(self) -> bool {
        matches!(self, UserAccess::Write | UserAccess::Force(true))
    }

    pub(crate) fn is_own(self) -> bool {
        !matches!(self, UserAccess::Force(_))
    }
}

/// Linux: arch/x86/include/asm/page_64.h, with four-level page tables.
const TASK_SIZE_MAX: u64 = 0x7fff_ffff_f000;

/// A piece of guest memory, as `struct iovec` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRange {
    /// First address.
    pub addr: u64,
    /// Length in bytes.
    pub len: usize,
}

impl UserRange {
    /// Whether it lies where guest memory may be. Linux: `access_ok`.
    fn is_user(self) -> bool {
        self.addr.checked_add(self.len as u64).is_some_and(|end| end <= TASK_SIZE_MAX)
    }
}

impl MemoryManager {
    /// Copies from guest memory. `EFAULT` if any byte cannot be read.
    pub fn copy_from_user(&self, addr: u64, dst: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        self.for_each_piece(UserRange { addr, len: dst.len() }, UserAccess::Read, &mut |frame, len| {
            self.memory.read_at(frame, &mut dst[done..done + len])?;
            done += len;
            Ok(())
        })
    }

    /// Copies to guest memory. `EFAULT` if any byte cannot be written; bytes before it may have been.
    pub fn copy_to_user(&self, addr: u64, src: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        self.for_each_piece(UserRange { addr, len: src.len() }, UserAccess::Write, &mut |frame, len| {
            self.memory.write_at(frame, &src[done..done + len])?;
            done += len;
            Ok(())
        })
    }

    /// Zeroes guest memory. Linux: `clear_user`.
    pub fn clear_user(&self, addr: u64, len: usize) -> Result<(), Errno> {
        self.for_each_piece(UserRange { addr, len }, UserAccess::Write, &mut |frame, len| {
            self.memory.zero(frame, len as u64)
        })
    }

    /// Reads a structure from guest memory.
    pub fn read_obj<T: FromBytes>(&self, addr: u64) -> Result<T, Errno> {
        let mut buf = smallvec::SmallVec::<[u8; 256]>::from_elem(0, size_of::<T>());
        self.copy_from_user(addr, &mut buf)?;
        T::read_from_bytes(&buf).map_err(|_| EFAULT)
    }

    /// Writes a structure to guest memory.
    pub fn write_obj<T: IntoBytes + Immutable + ?Sized>(&self, addr: u64, obj: &T) -> Result<(), Errno> {
        self.copy_to_user(addr, obj.as_bytes())
    }

    /// Reads an array of structures. The caller has bounded `count`.
    pub fn read_array<T: FromBytes>(&self, addr: u64, count: usize) -> Result<Vec<T>, Errno> {
        let bytes = count.checked_mul(size_of::<T>()).ok_or(EFAULT)?;
        let mut buf = vec![0; bytes];
        self.copy_from_user(addr, &mut buf)?;
        buf.chunks_exact(size_of::<T>().max(1)).map(|c| T::read_from_bytes(c).map_err(|_| EFAULT)).collect()
    }

    /// Reads a string of at most `max` bytes with its terminating zero, without it. `ENAMETOOLONG` if it is longer.
    /// Linux: `strncpy_from_user`.
    pub fn read_cstring(&self, addr: u64, max: usize) -> Result<Vec<u8>, Errno> {
        let mut out = Vec::new();
        let mut at = addr;
        while out.len() < max {
            let page_left = usize::try_from(PAGE_SIZE - at % PAGE_SIZE).unwrap_or(0);
            // Most strings are short: a page is read only of those that are not.
            let chunk = page_left.min(max - out.len()).min(if out.is_empty() { 256 } else { 4096 });
            let from = out.len();
            out.resize(from + chunk, 0);
            self.copy_from_user(at, &mut out[from..])?;
            if let Some(end) = out[from..].iter().position(|b| *b == 0) {
                out.truncate(from + end);
                return Ok(out);
            }
            at = at.checked_add(chunk as u64).ok_or(EFAULT)?;
        }
        Err(ENAMETOOLONG)
    }

    /// Copies from guest memory as far as it can be read; returns how far.
    pub fn copy_from_user_partial(&self, addr: u64, dst: &mut [u8], access: UserAccess) -> usize {
        let mut done = 0;
        let _ = self.for_each_piece(UserRange { addr, len: dst.len() }, access, &mut |frame, len| {
            self.memory.read_at(frame, &mut dst[done..done + len])?;
            done += len;
            Ok(())
        });
        done
    }

    /// Copies to guest memory as far as it can be written; returns how far.
    pub fn copy_to_user_partial(&self, addr: u64, src: &[u8], access: UserAccess) -> usize {
        let mut done = 0;
        let _ = self.for_each_piece(UserRange { addr, len: src.len() }, access, &mut |frame, len| {
            self.memory.write_at(frame, &src[done..done + len])?;
            done += len;
            Ok(())
        });
        done
    }

    /// A view for reading *into* guest memory. Ends where guest memory does; if that is at the very start,
    /// copying fails. `EFAULT` for what is no address of guest memory.
    pub fn dst<'a>(&'a self, ranges: &'a [UserRange]) -> Result<IoDst<'a>, Errno> {
        IoDst::of_user(self, ranges, UserAccess::Write)
    }

    /// A view for writing *from* guest memory.
    pub fn src<'a>(&'a self, ranges: &'a [UserRange]) -> Result<IoSrc<'a>, Errno> {
        IoSrc::of_user(self, ranges, UserAccess::Read)
    }

    /// The memory behind ranges of guest memory, and what keeps it.
    pub(crate) fn pin_segments(
        &self,
        ranges: &[UserRange],
        access: UserAccess,
    ) -> Result<(Segs, Pin), Errno> {
        let pin = self.memory.pin();
        let segs = match self.segments(ranges, access) {
            // Linux meets the fault as it copies, after the file's own checks and waits.
            Err(EFAULT) if access.is_own() && ranges.iter().all(|range| range.is_user()) => {
                let wanted = ranges.iter().fold(0, |sum: usize, range| sum.saturating_add(range.len));
                Segs::from_slice(&[self.memory.nowhere(wanted)])
            }
            other => other?,
        };
        Ok((segs, pin))
    }

    fn segments(&self, ranges: &[UserRange], access: UserAccess) -> Result<Segs, Errno> {
        let mut segs = Segs::new();
        let mut left = MAX_VIEW;
        for range in ranges {
            let len = range.len.min(left);
            let result = self.for_each_piece(UserRange { len, ..*range }, access, &mut |frame, len| {
                segs.push(self.memory.segment(frame, len as u64)?);
                Ok(())
            });
            match result {
                Err(e) if segs.is_empty() => return Err(e),
                Err(_) => break,
                Ok(()) => {}
            }
            left -= len;
            if left == 0 {
                break;
            }
        }
        Ok(segs)
    }

    /// Calls `f` with the frames behind a range of guest memory, piece by piece, under the read lock; makes them present
    /// where they are not. Ends with `EFAULT` where they cannot be.
    fn for_each_piece(
        &self,
        range: UserRange,
        access: UserAccess,
        f: &mut dyn FnMut(u64, usize) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let end = range.addr.checked_add(range.len as u64).ok_or(EFAULT)?;
        let mut at = range.addr;
        while at < end {
            {
                let inner = self.inner.read();
                while at < end {
                    let Some((start, pma_end, frame)) = usable(&inner, at, access) else { break };
                    let stop = pma_end.min(end);
                    f(frame + (at - start), usize::try_from(stop - at).map_err(|_| EFAULT)?)?;
                    at = stop;
                }
            }
            if at < end {
                self.fault_in(at, access)?;
            }
        }
        Ok(())
    }

    fn fault_in(&self, addr: u64, access: UserAccess) -> Result<(), Errno> {
        let mut inner = self.inner.write();
        if usable(&inner, addr, access).is_some() {
            return Ok(());
        }
        let wants = if access.writes() { Prot::WRITE } else { Prot::READ };
        // The stack limit is not at hand here; a stack that the guest has not touched itself grows within the default.
        let limits = MmLimits { stack: 8 << 20, ..MmLimits::NONE };
        let result = if let UserAccess::Force(_) = access {
            self.fault_forced(&mut inner, addr, wants, &limits)
        } else {
            self.fault_locked(&mut inner, addr, wants, &limits)
        };
        result.map_err(|_: FaultError| EFAULT)?;
        if usable(&inner, addr, access).is_some() { Ok(()) } else { Err(EFAULT) }
    }

    /// As a fault, with the VMA's protection lifted for its duration. Linux: `FOLL_FORCE`.
    fn fault_forced(
        &self,
        inner: &mut Inner,
        addr: u64,
        wants: Prot,
        limits: &MmLimits,
    ) -> Result<(), FaultError> {
        let Some((start, vma)) = find_vma(&inner.vmas, addr).map(|(s, v)| (s, v.clone())) else {
            return self.fault_locked(inner, addr, wants, limits);
        };
        let denied = FaultError::Signal {
            signo: sentry_uapi::signal::SIGSEGV,
            code: sentry_uapi::signal::SEGV_ACCERR,
        };
        if wants == Prot::WRITE
            && (vma.is_shared() || !vma.max_prot.contains(Prot::WRITE))
            && !vma.prot.contains(wants)
        {
            return Err(denied);
        }
        if !vma.max_prot.contains(Prot::READ) {
            return Err(denied);
        }
        let mut lifted = vma.clone();
        lifted.prot = vma.prot | Prot::READ | wants;
        inner.vmas.insert(start, lifted);
        let result = self.fault_locked(inner, addr, wants, limits);
        inner.vmas.insert(start, vma.clone());
        if vma.prot.contains(wants) {
            return result;
        }
        // What was entered just now goes back to the VMA's own protection for the guest.
        if let Some((s, pma)) = find_pma(&inner.pmas, addr) {
            let prot = crate::mm::map_prot(&vma, &pma);
            let (from, to) = (s.max(start), pma.end.min(vma.end));
            let op = if prot.is_empty() {
                platform::MapOp::Unmap { addr: from, len: to - from }
            } else {
                platform::MapOp::Protect { addr: from, len: to - from, prot }
            };
            self.apply(vec![op]).map_err(|_| FaultError::OutOfMemory)?;
        }
        result
    }

    /// What identifies a futex word: where it is, for all who share it. Linux: `get_futex_key`.
    ///
    /// # Errors
    /// `EFAULT` when the word cannot be accessed.
    pub fn futex_key(&self, addr: u64, private: bool) -> Result<FutexKey, Errno> {
        if private {
            return Ok(FutexKey { object: self.id() << 1, offset: addr });
        }
        // The word must be there, as Linux's get_user_pages_fast would have it.
        self.load_u32(addr)?;
        let inner = self.inner.read();
        let Some((start, vma)) = find_vma(&inner.vmas, addr) else { return Err(EFAULT) };
        Ok(match &vma.file {
            Some(f) if vma.is_shared() => FutexKey {
                object: (std::ptr::from_ref(&*f.mappable).cast::<()>().addr() as u64) | 1,
                offset: vma.file_offset(start, addr),
            },
            // Told from a private wait on the same word, as Linux's FUT_OFF_MMSHARED does; addresses are multiples of 4.
            _ => FutexKey { object: self.id() << 1, offset: addr | 1 },
        })
    }

    /// Loads an aligned word of guest memory atomically.
    pub fn load_u32(&self, addr: u64) -> Result<u32, Errno> {
        let mut value = 0;
        self.for_each_piece(UserRange { addr, len: 4 }, UserAccess::Read, &mut |frame, _| {
            value = self.memory.load32(frame)?;
            Ok(())
        })?;
        Ok(value)
    }

    /// Compares and exchanges an aligned word of guest memory atomically; returns what it was.
    pub fn cmpxchg_u32(&self, addr: u64, old: u32, new: u32) -> Result<u32, Errno> {
        let mut value = 0;
        self.for_each_piece(UserRange { addr, len: 4 }, UserAccess::Write, &mut |frame, _| {
            value = self.memory.cmpxchg32(frame, old, new)?;
            Ok(())
        })?;
        Ok(value)
    }
}

/// Identity of a futex word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FutexKey {
    /// The address space (even) or the shared object (odd).
    pub object: u64,
    /// The address, or the offset in the object.
    pub offset: u64,
}

/// The PMA at `addr` as `(start, end, frame)`, cut to its VMA, if the sentry may use it so.
fn usable(inner: &Inner, addr: u64, access: UserAccess) -> Option<(u64, u64, u64)> {
    let (pma_start, pma) = find_pma(&inner.pmas, addr)?;
    let (_, vma) = find_vma(&inner.vmas, addr)?;
    let allowed = match access {
        UserAccess::Read => !vma.prot.is_empty(),
        UserAccess::Write => vma.prot.contains(Prot::WRITE),
        UserAccess::Force(_) => true,
    };
    if !allowed || (access.writes() && pma.write_protected) {
        return None;
    }
    Some((pma_start, pma.end.min(vma.end), pma.frame))
}
