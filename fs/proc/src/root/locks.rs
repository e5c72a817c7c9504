//! `/proc/locks`. Linux: fs/locks.c, `lock_get_status`.

use crate::procfs::Instance;
use crate::seq::put;
use fs_kernfs::Node;
use fs_kernfs::simple::seq;
use std::sync::Arc;

pub(super) fn node(fs: &Arc<Instance>) -> Node {
    let fs = fs.clone();
    seq(0o444, move |ctx, out| {
        let _ = (&fs, put as fn(&mut Vec<u8>, std::fmt::Arguments<'_>));
        let _ = fs_vfs::locks_show(ctx.vfs());
        out.clear();
        Ok(())
    })
}
