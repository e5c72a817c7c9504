//! Linux: arch/x86/include/asm/user_64.h, `struct user_regs_struct`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The general registers, laid out as ptrace(2)'s `PTRACE_GETREGS` has them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct PtRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

const _: () = assert!(size_of::<PtRegs>() == 27 * 8);

/// `eflags` bits a program may set: CF PF AF ZF SF TF DF OF RF AC (Linux: arch/x86/kernel/signal.c, `FIX_EFLAGS`).
const USER_EFLAGS: u64 = 0x0005_0dd5;

impl PtRegs {
    /// 64-bit user code and data selectors, and the interrupt flag with the bit that is always set.
    pub const USER_CS: u64 = 0x33;
    /// The user data selector.
    pub const USER_SS: u64 = 0x2b;

    /// Registers of a program about to start at `entry` with stack pointer `stack`.
    pub fn for_exec(entry: u64, stack: u64) -> PtRegs {
        PtRegs { rip: entry, rsp: stack, ..PtRegs::default() }.sanitised()
    }

    /// The six arguments of a system call, in order.
    pub fn syscall_args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// The same registers with everything a guest must not choose set to what user code has.
    #[must_use]
    pub fn sanitised(mut self) -> PtRegs {
        self.cs = Self::USER_CS;
        self.ss = Self::USER_SS;
        self.ds = 0;
        self.es = 0;
        self.fs = 0;
        self.gs = 0;
        self.eflags = (self.eflags & USER_EFLAGS) | 0x202;
        self
    }
}
