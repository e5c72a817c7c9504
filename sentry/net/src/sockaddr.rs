//! Linux: include/uapi/linux/socket.h, `struct sockaddr_storage`; net/socket.c, `move_addr_to_kernel`.

use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use sentry_uapi::socket::SOCKADDR_STORAGE_SIZE;
use std::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A socket address as it crosses the system call boundary: bytes that only the family of the socket interprets.
#[derive(Clone, Copy)]
pub struct SockAddr {
    len: usize,
    bytes: [u8; SOCKADDR_STORAGE_SIZE],
}

impl SockAddr {
    /// An address of these bytes.
    ///
    /// # Errors
    /// `EINVAL` if there are more than fit `struct sockaddr_storage`.
    pub fn from_bytes(bytes: &[u8]) -> Result<SockAddr, Errno> {
        let mut addr = SockAddr { len: bytes.len(), bytes: [0; SOCKADDR_STORAGE_SIZE] };
        addr.bytes.get_mut(..bytes.len()).ok_or(EINVAL)?.copy_from_slice(bytes);
        Ok(addr)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `sa_family`; none if the address is too short to have one.
    pub fn family(&self) -> Option<u16> {
        (self.len >= 2).then(|| u16::from_ne_bytes([self.bytes[0], self.bytes[1]]))
    }

    /// The address as a structure. Bytes the caller did not give are zero: check the length first.
    pub(crate) fn read<T: FromBytes>(&self) -> Option<T> {
        T::read_from_prefix(&self.bytes).ok().map(|(value, _)| value)
    }

    /// An address made of a structure.
    pub(crate) fn from_struct<T: IntoBytes + Immutable>(value: &T) -> SockAddr {
        let from = value.as_bytes();
        let mut addr =
            SockAddr { len: from.len().min(SOCKADDR_STORAGE_SIZE), bytes: [0; SOCKADDR_STORAGE_SIZE] };
        addr.bytes[..addr.len].copy_from_slice(&from[..addr.len]);
        addr
    }
}

impl PartialEq for SockAddr {
    fn eq(&self, other: &SockAddr) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for SockAddr {}

impl fmt::Debug for SockAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SockAddr({:02x?})", self.as_bytes())
    }
}
