//! `/proc/[pid]/timens_offsets`. Linux: fs/proc/base.c, `timens_offsets_write`; kernel/time/namespace.c.

use crate::pid::ProcTask;
use crate::seq::put;
use fs_kernfs::{Node, NodeAttr, NodeOps, SeqNode};
use fs_vfs::{File, TaskContext};
use sentry_auth::{CapSet, ns_capable};
use sentry_kernel::OffsetClock;
use sentry_mm::IoSrc;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM};
use sentry_uapi::time::Timespec;
use std::any::Any;

/// A write must be shorter than a page.
const TEXT_MAX: usize = 4096;

struct Offsets {
    at: ProcTask,
}

pub(crate) fn node(at: &ProcTask) -> Node {
    Node::seq(Offsets { at: at.clone() })
}

impl NodeOps for Offsets {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(0o644, false)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

/// A line: a clock's name or number, seconds, nanoseconds.
fn parse_line(line: &str) -> Option<(OffsetClock, Timespec)> {
    let mut words = line.split_ascii_whitespace();
    let clock = match words.next()? {
        "monotonic" | "1" => OffsetClock::Monotonic,
        "boottime" | "7" => OffsetClock::Boottime,
        _ => return None,
    };
    let tv_sec = words.next()?.parse().ok()?;
    let tv_nsec = words.next()?.parse().ok().filter(|n| (0..1_000_000_000).contains(n))?;
    Some((clock, Timespec { tv_sec, tv_nsec }))
}

/// At most two lines; gives how many bytes they are.
fn parse(text: &str) -> Result<(Vec<(OffsetClock, Timespec)>, usize), Errno> {
    let mut offsets = Vec::new();
    let mut used = 0;
    for line in text.split_inclusive('\n').take(2) {
        offsets.push(parse_line(line).ok_or(EINVAL)?);
        used += line.len();
    }
    if offsets.is_empty() { Err(EINVAL) } else { Ok((offsets, used)) }
}

impl SeqNode for Offsets {
    fn show(&self, _file: &File, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        if let Some(task) = self.at.subject()?.task() {
            let offsets = task.ns().time_for_children.offsets();
            for (clock, Timespec { tv_sec, tv_nsec }) in
                [("monotonic", offsets.monotonic), ("boottime", offsets.boottime)]
            {
                put(out, format_args!("{clock:<10} {tv_sec:>10} {tv_nsec:>9}\n"));
            }
        }
        Ok(())
    }

    fn pwritable(&self) -> bool {
        false
    }

    fn before_write(&self, _file: &File, pos: u64, len: usize) -> Result<(), Errno> {
        if pos != 0 || len >= TEXT_MAX { Err(EINVAL) } else { Ok(()) }
    }

    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        self.before_write(file, pos, src.remaining())?;
        let text = src.read_vec(TEXT_MAX)?;
        let text = str::from_utf8(&text).map_err(|_| EINVAL)?;
        let (offsets, used) = parse(text)?;
        let ns = self.at.task()?.ns().time_for_children.clone();
        if !ns_capable(file.cred(), &ns.user_ns, CapSet::SYS_TIME) {
            return Err(EPERM);
        }
        ns.set_offsets(&ctx.vfs().clocks, &offsets)?;
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_at_most() {
        let ts = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let monotonic = (OffsetClock::Monotonic, ts(86400, 0));
        assert_eq!(parse("monotonic 86400 0\n"), Ok((vec![monotonic], 18)));
        let both = "1 86400 0\nboottime -5 7\nrest";
        assert_eq!(parse(both), Ok((vec![monotonic, (OffsetClock::Boottime, ts(-5, 7))], 24)));
        for bad in ["", "\n", "realtime 1 0", "monotonic 1", "monotonic 1 1000000000", "monotonic x 0"] {
            assert_eq!(parse(bad), Err(EINVAL), "{bad}");
        }
    }
}
