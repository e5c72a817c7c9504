//! Synthetic filesystems: trees whose files are made up by the kernel. procfs, sysfs and cgroup stand on it.
//!
//! A filesystem describes itself by *nodes*: a [`DirNode`], a [`SeqNode`] (text made when it is read), a [`FileNode`]
//! (its own [`fs_vfs::FileOps`]) or a [`LinkNode`]. [`new_super`] turns the root node into a superblock; nodes below are
//! asked for by name as paths are walked. What never changes is put together with [`StaticDir`] and the functions of
//! [`simple`]; what follows the kernel's state implements the traits.
//!
//! Linux: fs/kernfs, fs/proc/generic.c and fs/seq_file.c. Differs: an inode number is a keyed hash of the directory's
//! and the name, so it is stable without a table; identity of inodes is the dcache's.
//!
//! No lock of this crate is held while a node is called, and nodes are called with the locks of the VFS only.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod attr;
mod inode;
mod node;
mod seq;
pub mod simple;
mod static_dir;
mod super_block;

pub use attr::{Attrs, NodeAttr};
pub use node::{DirNode, Emit, FileNode, LinkNode, Node, NodeOps, SeqNode, emit_names};
pub use seq::open_seq;
pub use static_dir::StaticDir;
pub use super_block::{SuperParams, new_super};

#[cfg(test)]
mod tests;
