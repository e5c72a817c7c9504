//! `/proc/meminfo`. Linux: fs/proc/meminfo.c.

use crate::procfs::Shared;
use crate::seq::put;
use sentry_kernel::Kernel;
use sentry_uapi::Errno;

/// Shown as all memory where the sandbox has no limit of its own.
const UNLIMITED_TOTAL: u64 = 16 << 30;
/// Address space for `vmalloc`, in bytes. Linux: arch/x86/include/asm/pgtable_64_types.h.
const VMALLOC_TOTAL: u64 = 34_359_738_367 << 10;

/// Memory the guest is told of, in bytes.
pub(crate) fn memory_total(kernel: &Kernel) -> u64 {
    match kernel.memory.limit() {
        u64::MAX => UNLIMITED_TOTAL,
        limit => limit,
    }
}

pub(super) fn show(kernel: &Kernel, _shared: &Shared, out: &mut Vec<u8>) -> Result<(), Errno> {
    let total = memory_total(kernel);
    let used = kernel.memory.resident().min(total);
    format_meminfo(total, used, kernel.memory.allocated(), out);
    Ok(())
}

fn format_meminfo(total: u64, used: u64, committed: u64, out: &mut Vec<u8>) {
    let free = total - used.min(total);
    let rows = [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", used),
        ("Inactive", 0),
        ("Active(anon)", used),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", used),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", 0),
        ("PageTables", 0),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", total / 2),
        ("Committed_AS", committed),
        ("VmallocTotal", VMALLOC_TOTAL),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("Percpu", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FileHugePages", 0),
        ("FilePmdMapped", 0),
    ];
    for (label, bytes) in rows {
        put(out, format_args!("{:<16}{:>8} kB\n", format!("{label}:"), bytes >> 10));
    }
    for label in ["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp"] {
        put(out, format_args!("{:<16} {:>7}\n", format!("{label}:"), 0));
    }
    put(out, format_args!("Hugepagesize:       2048 kB\nHugetlb:        {:>8} kB\n", 0));
    for (label, bytes) in [("DirectMap4k:", 0), ("DirectMap2M:", total), ("DirectMap1G:", 0)] {
        put(out, format_args!("{label:<16}{:>8} kB\n", bytes >> 10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_native_kernels() {
        /// Rows that depend on how a kernel is built.
        const OPTIONAL: [&str; 4] = ["Zswap", "Zswapped", "Balloon", "CmaTotal"];
        let native = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let mut out = Vec::new();
        format_meminfo(24_684_092 << 10, 0, 0, &mut out);
        let ours = String::from_utf8_lossy(&out).into_owned();
        let labels = |text: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|l| l.split_once(':'));
            lines.map(|(l, _)| l.to_owned()).filter(|l| !OPTIONAL.contains(&l.as_str())).collect()
        };
        assert_eq!(labels(&ours), labels(&native));
        assert!(ours.starts_with("MemTotal:       24684092 kB\nMemFree:        24684092 kB\n"));
        let line = |text: &str, label: &str| {
            text.lines().find(|l| l.starts_with(label)).map(str::to_owned).unwrap_or_default()
        };
        for label in ["SwapTotal", "HugePages_Total", "Hugepagesize", "Hugetlb", "VmallocTotal"] {
            assert_eq!(line(&ours, label), line(&native, label));
        }
    }
}
