//! The loopback device. Linux: net/core/net-sysfs.c.

use crate::attribute::{attribute, dir};
use fs_kernfs::Node;

/// Counters that stay at nothing. Linux: `NETSTAT_ENTRY`.
const STATISTICS: [&str; 8] = [
    "rx_bytes",
    "rx_packets",
    "rx_errors",
    "rx_dropped",
    "tx_bytes",
    "tx_packets",
    "tx_errors",
    "tx_dropped",
];

/// Attributes: `type` is ARPHRD_LOOPBACK, `flags` IFF_UP and IFF_LOOPBACK.
const LOOPBACK: [(&str, &str); 13] = [
    ("address", "00:00:00:00:00:00"),
    ("addr_len", "6"),
    ("broadcast", "00:00:00:00:00:00"),
    ("carrier", "1"),
    ("dev_id", "0x0"),
    ("dormant", "0"),
    ("flags", "0x9"),
    ("ifindex", "1"),
    ("iflink", "1"),
    ("mtu", "65536"),
    ("operstate", "unknown"),
    ("tx_queue_len", "1000"),
    ("type", "772"),
];

pub(crate) fn loopback() -> Node {
    let lo = dir();
    for (name, value) in LOOPBACK {
        lo.add(name, attribute(value));
    }
    let statistics = dir();
    for name in STATISTICS {
        statistics.add(name, attribute("0"));
    }
    lo.with("statistics", statistics.node()).node()
}
