//! System calls: each decodes its arguments, calls one operation of the kernel, and copies the result out.
#![forbid(unsafe_code)]

pub mod arg;
mod file;
mod net;
pub mod table;
