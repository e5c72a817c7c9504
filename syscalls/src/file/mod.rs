//! Files, descriptors, mounts.

mod anon;
mod attr;
mod eventpoll;
mod fallocate;
mod fcntl;
mod fd;
mod fown;
mod ioctl;
mod iov;
mod namei;
mod open;
mod read_write;
mod readdir;
mod select;
mod stat;
mod statfs;
mod sync;
mod timeout;
mod user;

pub(crate) use anon::*;
pub(crate) use attr::*;
pub(crate) use eventpoll::*;
pub(crate) use fcntl::*;
pub(crate) use fd::*;
pub(crate) use ioctl::*;
pub(crate) use namei::*;
pub(crate) use open::*;
pub(crate) use read_write::*;
pub(crate) use readdir::*;
pub(crate) use select::*;
pub(crate) use stat::*;
pub(crate) use statfs::*;
pub(crate) use sync::*;
