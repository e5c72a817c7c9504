//! What the host says of its processors.

/// AT_HWCAP, AT_HWCAP2 and AT_MINSIGSTKSZ of the host's auxiliary vector: the same processor runs the guest.
pub fn auxv_features() -> (u64, u64, u64) {
    // SAFETY: getauxval reads the process's own auxiliary vector.
    unsafe {
        (
            libc::getauxval(libc::AT_HWCAP),
            libc::getauxval(libc::AT_HWCAP2),
            libc::getauxval(libc::AT_MINSIGSTKSZ),
        )
    }
}
