//! Where things lie in a stub, above what the guest may map, and in what it shares with the sentry.
//!
//! | pages | access of the stub | what |
//! |---|---|---|
//! | code | read, execute | the stub's own code, the same in all stubs |
//! | constants | read | the filter of guest threads and their signal mask; results of map operations |
//! | queue | read | the calls the sentry wants the mapper to make |
//! | zygote queue | – | the same for the zygote, which may write to it; unmapped in stubs |
//! | slots | read, write | one per guest thread: its signal stack, and the words of the hand-off with the sentry |
//!
//! Guest code can write to slots, of its own and of other threads of its address space. Nothing in them is trusted.

/// Size of a page.
pub(crate) const PAGE: u64 = 4096;
/// First address of the stub's own pages: the code page.
pub(crate) const STUB_BASE: u64 = 0x7fff_0000_0000;
/// The page of constants.
pub(crate) const CONSTANTS: u64 = STUB_BASE + PAGE;
/// The queue page of a stub.
pub(crate) const QUEUE: u64 = STUB_BASE + 2 * PAGE;
/// The queue page of the zygote.
pub(crate) const ZYGOTE_QUEUE: u64 = STUB_BASE + 3 * PAGE;
/// First address of the slots.
pub(crate) const SLOTS: u64 = STUB_BASE + 0x10_0000;
/// Size of a slot, and its alignment: stub code finds its slot by its stack pointer.
pub(crate) const SLOT_SIZE: u64 = 0x2_0000;
/// Guest threads an address space can have at a time.
pub(crate) const MAX_THREADS: u32 = 16384;
/// First address behind the slots.
pub(crate) const SLOTS_END: u64 = SLOTS + MAX_THREADS as u64 * SLOT_SIZE;
/// Linux: arch/x86/include/asm/page_64.h, `TASK_SIZE_MAX` with four-level page tables.
pub(crate) const TASK_SIZE_MAX: u64 = 0x7fff_ffff_f000;
/// Lowest address a guest may map: the usual vm.mmap_min_addr.
pub(crate) const USER_START: u64 = 0x1_0000;
/// End of what a guest may map. The pages between it and the stub stay unmapped.
pub(crate) const USER_END: u64 = STUB_BASE - 16 * PAGE;

/// Offsets in a slot. The lowest page stays unmapped behind the neighbour's stack top; signal frames of guest code grow
/// down from the slot's end, those of stub code that was itself interrupted from [`slot::RESTORE`]. There is room for all
/// handled signals at once.
pub(crate) mod slot {
    /// An extended state that the sentry has set.
    pub(crate) const XSTATE: u64 = 0x1000;
    /// Room for that.
    pub(crate) const XSTATE_SIZE: u64 = 0x3000;
    /// Lowest address of the signal stack.
    pub(crate) const STACK: u64 = 0x4000;
    /// The registers to enter guest code with: what `iretq` takes, then the others in the order of the stub code.
    pub(crate) const RESTORE: u64 = 0x1_0c00;
    /// Segment bases to enter with, then where the extended state is, or 0 to leave it as it is.
    pub(crate) const BASES: u64 = 0x1_0ca0;
    /// Whose turn it is.
    pub(crate) const STATE: u64 = 0x1_0d00;
    /// How long the stub looks on before it sleeps, in steps of the time-stamp counter.
    pub(crate) const SPIN: u64 = 0x1_0d04;
    /// What the stub is to do when it is let go.
    pub(crate) const MODE: u64 = 0x1_0d08;
    /// The result of a call that came through the gate, in [`super::mode::RETURN`].
    pub(crate) const RESULT: u64 = 0x1_0d10;
    /// What the thread has come back with: the address of a `ucontext`, or one of [`super::frame`].
    pub(crate) const FRAME: u64 = 0x1_0d40;
    /// Segment bases at the last trap.
    pub(crate) const TRAP_BASES: u64 = 0x1_0d48;
    /// The thread's id, written by the host kernel.
    pub(crate) const TID: u64 = 0x1_0d80;
    /// The signal stack as sigaltstack(2) takes it.
    pub(crate) const STACK_T: u64 = 0x1_0e00;
    /// Addresses that the code of the gate finds by the base of GS: of its two entries, and of the stack it uses.
    pub(crate) const GATE: u64 = 0x1_0e40;
    pub(crate) const GATE_ELSEWHERE: u64 = 0x1_0e48;
    pub(crate) const GATE_STACK: u64 = 0x1_0e50;
    /// Registers of a call that came through the gate: rax, rcx, rdx, rsi, rdi, r8, r9, r10; rsp, eflags, rbx, rbp, r12 to
    /// r15; the base of FS, and where guest code goes on.
    pub(crate) const GATE_REGS: u64 = 0x1_0e80;
}

