//! Linux: include/uapi/linux/eventpoll.h. Event bits shared with poll(2) stand in [`crate::poll`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// epoll_create1(2): close on exec.
pub const EPOLL_CLOEXEC: u32 = 0o2_000_000;
/// Add a descriptor.
pub const EPOLL_CTL_ADD: i32 = 1;
/// Remove a descriptor.
pub const EPOLL_CTL_DEL: i32 = 2;
/// Change the events of a descriptor.
pub const EPOLL_CTL_MOD: i32 = 3;

/// Wake one of several epoll instances rather than all.
pub const EPOLLEXCLUSIVE: u32 = 1 << 28;
/// Keep the system awake; no difference here.
pub const EPOLLWAKEUP: u32 = 1 << 29;
/// Disable the descriptor after one event.
pub const EPOLLONESHOT: u32 = 1 << 30;
/// Report changes rather than states.
pub const EPOLLET: u32 = 1 << 31;

/// `struct epoll_event`, which is packed on x86_64.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct EpollEvent {
    /// `EPOLL*` bits.
    pub events: u32,
    /// The caller's own.
    pub data: u64,
}

const _: () = assert!(size_of::<EpollEvent>() == size_of::<linux_raw_sys::general::epoll_event>());
const _: () = assert!(EPOLLEXCLUSIVE == linux_raw_sys::general::EPOLLEXCLUSIVE);
const _: () = assert!(EPOLLET == linux_raw_sys::general::EPOLLET);
