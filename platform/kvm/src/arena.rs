//! Guest-physical memory of the back-end's own: page tables, the entry code, the processors' pages.
//!
//! It is one memory slot, apart from the memory file, so that no guest mapping can ever lead here. The host puts memory
//! behind a page when it is first touched.

use parking_lot::Mutex;
use platform::PlatformError;
use sentry_uapi::errno::ENOMEM;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Size of a page and of a page table.
pub(crate) const PAGE: u64 = 4096;
/// Where the arena lies in guest-physical memory.
pub(crate) const ARENA_START: u64 = 0x4000_0000;
/// Its size, which bounds what page tables guests can have built: 1 GiB of them map 512 GiB of single pages.
pub(crate) const ARENA_SIZE: u64 = 0x4000_0000;

/// A page of the arena, by its guest-physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PhysPage(u64);

impl PhysPage {
    pub(crate) fn gpa(self) -> u64 {
        self.0
    }

    /// The page of an address that was made from one, a table entry's for instance.
    pub(crate) fn at(gpa: u64) -> Option<PhysPage> {
        let inside = gpa.is_multiple_of(PAGE) && (ARENA_START..ARENA_START + ARENA_SIZE).contains(&gpa);
        inside.then_some(PhysPage(gpa))
    }
}

#[derive(Default)]
struct Pages {
    /// Pages that were given back, as they were left.
    free: Vec<PhysPage>,
    /// Bytes that were handed out at least once.
    used: u64,
}

/// The arena.
pub(crate) struct Arena {
    base: NonNull<u8>,
    pages: Mutex<Pages>,
}

// SAFETY: the memory is shared with the processors of the guest anyway, and only accessed through atomics.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    pub(crate) fn new() -> Result<Arena, PlatformError> {
        let len = usize::try_from(ARENA_SIZE).unwrap_or(0);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, at a place of the host kernel's choice.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        let base = if base == libc::MAP_FAILED { None } else { NonNull::new(base.cast()) };
        let base = base.ok_or(PlatformError::OutOfMemory(ENOMEM))?;
        Ok(Arena { base, pages: Mutex::default() })
    }

    /// Where the host sees the arena.
    pub(crate) fn host_addr(&self) -> u64 {
        u64::try_from(self.base.as_ptr().addr()).unwrap_or(0)
    }

    /// A zeroed page.
    pub(crate) fn alloc(&self) -> Result<PhysPage, PlatformError> {
        let mut pages = self.pages.lock();
        if let Some(page) = pages.free.pop() {
            drop(pages);
            (0..PAGE / 8).for_each(|index| self.word(page, index).store(0, Ordering::Relaxed));
            return Ok(page);
        }
        if pages.used == ARENA_SIZE {
            return Err(PlatformError::OutOfMemory(ENOMEM));
        }
        let page = PhysPage(ARENA_START + pages.used);
        pages.used += PAGE;
        Ok(page)
    }

    /// Takes pages back that no processor can reach any more.
    pub(crate) fn free(&self, pages: impl IntoIterator<Item = PhysPage>) {
        self.pages.lock().free.extend(pages);
    }

    /// Pages that are in use.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> u64 {
        let pages = self.pages.lock();
        pages.used / PAGE - u64::try_from(pages.free.len()).unwrap_or(0)
    }

    /// A word of a page; the index wraps at its end.
    pub(crate) fn word(&self, page: PhysPage, index: u64) -> &AtomicU64 {
        let offset = page.0 - ARENA_START + index % (PAGE / 8) * 8;
        // SAFETY: a page lies in the arena, so the word does; it is aligned, and lives as long as the arena.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(usize::try_from(offset).unwrap_or(0)).cast()) }
    }

    /// Copies bytes to the start of a page.
    pub(crate) fn fill(&self, page: PhysPage, bytes: &[u8]) {
        for (index, word) in (0..PAGE / 8).zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            self.word(page, index).store(u64::from_le_bytes(padded), Ordering::Relaxed);
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: our own mapping; the virtual machine that used it is gone.
        unsafe { libc::munmap(self.base.as_ptr().cast(), usize::try_from(ARENA_SIZE).unwrap_or(0)) };
    }
}
