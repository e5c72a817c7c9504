//! `/proc/{interrupts,softirqs,tty}`: the shape without devices behind it. Linux: fs/proc/{interrupts,softirqs,proc_tty}.c.

use crate::procfs::Shared;
use crate::seq::put;
use fs_kernfs::simple::text;
use fs_kernfs::{Node, StaticDir};
use sentry_kernel::Kernel;
use sentry_uapi::Errno;

fn cpu_titles(out: &mut Vec<u8>, indent: usize, cpus: usize) {
    out.resize(out.len() + indent, b' ');
    for cpu in 0..cpus {
        put(out, format_args!("{:<11}", format!("CPU{cpu}")));
    }
    out.push(b'\n');
}

pub(super) fn interrupts(kernel: &Kernel, _shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    cpu_titles(out, 11, kernel.cpus);
    for (label, title) in [("NMI", "Non-maskable interrupts"), ("LOC", "Local timer interrupts")] {
        put(out, format_args!("{label}:{}   {title}\n", format!("{:>11}", 0).repeat(kernel.cpus)));
    }
    put(out, format_args!("ERR:{:>11}\nMIS:{:>11}\n", 0, 0));
    Ok(())
}

pub(super) fn softirqs(kernel: &Kernel, _shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    cpu_titles(out, 20, kernel.cpus);
    let names =
        ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];
    for name in names {
        put(out, format_args!("{name:>12}:{}\n", format!(" {:>10}", 0).repeat(kernel.cpus)));
    }
    Ok(())
}

/// `/proc/tty`.
pub(super) fn tty() -> Node {
    let drivers = "/dev/tty             /dev/tty        5       0 system:/dev/tty\n\
                   /dev/console         /dev/console    5       1 system:console\n\
                   /dev/ptmx            /dev/ptmx       5       2 system\n\
                   pty_slave            /dev/pts      136 0-1048575 pty:slave\n\
                   pty_master           /dev/ptm      128 0-1048575 pty:master\n";
    let dir = || StaticDir::new(0o555).node();
    StaticDir::new(0o555)
        .with("driver", dir())
        .with("drivers", text(0o444, drivers))
        .with("ldisc", dir())
        .with("ldiscs", text(0o444, "n_tty       0\n"))
        .node()
}
