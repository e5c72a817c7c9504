//! Linux: include/uapi/linux/memfd.h, and the seals of include/uapi/linux/fcntl.h.

/// memfd_create(2): close on exec.
pub const MFD_CLOEXEC: u32 = 1;
/// memfd_create(2): seals may be added.
pub const MFD_ALLOW_SEALING: u32 = 2;
/// memfd_create(2): of huge pages.
pub const MFD_HUGETLB: u32 = 4;
/// memfd_create(2): not executable, and sealed to stay so.
pub const MFD_NOEXEC_SEAL: u32 = 8;
/// memfd_create(2): executable.
pub const MFD_EXEC: u32 = 0x10;

/// No more seals.
pub const F_SEAL_SEAL: u32 = 1;
/// No shrinking.
pub const F_SEAL_SHRINK: u32 = 2;
/// No growing.
pub const F_SEAL_GROW: u32 = 4;
/// No writing.
pub const F_SEAL_WRITE: u32 = 8;
/// No writing but through mappings that exist.
pub const F_SEAL_FUTURE_WRITE: u32 = 0x10;
/// No change of execute bits.
pub const F_SEAL_EXEC: u32 = 0x20;
