//! Opening a pipe by its name. Linux: fs/pipe.c, `fifo_open`.

use super::{Pipe, PipeEnd};
use crate::{FileOps, Inode, TaskContext, wait_event};
use sentry_sync::ANY_EVENT;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENXIO};
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;

/// Opens a FIFO, or an end of an anonymous pipe through `/proc/[pid]/fd`. Waits until the other side is opened too, but not
/// with O_NONBLOCK or O_RDWR, nor for an anonymous pipe.
///
/// # Errors
/// `ENXIO` for writing with O_NONBLOCK while nobody reads; `EINVAL` for an access mode of 3; `ERESTARTSYS`; `ENFILE` beyond
/// the user's share of pipe memory.
pub fn open_fifo(
    inode: &Arc<Inode>,
    ctx: &dyn TaskContext,
    flags: OpenFlags,
) -> Result<Box<dyn FileOps>, Errno> {
    let pipe = match inode.attached::<Pipe>() {
        Some(pipe) => pipe,
        None => {
            let new = Pipe::new(ctx.vfs(), &ctx.cred(), false)?;
            inode.attached_or(|| new)
        }
    };
    let nonblock = flags.contains(OpenFlags::NONBLOCK);
    let (read, write) = (flags.readable(), flags.writable());
    if !read && !write {
        return Err(EINVAL);
    }
    let mut ring = pipe.ring.lock();
    if !read && !pipe.anonymous && nonblock && ring.readers == 0 {
        return Err(ENXIO);
    }
    let mut first = false;
    if read {
        ring.add_readers();
        first |= ring.readers == 1;
    }
    if write {
        ring.add_writers();
        first |= ring.writers == 1;
    }
    let alone = !pipe.anonymous && (ring.readers == 0 || ring.writers == 0);
    let (readers_seen, writers_seen) = (ring.first_readers, ring.first_writers);
    drop(ring);
    if first {
        // Those waiting below for a partner.
        pipe.readers.io.wake_all(ANY_EVENT);
    }
    let opened_at = (alone && read && nonblock).then_some(writers_seen);
    let end = PipeEnd::new(pipe.clone(), read, write, opened_at);
    if alone && !nonblock {
        // The counters rather than the counts: a partner that has come and gone again has been there.
        wait_event(ctx, &pipe.readers.io, None, || {
            let ring = pipe.ring.lock();
            let come =
                if read { ring.first_writers != writers_seen } else { ring.first_readers != readers_seen };
            come.then_some(())
        })?;
    }
    Ok(Box::new(end))
}
