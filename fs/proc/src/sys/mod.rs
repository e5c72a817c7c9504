//! `/proc/sys`. Linux: fs/proc/proc_sysctl.c, and the tables of the parts of the kernel.
//!
//! A value the kernel heeds is shown and set where it is kept. One that is fixed in this kernel cannot be written. One that
//! would tune what does not exist here is kept, so that a program that sets it finds it set.

mod ctl;
mod fs;
mod ipc;
mod kernel;
mod net;
mod random;
mod user;
mod vm;

use crate::procfs::ProcParams;
use fs_kernfs::{Node, StaticDir};
use sentry_kernel::Kernel;

/// The whole of `/proc/sys`.
pub(crate) fn tree(kernel: &Kernel, params: &ProcParams) -> Node {
    StaticDir::new(0o555)
        .with("abi", ctl::dir([("vsyscall32", ctl::int(0o644, 1, 0..=1))]))
        .with("debug", ctl::dir([("exception-trace", ctl::int(0o644, 1, 0..=i32::MAX.into()))]))
        .with("dev", ctl::dir([("tty", ctl::dir([("ldisc_autoload", ctl::int(0o644, 0, 0..=1))]))]))
        .with("fs", fs::tree())
        .with("kernel", kernel::tree(kernel, params))
        .with("net", net::tree())
        .with("user", user::tree())
        .with("vm", vm::tree())
        .node()
}
