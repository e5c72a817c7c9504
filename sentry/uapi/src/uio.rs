//! Linux: include/uapi/linux/uio.h and include/linux/fs.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Iovec {
    /// First address.
    pub iov_base: u64,
    /// Length in bytes.
    pub iov_len: u64,
}

/// Most `struct iovec`s of one call.
pub const UIO_MAXIOV: usize = 1024;
/// Most bytes of one call. Linux: `INT_MAX & PAGE_MASK`.
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

const _: () = assert!(size_of::<Iovec>() == size_of::<linux_raw_sys::general::iovec>());
