//! Linux: fs/pipe.c.
//!
//! Differs: no process, however privileged, gets a pipe larger than `pipe-max-size`, and the pages of all pipes together
//! are bounded, since they are the sentry's memory.
//!
//! Readers and writers that block wait exclusively, apart from poll(2) and epoll: a wake-up reaches one of them, and
//! whoever leaves data or room behind wakes the next.

mod fifo;
mod limits;
mod ring;
mod splice;
#[cfg(test)]
mod tests;

pub use fifo::open_fifo;
pub use limits::PipeLimits;
use ring::PIPE_PAGE;

use crate::{File, FileOps, PollTable, Pseudo, TaskContext, Vfs, Written};
use ring::Ring;
use sentry_auth::{Cred, Kuid};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::{ANY_EVENT, Mutex, MutexGuard, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EINVAL, ENOPKG, ENOTTY, EPIPE};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::ioctl::FIONREAD;
use sentry_uapi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use sentry_uapi::signal::SIGPIPE;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What poll(2) calls readable.
pub(crate) const READABLE: u32 = POLLIN | POLLRDNORM;
/// What poll(2) calls writable.
pub(crate) const WRITABLE: u32 = POLLOUT | POLLWRNORM;

/// A pipe, with a name (a FIFO) or without. Linux: `struct pipe_inode_info`.
pub(crate) struct Pipe {
    ring: Mutex<Ring, { level::BUFFER }>,
    readers: Waiters,
    writers: Waiters,
    /// poll(2) or epoll has looked at it: then every write counts as an event, not only the first. Linux: `poll_usage`.
    polled: AtomicBool,
    /// Made by pipe(2): opening it through /proc never waits.
    anonymous: bool,
    limits: Arc<PipeLimits>,
    /// Who is charged for it.
    owner: Kuid,
}

/// Those who wait for one of the two states of a pipe.
struct Waiters {
    /// In read(2), write(2) and open(2).
    io: WaitQueue,
    /// In poll(2) and epoll.
    poll: WaitQueue,
}

impl Waiters {
    fn new() -> Waiters {
        Waiters { io: WaitQueue::new(), poll: WaitQueue::new() }
    }

    fn wake_all(&self) {
        self.io.wake_all(ANY_EVENT);
        self.poll.wake_all(ANY_EVENT);
    }
}

impl Pipe {
    fn new(vfs: &Arc<Vfs>, cred: &Cred, anonymous: bool) -> Result<Pipe, Errno> {
        let owner = cred.uid;
        let slots = vfs.pipes.charge_new(owner, cred)?;
        Ok(Pipe {
            ring: Mutex::new(Ring::new(slots)),
            readers: Waiters::new(),
            writers: Waiters::new(),
            polled: AtomicBool::new(false),
            anonymous,
            limits: vfs.pipes.clone(),
            owner,
        })
    }

    /// Reads what is there, or one packet. `EAGAIN` when it is empty and somebody may still write.
    pub(crate) fn read(&self, dst: &mut IoDst<'_>) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let mut ring = self.ring.lock();
        let was_full = ring.is_full();
        let result = ring.read(dst, &self.limits);
        self.consumed(ring, was_full);
        result
    }

    /// Wakes whom a read concerns.
    fn consumed(&self, ring: MutexGuard<'_, Ring, { level::BUFFER }>, was_full: bool) {
        let room = was_full && !ring.is_full();
        let left = !ring.is_empty();
        drop(ring);
        if room {
            self.writers.io.wake(WRITABLE);
            self.writers.poll.wake(WRITABLE);
        }
        if left {
            self.readers.io.wake(READABLE);
        }
    }

