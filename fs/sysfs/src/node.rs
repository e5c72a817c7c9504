//! `/sys/devices/system/node`: one node with all processors. Linux: drivers/base/node.c.

use crate::attribute::{attribute, dir};
use crate::cpu::{list, mask};
use fs_kernfs::Node;

pub(crate) fn node(cpus: u32) -> Node {
    let node0 = dir()
        .with("cpulist", attribute(list(cpus)))
        .with("cpumap", attribute(mask(cpus, |_| true)))
        .with("distance", attribute("10"));
    dir()
        .with("online", attribute("0"))
        .with("possible", attribute("0"))
        .with("has_cpu", attribute("0"))
        .with("has_memory", attribute("0"))
        .with("has_normal_memory", attribute("0"))
        .with("node0", node0.node())
        .node()
}
