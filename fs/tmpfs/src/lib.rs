//! tmpfs: files whose contents are frames of the sandbox's memory file. Also memfd_create(2), System V shared memory and
//! shared anonymous mappings, which are nameless files of the same kind.
//!
//! Linux: mm/shmem.c. Differs: contents are ranges of frames rather than single pages, and a file that grows keeps
//! getting frames that follow each other, so reading it, writing it and mapping it take few pieces; there is no swap.
//!
//! Lock order: directory entries and contents have level `INODE` (two directories by address), attributes and extended
//! attributes `LEAF`. Address spaces are told of removed pages with none of them held.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod acl;
mod dir;
mod file;
mod fs_type;
mod inode;
mod memfd;
mod meta;
mod options;
mod quota;
mod ramfs;
mod rename;
mod shmem;
mod shmem_map;
mod super_block;
mod xattr;

pub use fs_type::TmpfsType;
pub use inode::make_node;
pub use memfd::{MFD_NAME_MAX, Seals, Shmem, add_seals, get_seals};
pub use options::TmpfsOptions;
pub use quota::Quota;
pub use ramfs::RamfsType;
pub use shmem::{FaultAround, ShmemFile};
pub use super_block::{TMPFS_MAGIC, TmpfsParams, new_super};

#[cfg(test)]
mod tests;
