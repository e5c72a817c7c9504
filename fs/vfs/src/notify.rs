//! Linux: fs/notify/fsnotify.c, fs/notify/mark.c, include/linux/fsnotify.h.
//!
//! Who wants to hear of a file hangs a [`NotifyMark`] on its inode; the VFS calls the marks where Linux does. Differs in
//! that there are marks on inodes only, none on mounts or whole filesystems (fanotify).

use crate::{Dentry, File, Inode, Path};
use bitflags::bitflags;
use sentry_sync::{Mutex, level};
use smallvec::SmallVec;
use std::any::Any;
use std::sync::Arc;

bitflags! {
    /// Kinds of events. Linux: `FS_*`, whose low bits are inotify's `IN_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct NotifyMask: u32 {
        /// Read, or executed.
        const ACCESS = 0x1;
        /// Written or truncated.
        const MODIFY = 0x2;
        /// Attributes or number of names changed.
        const ATTRIB = 0x4;
        /// An open file that could be written was closed.
        const CLOSE_WRITE = 0x8;
        /// Another open file was closed.
        const CLOSE_NOWRITE = 0x10;
        /// Opened.
        const OPEN = 0x20;
        /// An entry of the directory was moved away.
        const MOVED_FROM = 0x40;
        /// An entry was moved into the directory.
        const MOVED_TO = 0x80;
        /// An entry was made in the directory.
        const CREATE = 0x100;
        /// An entry of the directory was removed.
        const DELETE = 0x200;
        /// The file itself is gone.
        const DELETE_SELF = 0x400;
        /// The file itself was moved.
        const MOVE_SELF = 0x800;
        /// The filesystem was unmounted.
        const UNMOUNT = 0x2000;
        /// An entry of the directory got another name there.
        const RENAME = 0x1000_0000;
        /// What it happened to is a directory.
        const ISDIR = 0x4000_0000;
    }
}

/// Something that happened to an inode with a mark.
pub struct NotifyEvent<'a> {
    /// What: one kind (a change of attributes may be several at once), and perhaps [`NotifyMask::ISDIR`].
    pub mask: NotifyMask,
    /// The entry it happened to, when the mark is on its directory.
    pub name: Option<&'a [u8]>,
    /// Joins the two halves of a move; else 0.
    pub cookie: u32,
    /// It came through a name that is removed already. Linux: the test of `FSNOTIFY_MARK_FLAG_EXCL_UNLINK`.
    pub unlinked: bool,
}

/// Somebody's interest in an inode.
pub trait NotifyMark: Send + Sync {
    /// For the owner of the type to get back at it.
    fn as_any(&self) -> &dyn Any;
    /// The events it wants. May change at any time.
    fn mask(&self) -> NotifyMask;
    /// Takes an event of a kind it wants. Called with no lock above level `NOTIFY` held.
    fn handle_event(&self, event: &NotifyEvent<'_>);
    /// The inode is gone or its filesystem unmounted; the mark has been taken off it. Linux: `freeing_mark`.
    fn detached(&self);
}

/// The marks of an inode; attached to it.
struct InodeMarks {
    marks: Mutex<SmallVec<[Arc<dyn NotifyMark>; 2]>, { level::LEAF }>,
}

impl Inode {
    /// Hangs a mark on the inode. The mark should hold the inode: Linux keeps a watched inode in memory. Linux:
    /// `fsnotify_add_inode_mark`.
    pub fn attach_mark(self: &Arc<Self>, mark: Arc<dyn NotifyMark>) {
        let marks = self.attached_or(|| InodeMarks { marks: Mutex::new(SmallVec::new()) });
        marks.marks.lock().push(mark);
        self.sb().note_mark(self);
    }

    /// Takes a mark off again, without a call of [`NotifyMark::detached`]. False if it was gone already.
    pub fn detach_mark(self: &Arc<Self>, mark: &dyn NotifyMark) -> bool {
        let Some(marks) = self.attached::<InodeMarks>() else { return false };
        let mut list = marks.marks.lock();
        let wanted = std::ptr::from_ref(mark).cast::<()>();
        let Some(at) = list.iter().position(|m| Arc::as_ptr(m).cast::<()>() == wanted) else { return false };
        let gone = list.remove(at);
        drop(list);
        self.sb().forget_marks(self, 1);
        drop(gone);
        true
    }

