//! Constants of the kernel's interface that the `libc` crate lacks.

/// `include/uapi/asm-generic/siginfo.h`: address not mapped.
pub(crate) const SEGV_MAPERR: i32 = 1;
/// The mapping does not allow the access.
pub(crate) const SEGV_ACCERR: i32 = 2;
