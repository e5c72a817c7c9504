//! Network interfaces. Linux: net/core/net-sysfs.c.

use crate::attribute::dir;
use fs_kernfs::simple::{seq, symlink};
use fs_kernfs::{Node, StaticDir};
use sentry_net::{NetDevice, NetNamespace};
use sentry_uapi::errno::EINVAL;
use std::sync::Arc;

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

/// What an attribute shows; `EINVAL` where it is `None`, as of an interface that is down.
type Show = fn(&NetDevice) -> Option<String>;

const ATTRIBUTES: [(&str, Show); 13] = [
    ("address", |dev| Some(hw_address(dev.address))),
    ("addr_len", |dev| Some(dev.address.len().to_string())),
    ("broadcast", |dev| Some(hw_address(dev.broadcast))),
    ("carrier", |dev| dev.is_up().then(|| u8::from(dev.carrier()).to_string())),
    ("dev_id", |_| Some("0x0".into())),
    ("dormant", |dev| dev.is_up().then(|| "0".into())),
    ("flags", |dev| Some(format!("{:#x}", dev.set_flags()))),
    ("ifindex", |dev| Some(dev.ifindex.to_string())),
    ("iflink", |dev| Some(dev.ifindex.to_string())),
    ("mtu", |dev| Some(dev.mtu.to_string())),
    ("operstate", |dev| Some(dev.operstate().name().into())),
    ("tx_queue_len", |dev| Some(dev.tx_queue_len.to_string())),
    ("type", |dev| Some(dev.hw_type.to_string())),
];

fn hw_address(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn device(net: &Arc<NetNamespace>, ifindex: i32) -> Node {
    let mut made = dir();
    for (name, show) in ATTRIBUTES {
        let net = net.clone();
        let node = seq(0o444, move |_, out| {
            let dev = net.devices().find(|dev| dev.ifindex == ifindex);
            let value = dev.and_then(show).ok_or(EINVAL)?;
            out.extend_from_slice(value.as_bytes());
            out.push(b'\n');
            Ok(())
        });
        made = made.with(name, node);
    }
    let statistics =
        STATISTICS.iter().fold(dir(), |dir, name| dir.with(*name, crate::attribute::attribute("0")));
    made.with("statistics", statistics.node()).node()
}

/// `/sys/devices/virtual/net` and `/sys/class/net` for a namespace; empty without one.
pub(crate) fn devices(net: Option<&Arc<NetNamespace>>) -> (StaticDir, StaticDir) {
    let (mut virt, mut class) = (dir(), dir());
    if let Some(net) = net {
        for dev in net.devices() {
            virt = virt.with(dev.name, device(net, dev.ifindex));
            class = class.with(dev.name, symlink(format!("../../devices/virtual/net/{}", dev.name)));
        }
    }
    (virt, class)
}
