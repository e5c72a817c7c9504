//! Memory: mappings, faults, limits.

mod mmap;
