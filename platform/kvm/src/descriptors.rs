//! A range of descriptor numbers for virtual processors, so that a filter can name them before there are any.
//!
//! The numbers are taken from the start, by duplicates of a file that knows no request of KVM's; dup3(2) replaces one of
//! them with each processor that is made.

use parking_lot::Mutex;
use platform::PlatformError;
use platform_host::call::check_int;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Below this, numbers are left to those who come later.
const FIRST: RawFd = 64;

/// The range, and what of it stands for no processor yet.
pub(crate) struct Descriptors {
    range: Range<RawFd>,
    unused: Mutex<Vec<OwnedFd>>,
}

impl Descriptors {
    /// Takes `count` numbers in a row, with duplicates of `file`.
    ///
    /// # Errors
    /// The process may not have so many.
    pub(crate) fn reserve(file: &OwnedFd, count: usize) -> Result<Descriptors, PlatformError> {
        let mut taken: Vec<OwnedFd> = Vec::with_capacity(count);
        let mut next = FIRST;
        while taken.len() < count {
            // SAFETY: duplicates a descriptor that is open.
            let fd = check_int(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, next) })
                .map_err(|errno| PlatformError::Host { what: "F_DUPFD_CLOEXEC", errno })?;
            if fd != next {
                // A number between is somebody else's.
                taken.clear();
            }
            // SAFETY: the descriptor is fresh, and nobody else's.
            taken.push(unsafe { OwnedFd::from_raw_fd(fd) });
            next = fd.saturating_add(1);
        }
        let start = taken.first().map_or(next, AsRawFd::as_raw_fd);
        // The lowest goes first.
        taken.reverse();
        Ok(Descriptors { range: start..next, unused: Mutex::new(taken) })
    }

    pub(crate) fn range(&self) -> Range<RawFd> {
        self.range.clone()
    }

    /// A duplicate of `fd` under the next number of the range.
    ///
    /// # Errors
    /// All are in use.
    pub(crate) fn place(&self, fd: &impl AsRawFd) -> Result<OwnedFd, PlatformError> {
        let gone = || PlatformError::Gone("no descriptor is left for a virtual processor".into());
        let slot = self.unused.lock().pop().ok_or_else(gone)?;
        // SAFETY: what the number stood for is ours, and nothing else refers to it.
        check_int(unsafe { libc::dup3(fd.as_raw_fd(), slot.as_raw_fd(), libc::O_CLOEXEC) })
            .map_err(|errno| PlatformError::Host { what: "dup3", errno })?;
        Ok(slot)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn numbers_are_in_a_row_and_used_in_order() {
        let null: OwnedFd = File::open("/dev/null").unwrap().into();
        let few = Descriptors::reserve(&null, 3).unwrap();
        // Those taken are passed over, and so is a gap too small.
        drop(few.unused.lock().pop());
        let range = few.range();
        let more = Descriptors::reserve(&null, 20).unwrap();
        assert_eq!(more.range().len(), 20);
        assert!(more.range().start >= range.end);
        let zero = File::open("/dev/zero").unwrap();
        let placed = [more.place(&zero).unwrap(), more.place(&zero).unwrap()];
        assert_eq!(placed[0].as_raw_fd(), more.range().start);
        assert_eq!(placed[1].as_raw_fd(), more.range().start + 1);
        let device = |fd: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        assert_eq!(device(&placed[1]), std::path::Path::new("/dev/zero"));
        (2..20).for_each(|_| drop(more.place(&zero).unwrap()));
        assert!(more.place(&zero).is_err());
    }
}
