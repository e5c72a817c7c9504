//! Linux: fs/eventfd.c.

use crate::{File, FileOps, PollTable, Pseudo, TaskContext, Written};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::WaitQueue;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EFAULT, EINVAL};
use sentry_uapi::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLERR, POLLIN, POLLOUT};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter to wait on. Linux: `struct eventfd_ctx`.
struct EventFd {
    count: AtomicU64,
    queue: WaitQueue,
    semaphore: bool,
    id: u64,
}

impl EventFd {
    /// Takes the counter, or one off it. Linux: `eventfd_ctx_do_read`.
    fn take(&self) -> Result<u64, Errno> {
        let after = |n| match (n, self.semaphore) {
            (0, _) => None,
            (n, true) => Some(n - 1),
            (_, false) => Some(0),
        };
        let before =
            self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, after).map_err(|_| EAGAIN)?;
        self.queue.wake(POLLOUT);
        Ok(if self.semaphore { 1 } else { before })
    }

    /// Adds to the counter. `EAGAIN` if it would pass its maximum, `u64::MAX - 1`.
    fn add(&self, n: u64) -> Result<(), Errno> {
        let after = |old: u64| old.checked_add(n).filter(|new| *new != u64::MAX);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, after).map_err(|_| EAGAIN)?;
        self.queue.wake(POLLIN);
        Ok(())
    }
}

impl FileOps for EventFd {
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
        if dst.remaining() < size_of::<u64>() {
            return Err(EINVAL);
        }
        let value = self.take()?.to_ne_bytes();
        if dst.write(&value)? < value.len() { Err(EFAULT) } else { Ok(value.len()) }
    }

    fn write(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        _pos: u64,
    ) -> Result<Written, Errno> {
        let mut value = [0; size_of::<u64>()];
        if src.remaining() < value.len() {
            return Err(EINVAL);
        }
        let taken = src.read(&mut value)?;
        let value = u64::from_ne_bytes(value);
        let result = match (taken < size_of::<u64>(), value) {
            (true, _) => Err(EFAULT),
            (false, u64::MAX) => Err(EINVAL),
            (false, n) => self.add(n),
        };
        if let Err(e) = result {
            src.revert(taken);
            return Err(e);
        }
        // The rest of a longer buffer is not looked at, and there is nothing to wait for.
        src.advance(src.remaining());
        Ok(Written { count: taken, end: 0 })
    }

    fn seekable(&self) -> bool {
        false
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait(&self.queue);
        let count = self.count.load(Ordering::SeqCst);
        let mut mask = 0;
        if count > 0 {
            mask |= POLLIN;
        }
        if count == u64::MAX {
            mask |= POLLERR;
        }
        if count < u64::MAX - 1 {
            mask |= POLLOUT;
        }
        mask
    }

    fn show_fdinfo(&self, _file: &File) -> String {
        format!("eventfd-count: {:16x}\neventfd-id: {}\n", self.count.load(Ordering::Relaxed), self.id)
    }
}

/// eventfd2(2). Of `flags`, EFD_CLOEXEC is the caller's. `EINVAL` for unknown flags. Linux: `do_eventfd`.
pub fn do_eventfd(ctx: &dyn TaskContext, count: u32, flags: u32) -> Result<Arc<File>, Errno> {
    if flags & !(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE) != 0 {
        return Err(EINVAL);
    }
    let ops = EventFd {
        count: AtomicU64::new(count.into()),
        queue: WaitQueue::new(),
        semaphore: flags & EFD_SEMAPHORE != 0,
        id: ctx.vfs().alloc_ino(),
    };
    let mut open = OpenFlags::RDWR;
    open.set(OpenFlags::NONBLOCK, flags & EFD_NONBLOCK != 0);
    Ok(ctx.vfs().pseudo_file(Pseudo::Anon, "[eventfd]", Box::new(ops), open, ctx.cred()))
}

/// Adds one on the kernel's behalf. Linux: `eventfd_signal`.
///
/// # Errors
/// `EINVAL` for a file that is no eventfd; `EAGAIN` for one at its maximum.
pub fn eventfd_signal(file: &File) -> Result<(), Errno> {
    file.downcast::<EventFd>().ok_or(EINVAL)?.add(1)
}

/// Whether a file is an eventfd. Linux: `eventfd_ctx_fileget`.
///
/// # Errors
/// `EINVAL` if not.
pub fn eventfd_fget(file: &File) -> Result<(), Errno> {
    file.downcast::<EventFd>().map(drop).ok_or(EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IoFlags, TestContext};

    fn read(ctx: &TestContext, file: &File) -> Result<u64, Errno> {
        let mut buf = [0; 8];
        file.read(ctx, &mut IoDst::from_slice(&mut buf), IoFlags::empty())?;
        Ok(u64::from_ne_bytes(buf))
    }

    fn write(ctx: &TestContext, file: &File, n: u64) -> Result<usize, Errno> {
        file.write(ctx, &mut IoSrc::from_slice(&n.to_ne_bytes()), IoFlags::empty())
    }

    #[test]
    fn a_counter_is_taken_whole_and_a_semaphore_by_ones() -> Result<(), Errno> {
        let ctx = TestContext::new();
        let file = do_eventfd(&ctx, 3, EFD_NONBLOCK)?;
        assert_eq!(write(&ctx, &file, 4), Ok(8));
        assert_eq!(read(&ctx, &file), Ok(7));
        assert_eq!(read(&ctx, &file), Err(EAGAIN));
        assert_eq!(file.poll_now(), POLLOUT);
        let sem = do_eventfd(&ctx, 2, EFD_NONBLOCK | EFD_SEMAPHORE)?;
        assert_eq!((read(&ctx, &sem), read(&ctx, &sem), read(&ctx, &sem)), (Ok(1), Ok(1), Err(EAGAIN)));
        Ok(())
    }

    #[test]
    fn the_maximum_is_one_below_all_ones() -> Result<(), Errno> {
        let ctx = TestContext::new();
        let file = do_eventfd(&ctx, 1, EFD_NONBLOCK)?;
        assert_eq!(write(&ctx, &file, u64::MAX), Err(EINVAL));
        assert_eq!(write(&ctx, &file, u64::MAX - 1), Err(EAGAIN));
        assert_eq!(write(&ctx, &file, u64::MAX - 2), Ok(8));
        assert_eq!(file.poll_now(), POLLIN);
        let short = file.write(&ctx, &mut IoSrc::from_slice(&[0; 7]), IoFlags::empty());
        assert_eq!(short, Err(EINVAL));
        let long = file.write(&ctx, &mut IoSrc::from_slice(&[0; 20]), IoFlags::empty());
        assert_eq!(long, Ok(8));
        assert_eq!(do_eventfd(&ctx, 0, 1 << 20).err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn a_blocked_writer_goes_on_after_a_read() -> Result<(), Errno> {
        let ctx = TestContext::new();
        let file = do_eventfd(&ctx, 1, 0)?;
        let other = ctx.sibling(2, (*ctx.cred()).clone());
        let writer = file.clone();
        let thread = std::thread::spawn(move || write(&other, &writer, u64::MAX - 1));
        assert_eq!(read(&ctx, &file), Ok(1));
        assert_eq!(thread.join().ok(), Some(Ok(8)));
        assert_eq!(read(&ctx, &file), Ok(u64::MAX - 1));
        Ok(())
    }
}
