//! `/sys/kernel`. Linux: kernel/ksysfs.c, mm/huge_memory.c.

use crate::attribute::{SIZE, attribute, dir};
use fs_kernfs::{Attrs, Node, NodeAttr, NodeOps, SeqNode, simple};
use fs_vfs::{File, SetAttr, TaskContext};
use sentry_mm::IoSrc;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::any::Any;

/// The ways in which huge pages are used. The choice is remembered and has no effect: pages are the host's.
const CHOICES: [&str; 3] = ["always", "madvise", "never"];

/// Shown as one line with the choice in brackets.
struct HugePages {
    attrs: Attrs,
    chosen: Mutex<usize, { level::LEAF }>,
}

impl NodeOps for HugePages {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(self.attrs.get())
    }

    fn setattr(&self, change: &SetAttr) -> Result<(), Errno> {
        self.attrs.set(change);
        Ok(())
    }
}

impl SeqNode for HugePages {
    fn show(&self, _file: &File, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        let chosen = *self.chosen.lock();
        let words = CHOICES.iter().enumerate();
        let words: Vec<String> =
            words.map(|(at, w)| if at == chosen { format!("[{w}]") } else { (*w).to_owned() }).collect();
        out.extend_from_slice(words.join(" ").as_bytes());
        out.push(b'\n');
        Ok(())
    }

    fn write(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        let value = simple::read_whole(src, pos, simple::STORE_MAX)?;
        let word = value.trim_ascii();
        let chosen = CHOICES.iter().position(|c| c.as_bytes() == word).ok_or(EINVAL)?;
        *self.chosen.lock() = chosen;
        Ok(value.len())
    }
}

pub(crate) fn kernel() -> Node {
    let enabled = HugePages {
        attrs: Attrs::new(NodeAttr { size: SIZE, ..NodeAttr::root(0o644) }),
        chosen: Mutex::new(1),
    };
    let huge = dir().with("enabled", Node::seq(enabled)).with("hpage_pmd_size", attribute("2097152"));
    let mm = dir().with("transparent_hugepage", huge.node()).with("hugepages", dir().node());
    dir().with("mm", mm.node()).with("debug", dir().node()).with("security", dir().node()).node()
}
