//! Linux: include/uapi/linux/auxvec.h and arch/x86/include/uapi/asm/auxvec.h. Types of entries of the auxiliary vector.

/// End of the vector.
pub const AT_NULL: u64 = 0;
/// Entry to be passed over.
pub const AT_IGNORE: u64 = 1;
/// Descriptor of the program, where the interpreter is to read it.
pub const AT_EXECFD: u64 = 2;
/// Address of the program headers.
pub const AT_PHDR: u64 = 3;
/// Size of one program header.
pub const AT_PHENT: u64 = 4;
/// Number of program headers.
pub const AT_PHNUM: u64 = 5;
/// Size of a page.
pub const AT_PAGESZ: u64 = 6;
/// Load address of the interpreter.
pub const AT_BASE: u64 = 7;
/// Flags: [`AT_FLAGS_PRESERVE_ARGV0`].
pub const AT_FLAGS: u64 = 8;
/// Entry point of the program itself.
pub const AT_ENTRY: u64 = 9;
/// Real user id.
pub const AT_UID: u64 = 11;
/// Effective user id.
pub const AT_EUID: u64 = 12;
/// Real group id.
pub const AT_GID: u64 = 13;
/// Effective group id.
pub const AT_EGID: u64 = 14;
/// Address of a string that names the processor.
pub const AT_PLATFORM: u64 = 15;
/// On x86, `edx` of CPUID leaf 1.
pub const AT_HWCAP: u64 = 16;
/// Frequency of times(2), in Hz.
pub const AT_CLKTCK: u64 = 17;
/// Whether the program gained rights when it was executed.
pub const AT_SECURE: u64 = 23;
/// Address of 16 random bytes.
pub const AT_RANDOM: u64 = 25;
/// On x86, `HWCAP2_*`.
pub const AT_HWCAP2: u64 = 26;
/// Bytes of `struct rseq` the kernel fills in (Linux 6.3).
pub const AT_RSEQ_FEATURE_SIZE: u64 = 27;
/// Alignment of `struct rseq` (Linux 6.3).
pub const AT_RSEQ_ALIGN: u64 = 28;
/// Address of the file name that was executed.
pub const AT_EXECFN: u64 = 31;
/// Address of the vDSO's ELF header.
pub const AT_SYSINFO_EHDR: u64 = 33;
/// Least size of a stack on which a signal can be delivered.
pub const AT_MINSIGSTKSZ: u64 = 51;

/// The interpreter was given the caller's argv\[0\] besides the path. Linux: include/uapi/linux/binfmts.h.
pub const AT_FLAGS_PRESERVE_ARGV0: u64 = 1;

/// MONITOR and MWAIT work in user mode. Linux: arch/x86/include/uapi/asm/hwcap2.h.
pub const HWCAP2_RING3MWAIT: u64 = 1;
/// RDFSBASE and its kin work in user mode.
pub const HWCAP2_FSGSBASE: u64 = 2;
