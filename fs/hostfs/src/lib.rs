//! Files of the host beneath a directory descriptor that the runtime handed over.
//!
//! A name is always one component looked up in an open directory, so no host path is ever walked and no host symbolic
//! link followed: links are read and followed by the VFS, inside the guest's own tree. Inode numbers are the host's.
//! Special files show as themselves but are never opened on the host: the VFS opens devices by its own registry.
//!
//! Few host descriptors stay open: each inode knows its parent and name and is opened again when it is needed; the
//! recently used descriptors are kept ([`fd_cache`]). One descriptor serves all opens of a file, since every transfer
//! names its position.
//!
//! Where nobody else changes the tree ([`Sharing::Exclusive`]) attributes, link targets and listings are kept, and a
//! warm lookup, stat or open makes no host call. Otherwise names are looked up again each time.
//!
//! Contents are read and written by the host's own copy, straight from and to the caller's memory. Only what is mapped
//! is cached, in frames ([`pages`]); reads see pages that were written through mappings, and writes reach them.
//!
//! Linux: fs/fuse and fs/9p are the nearest kin. Lock order: an open directory's state is `INODE`; `HOST_NAMES` keeps
//! names and files together; the page cache is `PAGE_CACHE`. They are held over host calls, never over anything a guest
//! could delay. All else is `LEAF`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod attr;
mod dir;
mod fd_cache;
mod file;
mod host_fd;
mod inode;
mod names;
mod open;
mod owners;
mod pages;
mod super_block;
mod xattr;

pub use host_fd::host_fd_file;
pub use super_block::{HostFs, HostFsParams, HostOwners, MapId, NamedOwner, Sharing};

#[cfg(test)]
mod tests;
