//! Layers of directory trees shown as one: what is changed goes to the uppermost, the others are never written.
//!
//! Linux: fs/overlayfs, with `redirect_dir=off`, `index=off`, `metacopy=off` and `xino=on`. Differs: a copied-up file is
//! made nameless and linked when it is whole, so there is no work directory; where a copy came from is remembered on the
//! upper inode in memory; one device number serves all files.
//!
//! Layers are entered by their inodes, not by paths: the dcache above belongs to the overlay. A file that has not been
//! copied up is read by the lower filesystem's own [`fs_vfs::FileOps`], one call away.
//!
//! Lock order (all of level `OVERLAY`): copy-up of a file, then its directory's entries; a directory before what is in
//! it; two directories by address.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod copy_up;
mod file;
mod fs_type;
mod inode;
mod lookup;
mod names;
mod readdir;
mod rename;
mod super_block;
mod whiteout;

pub use fs_type::OverlayType;
pub use super_block::{OVERLAYFS_SUPER_MAGIC, OverlayParams, new_super};

#[cfg(test)]
mod tests;
