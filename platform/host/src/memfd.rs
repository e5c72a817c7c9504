//! memfd_create(2) and the window through which the sentry sees the file.

use crate::mount::mount_new;
use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use sentry_uapi::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// A host memory file that is mapped whole, shared and writable, over a sparse window.
pub struct MemoryWindow {
    fd: OwnedFd,
    base: NonNull<u8>,
    len: u64,
}

// SAFETY: the mapping lives as long as the value and belongs to no thread; access to it goes through `uaccess`.
unsafe impl Send for MemoryWindow {}
// SAFETY: as above.
unsafe impl Sync for MemoryWindow {}

/// Size of what lies behind a window, in bytes.
pub const NOWHERE: usize = 4 << 20;

/// Address space that nothing is behind, at a place of the kernel's choice.
pub(crate) fn reserve(len: usize) -> Result<*mut libc::c_void, Errno> {
    // SAFETY: a fresh mapping; nothing else is touched.
    let place = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if place == libc::MAP_FAILED { Err(errno(nix::errno::Errno::last())) } else { Ok(place) }
}

pub(crate) fn errno(e: nix::errno::Errno) -> Errno {
    Errno::from_raw(e as i32)
}

/// An empty file with a name on a filesystem of its own, whose pages are huge where a mapping asks for them. Unlike a memfd, it does not
/// depend on `shmem_enabled`. Linux: Documentation/admin-guide/mm/transhuge.rst.
///
/// # Errors
/// As fsopen(2), fsconfig(2), fsmount(2) and openat(2): `EPERM` without CAP_SYS_ADMIN over the mount namespace, `EINVAL` where
/// the host knows no huge pages.
pub fn huge_file(name: &CStr) -> Result<OwnedFd, Errno> {
    // Memory cgroups bound the file; without a size of zero, half of the host's memory would.
    let options = [(c"huge", c"advise"), (c"size", c"0"), (c"mode", c"0700")];
    let root = mount_new(c"tmpfs", &options, 0).map_err(errno)?;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    nix::fcntl::openat(&root, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(errno)
}

/// Whether each page of a range of our own has memory behind it; none has where there is no range.
pub(crate) fn mincore(ptr: Option<*mut u8>, len: u64) -> Vec<bool> {
    let pages = usize::try_from(len / 4096).unwrap_or(0);
    let mut present = vec![0u8; pages];
    if let (Some(ptr), Ok(len)) = (ptr, usize::try_from(len)) {
        // SAFETY: the range lies in our mapping and the vector has a byte for each of its pages.
        unsafe { libc::mincore(ptr.cast(), len, present.as_mut_ptr()) };
    }
    present.into_iter().map(|b| b & 1 != 0).collect()
}

impl MemoryWindow {
    /// Makes a sparse file of `len` bytes (page-aligned) and maps all of it. Costs address space only.
    pub fn new(name: &str, len: u64) -> Result<MemoryWindow, Errno> {
        MemoryWindow::over(memfd_create(name, MFdFlags::MFD_CLOEXEC).map_err(errno)?, len)
    }

    /// The same with an empty file that is there already, of a filesystem in memory.
    pub fn over(fd: OwnedFd, len: u64) -> Result<MemoryWindow, Errno> {
        let size = i64::try_from(len).map_err(|_| sentry_uapi::errno::EFBIG)?;
        nix::unistd::ftruncate(&fd, size).map_err(errno)?;
        let map_len = usize::try_from(len).map_err(|_| sentry_uapi::errno::EFBIG)?;
        let place = reserve(map_len.checked_add(NOWHERE).ok_or(sentry_uapi::errno::EFBIG)?)?;
        // SAFETY: replaces the start of the reservation just made, which nothing else knows of.
        let base = unsafe {
            libc::mmap(
                place,
                map_len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(errno(nix::errno::Errno::last()));
        }
        // A core dump or a child of the sentry has no use for guest memory.
        // SAFETY: advice on our own mapping; it changes no contents.
        unsafe {
            libc::madvise(base, map_len, libc::MADV_DONTDUMP);
            libc::madvise(base, map_len, libc::MADV_DONTFORK);
        }
        let base = NonNull::new(base.cast::<u8>()).ok_or(sentry_uapi::errno::ENOMEM)?;
        Ok(MemoryWindow { fd, base, len })
    }

    /// Size of the file and of the window, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the window has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where `offset` of the file is seen, if `len` bytes from there on lie in the window.
    pub fn ptr(&self, offset: u64, len: u64) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: offset is within the one mapping that starts at base.
        Some(unsafe { self.base.as_ptr().add(usize::try_from(offset).ok()?) })
    }

    /// [`NOWHERE`] bytes behind the window that nobody can access: whoever tries meets a fault, the host kernel as well.
    pub fn nowhere(&self) -> *mut u8 {
        let len = usize::try_from(self.len).unwrap_or(0);
        // SAFETY: the reservation goes on behind the window.
        unsafe { self.base.as_ptr().add(len) }
    }

    /// Gives the pages of a range back to the host; they read as zeros afterwards.
    pub fn punch_hole(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
            return Err(sentry_uapi::errno::EINVAL);
        };
        let mode = nix::fcntl::FallocateFlags::FALLOC_FL_PUNCH_HOLE
            | nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
        nix::fcntl::fallocate(&self.fd, mode, offset, len).map_err(errno)
    }

    /// Has faults on a range get huge pages, where the file's filesystem has them. Linux: madvise(2), MADV_HUGEPAGE.
    ///
    /// # Errors
    /// `EINVAL` where the host knows no huge pages.
    pub fn advise_huge(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.advise(offset, len, libc::MADV_HUGEPAGE)
    }

    /// Puts memory behind the pages of a range. Linux: madvise(2), MADV_POPULATE_WRITE.
    pub fn populate(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.advise(offset, len, libc::MADV_POPULATE_WRITE)
    }

    /// madvise(2) with advice that changes no contents.
    fn advise(&self, offset: u64, len: u64, advice: libc::c_int) -> Result<(), Errno> {
        let ptr = self.ptr(offset, len).ok_or(sentry_uapi::errno::EINVAL)?;
        let len = usize::try_from(len).map_err(|_| sentry_uapi::errno::EINVAL)?;
        // SAFETY: the range lies in our mapping, whose contents stay.
        let ret = unsafe { libc::madvise(ptr.cast(), len, advice) };
        if ret == 0 { Ok(()) } else { Err(errno(nix::errno::Errno::last())) }
    }

    /// Bytes of host memory behind the file.
    pub fn resident(&self) -> u64 {
        nix::sys::stat::fstat(&self.fd).map_or(0, |st| u64::try_from(st.st_blocks).unwrap_or(0) * 512)
    }

    /// Whether each page of the range has host memory behind it. Linux: mincore(2).
    pub fn mincore(&self, offset: u64, len: u64) -> Vec<bool> {
        mincore(self.ptr(offset, len), len)
    }
}

impl AsFd for MemoryWindow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for MemoryWindow {
    fn drop(&mut self) {
        if let Ok(len) = usize::try_from(self.len) {
            // SAFETY: our own mapping, which nobody can reach any more.
            unsafe { libc::munmap(self.base.as_ptr().cast(), len.saturating_add(NOWHERE)) };
        }
    }
}
