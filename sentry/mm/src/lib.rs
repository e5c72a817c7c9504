//! Guest memory: the memory file, address spaces, faults, and access to guest memory from the sentry.
//!
//! Linux: mm/. Every guest page is a page of one host memory file, or of a host file that nobody writes to by a mapping; so
//! the sentry reaches it through a mapping of its own, and the platform is only told what to map where.

mod brk;
mod call_sites;
mod counts;
mod fault;
mod fork;
mod frame;
mod held;
mod host_frames;
mod huge;
mod info;
mod madvise;
mod mappable;
mod memory_file;
mod mlock;
mod mm;
mod mmap;
mod mprotect;
mod mremap;
mod program;
mod remap;
mod shared_anon;
mod space;
mod text;
mod uaccess;
mod uio;
mod vma;
mod warm;

pub use call_sites::{CallSite, CallSites, Cave};
pub use fault::{FaultError, FaultHistory};
pub use frame::FrameRange;
pub use host_frames::MAX_PIECE;
pub use info::{MmUsage, VmaInfo, VmaUsage};
pub use madvise::Advice;
pub use mappable::{MapFault, Mappable, MappedFile, MappingSet};
pub use memory_file::{MemoryFile, PAGE_SIZE, Pin};
pub use mm::{MemoryManager, MmInfo, MmLimits, dumpable};
pub use mmap::{MMAP_MIN_ADDR, MmapRequest, Placement};
pub use mremap::MremapMode;
pub use platform::Prot;
pub use shared_anon::SharedAnon;
pub use text::TextAt;
pub use uaccess::{FutexKey, MAX_VIEW, UserAccess, UserRange};
pub use uio::{IoDst, IoSrc, Segs};
pub use vma::{VmFlags, VmaFile};
