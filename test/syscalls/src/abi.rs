//! Constants of the kernel's interface that the `libc` crate lacks.

/// `include/uapi/asm-generic/siginfo.h`: address not mapped.
pub(crate) const SEGV_MAPERR: i32 = 1;
/// The mapping does not allow the access.
pub(crate) const SEGV_ACCERR: i32 = 2;
/// `include/uapi/asm-generic/fcntl.h`: the signal of O_ASYNC.
pub(crate) const F_SETSIG: i32 = 10;
/// Gives what `F_SETSIG` set.
pub(crate) const F_GETSIG: i32 = 11;
/// SIGFPE: integer division by zero.
pub(crate) const FPE_INTDIV: i32 = 1;
/// SIGFPE: floating-point division by zero.
pub(crate) const FPE_FLTDIV: i32 = 3;
/// SIGILL: illegal operand.
pub(crate) const ILL_ILLOPN: i32 = 2;
