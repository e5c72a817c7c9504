//! Linux: fs/select.c. What the two calls share is the loop; masks of signals and time-outs in guest memory are the
//! caller's.

use crate::{File, PollTable, Sleep, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::ERESTARTNOHAND;
use sentry_uapi::poll::{
    POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND, POLLWRNORM,
};
use std::sync::Arc;
use std::time::Instant;

/// What a `struct pollfd` names.
pub enum PollTarget {
    /// Nothing: its descriptor is negative.
    Ignored,
    /// A descriptor that is not open: POLLNVAL.
    Closed,
    /// An open file.
    File(Arc<File>),
}

/// One of the files poll(2) looks at.
pub struct PollEntry {
    /// What the descriptor stands for.
    pub target: PollTarget,
    /// Events asked for.
    pub events: u32,
    /// Events that hold, of those and of POLLERR, POLLHUP and POLLNVAL.
    pub revents: u32,
}

/// One of the files select(2) looks at, and the sets it is in; afterwards, the sets it stays in.
pub struct SelectEntry {
    /// The file.
    pub file: Arc<File>,
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// In an exceptional condition.
    pub except: bool,
}

const READ_SET: u32 = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR;
const WRITE_SET: u32 = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR;
const EXCEPT_SET: u32 = POLLPRI;

/// Scans until there is something to report, the deadline has passed or a signal has come. The first scan puts the task
/// on the queues, as long as nothing has been found.
fn scan_until(
    ctx: &dyn TaskContext,
    deadline: Option<Instant>,
    mut scan: impl FnMut(&mut PollTable) -> usize,
) -> Result<usize, Errno> {
    let mut ended = None;
    let mut table = if deadline.is_some_and(|d| d <= Instant::now()) {
        ended = Some(Ok(0));
        PollTable::query()
    } else {
        PollTable::new(0, ctx.waker())
    };
    loop {
        let found = scan(&mut table);
        table.stop();
        if found > 0 {
            return Ok(found);
        }
        if let Some(result) = ended {
            return result;
        }
        ended = match ctx.sleep(deadline) {
            Ok(Sleep::Woken) => None,
            Ok(Sleep::TimedOut) => Some(Ok(0)),
            Err(_) => Some(Err(ERESTARTNOHAND)),
        };
    }
}

/// poll(2): fills in what holds; returns for how many entries anything does. Linux: `do_poll`.
///
/// # Errors
/// `ERESTARTNOHAND` when a signal ends the wait.
pub fn do_poll(
    ctx: &dyn TaskContext,
    entries: &mut [PollEntry],
    deadline: Option<Instant>,
) -> Result<usize, Errno> {
    scan_until(ctx, deadline, |table| {
        let mut found = 0;
        for entry in entries.iter_mut() {
            entry.revents = match &entry.target {
                PollTarget::Ignored => 0,
                PollTarget::Closed => POLLNVAL,
                PollTarget::File(file) => {
                    let filter = entry.events | POLLERR | POLLHUP;
                    table.set_events(filter);
                    file.ops().poll_for(file, ctx, table) & filter
                }
            };
            if entry.revents != 0 {
                found += 1;
                table.stop();
            }
        }
        found
    })
}

/// select(2): takes files out of the sets they need not be in; returns how many places in sets are left. Linux:
/// `do_select`.
///
/// # Errors
/// `ERESTARTNOHAND` when a signal ends the wait.
pub fn do_select(
    ctx: &dyn TaskContext,
    entries: &mut [SelectEntry],
    deadline: Option<Instant>,
) -> Result<usize, Errno> {
    let mut masks = vec![0; entries.len()];
    let found = scan_until(ctx, deadline, |table| {
        let mut found = 0;
        for (entry, mask) in entries.iter().zip(&mut masks) {
            let mut wanted = 0;
            for (set, on) in [(READ_SET, entry.read), (WRITE_SET, entry.write), (EXCEPT_SET, entry.except)] {
                wanted |= if on { set } else { 0 };
            }
            table.set_events(wanted | EXCEPT_SET);
            *mask = entry.file.ops().poll_for(&entry.file, ctx, table);
            let hit = |set, on| usize::from(on && *mask & set != 0);
            let hits =
                hit(READ_SET, entry.read) + hit(WRITE_SET, entry.write) + hit(EXCEPT_SET, entry.except);
            if hits > 0 {
                found += hits;
                table.stop();
            }
        }
        found
    })?;
    for (entry, mask) in entries.iter_mut().zip(masks) {
        entry.read &= mask & READ_SET != 0;
        entry.write &= mask & WRITE_SET != 0;
        entry.except &= mask & EXCEPT_SET != 0;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IoFlags, TestContext, do_eventfd, do_pipe2};
    use sentry_mm::IoSrc;
    use sentry_uapi::fcntl::OpenFlags;
    use std::thread;
    use std::time::Duration;

    fn entry(file: &Arc<File>, events: u32) -> PollEntry {
        PollEntry { target: PollTarget::File(file.clone()), events, revents: 77 }
    }

    #[test]
    fn poll_reports_what_was_asked_and_what_always_is() -> Result<(), Errno> {
        let ctx = TestContext::new();
        let (r, w) = do_pipe2(&ctx, OpenFlags::empty())?;
        let mut entries = [
            entry(&r, POLLIN),
            entry(&w, POLLOUT),
            entry(&w, POLLIN),
            PollEntry { target: PollTarget::Closed, events: POLLIN, revents: 0 },
            PollEntry { target: PollTarget::Ignored, events: POLLIN, revents: 9 },
        ];
        assert_eq!(do_poll(&ctx, &mut entries, None), Ok(2));
        assert_eq!(entries.each_ref().map(|e| e.revents), [0, POLLOUT, 0, POLLNVAL, 0]);
        drop(r);
        let [_, write, ..] = entries;
        drop(write);
        drop(w);
        Ok(())
    }

    #[test]
    fn poll_waits_for_an_event_or_the_deadline() -> Result<(), Errno> {
        let ctx = TestContext::new();
        let (r, w) = do_pipe2(&ctx, OpenFlags::empty())?;
        let soon = Some(Instant::now() + Duration::from_millis(1));
        assert_eq!(do_poll(&ctx, &mut [entry(&r, POLLIN)], soon), Ok(0));
        assert_eq!(do_poll(&ctx, &mut [entry(&r, POLLIN)], Some(Instant::now())), Ok(0));
        let other = ctx.sibling(2, (*ctx.cred).clone());
        let poller = thread::spawn(move || {
            let mut entries = [entry(&r, POLLIN)];
            let n = do_poll(&other, &mut entries, None);
            (n, entries.each_ref().map(|e| e.revents))
        });
        w.write(&ctx, &mut IoSrc::from_slice(b"x"), IoFlags::empty())?;
        assert_eq!(poller.join().ok(), Some((Ok(1), [POLLIN])));
        Ok(())
    }

    #[test]
    fn a_hang_up_ends_a_poll_that_asks_for_nothing() -> Result<(), Errno> {
        let ctx = TestContext::new();
        let (r, w) = do_pipe2(&ctx, OpenFlags::empty())?;
        let other = ctx.sibling(2, (*ctx.cred).clone());
        let poller = thread::spawn(move || {
            let mut entries = [entry(&r, 0)];
            let n = do_poll(&other, &mut entries, None);
            (n, entries.each_ref().map(|e| e.revents))
        });
        drop(w);
        assert_eq!(poller.join().ok(), Some((Ok(1), [POLLHUP])));
        Ok(())
    }

    #[test]
    fn select_keeps_files_in_the_sets_that_hold() -> Result<(), Errno> {
        let ctx = TestContext::new();
        let full = do_eventfd(&ctx, 0, 0)?;
        let both = do_eventfd(&ctx, 1, 0)?;
        let make =
            |file: &Arc<File>| SelectEntry { file: file.clone(), read: true, write: true, except: true };
        let mut entries = [make(&full), make(&both)];
        assert_eq!(do_select(&ctx, &mut entries, None), Ok(3));
        let sets = entries.each_ref().map(|e| (e.read, e.write, e.except));
        assert_eq!(sets, [(false, true, false), (true, true, false)]);
        let mut nothing = [SelectEntry { file: full, read: true, write: false, except: false }];
        assert_eq!(do_select(&ctx, &mut nothing, Some(Instant::now())), Ok(0));
        assert!(!nothing[0].read);
        Ok(())
    }
}
