//! What a case tells the suite: one message in memory that all of the case's processes share.
//!
//! Memory and not a pipe, so that a case may close, count and limit its file descriptors as it likes. The first message
//! counts: when a child of a case fails, what its parent then sees is a consequence.

use std::cell::UnsafeCell;
use std::panic::{Location, PanicHookInfo};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::{ptr, slice};

/// The longest message that is kept, in bytes.
const CAPACITY: usize = 3 * 1024;

/// How many calls that are under way are kept, for all processes of a case together.
const CALLS: usize = 16;

/// Nothing reported yet.
pub(crate) const NONE: u32 = 0;
/// A process is writing its message.
const WRITING: u32 = 1;
/// The rule does not hold.
pub(crate) const FAILED: u32 = 2;
/// The machine lacks what the case needs.
pub(crate) const SKIPPED: u32 = 3;
/// The case's function returned.
pub(crate) const PASSED: u32 = 4;

/// The status with which a process ends that has reported a failure.
const EXIT_FAILED: i32 = 101;

/// The shared page.
pub(crate) struct Report {
    state: AtomicU32,
    length: AtomicU32,
    text: UnsafeCell<[u8; CAPACITY]>,
    /// The places of the calls that have begun and not come back, as addresses of `Location`s. All processes of a case
    /// are forks of one program, so an address means the same in each of them.
    calls: [AtomicUsize; CALLS],
}

/// The report of the case that this process runs. Set once by each worker of the suite, before it forks a case.
static REPORT: AtomicPtr<Report> = AtomicPtr::new(ptr::null_mut());

impl Report {
    /// A new page, shared with all processes forked from now on; it becomes this process's report.
    pub(crate) fn install() -> &'static Self {
        // SAFETY: a new mapping, never unmapped; all zeroes is a valid, empty report.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Self>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert!(page != libc::MAP_FAILED, "mmap of the report: {}", std::io::Error::last_os_error());
        REPORT.store(page.cast(), SeqCst);
        // SAFETY: mapped above for the rest of the process's life.
        unsafe { &*page.cast() }
    }

    /// Forgets the last case.
    pub(crate) fn reset(&self) {
        self.state.store(NONE, SeqCst);
        self.length.store(0, SeqCst);
        self.calls.iter().for_each(|call| call.store(0, SeqCst));
    }

    /// The places of the calls that are under way, for a case that does not end.
    pub(crate) fn calls(&self) -> String {
        let calls = self.calls.iter().map(|call| call.load(SeqCst)).filter(|address| *address != 0);
        let places = calls.map(|address| {
            // SAFETY: `begin` stored the address of a static location of this program.
            let place = unsafe { &*ptr::with_exposed_provenance::<Location<'static>>(address) };
            format!("{}:{}", place.file(), place.line())
        });
        places.collect::<Vec<_>>().join(", ")
    }

    /// One of `NONE`, `FAILED`, `SKIPPED`, `PASSED`.
    pub(crate) fn state(&self) -> u32 {
        match self.state.load(SeqCst) {
            WRITING => NONE,
            state => state,
        }
    }

    /// The message that came with the state.
    pub(crate) fn text(&self) -> String {
        let length = (self.length.load(SeqCst) as usize).min(CAPACITY);
        // SAFETY: the state was set after the text; nobody writes it again before `reset`.
        let bytes = unsafe { slice::from_raw_parts(self.text.get().cast(), length) };
        String::from_utf8_lossy(bytes).replace('\n', " ")
    }

    /// Reports `state`, unless something has been reported already.
    fn set(&self, state: u32, text: &str) {
        if self.state.compare_exchange(NONE, WRITING, SeqCst, SeqCst).is_err() {
            return;
        }
        let length = text.len().min(CAPACITY);
        // SAFETY: only the process that moved the state from NONE to WRITING writes the text.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), self.text.get().cast(), length) };
        self.length.store(length as u32, SeqCst);
        self.state.store(state, SeqCst);
    }
}

/// Notes that the call at `place` begins; gives what `end_call` takes.
pub(crate) fn begin_call(place: &'static Location<'static>) -> Option<usize> {
    let address = ptr::from_ref(place).expose_provenance();
    current()?.calls.iter().position(|call| call.compare_exchange(0, address, SeqCst, SeqCst).is_ok())
}

/// Notes that a call has come back.
pub(crate) fn end_call(index: Option<usize>) {
    if let (Some(report), Some(index)) = (current(), index) {
        report.calls[index].store(0, SeqCst);
    }
}

/// The report of this process's case.
fn current() -> Option<&'static Report> {
    // SAFETY: null or set by `Report::install`, whose mapping stays.
    unsafe { REPORT.load(SeqCst).as_ref() }
}

/// Reports the end of the case's function and ends this process.
pub(crate) fn pass() -> ! {
    end(PASSED, "", 0)
}

/// Reports that the machine lacks something and ends this process.
pub(crate) fn skip(reason: &str) -> ! {
    end(SKIPPED, reason, 0)
}

/// The panic hook of a case: reports the place and the message and ends this process.
pub(crate) fn hook(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(String::new, |at| format!("{}:{}: ", at.file(), at.line()));
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let message =
        text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message");
    end(FAILED, &format!("{place}{message}"), EXIT_FAILED)
}

fn end(state: u32, text: &str, status: i32) -> ! {
    if let Some(report) = current() {
        report.set(state, text);
    }
    // SAFETY: ends the process without running what its parent registered with atexit.
    unsafe { libc::_exit(status) }
}
