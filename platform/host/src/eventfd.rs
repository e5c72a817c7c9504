//! Linux: fs/eventfd.c. A counter to wait on.

use crate::call::{check_int, last_errno};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINTR};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// An event counter.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// Makes a counter that stands at 0.
    ///
    /// # Errors
    /// As for eventfd(2).
    pub fn new() -> Result<EventFd, Errno> {
        // SAFETY: the descriptor is fresh and owned by nobody else.
        unsafe {
            let fd = check_int(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
            Ok(EventFd(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Takes what was added to the counter, if anything was.
    pub fn take(&self) -> Result<Option<u64>, Errno> {
        let mut value = 0_u64;
        // SAFETY: the buffer has the eight bytes that are asked for.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut value).cast(), size_of::<u64>()) };
        if read >= 0 {
            return Ok(Some(value));
        }
        match last_errno() {
            EAGAIN | EINTR => Ok(None),
            errno => Err(errno),
        }
    }

    /// Waits until something is added, for `timeout` at most. It may come back early.
    pub fn wait(&self, timeout: Duration) -> Result<(), Errno> {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: one structure is read and written.
        match check_int(unsafe { libc::poll(&raw mut poll, 1, millis) }) {
            Ok(_) | Err(EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_taken_once() -> Result<(), Errno> {
        let event = EventFd::new()?;
        assert_eq!(event.take()?, None);
        let one = 7_u64;
        // SAFETY: the buffer has the eight bytes that are passed.
        unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), 8) };
        event.wait(Duration::from_secs(1))?;
        assert_eq!(event.take()?, Some(7));
        assert_eq!(event.take()?, None);
        Ok(())
    }
}
