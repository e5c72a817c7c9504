//! The vDSO in a time namespace. Linux: arch/x86/entry/vdso/vma.c, `vdso_join_timens`.
//!
//! Differs in what a task with offsets is shown: not offsets for the vDSO to add, but an empty data page, with which the vDSO
//! makes system calls.

use crate::TimeNamespace;
use platform::Prot;
use sentry_mm::{MemoryManager, MmLimits, MmapRequest, Placement};
use sentry_uapi::Errno;

/// Name of the data pages in `/proc/[pid]/maps`.
pub(crate) const VVAR: &str = "[vvar]";

/// A request for empty data pages.
pub(crate) fn empty_vvar(at: u64, len: u64) -> MmapRequest {
    MmapRequest {
        max_prot: Prot::READ,
        name: Some(VVAR),
        ..MmapRequest::anonymous(Placement::Fixed(at), len, Prot::READ)
    }
}

/// Makes the vDSO of an address space follow the clocks of a namespace that its task enters.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn vdso_join_timens(
    mm: &MemoryManager,
    ns: &TimeNamespace,
    limits: &MmLimits,
) -> Result<(), Errno> {
    if ns.is_plain() {
        return Ok(());
    }
    for vma in mm.vmas().into_iter().filter(|vma| vma.name == Some(VVAR)) {
        mm.mmap(&empty_vvar(vma.start, vma.end - vma.start), limits)?;
    }
    Ok(())
}
