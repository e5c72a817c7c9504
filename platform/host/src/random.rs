//! Random bytes of the host. Linux: getrandom(2).

use sentry_uapi::Errno;
use sentry_uapi::errno::EINTR;

/// Fills `buf` from the host's generator.
///
/// # Errors
/// What the host says; an interrupted call is repeated.
pub fn getrandom(buf: &mut [u8]) -> Result<(), Errno> {
    let mut at = 0;
    while let Some(rest) = buf.get_mut(at..).filter(|rest| !rest.is_empty()) {
        // SAFETY: the buffer is as long as said.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => at += n,
            Err(_) => match Errno::from_raw(nix::errno::Errno::last_raw()) {
                EINTR => {}
                e => return Err(e),
            },
        }
    }
    Ok(())
}

/// As [`getrandom`], for callers that cannot go on without.
///
/// # Panics
/// When the host has no randomness to give, which Linux does not let happen once it has booted.
#[allow(clippy::expect_used)]
pub fn fill(buf: &mut [u8]) {
    getrandom(buf).expect("the host gives random bytes");
}
