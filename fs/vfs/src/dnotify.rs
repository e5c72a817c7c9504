//! Linux: fs/notify/dnotify/dnotify.c. Differs: the signal is sent by a waker the kernel gives, perhaps a little later.

use crate::{File, FileType, Inode, NotifyEvent, NotifyMark, NotifyMask};
use sentry_sync::{Mutex, Wake, WakeList, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOTDIR;
use sentry_uapi::fcntl::{DN_ACCESS, DN_ATTRIB, DN_CREATE, DN_DELETE, DN_MODIFY, DN_MULTISHOT, DN_RENAME};
use sentry_uapi::poll::POLLMSG;
use std::any::Any;
use std::sync::{Arc, Weak};

/// One open directory's interest in its entries. Linux: `struct dnotify_struct`.
struct Dnotify {
    /// The descriptor table that asked; closing the file there ends it.
    owner: u64,
    file: Weak<File>,
    mask: NotifyMask,
    /// Stays after the first event.
    multishot: bool,
    waker: Arc<dyn Wake>,
}

impl Dnotify {
    fn is_for(&self, file: &File, owner: u64) -> bool {
        self.owner == owner && std::ptr::eq(self.file.as_ptr(), file)
    }
}

/// What a directory's watchers want; attached to its inode for good, a mark on it while there are any. Linux:
/// `struct dnotify_mark`.
struct DnotifyMark {
    state: Mutex<State, { level::NOTIFY }>,
}

#[derive(Default)]
struct State {
    watches: Vec<Dnotify>,
    marked: bool,
}

/// Linux: `convert_arg`.
fn convert_arg(arg: u64) -> NotifyMask {
    let kinds = [
        (DN_DELETE, NotifyMask::DELETE | NotifyMask::MOVED_FROM),
        (DN_MODIFY, NotifyMask::MODIFY),
        (DN_ACCESS, NotifyMask::ACCESS),
        (DN_ATTRIB, NotifyMask::ATTRIB),
        (DN_RENAME, NotifyMask::RENAME),
        (DN_CREATE, NotifyMask::CREATE | NotifyMask::MOVED_TO),
    ];
    let wanted = kinds.into_iter().filter(|(bit, _)| arg & bit != 0);
    wanted.fold(NotifyMask::empty(), |all, (_, mask)| all | mask)
}

impl NotifyMark for DnotifyMark {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn mask(&self) -> NotifyMask {
        self.state.lock().watches.iter().fold(NotifyMask::empty(), |all, w| all | w.mask)
    }

    /// Linux: `dnotify_handle_event`.
    fn handle_event(&self, event: &NotifyEvent<'_>) {
        let mut woken = WakeList::new();
        self.state.lock().watches.retain(|watch| {
            if !watch.mask.intersects(event.mask) {
                return true;
            }
            woken.wake(&watch.waker, POLLMSG);
            watch.multishot
        });
    }

    fn detached(&self) {
        *self.state.lock() = State::default();
    }
}

/// fcntl(F_NOTIFY): asks for `waker` to be called with `POLLMSG` when what `arg` names happens in the directory, or for
/// nothing more. Asking again adds to what was asked, and changes the waker.
///
/// # Errors
/// `ENOTDIR`, unless nothing is asked for.
pub fn fcntl_dirnotify(
    file: &Arc<File>,
    owner: u64,
    arg: u64,
    waker: impl FnOnce() -> Arc<dyn Wake>,
) -> Result<(), Errno> {
    if arg & !DN_MULTISHOT == 0 {
        dnotify_flush(file, owner);
        return Ok(());
    }
    let inode = file.inode();
    if inode.file_type() != FileType::Directory {
        return Err(ENOTDIR);
    }
    let (mask, multishot, waker) = (convert_arg(arg), arg & DN_MULTISHOT != 0, waker());
    let mark = attached_mark(inode);
    let mut state = mark.state.lock();
    if let Some(watch) = state.watches.iter_mut().find(|w| w.is_for(file, owner)) {
        watch.mask |= mask;
        watch.multishot |= multishot;
        watch.waker = waker;
    } else {
        state.watches.push(Dnotify { owner, file: Arc::downgrade(file), mask, multishot, waker });
    }
    if !state.marked {
        state.marked = true;
        inode.attach_mark(mark.clone());
    }
    Ok(())
}

/// Ends the interest of an open directory: to be called whenever it is closed in a descriptor table, whose
/// [`lock_owner`](crate::FdTable::lock_owner) is `owner`.
pub fn dnotify_flush(file: &File, owner: u64) {
    let inode = file.inode();
    if inode.file_type() != FileType::Directory {
        return;
    }
    let Some(mark) = inode.attached::<DnotifyMark>() else { return };
    let mut state = mark.state.lock();
    state.watches.retain(|w| !w.is_for(file, owner));
    if state.watches.is_empty() && state.marked {
        state.marked = false;
        inode.detach_mark(&*mark);
    }
}

fn attached_mark(inode: &Inode) -> Arc<DnotifyMark> {
    inode.attached_or(|| DnotifyMark { state: Mutex::new(State::default()) })
}
