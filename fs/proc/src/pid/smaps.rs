//! `/proc/[pid]/{smaps,smaps_rollup}`. Linux: fs/proc/task_mmu.c, `show_smap`, `show_smaps_rollup`.
//!
//! Differs: how many processes share a page, and whether it is clean, is not known. A private page counts as dirty, a page
//! of a file as clean; each counts in full for the process.

use crate::pid::ProcTask;
use crate::pid::entry::View;
use crate::pid::maps::{show_header, show_map_vma, vma_file};
use crate::seq::put;
use fs_kernfs::Node;
use fs_vfs::Path;
use platform::Prot;
use sentry_mm::{MemoryManager, VmFlags, VmaInfo};
use sentry_uapi::Errno;
use sentry_uapi::errno::ESRCH;

/// Linux: `struct mem_size_stats`, in bytes.
#[derive(Clone, Copy, Default)]
struct MemSizeStats {
    resident: u64,
    anonymous: u64,
    shmem: u64,
    shared_file: u64,
    locked: u64,
}

impl MemSizeStats {
    fn of(mm: &MemoryManager, vma: &VmaInfo) -> MemSizeStats {
        let usage = mm.usage_of(vma.start, vma.end);
        let pages = usage.resident - usage.anonymous.min(usage.resident);
        let is_shmem = vma.file.as_ref().is_some_and(|f| f.file.is_none());
        let shared = vma.flags.contains(VmFlags::SHARED);
        MemSizeStats {
            resident: usage.resident,
            anonymous: usage.anonymous,
            shmem: if is_shmem { pages } else { 0 },
            shared_file: if shared { pages } else { 0 },
            locked: if vma.flags.contains(VmFlags::LOCKED) { usage.resident } else { 0 },
        }
    }

    fn add(&mut self, other: &MemSizeStats) {
        self.resident += other.resident;
        self.anonymous += other.anonymous;
        self.shmem += other.shmem;
        self.shared_file += other.shared_file;
        self.locked += other.locked;
    }
}

fn kb(out: &mut Vec<u8>, label: &str, bytes: u64) {
    put(out, format_args!("{label:<15} {:>8} kB\n", bytes >> 10));
}

/// Linux: `__show_smap`.
fn show_stats(stats: &MemSizeStats, rollup: bool, out: &mut Vec<u8>) {
    let of_files = stats.resident - stats.anonymous.min(stats.resident);
    kb(out, "Rss:", stats.resident);
    kb(out, "Pss:", stats.resident);
    kb(out, "Pss_Dirty:", stats.anonymous);
    if rollup {
        kb(out, "Pss_Anon:", stats.anonymous);
        kb(out, "Pss_File:", of_files - stats.shmem.min(of_files));
        kb(out, "Pss_Shmem:", stats.shmem);
    }
    kb(out, "Shared_Clean:", stats.shared_file);
    kb(out, "Shared_Dirty:", 0);
    kb(out, "Private_Clean:", of_files - stats.shared_file.min(of_files));
    kb(out, "Private_Dirty:", stats.anonymous);
    kb(out, "Referenced:", stats.resident);
    kb(out, "Anonymous:", stats.anonymous);
    for label in ["LazyFree:", "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:", "Shared_Hugetlb:"] {
        kb(out, label, 0);
    }
    put(out, format_args!("Private_Hugetlb: {:>7} kB\n", 0));
    kb(out, "Swap:", 0);
    kb(out, "SwapPss:", 0);
    kb(out, "Locked:", stats.locked);
}

/// Linux: `show_smap_vma_flags`, in the order of the flags' bits.
fn show_vma_flags(vma: &VmaInfo, out: &mut Vec<u8>) {
    let shared = vma.flags.contains(VmFlags::SHARED);
    let writable_file = vma.max_prot.contains(Prot::WRITE);
    let flag = |f| vma.flags.contains(f);
    let shown = [
        (vma.prot.contains(Prot::READ), "rd"),
        (vma.prot.contains(Prot::WRITE), "wr"),
        (vma.prot.contains(Prot::EXEC), "ex"),
        (shared && writable_file, "sh"),
        (vma.max_prot.contains(Prot::READ), "mr"),
        (writable_file, "mw"),
        (vma.max_prot.contains(Prot::EXEC), "me"),
        (shared, "ms"),
        (flag(VmFlags::GROWSDOWN), "gd"),
        (flag(VmFlags::LOCKED), "lo"),
        (flag(VmFlags::SEQ_READ), "sr"),
        (flag(VmFlags::RAND_READ), "rr"),
        (flag(VmFlags::DONTCOPY), "dc"),
        (vma.prot.contains(Prot::WRITE) && !shared && !flag(VmFlags::NORESERVE), "ac"),
        (flag(VmFlags::NORESERVE), "nr"),
        (flag(VmFlags::WIPEONFORK), "wf"),
        (flag(VmFlags::DONTDUMP), "dd"),
        (flag(VmFlags::HUGEPAGE), "hg"),
        (flag(VmFlags::NOHUGEPAGE), "nh"),
        (flag(VmFlags::MERGEABLE), "mg"),
    ];
    out.extend_from_slice(b"VmFlags: ");
    for (_, name) in shown.iter().filter(|(set, _)| *set) {
        put(out, format_args!("{name} "));
    }
    out.push(b'\n');
}

fn show_smap(mm: &MemoryManager, vma: &VmaInfo, root: &Path, out: &mut Vec<u8>) {
    show_map_vma(vma, root, out);
    kb(out, "Size:", vma.end - vma.start);
    kb(out, "KernelPageSize:", 4096);
    kb(out, "MMUPageSize:", 4096);
    show_stats(&MemSizeStats::of(mm, vma), false, out);
    put(out, format_args!("THPeligible:    0\n"));
    show_vma_flags(vma, out);
}

pub(crate) fn node(at: &ProcTask) -> Node {
    vma_file(at, show_smap)
}

/// `/proc/[pid]/smaps_rollup`.
pub(crate) fn rollup(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let mm = view.who.mm().ok_or(ESRCH)?;
    let vmas = mm.vmas();
    let mut stats = MemSizeStats::default();
    for vma in &vmas {
        stats.add(&MemSizeStats::of(&mm, vma));
    }
    let range = (vmas.first().map_or(0, |v| v.start), vmas.last().map_or(0, |v| v.end));
    show_header(out, range, Prot::empty(), false, 0, 0, 0, Some(b"[rollup]"));
    show_stats(&stats, true, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels that kernels after 6.1 have added.
    const NEWER: [&str; 2] = ["KSM", "ProtectionKey"];

    fn labels(text: &str) -> Vec<String> {
        let lines = text.lines().filter_map(|l| l.split_once(':'));
        lines.map(|(label, _)| label.to_owned()).filter(|l| !NEWER.contains(&l.as_str())).collect()
    }

    #[test]
    fn labels_are_the_native_kernels() {
        let mut out = Vec::new();
        show_stats(
            &MemSizeStats { resident: 8192, anonymous: 4096, ..MemSizeStats::default() },
            true,
            &mut out,
        );
        let text = String::from_utf8_lossy(&out).into_owned();
        let native = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let native: String = native.lines().skip(1).map(|l| format!("{l}\n")).collect();
        assert_eq!(labels(&text), labels(&native));
        let width = |t: &str| t.lines().map(str::len).max();
        assert_eq!(width(&text), width(&native));
        assert!(text.starts_with("Rss:                   8 kB\nPss:                   8 kB\n"));
    }
}
