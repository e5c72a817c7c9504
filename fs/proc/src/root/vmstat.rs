//! `/proc/{vmstat,zoneinfo}`. Linux: mm/vmstat.c. The counters that have a meaning here, and those programs look for.

use crate::procfs::Shared;
use crate::root::memory_total;
use crate::seq::put;
use sentry_kernel::Kernel;
use sentry_mm::PAGE_SIZE;
use sentry_uapi::Errno;
use std::sync::atomic::Ordering;

fn free_and_used(kernel: &Kernel) -> (u64, u64) {
    let total = memory_total(kernel) / PAGE_SIZE;
    let used = (kernel.memory.resident() / PAGE_SIZE).min(total);
    (total - used, used)
}

pub(super) fn show(kernel: &Kernel, _shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    let (free, used) = free_and_used(kernel);
    let faults = kernel.counters.faults.load(Ordering::Relaxed);
    let rows = [
        ("nr_free_pages", free),
        ("nr_zone_inactive_anon", 0),
        ("nr_zone_active_anon", used),
        ("nr_zone_inactive_file", 0),
        ("nr_zone_active_file", 0),
        ("nr_mlock", 0),
        ("nr_inactive_anon", 0),
        ("nr_active_anon", used),
        ("nr_inactive_file", 0),
        ("nr_active_file", 0),
        ("nr_unevictable", 0),
        ("nr_slab_reclaimable", 0),
        ("nr_slab_unreclaimable", 0),
        ("nr_anon_pages", used),
        ("nr_mapped", 0),
        ("nr_file_pages", 0),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("nr_shmem", 0),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgalloc_normal", 0),
        ("pgfree", 0),
        ("pgfault", faults),
        ("pgmajfault", 0),
        ("pgscan_kswapd", 0),
        ("pgscan_direct", 0),
        ("pgsteal_kswapd", 0),
        ("pgsteal_direct", 0),
        ("oom_kill", 0),
    ];
    for (label, value) in rows {
        put(out, format_args!("{label} {value}\n"));
    }
    Ok(())
}

pub(super) fn zoneinfo(kernel: &Kernel, _shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    let (free, used) = free_and_used(kernel);
    let all = free + used;
    put(
        out,
        format_args!(
            "Node 0, zone   Normal\n  pages free     {free}\n        min      0\n        low      0\n        \
             high     0\n        spanned  {all}\n        present  {all}\n        managed  {all}\n"
        ),
    );
    Ok(())
}
