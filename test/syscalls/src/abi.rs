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

/// `include/uapi/linux/capability.h`: change owners of files.
pub(crate) const CAP_CHOWN: i32 = 0;
/// Pass over permission bits.
pub(crate) const CAP_DAC_OVERRIDE: i32 = 1;
/// Send signals to anyone.
pub(crate) const CAP_KILL: i32 = 5;
/// Change groups.
pub(crate) const CAP_SETGID: i32 = 6;
/// Change users.
pub(crate) const CAP_SETUID: i32 = 7;
/// Change capabilities.
pub(crate) const CAP_SETPCAP: i32 = 8;
/// Bind to low ports.
pub(crate) const CAP_NET_BIND_SERVICE: i32 = 10;
/// Open raw sockets.
pub(crate) const CAP_NET_RAW: i32 = 13;
/// Change the root directory.
pub(crate) const CAP_SYS_CHROOT: i32 = 18;
/// Administer.
pub(crate) const CAP_SYS_ADMIN: i32 = 21;
/// Exceed limits.
pub(crate) const CAP_SYS_RESOURCE: i32 = 24;
/// Set file capabilities.
pub(crate) const CAP_SETFCAP: i32 = 31;
