//! The memory that sentry and stubs share besides guest memory. [`crate::layout`] says what is where.
//!
//! The sentry sees the whole file through one window. Stubs write to slots at any time, so these are only ever read and
//! written word by word, or copied.

use crate::filter::{bytes, guest_filter, mapper_filter};
use crate::layout::{CONSTANTS, MAX_THREADS, PAGE, SLOT_SIZE, STUB_BASE, constants, queue, slot};
use crate::stub_code::{KICK, RESET, code, handler_offset};
use parking_lot::Mutex;
use platform::PlatformError;
use platform_host::memfd::MemoryWindow;
use platform_host::uaccess;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Address spaces there can be at a time.
const MAX_STUBS: u32 = 32768;
/// Where queue pages, and behind them slots, begin in the file.
const QUEUES_OFFSET: u64 = 2 * PAGE;
const SLOTS_OFFSET: u64 = 1 << 30;
const FILE_SIZE: u64 = SLOTS_OFFSET + MAX_THREADS as u64 * SLOT_SIZE;

const _: () = assert!(QUEUES_OFFSET + MAX_STUBS as u64 * PAGE <= SLOTS_OFFSET);

/// The signals that bring a guest thread to its handler.
pub(crate) const HANDLED: [i32; 8] =
    [libc::SIGSYS, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, KICK, RESET];

/// The file, mapped into the sentry.
pub(crate) struct ControlFile {
    window: MemoryWindow,
    queues: Mutex<Places>,
    slots: Mutex<Places>,
}

/// Numbered places in the file.
struct Places {
    free: Vec<u32>,
    used: u32,
    max: u32,
}

impl Places {
    fn new(max: u32) -> Mutex<Places> {
        Mutex::new(Places { free: Vec::new(), used: 0, max })
    }

    fn take(&mut self) -> Result<u32, PlatformError> {
        match self.free.pop() {
            Some(index) => Ok(index),
            None if self.used < self.max => {
                self.used += 1;
                Ok(self.used - 1)
            }
            None => Err(PlatformError::OutOfMemory(EAGAIN)),
        }
    }
}

fn host(what: &'static str) -> impl Fn(Errno) -> PlatformError {
    move |errno| PlatformError::Host { what, errno }
}

impl ControlFile {
    /// Makes the file with the pages of code and constants.
    pub(crate) fn new() -> Result<Arc<ControlFile>, PlatformError> {
        let window = MemoryWindow::new("runsc-stub", FILE_SIZE).map_err(host("memfd_create"))?;
        window.populate(0, QUEUES_OFFSET).map_err(PlatformError::OutOfMemory)?;
        let file = ControlFile { window, queues: Places::new(MAX_STUBS), slots: Places::new(MAX_THREADS) };
        file.write(0, code())?;
        file.write_constants()?;
        Ok(Arc::new(file))
    }

    fn write_constants(&self) -> Result<(), PlatformError> {
        let write = |offset: u64, bytes: &[u8]| self.write(PAGE + offset, bytes);
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        let (guest, mapper) = (guest_filter(), mapper_filter());
        // struct sock_fprog: the length in a word of its own, then the pointer.
        let program = |filter: &[libc::sock_filter], offset: u64| {
            words(&[u64::try_from(filter.len()).unwrap_or(0), CONSTANTS + offset])
        };
        let behind = constants::FILTER + u64::try_from(size_of_val(guest.as_slice())).unwrap_or(0);
        write(constants::FILTER, &bytes(&guest))?;
        write(behind, &bytes(&mapper))?;
        write(constants::PROGRAM, &program(&guest, constants::FILTER))?;
        write(constants::MAPPER_PROGRAM, &program(&mapper, behind))?;
        let blocked = HANDLED.iter().fold(u64::MAX, |mask, signo| mask & !(1 << (signo - 1)));
        write(constants::SIGNAL_MASK, &words(&[blocked]))?;
        write(constants::ALL_SIGNALS, &words(&[u64::MAX]))?;
        write(constants::NAME, b"runsc-stub\0")?;
        // Linux: arch/x86/include/uapi/asm/signal.h, SA_RESTORER, without which there is no handler. It is never used.
        const SA_RESTORER: u64 = 0x0400_0000;
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        let flags = u64::from(flags.cast_unsigned()) | SA_RESTORER;
        write(constants::SIGACTION, &words(&[STUB_BASE + handler_offset(), flags, STUB_BASE, 0]))?;
        // An event counter must not be given 0.
        let results: Vec<u64> = (1..=constants::RESULT_COUNT).collect();
        write(constants::RESULTS, &words(&results))
    }

    /// Writes to pages that no stub can write to.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), PlatformError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let place = self.window.ptr(offset, len).ok_or(host("control file")(EINVAL))?;
        // SAFETY: the place lies in the window; stubs only read it, and only once they are told to.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(())
    }

    /// The descriptor, which the stubs share.
    pub(crate) fn raw_fd(&self) -> i32 {
        self.window.as_fd().as_raw_fd()
    }

    /// A queue page nobody else uses.
    pub(crate) fn allocate_queue(self: &Arc<Self>) -> Result<QueuePage, PlatformError> {
        let index = self.queues.lock().take()?;
        let page = QueuePage { file: self.clone(), index };
        self.window.populate(page.offset(), PAGE).map_err(PlatformError::OutOfMemory)?;
        for offset in (0..PAGE).step_by(8) {
            page.write(offset, 0)?;
        }
        Ok(page)
    }

    /// A slot nobody else uses, all zero.
    pub(crate) fn allocate_slot(self: &Arc<Self>) -> Result<Slot, PlatformError> {
        let index = self.slots.lock().take()?;
        let slot = Slot { file: self.clone(), index };
        let page = slot.offset() + (slot::STATE & !(PAGE - 1));
        self.window.populate(page, PAGE).map_err(PlatformError::OutOfMemory)?;
        Ok(slot)
    }
}

