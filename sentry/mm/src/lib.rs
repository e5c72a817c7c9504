//! Guest memory: the memory file, address spaces, faults, and access to guest memory from the sentry.
//!
//! Linux: mm/. Every guest page is a page of one host memory file, so the sentry reaches it through a mapping of its own
//! and the platform is only told what to map where.

mod frame;
mod mappable;
mod memory_file;
mod mm;
mod uio;

pub use frame::FrameRange;
pub use mappable::{MapFault, Mappable, MappedFile, MappingSet};
pub use memory_file::{MemoryFile, PAGE_SIZE, Pin};
pub use mm::MemoryManager;
pub use uio::{IoDst, IoSrc, Segs};