/// Values of the word at [`slot::MODE`].
pub(crate) mod mode {
    /// Enter guest code with the registers at [`super::slot::RESTORE`].
    pub(crate) const ENTER: u32 = 0;
    /// Return from a call that came through the gate, with nothing changed but its result.
    pub(crate) const RETURN: u32 = 1;
    /// Write the extended state to [`super::slot::XSTATE`], and come back.
    pub(crate) const SAVE: u32 = 2;
}

/// Values of the word at [`slot::FRAME`] that are no addresses.
pub(crate) mod frame {
    /// Guest code was not entered.
    pub(crate) const NOT_ENTERED: u64 = 0;
    /// A call has come through the gate; the extended state is still in the processor.
    pub(crate) const GATE: u64 = 1;
    /// The extended state is written.
    pub(crate) const SAVED: u64 = 2;
}

/// Values of the word at [`slot::STATE`].
pub(crate) mod state {
    /// The sentry's turn; the stub looks on.
    pub(crate) const TRAPPED: u32 = 0;
    /// The sentry's turn; the stub sleeps.
    pub(crate) const TRAPPED_ASLEEP: u32 = 1;
    /// The stub's turn; the sentry looks on.
    pub(crate) const RUNNING: u32 = 2;
    /// The stub's turn; the sentry sleeps.
    pub(crate) const RUNNING_ASLEEP: u32 = 3;
}

/// Offsets in the page of constants.
pub(crate) mod constants {
    /// `struct sock_fprog` of the filter of guest threads.
    pub(crate) const PROGRAM: u64 = 0;
    /// The signals that guest threads block.
    pub(crate) const SIGNAL_MASK: u64 = 16;
    /// All signals.
    pub(crate) const ALL_SIGNALS: u64 = 24;
    /// The name of stubs.
    pub(crate) const NAME: u64 = 32;
    /// An all-zero `sigaction` or `rlimit`.
    pub(crate) const ZEROS: u64 = 64;
    /// `struct sigaction` of the handler.
    pub(crate) const SIGACTION: u64 = 128;
    /// What the mapper adds to its event counter: the word for an error number, 0 for success.
    pub(crate) const RESULTS: u64 = 256;
    /// Number of those words.
    pub(crate) const RESULT_COUNT: u64 = 134;
    /// The instructions of the mapper's filter, and its `struct sock_fprog`.
    pub(crate) const MAPPER_PROGRAM: u64 = 1344;
    /// The instructions of the filters.
    pub(crate) const FILTER: u64 = 1408;
}

/// Offsets in a queue page.
pub(crate) mod queue {
    /// Number of the request; a change starts it.
    pub(crate) const REQUEST: u64 = 0;
    /// Number of calls in it.
    pub(crate) const COUNT: u64 = 4;
    /// Descriptor of the event counter that says when it is done.
    pub(crate) const EVENT: u64 = 8;
    /// The sentry's process id, for new processes.
    pub(crate) const PARENT: u64 = 16;
    /// Where the zygote's host kernel writes the id of a new process.
    pub(crate) const CHILD: u64 = 24;
    /// The first call: its number, six arguments, and what it is.
    pub(crate) const CALLS: u64 = 64;
    /// Bytes a call takes.
    pub(crate) const STRIDE: u64 = 64;
    /// Calls that fit.
    pub(crate) const CAPACITY: usize = 62;
}

/// What a call in a queue is, in its last word.
pub(crate) mod kind {
    /// A system call.
    pub(crate) const PLAIN: u64 = 0;
    /// A clone of which the child is a guest thread.
    pub(crate) const THREAD: u64 = 1;
    /// A clone of which the child is a stub.
    pub(crate) const FORK: u64 = 2;
}

const _: () = assert!(SLOTS_END < TASK_SIZE_MAX);
const _: () = assert!(queue::CALLS + queue::STRIDE * queue::CAPACITY as u64 <= PAGE);
const _: () = assert!(constants::RESULTS + 8 * constants::RESULT_COUNT <= constants::MAPPER_PROGRAM);
