//! Guest address spaces and the operations that change what is mapped in them.

use crate::PlatformError;
use bitflags::bitflags;
use std::os::fd::OwnedFd;
use std::sync::Arc;

bitflags! {
    /// Access a mapping grants; the bits are those of `PROT_*` in mmap(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Prot: u32 {
        /// Readable.
        const READ = 1;
        /// Writable.
        const WRITE = 2;
        /// Executable.
        const EXEC = 4;
    }
}

/// What stands behind a mapping.
#[derive(Clone, Debug)]
pub enum Backing {
    /// The sandbox's memory file, from this byte offset on.
    Memory {
        /// Byte offset in the memory file, page-aligned.
        offset: u64,
    },
    /// A host file, mapped shared from the host's page cache. Never mapped writable.
    HostFile {
        /// The host descriptor; kept open until the operation has been carried out.
        fd: Arc<OwnedFd>,
        /// Byte offset in the file, page-aligned.
        offset: u64,
    },
}

/// One change to an address space. Addresses and lengths are in bytes and page-aligned, lengths are not 0, and the
/// range lies inside [`crate::Platform::user_range`].
#[derive(Clone, Debug)]
pub enum MapOp {
    /// Maps a range, replacing whatever was there.
    Map {
        /// First address.
        addr: u64,
        /// Length in bytes.
        len: u64,
        /// Access granted.
        prot: Prot,
        /// What is mapped.
        backing: Backing,
        /// Whether to enter the pages that already exist into the page tables at once.
        populate: bool,
    },
    /// Unmaps a range. Parts that are not mapped are passed over.
    Unmap {
        /// First address.
        addr: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Changes the access of a range that is mapped throughout.
    Protect {
        /// First address.
        addr: u64,
        /// Length in bytes.
        len: u64,
        /// Access granted from now on.
        prot: Prot,
    },
    /// Asks for huge pages behind a range that is mapped throughout from the memory file. Advice: a back-end may pass over
    /// it. Linux: madvise(2), MADV_HUGEPAGE.
    AdviseHuge {
        /// First address.
        addr: u64,
        /// Length in bytes.
        len: u64,
    },
}

impl MapOp {
    /// Whether the operation obeys the contract above, where `start..end` is the range guests may map. A violation could
    /// take the back-end's own pages away.
    pub fn is_well_formed(&self, start: u64, end: u64) -> bool {
        const MASK: u64 = 4095;
        let (MapOp::Map { addr, len, .. }
        | MapOp::Unmap { addr, len }
        | MapOp::Protect { addr, len, .. }
        | MapOp::AdviseHuge { addr, len }) = *self;
        let offset = match self {
            MapOp::Map { backing: Backing::Memory { offset } | Backing::HostFile { offset, .. }, .. } => {
                *offset
            }
            MapOp::Unmap { .. } | MapOp::Protect { .. } | MapOp::AdviseHuge { .. } => 0,
        };
        let writable_host_file = matches!(
            self,
            MapOp::Map { prot, backing: Backing::HostFile { .. }, .. } if prot.contains(Prot::WRITE)
        );
        (addr | len | offset) & MASK == 0
            && len != 0
            && addr >= start
            && addr.checked_add(len).is_some_and(|last| last <= end)
            && !writable_host_file
    }
}

/// A guest address space.
pub trait AddressSpace: Send + Sync {
    /// Carries out a batch, in order.
    ///
    /// When it returns, no guest code runs, or will ever run, under the mappings the batch has replaced: frames that
    /// it unmapped may be given to somebody else. A back-end may put the work off until guest code is next entered,
    /// and may do it for all threads in one hand-off.
    ///
    /// # Errors
    /// [`PlatformError::OutOfMemory`] when the host has no room for the mapping (`vm.max_map_count`, page tables); the
    /// address space is then in an unknown state and the task that owns it must be killed.
    fn apply(&self, ops: Vec<MapOp>) -> Result<(), PlatformError>;

    /// A number that is unique among the address spaces of the platform, for look-ups and logs.
    fn id(&self) -> u64;

    /// For the back-end's own look-ups of its concrete type.
    fn as_any(&self) -> &dyn std::any::Any;
}
