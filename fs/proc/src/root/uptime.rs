//! `/proc/uptime`. Linux: fs/proc/uptime.c.

use super::stat::cpu_times;
use crate::seq::put;
use sentry_kernel::Kernel;
use sentry_uapi::Errno;

const NSEC_PER_SEC: u64 = 1_000_000_000;

/// Nanoseconds since the kernel's boot.
pub(super) fn uptime(kernel: &Kernel) -> u64 {
    let clocks = &kernel.clocks;
    u64::try_from(clocks.boottime().saturating_sub(clocks.boot())).unwrap_or(0)
}

/// Seconds since boot, and seconds all processors together had nothing to do.
pub(super) fn show(kernel: &Kernel, ahead: i64, out: &mut Vec<u8>) -> Result<(), Errno> {
    let up = uptime(kernel).saturating_add_signed(ahead);
    let idle = cpu_times(kernel).idle;
    let hundredths = |ns: u64| (ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 10_000_000);
    let ((up, up_part), (idle, idle_part)) = (hundredths(up), hundredths(idle));
    put(out, format_args!("{up}.{up_part:02} {idle}.{idle_part:02}\n"));
    Ok(())
}