    /// The marks on the inode.
    pub fn marks(&self) -> SmallVec<[Arc<dyn NotifyMark>; 2]> {
        self.attached::<InodeMarks>().map(|m| m.marks.lock().clone()).unwrap_or_default()
    }

    /// Takes all marks off and tells them.
    fn clear_marks(self: &Arc<Self>) {
        let Some(marks) = self.attached::<InodeMarks>() else { return };
        let gone = std::mem::take(&mut *marks.marks.lock());
        self.sb().forget_marks(self, gone.len());
        for mark in &gone {
            mark.detached();
        }
    }
}

/// Tells the marks of `inode`.
fn send(inode: &Inode, event: &NotifyEvent<'_>) {
    let wanted = event.mask - NotifyMask::ISDIR;
    for mark in inode.marks() {
        if mark.mask().intersects(wanted) {
            mark.handle_event(event);
        }
    }
}

fn with_isdir(inode: &Inode, mask: NotifyMask) -> NotifyMask {
    if inode.is_dir() { mask | NotifyMask::ISDIR } else { mask }
}

/// An event on the inode itself. Linux: `fsnotify_inode`.
pub fn fsnotify_inode(inode: &Inode, mask: NotifyMask) {
    if inode.sb().has_marks() {
        send(inode, &NotifyEvent { mask: with_isdir(inode, mask), name: None, cookie: 0, unlinked: false });
    }
}

/// An event on an entry of a directory, told to the directory's marks only. Linux: `fsnotify_name`.
pub fn fsnotify_name(dir: &Inode, name: &[u8], child: &Inode, mask: NotifyMask, cookie: u32) {
    if dir.sb().has_marks() {
        let mask = with_isdir(child, mask);
        send(dir, &NotifyEvent { mask, name: Some(name), cookie, unlinked: false });
    }
}

/// An event on a file known by a name: told to the marks of its directory, and to its own. Linux: `fsnotify_parent`.
pub fn fsnotify_dentry(dentry: &Dentry, mask: NotifyMask) {
    if !dentry.sb().has_marks() {
        return;
    }
    let Some(inode) = dentry.inode() else { return };
    let mask = with_isdir(&inode, mask);
    let unlinked = dentry.is_unhashed();
    if let Some(parent) = dentry.parent().and_then(|p| p.inode()) {
        send(&parent, &NotifyEvent { mask, name: Some(&dentry.name()), cookie: 0, unlinked });
    }
    send(&inode, &NotifyEvent { mask, name: None, cookie: 0, unlinked });
}

/// As [`fsnotify_dentry`], for a path. Linux: `fsnotify_path`.
pub fn fsnotify_path(path: &Path, mask: NotifyMask) {
    fsnotify_dentry(&path.dentry, mask);
}

/// An event on an open file. Linux: `fsnotify_file`.
pub fn fsnotify_file(file: &File, mask: NotifyMask) {
    if !file.flags().contains(sentry_uapi::fcntl::OpenFlags::PATH) {
        fsnotify_dentry(&file.path().dentry, mask);
    }
}

/// Read from. Linux: `fsnotify_access`.
pub fn fsnotify_access(file: &File) {
    fsnotify_file(file, NotifyMask::ACCESS);
}

/// Written to. Linux: `fsnotify_modify`.
pub fn fsnotify_modify(file: &File) {
    fsnotify_file(file, NotifyMask::MODIFY);
}

/// Opened. Linux: `fsnotify_open`.
pub fn fsnotify_open(file: &File) {
    fsnotify_file(file, NotifyMask::OPEN);
}

/// Closed for the last time. Linux: `fsnotify_close`.
pub fn fsnotify_close(file: &File) {
    let writable = file.flags().writable();
    fsnotify_file(file, if writable { NotifyMask::CLOSE_WRITE } else { NotifyMask::CLOSE_NOWRITE });
}

/// The last name of a file is gone and nobody has it open: its marks go too. Linux: `fsnotify_inoderemove`.
pub(crate) fn fsnotify_inoderemove(inode: &Arc<Inode>) {
    fsnotify_inode(inode, NotifyMask::DELETE_SELF);
    inode.clear_marks();
}

/// The filesystem of the inode is unmounted: its marks go. Linux: `fsnotify_unmount_inodes`.
pub(crate) fn fsnotify_unmount(inode: &Arc<Inode>) {
    send(inode, &NotifyEvent { mask: NotifyMask::UNMOUNT, name: None, cookie: 0, unlinked: false });
    inode.clear_marks();
}
