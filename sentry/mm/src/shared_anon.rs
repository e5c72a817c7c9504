//! Memory that is shared but is no file: MAP_SHARED|MAP_ANONYMOUS, the vDSO. Linux: mm/shmem.c, `shmem_zero_setup`.

use crate::{FrameRange, MapFault, Mappable, MappingSet, MemoryFile};
use sentry_uapi::Errno;
use std::sync::Arc;

/// A run of zeroed frames that any number of address spaces may map.
pub struct SharedAnon {
    memory: Arc<MemoryFile>,
    frames: FrameRange,
    mappings: MappingSet,
}

impl SharedAnon {
    /// `len` bytes (page-aligned).
    pub fn new(memory: &Arc<MemoryFile>, len: u64) -> Result<Arc<SharedAnon>, Errno> {
        let frames = memory.allocate(len, crate::PAGE_SIZE)?;
        Ok(Arc::new(SharedAnon { memory: memory.clone(), frames, mappings: MappingSet::default() }))
    }

    /// The frames, for the kernel to fill.
    pub fn frames(&self) -> FrameRange {
        self.frames
    }
}

impl Mappable for SharedAnon {
    fn map_pages(&self, offset: u64, max: u64, _write: bool) -> Result<FrameRange, MapFault> {
        let range = self.frames.slice(offset, max);
        if range.is_empty() {
            return Err(MapFault::Bus);
        }
        self.memory.inc_ref(range);
        Ok(range)
    }

    fn generation(&self) -> u64 {
        0
    }

    fn mappings(&self) -> &MappingSet {
        &self.mappings
    }

    fn msync(&self, _offset: u64, _len: u64) -> Result<(), Errno> {
        Ok(())
    }
}

impl Drop for SharedAnon {
    fn drop(&mut self) {
        self.memory.dec_ref(self.frames);
    }
}
