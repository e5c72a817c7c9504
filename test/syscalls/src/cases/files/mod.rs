//! Files, directories and descriptors.

mod access;
mod aio;
mod copy;
mod descriptor;
mod directory;
mod dnotify;
mod inotify;
mod legacy;
mod link;
mod lock;
mod memfd;
mod mode;
mod mount;
mod open;
mod openat2;
mod posix_acl;
mod read_write;
mod readdir;
mod rename;
mod seek;
mod stat;
mod truncate;
mod xattr;