    /// Writes as much as there is room for; what fits in a page goes whole or not at all. `EAGAIN` when it is full.
    pub(crate) fn write(
        &self,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        packet: bool,
    ) -> Result<usize, Errno> {
        if src.remaining() == 0 {
            return Ok(0);
        }
        let mut ring = self.ring.lock();
        if ring.readers == 0 {
            drop(ring);
            ctx.send_sig(SIGPIPE);
            return Err(EPIPE);
        }
        let was_empty = ring.is_empty();
        let result = ring.write(src, packet, &self.limits);
        self.produced(ring, was_empty, matches!(result, Ok(n) if n > 0));
        result
    }

    /// Wakes whom a write concerns.
    fn produced(&self, ring: MutexGuard<'_, Ring, { level::BUFFER }>, was_empty: bool, wrote: bool) {
        let room = !ring.is_full();
        drop(ring);
        if wrote && was_empty {
            self.readers.io.wake(READABLE);
        }
        if wrote && (was_empty || self.polled.load(Ordering::SeqCst)) {
            self.readers.poll.wake(READABLE);
        }
        if room {
            self.writers.io.wake(WRITABLE);
        }
    }

    /// Bytes to read. Linux: `FIONREAD`.
    fn len(&self) -> usize {
        self.ring.lock().len()
    }

    /// F_GETPIPE_SZ.
    fn size(&self) -> usize {
        self.ring.lock().slots() * PIPE_PAGE
    }

    /// F_SETPIPE_SZ: room for at least `bytes`; returns how much it is now. Linux: `pipe_set_size`.
    fn set_size(&self, cred: &Cred, bytes: u32) -> Result<usize, Errno> {
        let slots = limits::slots_for(bytes).ok_or(EINVAL)?;
        let mut ring = self.ring.lock();
        let old = ring.slots();
        self.limits.may_resize(self.owner, cred, old, slots)?;
        ring.resize(slots)?;
        self.limits.charge(self.owner, old, slots);
        let room = !ring.is_full();
        drop(ring);
        if room {
            self.writers.io.wake(WRITABLE);
            self.writers.poll.wake(WRITABLE);
        }
        Ok(slots * PIPE_PAGE)
    }

    /// Forgets an end; the last one empties the pipe. Linux: `pipe_release`.
    fn put(&self, read: bool, write: bool) {
        let mut ring = self.ring.lock();
        ring.readers -= usize::from(read);
        ring.writers -= usize::from(write);
        if ring.readers == 0 && ring.writers == 0 {
            let old = ring.slots();
            let freed = ring.reset();
            self.limits.charge(self.owner, old, ring.slots());
            self.polled.store(false, Ordering::SeqCst);
            drop(ring);
            self.limits.free_pages(freed);
            return;
        }
        let alone = (ring.readers == 0) != (ring.writers == 0);
        drop(ring);
        if alone {
            self.readers.wake_all();
            self.writers.wake_all();
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let ring = self.ring.get_mut();
        let slots = ring.slots();
        let freed = ring.reset();
        self.limits.free_pages(freed);
        self.limits.charge(self.owner, slots, 0);
    }
}

/// One end of a pipe, or both in one (a FIFO opened with O_RDWR).
pub(crate) struct PipeEnd {
    pipe: Arc<Pipe>,
    read: bool,
    write: bool,
    /// How often there had been a first writer when this was opened without one: no hang-up is shown before another has
    /// come. Linux: `f_version`.
    opened_at: Option<u64>,
}

impl PipeEnd {
    /// Takes over one reader, one writer or both, which the caller has counted.
    fn new(pipe: Arc<Pipe>, read: bool, write: bool, opened_at: Option<u64>) -> PipeEnd {
        PipeEnd { pipe, read, write, opened_at }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.pipe.put(self.read, self.write);
    }
}

impl FileOps for PipeEnd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        self.pipe.read(dst)
    }

    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        _pos: u64,
    ) -> Result<Written, Errno> {
        let packet = file.flags().contains(OpenFlags::DIRECT);
        Ok(Written { count: self.pipe.write(ctx, src, packet)?, end: 0 })
    }

    fn seekable(&self) -> bool {
        false
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        let pipe = &self.pipe;
        if let Some(events) = table.io_events() {
            if self.read && events & POLLIN != 0 {
                table.wait_io(&pipe.readers.io);
            }
            if self.write && events & POLLOUT != 0 {
                table.wait_io(&pipe.writers.io);
            }
        } else {
            pipe.polled.store(true, Ordering::SeqCst);
            if self.read {
                table.wait(&pipe.readers.poll);
            }
            if self.write {
                table.wait(&pipe.writers.poll);
            }
        }
        let ring = pipe.ring.lock();
        let mut mask = 0;
        if self.read {
            if !ring.is_empty() {
                mask |= READABLE;
            }
            if ring.writers == 0 && self.opened_at != Some(ring.first_writers) {
                mask |= POLLHUP;
            }
        }
        if self.write {
            if !ring.is_full() {
                mask |= WRITABLE;
            }
            if ring.readers == 0 {
                mask |= POLLERR;
            }
        }
        mask
    }

    fn ioctl(&self, _file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        if cmd != FIONREAD {
            return Err(ENOTTY);
        }
        let len = i32::try_from(self.pipe.len()).unwrap_or(i32::MAX);
        ctx.mm()?.write_obj(arg, &len)?;
        Ok(0)
    }
}

