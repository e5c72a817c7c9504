//! Linux: include/uapi/linux/binfmts.h and include/uapi/linux/limits.h. Limits of execve(2).

/// Longest argument or environment string, with its terminating zero.
pub const MAX_ARG_STRLEN: usize = 32 * 4096;
/// Largest number of strings in either vector.
pub const MAX_ARG_STRINGS: usize = 0x7FFF_FFFF;
/// How much of the start of a file the formats are told apart by.
pub const BINPRM_BUF_SIZE: usize = 256;
/// Bytes of arguments and environment that are allowed however small the stack is.
pub const ARG_MAX: u64 = 131_072;
