//! `/proc/keys` and `/proc/key-users`. Linux: security/keys/proc.c.

use crate::procfs::{Instance, current};
use crate::seq::put;
use fs_kernfs::Node;
use fs_kernfs::simple::seq;
use sentry_auth::Kuid;
use sentry_auth::keys::{KeyOwner, KeyType};
use sentry_uapi::errno::ESRCH;
use std::sync::Arc;

/// The keys that the reader may see.
pub(super) fn keys(_fs: &Arc<Instance>) -> Node {
    seq(0o444, |ctx, out| {
        let kernel = current(ctx).ok_or(ESRCH)?.kernel().clone();
        let (cred, now) = (ctx.cred(), kernel.clocks.realtime().tv_sec);
        for found in kernel.keys.visible(&cred, &cred.user_ns, now) {
            let key = &found.key;
            let KeyOwner { uid, gid, perm } = key.owner();
            let (uid, gid) = (cred.user_ns.from_kuid_munged(uid), cred.user_ns.from_kgid_munged(gid));
            let state = if key.validate(now).is_ok() { "I--Q---" } else { "IR-Q---" };
            let uses = Arc::strong_count(key);
            put(
                out,
                format_args!(
                    "{:08x} {state} {uses:>5} perm {perm:08x} {uid:>5} {gid:>5} {:<9} ",
                    key.serial(),
                    key.key_type().name()
                ),
            );
            out.extend_from_slice(key.description());
            let size = key.read().map_or(0, |payload| payload.len());
            match key.key_type() {
                KeyType::Keyring if size == 0 => put(out, format_args!(": empty\n")),
                KeyType::Keyring => put(out, format_args!(": {}\n", size / size_of::<i32>())),
                KeyType::User => put(out, format_args!(": {size}\n")),
                KeyType::Logon => put(out, format_args!("\n")),
            }
        }
        Ok(())
    })
}

/// How many keys the reader's user has, and what it may have.
pub(super) fn key_users(_fs: &Arc<Instance>) -> Node {
    seq(0o444, |ctx, out| {
        let cred = ctx.cred();
        let (keys, bytes) = current(ctx).ok_or(ESRCH)?.kernel().keys.usage(cred.fsuid);
        let (max_keys, max_bytes) =
            if cred.fsuid == Kuid::GLOBAL_ROOT { (1_000_000, 25_000_000) } else { (200, 20_000) };
        let uid = cred.user_ns.from_kuid_munged(cred.fsuid);
        put(out, format_args!("{uid:>5}: {keys:>5} {keys}/{keys} {keys}/{max_keys} {bytes}/{max_bytes}\n"));
        Ok(())
    })
}
