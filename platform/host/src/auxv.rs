//! What the auxiliary vector says of the processor, on which guests run, too.

use std::arch::x86_64::__cpuid;

fn value(kind: u64) -> u64 {
    // SAFETY: looks a number up in a table that the process was started with.
    unsafe { libc::getauxval(kind) }
}

/// AT_HWCAP: `edx` of CPUID leaf 1. Asked of the processor, as glibc keeps a number of its own in the place of the
/// kernel's.
pub fn hwcap() -> u64 {
    // The attribute is for compilers older than the one that made the function safe.
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor has the instruction.
    let edx = unsafe { __cpuid(1) }.edx;
    edx.into()
}

/// AT_HWCAP2: processor features that the host kernel lets user mode use. A back-end that is its guests' kernel decides
/// about these itself.
pub fn hwcap2() -> u64 {
    value(libc::AT_HWCAP2)
}

/// AT_MINSIGSTKSZ: the size of a signal frame with all the processor's state, in bytes; 2048 where the host does not say
/// (before Linux 5.14).
pub fn minsigstksz() -> u64 {
    match value(libc::AT_MINSIGSTKSZ) {
        0 => u64::try_from(libc::MINSIGSTKSZ).unwrap_or(0),
        size => size,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_x86_64_processor_has_sse2_and_a_frame_fits_its_state() {
        assert_ne!(super::hwcap() & 1 << 26, 0);
        assert!(super::minsigstksz() >= 2048);
    }
}
