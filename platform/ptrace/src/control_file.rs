//! The memory that sentry and stubs share besides guest memory: one page of code, and a queue page per stub.

use crate::stub_code::{PAGE, code};
use parking_lot::Mutex;
use platform::PlatformError;
use platform_host::call::{check_int, last_errno};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// Address spaces there can be at a time.
const MAX_SLOTS: u32 = 32768;

/// A system call that a stub makes: its number and six arguments.
pub(crate) type Call = [u64; 7];

/// Calls that fit a queue page.
pub(crate) const CALLS_PER_PAGE: usize = 64;
/// Bytes a call takes in the queue page.
const CALL_STRIDE: usize = 64;

/// The file, mapped into the sentry.
pub(crate) struct ControlFile {
    fd: OwnedFd,
    base: *mut u8,
    slots: Mutex<Slots>,
}

// SAFETY: the mapping lives as long as the value; a slot is written only by whoever holds its QueueSlot.
unsafe impl Send for ControlFile {}
// SAFETY: as above.
unsafe impl Sync for ControlFile {}

#[derive(Default)]
struct Slots {
    free: Vec<u32>,
    used: u32,
}

impl ControlFile {
    /// Makes the file and puts the stub's code into its first page.
    pub(crate) fn new() -> Result<Arc<ControlFile>, PlatformError> {
        let host = |what| move |errno| PlatformError::Host { what, errno };
        let size = Self::window();
        // SAFETY: the name is a C string; the descriptor is fresh and owned by nobody else; the mapping is placed by
        // the kernel.
        unsafe {
            let fd = check_int(libc::memfd_create(c"runsc-stub".as_ptr(), libc::MFD_CLOEXEC))
                .map_err(host("memfd_create"))?;
            let fd = OwnedFd::from_raw_fd(fd);
            let length = libc::off_t::try_from(size).map_err(|_| host("ftruncate")(EINVAL))?;
            check_int(libc::ftruncate(fd.as_raw_fd(), length)).map_err(host("ftruncate"))?;
            let base = libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                fd.as_raw_fd(),
                0,
            );
            if base == libc::MAP_FAILED {
                return Err(host("mmap")(last_errno()));
            }
            let base = base.cast::<u8>();
            std::ptr::copy_nonoverlapping(code().as_ptr(), base, code().len());
            Ok(Arc::new(ControlFile { fd, base, slots: Mutex::default() }))
        }
    }

    fn window() -> usize {
        usize::try_from(u64::from(MAX_SLOTS + 1) * PAGE).unwrap_or(0)
    }

    /// The descriptor, which the stubs share.
    pub(crate) fn raw_fd(&self) -> u64 {
        u64::try_from(self.fd.as_raw_fd()).unwrap_or(u64::MAX)
    }

    /// A queue page nobody else uses.
    pub(crate) fn allocate(self: &Arc<Self>) -> Result<QueueSlot, PlatformError> {
        let mut slots = self.slots.lock();
        let index = match slots.free.pop() {
            Some(index) => index,
            None if slots.used < MAX_SLOTS => {
                slots.used += 1;
                slots.used - 1
            }
            None => return Err(PlatformError::OutOfMemory(EAGAIN)),
        };
        drop(slots);
        Ok(QueueSlot { file: self.clone(), index })
    }
}

impl Drop for ControlFile {
    fn drop(&mut self) {
        // SAFETY: the window was mapped by `new`, and every slot, which would use it, holds the file.
        unsafe { libc::munmap(self.base.cast(), Self::window()) };
    }
}

/// One queue page. It is given back when dropped, so it must outlive the process that has it mapped.
pub(crate) struct QueueSlot {
    file: Arc<ControlFile>,
    index: u32,
}

impl QueueSlot {
    /// Byte offset of the page in the control file.
    pub(crate) fn offset(&self) -> u64 {
        u64::from(self.index + 1) * PAGE
    }

    /// Writes calls from the start of the page on; those that do not fit are left out. Gives how many were written.
    pub(crate) fn write_calls(&self, calls: &[Call]) -> usize {
        let count = calls.len().min(CALLS_PER_PAGE);
        for (index, call) in calls.iter().take(count).enumerate() {
            for (word, value) in call.iter().enumerate() {
                // Within the page by the bound on count.
                let _ = self.write(index * CALL_STRIDE + word * size_of::<u64>(), &value.to_ne_bytes());
            }
        }
        count
    }

    /// Writes bytes at an offset in the page.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
        let page = usize::try_from(PAGE).unwrap_or(0);
        if offset.checked_add(bytes.len()).is_none_or(|end| end > page) {
            return Err(EINVAL);
        }
        let start = usize::try_from(self.offset()).map_err(|_| EINVAL)?;
        // SAFETY: the page lies in the window, the bytes in the page; stubs only read it.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.file.base.add(start + offset), bytes.len());
        }
        Ok(())
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        self.file.slots.lock().free.push(self.index);
    }
}
