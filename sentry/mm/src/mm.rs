//! Linux: include/linux/mm_types.h, `struct mm_struct`.

use crate::Mappable;
use sentry_uapi::Errno;
use sentry_uapi::errno::EFAULT;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A guest address space.
pub struct MemoryManager {}

impl MemoryManager {
    pub(crate) fn unmap_file_range(&self, _file: &dyn Mappable, _offset: u64, _len: u64, _even_private: bool) {}

    /// Copies from guest memory. `EFAULT` if any byte cannot be read.
    pub fn copy_from_user(&self, _addr: u64, _dst: &mut [u8]) -> Result<(), Errno> {
        Err(EFAULT)
    }

    /// Copies to guest memory. `EFAULT` if any byte cannot be written.
    pub fn copy_to_user(&self, _addr: u64, _src: &[u8]) -> Result<(), Errno> {
        Err(EFAULT)
    }

    /// Reads a structure from guest memory.
    pub fn read_obj<T: FromBytes>(&self, _addr: u64) -> Result<T, Errno> {
        Err(EFAULT)
    }

    /// Writes a structure to guest memory.
    pub fn write_obj<T: IntoBytes + Immutable + ?Sized>(&self, _addr: u64, _obj: &T) -> Result<(), Errno> {
        Err(EFAULT)
    }

    /// Reads a string of at most `max` bytes with its terminating zero, without it. `ENAMETOOLONG` if it is longer.
    pub fn read_cstring(&self, _addr: u64, _max: usize) -> Result<Vec<u8>, Errno> {
        Err(EFAULT)
    }
}
