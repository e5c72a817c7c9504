//! Linux: net/core/sysctl_net_core.c, net/ipv4/sysctl_net_ipv4.c, net/unix/sysctl_net_unix.c: what `/proc/sys/net` shows.

use sentry_uapi::socket::SOMAXCONN;
use std::sync::atomic::{AtomicU32, Ordering};

/// The namespace's limits on buffers. Linux: net/core/sysctl_net_core.c.
pub struct Sysctl {
    /// `net.core.wmem_default`.
    pub wmem_default: AtomicU32,
    /// `net.core.rmem_default`.
    pub rmem_default: AtomicU32,
    /// `net.core.wmem_max`; `rmem_max` is the same.
    pub wmem_max: AtomicU32,
    /// `net.core.somaxconn`.
    pub somaxconn: AtomicU32,
    /// `net.unix.max_dgram_qlen`.
    pub max_dgram_qlen: AtomicU32,
    /// `net.ipv4.ip_local_port_range`, both ends included: low half and high half.
    pub ip_local_port_range: AtomicU32,
    /// `net.ipv4.ip_unprivileged_port_start`.
    pub ip_unprivileged_port_start: AtomicU32,
    /// `net.ipv6.bindv6only`.
    pub bindv6only: AtomicU32,
}

impl Default for Sysctl {
    fn default() -> Sysctl {
        Sysctl {
            wmem_default: AtomicU32::new(212_992),
            rmem_default: AtomicU32::new(212_992),
            wmem_max: AtomicU32::new(212_992),
            somaxconn: AtomicU32::new(SOMAXCONN),
            max_dgram_qlen: AtomicU32::new(10),
            ip_local_port_range: AtomicU32::new(60999 << 16 | 32768),
            ip_unprivileged_port_start: AtomicU32::new(1024),
            bindv6only: AtomicU32::new(0),
        }
    }
}

impl Sysctl {
    /// The range of ephemeral ports.
    pub fn local_port_range(&self) -> std::ops::RangeInclusive<u16> {
        let both = self.ip_local_port_range.load(Ordering::Relaxed);
        let half = |v: u32| u16::try_from(v & 0xffff).unwrap_or(0);
        half(both)..=half(both >> 16)
    }
}