/// One queue page. It is given back when dropped, so it must outlive the process that has it mapped.
pub(crate) struct QueuePage {
    file: Arc<ControlFile>,
    index: u32,
}

impl QueuePage {
    /// Byte offset of the page in the control file.
    pub(crate) fn offset(&self) -> u64 {
        QUEUES_OFFSET + u64::from(self.index) * PAGE
    }

    /// Writes a word of it.
    pub(crate) fn write(&self, offset: u64, word: u64) -> Result<(), PlatformError> {
        self.file.write(self.offset() + offset, &word.to_ne_bytes())
    }

    /// A word of it that changes hands, 4 bytes.
    pub(crate) fn word(&self, offset: u64) -> &AtomicU32 {
        let offset = offset.min(PAGE - 4) & !3;
        // A page lies in the window as a whole; the first word of the file is never asked for.
        let at = self.file.window.ptr(self.offset() + offset, 4).or(self.file.window.ptr(0, 4));
        // SAFETY: aligned, in the window, which lives as long as the file that `self` holds.
        unsafe { AtomicU32::from_ptr(at.unwrap_or(std::ptr::null_mut()).cast()) }
    }
}

impl Drop for QueuePage {
    fn drop(&mut self) {
        self.file.queues.lock().free.push(self.index);
    }
}

/// One slot. It is given back when dropped, so it must outlive the process that has it mapped.
pub(crate) struct Slot {
    file: Arc<ControlFile>,
    index: u32,
}

impl Slot {
    /// Byte offset of the slot in the control file.
    pub(crate) fn offset(&self) -> u64 {
        SLOTS_OFFSET + u64::from(self.index) * SLOT_SIZE
    }

    fn ptr(&self, offset: u64) -> *mut u8 {
        // Callers pass offsets below the size, and a slot lies in the window as a whole.
        self.file.window.ptr(self.offset() + offset, 0).unwrap_or(std::ptr::null_mut())
    }

    /// The 4-byte word at one of the offsets of [`slot`].
    pub(crate) fn word(&self, offset: u64) -> &AtomicU32 {
        let offset = offset.min(SLOT_SIZE - 4) & !3;
        // SAFETY: aligned, in the window, which lives as long as the file that `self` holds; stubs write to it, as they
        // do to any atomic.
        unsafe { AtomicU32::from_ptr(self.ptr(offset).cast()) }
    }

    /// The 8-byte word at one of the offsets of [`slot`].
    pub(crate) fn word64(&self, offset: u64) -> &AtomicU64 {
        let offset = offset.min(SLOT_SIZE - 8) & !7;
        // SAFETY: as for `word`.
        unsafe { AtomicU64::from_ptr(self.ptr(offset).cast()) }
    }

    /// Copies bytes out, whatever their writer does meanwhile. Fails for a range that is not in the slot, or for which
    /// the host has no memory.
    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let len = u64::try_from(bytes.len()).map_err(|_| EINVAL)?;
        if offset.checked_add(len).is_none_or(|end| end > SLOT_SIZE) {
            return Err(EINVAL);
        }
        // SAFETY: the range lies in the slot, and the slot in the window.
        match unsafe { uaccess::copy(bytes.as_mut_ptr(), self.ptr(offset), bytes.len()) } {
            0 => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Copies bytes in. Fails as [`Self::read`] does.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let len = u64::try_from(bytes.len()).map_err(|_| EINVAL)?;
        if offset.checked_add(len).is_none_or(|end| end > SLOT_SIZE) {
            return Err(EINVAL);
        }
        // SAFETY: the range lies in the slot, and the slot in the window.
        match unsafe { uaccess::copy(self.ptr(offset), bytes.as_ptr(), bytes.len()) } {
            0 => Ok(()),
            _ => Err(EINVAL),
        }
    }
}

const CONTROL_PAGE: u64 = slot::STATE & !(PAGE - 1);
/// What a thread uses of its slot in any case, but for the word that says whose turn it is: the extended state the sentry sets,
/// the control page with what lies below it, and the first frames.
const USED: [(u64, u64); 4] = [
    (slot::XSTATE, slot::XSTATE + PAGE),
    (CONTROL_PAGE - PAGE, slot::STATE),
    (slot::STATE + 4, CONTROL_PAGE + PAGE),
    (SLOT_SIZE - 2 * PAGE, SLOT_SIZE),
];
/// The rest, of which there is seldom anything.
const UNUSED: [(u64, u64); 3] = [
    (0, slot::XSTATE),
    (slot::XSTATE + PAGE, CONTROL_PAGE - PAGE),
    (CONTROL_PAGE + PAGE, SLOT_SIZE - 2 * PAGE),
];

impl Slot {
    /// Empties the slot of a thread that waits for its turn and is to serve another guest. Whose turn it is stays.
    pub(crate) fn empty(&self) -> Result<(), Errno> {
        let zeros = [0; 0x2000];
        for (start, end) in USED {
            let len = usize::try_from(end - start).map_err(|_| EINVAL)?;
            self.write(start, zeros.get(..len).ok_or(EINVAL)?)?;
        }
        for (start, end) in UNUSED {
            self.file.window.punch_hole(self.offset() + start, end - start)?;
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // The next guest must not see what this one has left. A slot that cannot be emptied is not used again.
        if self.file.window.punch_hole(self.offset(), SLOT_SIZE).is_ok() {
            self.file.slots.lock().free.push(self.index);
        }
    }
}

/// Offset of a call in a queue page.
pub(crate) fn call_offset(index: usize) -> u64 {
    queue::CALLS + queue::STRIDE * u64::try_from(index).unwrap_or(0)
}
