//! System calls: each decodes its arguments, calls one operation of the kernel, and copies the result out.
#![forbid(unsafe_code)]

pub mod arg;
mod file;
mod ipc;
mod memory;
mod net;
mod process;
pub mod strace;
pub mod table;
mod time;

pub use process::system::{RELEASE, VERSION};
