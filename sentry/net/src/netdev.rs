//! Linux: drivers/net/loopback.c and net/core/dev.c: `lo`, the only interface there is.

use sentry_uapi::if_::{IFF_LOOPBACK, IFF_RUNNING, IFF_UP};
use std::sync::atomic::{AtomicBool, Ordering};

/// Its number.
pub(crate) const LO_IFINDEX: i32 = 1;
/// Its name.
pub(crate) const LO_NAME: &[u8] = b"lo";
/// Its largest packet.
pub(crate) const LO_MTU: u32 = 65536;
/// Its queue length.
pub(crate) const LO_TXQLEN: u32 = 1000;

/// The loopback interface of a namespace.
pub struct Loopback {
    up: AtomicBool,
}

impl Loopback {
    pub(crate) fn new(up: bool) -> Loopback {
        Loopback { up: AtomicBool::new(up) }
    }

    /// Whether it carries packets. A new namespace's does not, until it is set up.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// `ifr_flags`.
    pub(crate) fn flags(&self) -> u16 {
        if self.is_up() { IFF_UP | IFF_LOOPBACK | IFF_RUNNING } else { IFF_LOOPBACK }
    }

    /// `ip link set lo up`, or down.
    pub fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }
}
