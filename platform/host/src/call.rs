//! From the C library's result convention to [`Errno`].

use sentry_uapi::Errno;

/// The calling thread's `errno`.
pub fn last_errno() -> Errno {
    Errno::from_raw(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// The result of a C library call that returns -1 and sets `errno` when it fails.
///
/// # Errors
/// The calling thread's `errno` when `result` is -1.
pub fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 { Err(last_errno()) } else { Ok(result) }
}

/// [`check`] for calls whose result is an `int`.
///
/// # Errors
/// As for [`check`].
pub fn check_int(result: libc::c_int) -> Result<libc::c_int, Errno> {
    if result == -1 { Err(last_errno()) } else { Ok(result) }
}
