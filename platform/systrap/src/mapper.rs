//! Calls that a stub's mapper makes for the sentry.
//!
//! Its answer comes through an event counter, which no guest thread can add to: were it a word in memory, a guest could
//! forge it, and go on using a page that the sentry believes unmapped and has given to somebody else.

use crate::control_file::{QueuePage, call_offset};
use crate::layout::{kind, queue};
use platform::PlatformError;
use platform_host::affinity::{self, CpuSet};
use platform_host::eventfd::EventFd;
use platform_host::{futex, wait};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, ENOMEM, ENOSPC, EPERM};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After this time without an answer, the sentry looks whether the stub is still there.
const PATIENCE: Duration = Duration::from_secs(1);

/// A call: its number, six arguments, and its [`kind`].
pub(crate) type Call = [u64; 8];

/// A system call without a child.
pub(crate) fn plain(nr: libc::c_long, args: [u64; 6]) -> Call {
    let [a, b, c, d, e, f] = args;
    [u64::try_from(nr).unwrap_or(u64::MAX), a, b, c, d, e, f, kind::PLAIN]
}

/// The error for a call a stub made in vain.
pub(crate) fn call_error(what: &'static str) -> impl Fn(Errno) -> PlatformError {
    move |errno| match errno {
        ENOMEM | EAGAIN | ENOSPC => PlatformError::OutOfMemory(errno),
        errno => PlatformError::Host { what, errno },
    }
}

/// The error of a stub that has ended.
pub(crate) fn gone() -> PlatformError {
    PlatformError::Gone("the stub was killed".into())
}

/// The sentry's end of a mapper.
pub(crate) struct Mapper {
    pid: i32,
    page: QueuePage,
    event: EventFd,
    request: u32,
    /// The processor it is bound to.
    cpu: Option<u16>,
}

impl Mapper {
    /// For the stub `pid`, or one that is yet to be made; `page` is its queue page.
    pub(crate) fn new(pid: i32, page: QueuePage) -> Result<Mapper, PlatformError> {
        let event = EventFd::new().map_err(call_error("eventfd"))?;
        page.write(queue::EVENT, u64::try_from(event.as_raw_fd()).unwrap_or(u64::MAX))?;
        page.write(queue::PARENT, u64::from(std::process::id()))?;
        Ok(Mapper { pid, page, event, request: 0, cpu: None })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn set_pid(&mut self, pid: i32) {
        self.pid = pid;
    }

    pub(crate) fn page(&self) -> &QueuePage {
        &self.page
    }

    /// Has calls made in order, up to the first that fails, whose error is the inner result. The outer error says that the
    /// stub is gone.
    pub(crate) fn run(&mut self, calls: &[Call]) -> Result<Result<(), Errno>, PlatformError> {
        for batch in calls.chunks(queue::CAPACITY) {
            for (index, call) in batch.iter().enumerate() {
                for (offset, word) in (0..).step_by(8).zip(call) {
                    self.page.write(call_offset(index) + offset, *word)?;
                }
            }
            let count = u32::try_from(batch.len()).unwrap_or(0);
            self.page.word(queue::COUNT).store(count, Ordering::Relaxed);
            if let Err(errno) = self.hand_over()? {
                return Ok(Err(errno));
            }
        }
        Ok(Ok(()))
    }

    fn hand_over(&mut self) -> Result<Result<(), Errno>, PlatformError> {
        self.come_here();
        self.request = self.request.wrapping_add(1);
        self.page.word(queue::REQUEST).store(self.request, Ordering::SeqCst);
        futex::wake(self.page.word(queue::REQUEST));
        loop {
            self.event.wait(PATIENCE).map_err(call_error("poll"))?;
            match self.event.take().map_err(call_error("eventfd"))? {
                Some(1) => return Ok(Ok(())),
                // Zero stands for success and is told as one.
                Some(result) => {
                    let errno = i32::try_from(result - 1).unwrap_or(libc::EIO);
                    return Ok(Err(Errno::from_raw(errno)));
                }
                None if wait::has_ended(self.pid) => return Err(gone()),
                None => {}
            }
        }
    }

    /// Binds the mapper to the caller's processor: it runs only while the caller waits for it, and a wake-up across
    /// processors costs more than the rest.
    fn come_here(&mut self) {
        let here = affinity::current_cpu();
        if self.cpu != Some(here) && self.pid != 0 {
            self.cpu = Some(here);
            // It fails for a stub that is dying and where a cpuset has changed; the mapper works on where it is.
            let _ = affinity::set(self.pid, &CpuSet::single(here));
        }
    }
}

/// The error for a zygote's call that the host's policy forbids.
pub(crate) fn sealed_or(what: &'static str) -> impl Fn(Errno) -> PlatformError {
    move |errno| {
        match errno {
        EPERM => PlatformError::Unavailable(
            "the host kernel seals system mappings (CONFIG_MSEAL_SYSTEM_MAPPINGS), so that a stub cannot be emptied; \
             another platform must be used"
                .into(),
        ),
        errno => PlatformError::Unavailable(format!("stubs cannot be made here: {what}: {errno}")),
    }
    }
}
