//! Linux: include/linux/mm_types.h, `struct mm_struct`.

use crate::Mappable;

/// A guest address space.
pub struct MemoryManager {}

impl MemoryManager {
    pub(crate) fn unmap_file_range(
        &self,
        _file: &dyn Mappable,
        _offset: u64,
        _len: u64,
        _even_private: bool,
    ) {
    }
}
