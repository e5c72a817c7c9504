//! `/proc/sys/fs`. Linux: the `fs` tables of fs/{file_table,inode,dcache,pipe,locks,namei,exec,aio,eventpoll}.c,
//! fs/notify/inotify/inotify_user.c.

use super::ctl::{computed, dir, fixed, flag, int, parse_numbers, stored, uint};
use crate::procfs::current;
use crate::seq::put;
use fs_kernfs::Node;
use fs_vfs::{NR_OPEN, TaskContext};
use sentry_auth::OVERFLOW_ID;
use sentry_mm::dumpable;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ESRCH};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most files a kernel has open. There is no such limit beyond that of memory.
const FILE_MAX: i64 = i64::MAX;

fn show(value: &AtomicUsize, out: &mut Vec<u8>) -> Result<(), Errno> {
    put(out, format_args!("{}\n", value.load(Ordering::Relaxed)));
    Ok(())
}

fn store(value: &AtomicUsize, bytes: &[u8], min: usize, max: usize) -> Result<(), Errno> {
    let new = parse_numbers(bytes, 1)?.first().and_then(|v| usize::try_from(*v).ok()).ok_or(EINVAL)?;
    if !(min..=max).contains(&new) {
        return Err(EINVAL);
    }
    value.store(new, Ordering::Relaxed);
    Ok(())
}

/// Rounded up to a power of two, at least a page. Linux: `proc_dopipe_max_size`.
fn store_pipe_max_size(ctx: &dyn TaskContext, bytes: &[u8]) -> Result<(), Errno> {
    let new = parse_numbers(bytes, 1)?.first().and_then(|v| usize::try_from(*v).ok()).ok_or(EINVAL)?;
    let size = new.max(4096).checked_next_power_of_two().filter(|s| *s <= 1 << 31).ok_or(EINVAL)?;
    ctx.vfs().pipes.max_size.store(size, Ordering::Relaxed);
    Ok(())
}

/// A protection's level, from 0 on.
macro_rules! protected {
    ($field:ident, $max:literal) => {
        stored(
            0o644,
            |ctx, out| show(&ctx.vfs().protected.$field, out),
            |ctx, bytes| store(&ctx.vfs().protected.$field, bytes, 0, $max),
        )
    };
}

pub(super) fn tree() -> Node {
    dir([
        ("aio-max-nr", aio_max_nr()),
        (
            "aio-nr",
            computed(|ctx, out| {
                put(out, format_args!("{}\n", current(ctx).ok_or(ESRCH)?.kernel().aio.nr()));
                Ok(())
            }),
        ),
        ("dentry-state", fixed("0\t0\t45\t0\t0\t0")),
        ("dir-notify-enable", flag(0o644, true)),
        ("epoll", dir([("max_user_watches", max_user_watches())])),
        ("file-max", int(0o644, FILE_MAX.into(), 0..=FILE_MAX.into())),
        ("file-nr", fixed(format!("0\t0\t{FILE_MAX}"))),
        ("inode-nr", fixed("0\t0")),
        ("inode-state", fixed("0\t0\t0\t0\t0\t0\t0")),
        ("inotify", inotify()),
        ("lease-break-time", uint(0o644, 45)),
        ("leases-enable", flag(0o644, true)),
        ("mount-max", fixed(100_000)),
        ("mqueue", super::ipc::mqueue()),
        ("nr_open", fixed(NR_OPEN)),
        ("overflowgid", fixed(OVERFLOW_ID)),
        ("overflowuid", fixed(OVERFLOW_ID)),
        (
            "pipe-max-size",
            stored(0o644, |ctx, out| show(&ctx.vfs().pipes.max_size, out), store_pipe_max_size),
        ),
        (
            "pipe-user-pages-hard",
            stored(
                0o644,
                |ctx, out| show(&ctx.vfs().pipes.user_pages_hard, out),
                |ctx, bytes| store(&ctx.vfs().pipes.user_pages_hard, bytes, 0, usize::MAX),
            ),
        ),
        (
            "pipe-user-pages-soft",
            stored(
                0o644,
                |ctx, out| show(&ctx.vfs().pipes.user_pages_soft, out),
                |ctx, bytes| store(&ctx.vfs().pipes.user_pages_soft, bytes, 0, usize::MAX),
            ),
        ),
        ("protected_fifos", protected!(fifos, 2)),
        ("protected_hardlinks", protected!(hardlinks, 1)),
        ("protected_regular", protected!(regular, 2)),
        ("protected_symlinks", protected!(symlinks, 1)),
        ("suid_dumpable", suid_dumpable()),
    ])
}

fn aio_max_nr() -> Node {
    stored(
        0o644,
        |ctx, out| {
            put(out, format_args!("{}\n", current(ctx).ok_or(ESRCH)?.kernel().aio.max()));
            Ok(())
        },
        |ctx, bytes| {
            let new = parse_numbers(bytes, 1)?.first().and_then(|v| u64::try_from(*v).ok()).ok_or(EINVAL)?;
            current(ctx).ok_or(ESRCH)?.kernel().aio.set_max(new);
            Ok(())
        },
    )
}

/// Linux: fs/exec.c, `fs_exec_sysctls`.
fn suid_dumpable() -> Node {
    stored(
        0o644,
        |ctx, out| {
            let value = current(ctx).ok_or(ESRCH)?.kernel().suid_dumpable.load(Ordering::Relaxed);
            put(out, format_args!("{value}\n"));
            Ok(())
        },
        |ctx, bytes| {
            let new = parse_numbers(bytes, 1)?.first().and_then(|v| u8::try_from(*v).ok());
            let new = new.filter(|v| *v <= dumpable::ROOT).ok_or(EINVAL)?;
            current(ctx).ok_or(ESRCH)?.kernel().suid_dumpable.store(new, Ordering::Relaxed);
            Ok(())
        },
    )
}

fn max_user_watches() -> Node {
    stored(
        0o644,
        |ctx, out| show(&ctx.vfs().epoll.max_user_watches, out),
        |ctx, bytes| store(&ctx.vfs().epoll.max_user_watches, bytes, 0, usize::MAX),
    )
}

fn inotify() -> Node {
    dir([
        ("max_queued_events", uint(0o644, 16384)),
        ("max_user_instances", uint(0o644, 128)),
        ("max_user_watches", uint(0o644, 65536)),
    ])
}
