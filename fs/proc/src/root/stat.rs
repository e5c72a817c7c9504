//! `/proc/stat`. Linux: fs/proc/stat.c.

use super::uptime::uptime;
use crate::seq::put;
use sentry_kernel::{Kernel, nsec_to_clock_t};
use sentry_uapi::Errno;
use std::sync::atomic::Ordering;

/// Numbers of soft interrupts. Linux: `NR_SOFTIRQS`.
const NR_SOFTIRQS: usize = 10;

/// Time of all processors together, in nanoseconds.
#[derive(Clone, Copy)]
pub(super) struct CpuTimes {
    pub(super) user: u64,
    pub(super) system: u64,
    pub(super) idle: u64,
}

/// What all processes have used, those included that were waited for.
pub(super) fn cpu_times(kernel: &Kernel) -> CpuTimes {
    let groups: Vec<_> = kernel.tree.lock().processes.values().map(|p| p.group.clone()).collect();
    let (mut user, mut system) = (0u64, 0u64);
    for group in groups {
        for usage in [group.usage(), group.children_usage()] {
            user = user.saturating_add(usage.utime);
            system = system.saturating_add(usage.stime);
        }
    }
    let all = uptime(kernel).saturating_mul(kernel.cpus as u64);
    CpuTimes { user, system, idle: all.saturating_sub(user).saturating_sub(system) }
}

fn cpu_line(out: &mut Vec<u8>, label: &str, times: CpuTimes) {
    let [user, system, idle] = [times.user, times.system, times.idle].map(nsec_to_clock_t);
    put(out, format_args!("{label} {user} 0 {system} {idle} 0 0 0 0 0 0\n"));
}

pub(super) fn show(kernel: &Kernel, ahead: i64, out: &mut Vec<u8>) -> Result<(), Errno> {
    let times = cpu_times(kernel);
    // The line of all has a second blank, as wide as a number.
    cpu_line(out, "cpu ", times);
    let cpus = kernel.cpus.max(1) as u64;
    let share = CpuTimes { user: times.user / cpus, system: times.system / cpus, idle: times.idle / cpus };
    for cpu in 0..kernel.cpus {
        cpu_line(out, &format!("cpu{cpu}"), share);
    }
    let counters = &kernel.counters;
    let running = {
        let tree = kernel.tree.lock();
        tree.tasks.values().filter(|t| t.run_state() == 'R').count()
    };
    let up = i64::try_from(uptime(kernel)).unwrap_or(0).saturating_add(ahead);
    let btime = kernel.clocks.realtime_nanos().saturating_sub(up);
    put(
        out,
        format_args!(
            "intr 0\nctxt {}\nbtime {}\nprocesses {}\nprocs_running {running}\nprocs_blocked 0\nsoftirq 0{}\n",
            counters.syscalls.load(Ordering::Relaxed),
            btime / 1_000_000_000,
            counters.forks.load(Ordering::Relaxed) + 1,
            " 0".repeat(NR_SOFTIRQS),
        ),
    );
    Ok(())
}
