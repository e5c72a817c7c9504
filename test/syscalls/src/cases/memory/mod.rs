//! Memory: mappings, faults, limits.

mod brk;
mod file_mmap;
mod huge;
mod limits;
mod lock;
mod madvise;
mod mmap;
mod mprotect;
mod mremap;
mod stack;
mod sync;
mod vm;
mod waiting;
