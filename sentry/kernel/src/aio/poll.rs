//! Polls. Linux: fs/aio.c, `aio_poll`, `aio_poll_complete_work`, `aio_poll_cancel`.

use super::Kioctx;
use crate::deferred::{Deferred, DeferredQueue};
use fs_vfs::{File, PollTable, eventfd_signal};
use sentry_sync::{Mutex, Wake, Woken, level};
use sentry_uapi::Errno;
use sentry_uapi::aio_abi::IoEvent;
use sentry_uapi::errno::{EINPROGRESS, EINVAL};
use sentry_uapi::poll::{POLLERR, POLLHUP};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// A poll that waits.
pub(super) struct AioPoll {
    this: Weak<AioPoll>,
    ctx: Weak<Kioctx>,
    queue: Arc<DeferredQueue>,
    file: Arc<File>,
    eventfd: Option<Arc<File>>,
    /// Events asked for.
    events: u32,
    /// What the completion says of the request.
    data: u64,
    obj: u64,
    table: Mutex<Option<PollTable>, { level::LEAF }>,
    queued: AtomicBool,
}

impl Wake for AioPoll {
    /// Under the file's locks: the look at its state is left to a thread that holds none.
    fn wake(&self, _events: u32) -> Woken {
        if !self.queued.swap(true, Ordering::AcqRel)
            && let Some(this) = self.this.upgrade()
        {
            self.queue.push(this);
        }
        Woken::NOBODY
    }
}

impl Deferred for AioPoll {
    fn run(&self) {
        self.queued.store(false, Ordering::Release);
        let events = self.file.ops().poll(&self.file, &mut PollTable::query()) & self.events;
        if events != 0 {
            self.finish(events);
        }
    }
}

impl AioPoll {
    /// Completes, unless it has completed or been cancelled.
    fn finish(&self, events: u32) {
        let Some(ctx) = self.ctx.upgrade() else { return };
        if ctx.take_poll(|p| std::ptr::eq(p, self)).is_none() {
            return;
        }
        let table = self.table.lock().take();
        drop(table);
        ctx.complete(&IoEvent { data: self.data, obj: self.obj, res: events.into(), res2: 0 });
        if let Some(eventfd) = &self.eventfd {
            // A counter at its maximum stays there.
            let _ = eventfd_signal(eventfd);
        }
    }
}

impl Kioctx {
    /// Waits for `events` of a file; a request has been set under way.
    ///
    /// # Errors
    /// `EINVAL` when the kernel is going down.
    pub fn poll(
        self: &Arc<Self>,
        file: &Arc<File>,
        eventfd: Option<Arc<File>>,
        events: u32,
        data: u64,
        obj: u64,
    ) -> Result<(), Errno> {
        let kernel = self.kernel.upgrade().ok_or(EINVAL)?;
        kernel.deferred.start();
        let events = events | POLLERR | POLLHUP;
        let poll = Arc::new_cyclic(|this| AioPoll {
            this: this.clone(),
            ctx: Arc::downgrade(self),
            queue: kernel.deferred.clone(),
            file: file.clone(),
            eventfd,
            events,
            data,
            obj,
            table: Mutex::new(None),
            queued: AtomicBool::new(false),
        });
        self.add_poll(poll.clone());
        let mut table = PollTable::new(events, poll.clone());
        let found = file.ops().poll(file, &mut table) & events;
        if found != 0 {
            drop(table);
            poll.finish(found);
        } else {
            *poll.table.lock() = Some(table);
            // What came in between has found no table to drop; that is of no consequence, the poll is gone then.
            poll.run();
        }
        Ok(())
    }

    /// io_cancel(2). The completion comes through the ring.
    ///
    /// # Errors
    /// `EINPROGRESS` if it was outstanding; `EINVAL` if not.
    pub fn cancel(&self, obj: u64) -> Result<(), Errno> {
        let poll = self.take_poll(|p| p.obj == obj).ok_or(EINVAL)?;
        let table = poll.table.lock().take();
        drop(table);
        self.complete(&IoEvent { data: poll.data, obj: poll.obj, res: 0, res2: 0 });
        if let Some(eventfd) = &poll.eventfd {
            let _ = eventfd_signal(eventfd);
        }
        Err(EINPROGRESS)
    }
}
