//! Executable formats and the first state of a program: what to map where, the initial stack, the vDSO.
//!
//! Everything here parses and plans; nothing maps memory or knows a task. The caller's exec goes through it in this
//! order: [`Arguments`] while the caller's memory is still there; [`ElfImage::parse`] or [`ScriptLine::parse`] for the
//! file, [`ElfImage::parse_interp`] for its interpreter; then, past the point of no return, [`Aslr`] for the layout,
//! [`ElfImage::plan`] for the mappings, and [`StackImage::build`].
#![forbid(unsafe_code)]

mod arguments;
mod aslr;
mod elf;
mod plan;
mod script;
mod stack;
mod vdso;

pub use arguments::{Arguments, StringTable, stack_limit};
pub use aslr::{Aslr, Randomize};
pub use elf::{ElfImage, ExecStack, ReadAt};
pub use plan::{FileMap, LoadPlan, Placement, SegmentMap};
pub use script::{MAX_REWRITES, ScriptLine};
pub use stack::{AuxInfo, RseqInfo, StackImage};
pub use vdso::Vdso;

/// Size of a page.
pub(crate) const PAGE_SIZE: u64 = 4096;

/// Rounds down to a page. Linux: `ELF_PAGESTART`.
pub(crate) const fn page_start(addr: u64) -> u64 {
    addr & !(PAGE_SIZE - 1)
}

/// Rounds up to a page. Linux: `PAGE_ALIGN`, without its overflow.
pub(crate) const fn page_align(addr: u64) -> Option<u64> {
    addr.checked_next_multiple_of(PAGE_SIZE)
}

/// Offset within a page. Linux: `ELF_PAGEOFFSET`.
pub(crate) const fn page_offset(addr: u64) -> u64 {
    addr & (PAGE_SIZE - 1)
}