/// pipe2(2): the reading and the writing end. Of `flags`, O_CLOEXEC is the caller's.
///
/// # Errors
/// `EINVAL` for flags other than O_CLOEXEC, O_NONBLOCK, O_DIRECT; `ENOPKG` for O_NOTIFICATION_PIPE, as of a kernel without
/// watch queues; `ENFILE` beyond the user's share. Linux: `do_pipe2`.
pub fn do_pipe2(ctx: &dyn TaskContext, flags: OpenFlags) -> Result<(Arc<File>, Arc<File>), Errno> {
    /// O_NOTIFICATION_PIPE.
    const NOTIFICATION: OpenFlags = OpenFlags::EXCL;
    let known = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT | NOTIFICATION;
    if flags.bits() & !known.bits() != 0 {
        return Err(EINVAL);
    }
    if flags.contains(NOTIFICATION) {
        return Err(ENOPKG);
    }
    let vfs = ctx.vfs();
    let cred = ctx.cred();
    let new = Pipe::new(vfs, &cred, true)?;
    let inode = vfs.pseudo_inode(Pseudo::Pipe, &cred);
    let pipe = inode.attached_or(|| new);
    {
        let mut ring = pipe.ring.lock();
        ring.add_readers();
        ring.add_writers();
    }
    let path = vfs.pseudo_path(Pseudo::Pipe, inode.clone(), format!("pipe:[{}]", inode.ino()).as_bytes());
    let reader = Box::new(PipeEnd::new(pipe.clone(), true, false, None));
    let writer = Box::new(PipeEnd::new(pipe, false, true, None));
    let read_flags = flags & OpenFlags::NONBLOCK;
    let write_flags = OpenFlags::WRONLY | (flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT));
    let read = File::new(path.clone(), inode.clone(), reader, read_flags, cred.clone());
    let write = File::new(path, inode, writer, write_flags, cred);
    Ok((read, write))
}

/// fcntl(F_GETPIPE_SZ), in bytes. `EBADF` for what is no pipe. Linux: `pipe_fcntl`.
pub fn pipe_get_size(file: &File) -> Result<usize, Errno> {
    Ok(file.downcast::<PipeEnd>().ok_or(EBADF)?.pipe.size())
}

/// fcntl(F_SETPIPE_SZ): the new size, a power of two of at least a page.
///
/// # Errors
/// `EBADF` for what is no pipe; `EINVAL` for a size beyond 2 GiB; `EPERM` beyond `pipe-max-size` or the user's share;
/// `EBUSY` when more than that is in the pipe.
pub fn pipe_set_size(file: &File, cred: &Cred, bytes: u32) -> Result<usize, Errno> {
    file.downcast::<PipeEnd>().ok_or(EBADF)?.pipe.set_size(cred, bytes)
}
