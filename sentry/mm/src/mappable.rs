//! What the memory manager needs of a file it maps. Linux: `struct vm_operations_struct` and `struct address_space`.

use crate::{CallSites, FrameRange, MemoryManager};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use std::any::Any;
use std::sync::{Arc, Weak};

/// Why a page of a file cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapFault {
    /// Beyond the end of the file, or its contents cannot be read: SIGBUS.
    Bus,
    /// No memory: the task is killed, or the call fails with `ENOMEM`.
    OutOfMemory,
}

/// The pages of a file, as frames.
///
/// Lock order: the memory manager calls these with its own lock held; an implementation calls
/// [`MappingSet::invalidate`] with none of its own.
pub trait Mappable: Send + Sync {
    /// Frames for at least the page at `offset` (page-aligned bytes) and at most `max` bytes from there, contiguous in
    /// the memory file, filled with the file's contents, and **with one reference added for the caller**.
    ///
    /// `write` says that the caller will write to them through a shared mapping.
    fn map_pages(&self, offset: u64, max: u64, write: bool) -> Result<FrameRange, MapFault>;

    /// Whether pages may come from the host's page cache, so that giving out many costs no more than one does. Those that do
    /// are no frames of the memory file, and nobody can write to them.
    fn is_host_mapped(&self) -> bool {
        false
    }

    /// A shared mapping that may write is about to be made: `map_pages` gives no pages out of the host's page cache from now
    /// on, and none are mapped when this returns. The caller holds no lock.
    fn before_map_writable(&self) {}

    /// A number that changes before any page that `map_pages` gave out stops belonging to the file (truncation, hole
    /// punching). The memory manager looks again after it has entered a page, and undoes the entry if it moved.
    fn generation(&self) -> u64;

    /// The memory managers that map the file.
    fn mappings(&self) -> &MappingSet;

    /// What is known of system calls in the file's text; `None` for what holds no programs.
    fn call_sites(&self) -> Option<&CallSites> {
        None
    }

    /// Writes modified pages of the range back, where "back" means something. Linux: `vfs_fsync_range`.
    fn msync(&self, offset: u64, len: u64) -> Result<(), Errno>;
}

/// The open file behind a mapping: kept open by it, and named in `/proc/[pid]/maps`.
pub trait MappedFile: Any + Send + Sync {
    /// For `/proc` to get at the concrete type.
    fn as_any(&self) -> &dyn Any;
    /// Device number and inode number.
    fn dev_ino(&self) -> (u64, u64);
    /// Called when a writable shared mapping of the file comes (`true`) or goes (`false`). Linux: `i_mmap_writable`.
    fn map_writable(&self, come: bool) -> Result<(), Errno>;
    /// Called when a mapping of it has come: made, inherited or split off. The address space may be locked. Linux:
    /// `vm_operations_struct`, `open`.
    fn vm_open(&self) {}
    /// Called when a mapping of it has gone. The address space may be locked. Linux: `vm_operations_struct`, `close`.
    fn vm_close(&self) {}
}

/// The memory managers that have a file mapped, each with its number of VMAs. Linux: `i_mmap`.
#[derive(Default)]
pub struct MappingSet {
    users: Mutex<Vec<(Weak<MemoryManager>, usize)>, { level::LEAF }>,
}

impl MappingSet {
    /// Notes one more VMA of `mm`.
    pub fn add(&self, mm: &Weak<MemoryManager>) {
        let mut users = self.users.lock();
        match users.iter_mut().find(|(m, _)| m.ptr_eq(mm)) {
            Some((_, count)) => *count += 1,
            None => users.push((mm.clone(), 1)),
        }
    }

    /// Notes one VMA of `mm` less.
    pub fn remove(&self, mm: &Weak<MemoryManager>) {
        let mut users = self.users.lock();
        if let Some(at) = users.iter().position(|(m, _)| m.ptr_eq(mm)) {
            users[at].1 -= 1;
            if users[at].1 == 0 {
                users.swap_remove(at);
            }
        }
    }

    /// Whether nobody maps the file.
    pub fn is_empty(&self) -> bool {
        self.users.lock().is_empty()
    }

    /// Removes the pages `offset..offset + len` of the file from every address space, private copies excepted unless
    /// `even_private` (truncation). Linux: `unmap_mapping_range`. The caller holds no lock.
    pub fn invalidate(&self, file: &dyn Mappable, offset: u64, len: u64, even_private: bool) {
        let users: Vec<Arc<MemoryManager>> =
            self.users.lock().iter().filter_map(|(m, _)| m.upgrade()).collect();
        for mm in users {
            mm.unmap_file_range(file, offset, len, even_private);
        }
    }
}
