//! `/proc/sys/vm`. Linux: kernel/sysctl.c, `vm_table`.

use super::ctl::{dir, fixed, flag, int, stored, uint, vector};
use fs_kernfs::Node;
use sentry_uapi::errno::EINVAL;

/// Most mappings of an address space.
const MAX_MAP_COUNT: u32 = 65530;

/// A file that is written to have something done, and nothing is to be done here.
fn trigger(perm: u32) -> Node {
    stored(perm, |_, _| Err(EINVAL), |_, _| Ok(()))
}

pub(super) fn tree() -> Node {
    dir([
        ("admin_reserve_kbytes", uint(0o644, 8192)),
        ("compact_memory", trigger(0o200)),
        ("compaction_proactiveness", int(0o644, 20, 0..=100)),
        ("dirty_background_bytes", uint(0o644, 0)),
        ("dirty_background_ratio", int(0o644, 10, 0..=100)),
        ("dirty_bytes", uint(0o644, 0)),
        ("dirty_expire_centisecs", uint(0o644, 3000)),
        ("dirty_ratio", int(0o644, 20, 0..=100)),
        ("dirty_writeback_centisecs", uint(0o644, 500)),
        ("drop_caches", trigger(0o200)),
        ("extfrag_threshold", int(0o644, 500, 0..=1000)),
        ("hugetlb_shm_group", uint(0o644, 0)),
        ("laptop_mode", uint(0o644, 0)),
        ("legacy_va_layout", uint(0o644, 0)),
        ("lowmem_reserve_ratio", vector(0o644, &[256, 256, 32, 0, 0])),
        ("max_map_count", fixed(MAX_MAP_COUNT)),
        ("min_free_kbytes", uint(0o644, 67584)),
        ("mmap_min_addr", fixed(65536)),
        ("mmap_rnd_bits", fixed(28)),
        ("nr_hugepages", fixed(0)),
        ("nr_overcommit_hugepages", fixed(0)),
        ("oom_dump_tasks", uint(0o644, 1)),
        ("oom_kill_allocating_task", uint(0o644, 0)),
        ("overcommit_kbytes", uint(0o644, 0)),
        ("overcommit_memory", int(0o644, 1, 0..=2)),
        ("overcommit_ratio", uint(0o644, 50)),
        ("page-cluster", int(0o644, 3, 0..=31)),
        ("panic_on_oom", int(0o644, 0, 0..=2)),
        ("stat_interval", uint(0o644, 1)),
        ("swappiness", int(0o644, 60, 0..=200)),
        ("unprivileged_userfaultfd", flag(0o644, false)),
        ("user_reserve_kbytes", uint(0o644, 131_072)),
        ("vfs_cache_pressure", uint(0o644, 100)),
        ("watermark_boost_factor", uint(0o644, 15000)),
        ("watermark_scale_factor", int(0o644, 10, 1..=3000)),
        ("zone_reclaim_mode", uint(0o644, 0)),
    ])
}
