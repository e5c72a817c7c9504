//! Linux: drivers/net/loopback.c, net/core/dev.c, and net/ethernet/eth.c for `eth0`, an Ethernet device whose cable is
//! unplugged: nothing is sent or received, and it never has an address.

use sentry_uapi::if_::{
    ARPHRD_ETHER, ARPHRD_LOOPBACK, IFF_BROADCAST, IFF_LOOPBACK, IFF_LOWER_UP, IFF_MULTICAST, IFF_RUNNING,
    IFF_UP,
};
use std::sync::atomic::{AtomicBool, Ordering};

/// Number of the loopback.
pub(crate) const LO_IFINDEX: i32 = 1;
/// Number of the Ethernet device.
const ETH_IFINDEX: i32 = 2;
/// Largest packet of the loopback.
pub(crate) const LO_MTU: u32 = 65536;
/// Largest packet of Ethernet. Linux: include/uapi/linux/if_ether.h, `ETH_DATA_LEN`.
const ETH_MTU: u32 = 1500;

/// What an interface is to its user. Linux: include/uapi/linux/if.h, `IF_OPER_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperState {
    /// It cannot tell.
    Unknown = 0,
    /// Nothing gets through.
    Down = 2,
}

impl OperState {
    /// As sysfs has it.
    pub fn name(self) -> &'static str {
        match self {
            OperState::Unknown => "unknown",
            OperState::Down => "down",
        }
    }
}

/// A network interface of a namespace.
pub struct NetDevice {
    /// Its name.
    pub name: &'static str,
    /// Its number.
    pub ifindex: i32,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Length of its queue.
    pub tx_queue_len: u32,
    /// Hardware type: `ARPHRD_*`.
    pub hw_type: u16,
    /// Hardware address.
    pub address: [u8; 6],
    /// Hardware address of everybody.
    pub broadcast: [u8; 6],
    up: AtomicBool,
}

impl NetDevice {
    pub(crate) fn loopback(up: bool) -> NetDevice {
        NetDevice {
            name: "lo",
            ifindex: LO_IFINDEX,
            mtu: LO_MTU,
            tx_queue_len: 1000,
            hw_type: ARPHRD_LOOPBACK,
            address: [0; 6],
            broadcast: [0; 6],
            up: AtomicBool::new(up),
        }
    }

    /// `eth0`, up and without a carrier.
    pub(crate) fn ethernet(address: [u8; 6]) -> NetDevice {
        NetDevice {
            name: "eth0",
            ifindex: ETH_IFINDEX,
            mtu: ETH_MTU,
            tx_queue_len: 1000,
            hw_type: ARPHRD_ETHER,
            address,
            broadcast: [0xff; 6],
            up: AtomicBool::new(true),
        }
    }

    /// Whether it is the loopback, which is its own other end.
    pub fn is_loopback(&self) -> bool {
        self.hw_type == ARPHRD_LOOPBACK
    }

    /// Whether it was set up. A new namespace's loopback was not.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// `ip link set … up`, or down.
    pub fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    /// Whether something is at the other end. Linux: `netif_carrier_ok`.
    pub fn carrier(&self) -> bool {
        self.is_loopback()
    }

    /// Linux: net/core/link_watch.c, `default_operstate`.
    pub fn operstate(&self) -> OperState {
        if self.is_up() && self.carrier() { OperState::Unknown } else { OperState::Down }
    }

    /// What somebody has set, as sysfs shows it. Linux: `dev->flags`.
    pub fn set_flags(&self) -> u16 {
        let own = if self.is_loopback() { IFF_LOOPBACK } else { IFF_BROADCAST | IFF_MULTICAST };
        if self.is_up() { own | IFF_UP } else { own }
    }

    /// `ifr_flags`. Linux: `dev_get_flags`.
    pub(crate) fn flags(&self) -> u16 {
        let running = self.is_up() && self.carrier();
        if running { self.set_flags() | IFF_RUNNING } else { self.set_flags() }
    }

    /// `ifi_flags`, which are more.
    pub(crate) fn link_flags(&self) -> u32 {
        let lower = if self.is_up() && self.carrier() { IFF_LOWER_UP } else { 0 };
        u32::from(self.flags()) | lower
    }

    /// Name of its queueing discipline.
    pub(crate) fn qdisc(&self) -> &'static str {
        match (self.is_up(), self.is_loopback()) {
            (false, _) => "noop",
            (true, true) => "noqueue",
            (true, false) => "pfifo_fast",
        }
    }
}
