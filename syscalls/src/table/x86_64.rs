//! Linux: arch/x86/entry/syscalls/syscall_64.tbl.

use crate::arg::*;
use crate::file::*;
use crate::net::*;
use crate::table::table;

table! {
}
