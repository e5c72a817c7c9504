//! Linux: arch/x86/include/uapi/asm/signal.h and asm/sigcontext.h.

use crate::signal::{SigInfo, SigSet};
use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// Flags of sigaction(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SaFlags: u64 {
        /// No SIGCHLD when a child stops.
        const NOCLDSTOP = 1;
        /// Children do not become zombies.
        const NOCLDWAIT = 2;
        /// The handler takes a siginfo.
        const SIGINFO = 4;
        /// The kernel tells a handler whether the flag below is supported; unknown bits are cleared.
        const UNSUPPORTED = 0x400;
        /// Keep the tag bits of a fault address.
        const EXPOSE_TAGBITS = 0x800;
        /// A restorer is given.
        const RESTORER = 0x0400_0000;
        /// Run on the alternate stack.
        const ONSTACK = 0x0800_0000;
        /// Restart system calls.
        const RESTART = 0x1000_0000;
        /// Do not block the signal while it is handled.
        const NODEFER = 0x4000_0000;
        /// Back to the default action when it is delivered.
        const RESETHAND = 0x8000_0000;
    }
}

/// Take the default action.
pub const SIG_DFL: u64 = 0;
/// Ignore the signal.
pub const SIG_IGN: u64 = 1;

/// `struct sigaction` as the system call takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct SigAction {
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: SigSet,
}

/// `stack_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct SigAltStack {
    pub ss_sp: u64,
    pub ss_flags: i32,
    pub pad: i32,
    pub ss_size: u64,
}

/// The task is on the alternate stack.
pub const SS_ONSTACK: i32 = 1;
/// There is no alternate stack.
pub const SS_DISABLE: i32 = 2;
/// Disarm the alternate stack while a handler runs on it.
pub const SS_AUTODISARM: i32 = i32::MIN;
/// Smallest alternate stack.
pub const MINSIGSTKSZ: u64 = 2048;

/// `struct sigcontext` of x86_64.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct SigContext {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rsp: u64,
    pub rip: u64,
    pub eflags: u64,
    pub cs: u16,
    pub gs: u16,
    pub fs: u16,
    pub ss: u16,
    pub err: u64,
    pub trapno: u64,
    pub oldmask: u64,
    pub cr2: u64,
    pub fpstate: u64,
    pub reserved: [u64; 8],
}

/// `struct ucontext` of x86_64.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct Ucontext {
    pub flags: u64,
    pub link: u64,
    pub stack: SigAltStack,
    pub mcontext: SigContext,
    pub sigmask: SigSet,
}

/// XSAVE state is in the frame.
pub const UC_FP_XSTATE: u64 = 1;
/// `ss` in the frame is valid.
pub const UC_SIGCONTEXT_SS: u64 = 2;
/// `ss` is restored strictly.
pub const UC_STRICT_RESTORE_SS: u64 = 4;

/// `struct rt_sigframe` of x86_64, from the address of the return address on.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct RtSigFrame {
    pub pretcode: u64,
    pub uc: Ucontext,
    pub info: SigInfo,
}

const _: () = assert!(size_of::<SigContext>() == 256);
const _: () = assert!(size_of::<Ucontext>() == 304);
const _: () = assert!(size_of::<RtSigFrame>() == 440);

/// Marks the software bytes of a legacy FP area that an XSAVE image follows.
pub const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
/// Ends an XSAVE image in a frame.
pub const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Where the software bytes stand in the legacy area.
pub const FP_SW_BYTES_OFFSET: usize = 464;
