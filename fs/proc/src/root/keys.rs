//! `/proc/key-users`. Linux: security/keys/proc.c.

use crate::procfs::Instance;
use fs_kernfs::Node;
use fs_kernfs::simple::seq;
use std::sync::Arc;

/// Nobody has a key: a line for the reader's user, with its limits.
pub(super) fn key_users(_fs: &Arc<Instance>) -> Node {
    seq(0o444, |ctx, out| {
        let cred = ctx.cred();
        let uid = cred.user_ns.from_kuid_munged(cred.fsuid);
        crate::seq::put(out, format_args!("{uid:>5}:     0 0/0 0/200 0/20000\n"));
        Ok(())
    })
}
