//! `/proc/loadavg`. Linux: fs/proc/loadavg.c.
//!
//! Differs: there is no average over time; the load is the number of tasks that run now.

use crate::seq::put;
use sentry_kernel::{Kernel, PidNamespace};
use sentry_uapi::Errno;

pub(super) fn show(kernel: &Kernel, ns: &PidNamespace, out: &mut Vec<u8>) -> Result<(), Errno> {
    let (running, all) = {
        let tree = kernel.tree.lock();
        (tree.tasks.values().filter(|t| t.run_state() == 'R').count(), tree.tasks.len())
    };
    // The reader itself is no load.
    let load = running.saturating_sub(1);
    put(out, format_args!("{load}.00 {load}.00 {load}.00 {running}/{all} {}\n", ns.last_pid()));
    Ok(())
}
