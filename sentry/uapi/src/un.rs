//! Linux: include/uapi/linux/un.h.

/// Length of `sun_path`.
pub const UNIX_PATH_MAX: usize = 108;
/// Where `sun_path` begins in `struct sockaddr_un`.
pub const SUN_PATH_OFFSET: usize = 2;
/// Size of `struct sockaddr_un`.
pub const SOCKADDR_UN_SIZE: usize = SUN_PATH_OFFSET + UNIX_PATH_MAX;

const _: () = assert!(SOCKADDR_UN_SIZE == size_of::<linux_raw_sys::net::sockaddr_un>());
