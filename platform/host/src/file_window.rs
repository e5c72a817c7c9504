//! Address space in which the sentry sees host files, from the host's page cache and never to be written to.

use crate::memfd::{errno, mincore, reserve};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EINVAL, ENOMEM};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// A reservation of address space, in which parts of host files come and go.
pub struct FileWindow {
    base: NonNull<u8>,
    len: u64,
}

// SAFETY: the reservation lives as long as the value and belongs to no thread; access to it goes through `uaccess`.
unsafe impl Send for FileWindow {}
// SAFETY: as above.
unsafe impl Sync for FileWindow {}

impl FileWindow {
    /// Reserves `len` bytes (page-aligned). Costs address space only.
    pub fn new(len: u64) -> Result<FileWindow, Errno> {
        let place = reserve(usize::try_from(len).map_err(|_| ENOMEM)?)?;
        let base = NonNull::new(place.cast::<u8>()).ok_or(ENOMEM)?;
        Ok(FileWindow { base, len })
    }

    /// Where `offset` is, if `len` bytes from there on lie in the window.
    pub fn ptr(&self, offset: u64, len: u64) -> Option<*mut u8> {
        offset.checked_add(len).filter(|end| *end <= self.len)?;
        // SAFETY: offset is within the one reservation that starts at base.
        Some(unsafe { self.base.as_ptr().add(usize::try_from(offset).ok()?) })
    }

    fn part(&self, offset: u64, len: u64) -> Result<(*mut libc::c_void, usize), Errno> {
        let ptr = self.ptr(offset, len).ok_or(EINVAL)?;
        Ok((ptr.cast(), usize::try_from(len).map_err(|_| EINVAL)?))
    }

    /// Shows `len` bytes of a file from `from` on at `offset`, all of them page-aligned. They may lie beyond the file's
    /// end.
    ///
    /// # Errors
    /// `EBADF` for a descriptor that could be written through; what mmap(2) says of a file that cannot be mapped.
    pub fn map(&self, offset: u64, len: u64, fd: BorrowedFd<'_>, from: u64) -> Result<(), Errno> {
        let (place, len) = self.part(offset, len)?;
        let from = i64::try_from(from).map_err(|_| EINVAL)?;
        // SAFETY: asks for the flags of an open descriptor.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
        if flags < 0 || flags & libc::O_ACCMODE != libc::O_RDONLY {
            return Err(EBADF);
        }
        let kind = libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: replaces a part of our reservation, which whoever has a pointer to it accesses by `uaccess` alone.
        let mapped = unsafe { libc::mmap(place, len, libc::PROT_READ, kind, fd.as_raw_fd(), from) };
        if mapped == libc::MAP_FAILED { Err(errno(nix::errno::Errno::last())) } else { Ok(()) }
    }

    /// Takes away what is seen in a range.
    pub fn unmap(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let (place, len) = self.part(offset, len)?;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: as for `map`.
        let mapped = unsafe { libc::mmap(place, len, libc::PROT_NONE, kind, -1, 0) };
        if mapped == libc::MAP_FAILED { Err(errno(nix::errno::Errno::last())) } else { Ok(()) }
    }

    fn advise(&self, offset: u64, len: u64, advice: i32) -> Result<(), Errno> {
        let (place, len) = self.part(offset, len)?;
        // SAFETY: advice on our own mapping, of a kind that changes no contents.
        match unsafe { libc::madvise(place, len, advice) } {
            0 => Ok(()),
            _ => Err(errno(nix::errno::Errno::last())),
        }
    }

    /// Reads the pages of a range in. Linux: madvise(2), MADV_POPULATE_READ.
    pub fn populate(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.advise(offset, len, libc::MADV_POPULATE_READ)
    }

    /// Has the host begin to read the pages of a range. Linux: madvise(2), MADV_WILLNEED.
    pub fn will_need(&self, offset: u64, len: u64) -> Result<(), Errno> {
        self.advise(offset, len, libc::MADV_WILLNEED)
    }

    /// Whether each page of the range is in the host's page cache, as far as the host tells: of a file that the sentry could
    /// not write to it says so of every page. Linux: mincore(2).
    pub fn mincore(&self, offset: u64, len: u64) -> Vec<bool> {
        mincore(self.ptr(offset, len), len)
    }
}

impl Drop for FileWindow {
    fn drop(&mut self) {
        if let Ok(len) = usize::try_from(self.len) {
            // SAFETY: our own reservation, which nobody can reach any more.
            unsafe { libc::munmap(self.base.as_ptr().cast(), len) };
        }
    }
}

/// Whether a file may be mapped executable: not if its mount, its filesystem or a security module forbids it.
pub fn may_execute(fd: BorrowedFd<'_>) -> bool {
    const LEN: usize = 4096;
    // SAFETY: a fresh mapping, which nobody jumps to and which is gone at once.
    unsafe {
        let kind = libc::MAP_SHARED;
        let at = libc::mmap(std::ptr::null_mut(), LEN, libc::PROT_EXEC, kind, fd.as_raw_fd(), 0);
        at != libc::MAP_FAILED && libc::munmap(at, LEN) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uaccess;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_file_is_seen_until_it_is_truncated_and_never_written_to() -> std::io::Result<()> {
        uaccess::install_fault_handlers();
        let error = |e: Errno| std::io::Error::from_raw_os_error(e.raw());
        let path = std::env::temp_dir().join(format!("file-window-{}", std::process::id()));
        let mut writer = std::fs::File::create_new(&path)?;
        let reader = std::fs::File::open(&path);
        let both = std::fs::OpenOptions::new().read(true).write(true).open(&path);
        std::fs::remove_file(&path)?;
        let (reader, both) = (reader?, both?);
        writer.write_all(&[7; 8192])?;
        let window = FileWindow::new(1 << 20).map_err(error)?;
        assert_eq!(window.map(4096, 8192, both.as_fd(), 0), Err(EBADF));
        assert_eq!(window.map((1 << 20) - 4096, 8192, reader.as_fd(), 0), Err(EINVAL));
        window.map(4096, 8192, reader.as_fd(), 0).map_err(error)?;
        window.populate(4096, 8192).map_err(error)?;
        assert_eq!(window.mincore(4096, 8192), [true, true]);
        let at = window.ptr(4096, 8192).ok_or(std::io::ErrorKind::NotFound)?;
        let mut seen = [0; 8192];
        // SAFETY: the window, and an array of our own.
        let (whole, written, cut, gone) = unsafe {
            let whole = uaccess::copy(seen.as_mut_ptr(), at, seen.len());
            let written = uaccess::copy(at, seen.as_ptr(), 16);
            writer.set_len(100)?;
            let cut = uaccess::copy(seen.as_mut_ptr(), at, seen.len());
            window.unmap(4096, 8192).map_err(error)?;
            (whole, written, cut, uaccess::copy(seen.as_mut_ptr(), at, 16))
        };
        // A page beyond the end is SIGBUS, which is as good an error as SIGSEGV.
        assert_eq!((whole, written, cut, gone), (0, 16, 4096, 16));
        assert!(seen[..100].iter().all(|byte| *byte == 7) && seen[100..4096].iter().all(|byte| *byte == 0));
        Ok(())
    }
}
