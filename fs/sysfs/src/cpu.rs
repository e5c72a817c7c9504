//! `/sys/devices/system/cpu`. Linux: drivers/base/cpu.c, drivers/base/topology.c.

use crate::attribute::{attribute, dir};
use fs_kernfs::{Node, StaticDir};
use std::fmt::Write as _;

/// Bits of a word of a mask as it is printed. Linux: lib/vsprintf.c, `bitmap_string`.
const WORD: u32 = 32;

/// `0-3`, or `0` for one: the processors up to `count`.
pub(crate) fn list(count: u32) -> String {
    match count {
        0 => String::new(),
        1 => "0".to_owned(),
        n => format!("0-{}", n - 1),
    }
}

/// A mask with the bits of `set` out of `count` processors, in words of 32 bits with commas between.
pub(crate) fn mask(count: u32, set: impl Fn(u32) -> bool) -> String {
    let words = count.div_ceil(WORD).max(1);
    let mut out = String::new();
    for word in (0..words).rev() {
        let first = word * WORD;
        let bits = (0..WORD).filter(|bit| first + bit < count && set(first + bit));
        let value = bits.fold(0u32, |value, bit| value | (1 << bit));
        // The first word has as many digits as its processors need.
        let width = if word + 1 == words { (count - first).div_ceil(4).max(1) } else { 8 };
        let width = usize::try_from(width).unwrap_or(8);
        let comma = if word == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(out, "{value:0width$x}{comma}");
    }
    out
}

/// One socket of cores without threads.
fn topology(cpu: u32, count: u32) -> StaticDir {
    let all = (list(count), mask(count, |_| true));
    let own = (cpu.to_string(), mask(count, |other| other == cpu));
    dir()
        .with("physical_package_id", attribute("0"))
        .with("die_id", attribute("0"))
        .with("core_id", attribute(cpu.to_string()))
        .with("core_cpus", attribute(own.1.clone()))
        .with("core_cpus_list", attribute(own.0.clone()))
        .with("thread_siblings", attribute(own.1))
        .with("thread_siblings_list", attribute(own.0))
        .with("core_siblings", attribute(all.1.clone()))
        .with("core_siblings_list", attribute(all.0.clone()))
        .with("die_cpus", attribute(all.1.clone()))
        .with("die_cpus_list", attribute(all.0.clone()))
        .with("package_cpus", attribute(all.1))
        .with("package_cpus_list", attribute(all.0))
}

pub(crate) fn cpu(count: u32) -> Node {
    let all = list(count);
    let cpus = dir()
        .with("online", attribute(all.clone()))
        .with("possible", attribute(all.clone()))
        .with("present", attribute(all))
        .with("offline", attribute(""))
        .with("isolated", attribute(""))
        .with("kernel_max", attribute(count.saturating_sub(1).to_string()));
    for cpu in 0..count {
        let one = dir().with("topology", topology(cpu, count).node());
        if cpu > 0 {
            // The first one cannot be taken away, and so has no such file.
            one.add("online", attribute("1"));
        }
        cpus.add(format!("cpu{cpu}"), one.node());
    }
    cpus.node()
}
