//! The names in `/proc` besides processes.

use super::{
    cpuinfo, devices, hardware, ipc, keys, loadavg, locks, meminfo, selflink, stat, uptime, version, vmstat,
};
use crate::procfs::{Instance, Shared, timens_boottime};
use fs_kernfs::simple::{self, symlink, text};
use fs_kernfs::{Node, StaticDir};
use sentry_kernel::Kernel;
use sentry_uapi::Errno;
use std::sync::Arc;

/// A file about the kernel as a whole.
fn global(fs: &Arc<Instance>, show: fn(&Kernel, &Shared, &mut Vec<u8>) -> Result<(), Errno>) -> Node {
    let shared = fs.shared.clone();
    simple::seq(0o444, move |_, out| show(&*shared.kernel()?, &shared, out))
}

/// A file that depends on the reader's CLOCK_BOOTTIME: how far it is ahead.
fn in_timens(fs: &Arc<Instance>, show: fn(&Kernel, i64, &mut Vec<u8>) -> Result<(), Errno>) -> Node {
    let shared = fs.shared.clone();
    simple::seq(0o444, move |ctx, out| show(&*shared.kernel()?, timens_boottime(ctx), out))
}

fn dir() -> Node {
    StaticDir::new(0o555).node()
}

/// Everything in the root directory of an instance that is no process.
pub(super) fn entries(fs: &Arc<Instance>) -> StaticDir {
    let root = StaticDir::new(0o555)
        .with("self", selflink::of_process(fs))
        .with("thread-self", selflink::of_thread(fs));
    if fs.options.only_pids {
        return root;
    }
    let pid_ns = fs.pid_ns.clone();
    let shared = fs.shared.clone();
    let loadavg = simple::seq(0o444, move |_, out| loadavg::show(&*shared.kernel()?, &pid_ns, out));
    root.with(
        "bus",
        StaticDir::new(0o555)
            .with("pci", StaticDir::new(0o555).with("devices", text(0o444, "")).node())
            .node(),
    )
    .with("cgroups", text(0o444, "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"))
    .with("cmdline", global(fs, version::cmdline))
    .with("consoles", text(0o444, ""))
    .with("cpuinfo", global(fs, cpuinfo::show))
    .with("devices", global(fs, devices::show))
    .with("diskstats", text(0o444, ""))
    .with("driver", dir())
    .with("execdomains", text(0o444, "0-0\tLinux           \t[kernel]\n"))
    .with("filesystems", global(fs, devices::filesystems))
    .with("fs", dir())
    .with("interrupts", global(fs, hardware::interrupts))
    .with("iomem", text(0o444, ""))
    .with("ioports", text(0o444, ""))
    .with("irq", dir())
    .with("kallsyms", text(0o444, ""))
    .with("key-users", keys::key_users(fs))
    .with("keys", keys::keys(fs))
    .with("keys", text(0o444, ""))
    .with("loadavg", loadavg)
    .with("locks", locks::node(fs))
    .with("meminfo", global(fs, meminfo::show))
    .with("misc", global(fs, devices::misc))
    .with("modules", text(0o444, ""))
    .with("mounts", symlink("self/mounts"))
    .with("net", symlink("self/net"))
    .with("partitions", text(0o444, "major minor  #blocks  name\n\n"))
    .with("softirqs", global(fs, hardware::softirqs))
    .with("stat", in_timens(fs, stat::show))
    .with("swaps", text(0o444, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"))
    .with("sys", fs.shared.sys.clone())
    .with("sysrq-trigger", simple::store(0o200, |_, _| Ok(()), |_, _| Ok(())))
    .with("sysvipc", ipc::dir())
    .with("tty", hardware::tty())
    .with("uptime", in_timens(fs, uptime::show))
    .with("version", global(fs, version::show))
    .with("vmstat", global(fs, vmstat::show))
    .with("zoneinfo", global(fs, vmstat::zoneinfo))
}
