//! The file that guests' memory lies in.

use anyhow::{Result, anyhow};
use sentry_mm::MemoryFile;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The host's policy for huge pages. Linux: Documentation/admin-guide/mm/transhuge.rst.
const POLICY: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// An empty file that gives huge pages to who asks, unless the host is set never to. To be called while the host's files
/// and rights are at hand.
pub(super) fn open_huge() -> Option<OwnedFd> {
    if std::fs::read_to_string(POLICY).is_ok_and(|policy| policy.contains("[never]")) {
        tracing::debug!("no huge pages: {POLICY} is set to never");
        return None;
    }
    platform_host::memfd::huge_file(c"runsc-memory")
        .inspect_err(|error| tracing::debug!("no huge pages: {error}"))
        .ok()
}

/// The sandbox's memory, in `huge` if there is such a file.
pub(super) fn make(huge: Option<OwnedFd>, limit: u64) -> Result<Arc<MemoryFile>> {
    let memory = huge.map_or_else(MemoryFile::new, MemoryFile::with_huge_pages);
    let memory = memory.map_err(|e| anyhow!("cannot make the memory file: {e}"))?;
    memory.set_limit(limit);
    Ok(memory)
}
