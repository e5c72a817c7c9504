//! Reading directories of the host.
//!
//! Positions are the host's own cookies, so they stay with their entries as well as the host filesystem's do.

use crate::inode::{HostInode, host_flags as flags, host_inode};
use fs_vfs::{DirSink, File, FileOps, TaskContext};
use platform_host::fs::{self, HostDirent};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Most bytes of a directory's entries that are kept.
const LISTING_MAX: usize = 1 << 20;

/// All entries of a directory, in the host's order and layout.
pub(crate) struct Listing(Box<[u8]>);

/// An open directory.
pub(crate) struct DirFile {
    state: Mutex<State, { level::INODE }>,
}

#[derive(Default)]
struct State {
    listing: Option<Arc<Listing>>,
    fd: Option<Arc<OwnedFd>>,
    /// Entries read ahead by `fd`, and where that stands, once they have all been passed on.
    ahead: Vec<u8>,
    end: Option<u64>,
    /// Where in the listing, or in what was read ahead, the next entry is, and its position.
    at: usize,
    pos: u64,
}

impl DirFile {
    pub(crate) fn new() -> DirFile {
        DirFile { state: Mutex::default() }
    }
}

impl HostInode {
    /// A descriptor to list the directory by, whose position is the caller's alone. Files in it are then reached by the
    /// same one, if there is no other: that saves opening it twice.
    fn open_dir(&self) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(open) = self.open_fd() {
            return Ok(Arc::new(fs::reopen_dir(open.as_fd(), flags::O_RDONLY | flags::O_DIRECTORY, 0)?));
        }
        let fd = self.open_host(flags::O_RDONLY | flags::O_DIRECTORY)?;
        self.fs.fds.store(&self.read, fd.clone());
        Ok(fd)
    }

    /// The whole directory, if it may be kept.
    pub(crate) fn whole_listing(&self) -> Result<Option<Arc<Listing>>, Errno> {
        if !self.fs.exclusive() || self.fs.writable {
            return Ok(None);
        }
        if let Some(listing) = self.listing.lock().clone() {
            return Ok(Some(listing));
        }
        let fd = self.open_dir()?;
        let mut entries = Vec::new();
        while fs::getdents(fd.as_fd(), &mut entries)? > 0 {
            if entries.len() > LISTING_MAX {
                return Ok(None);
            }
        }
        let listing = Arc::new(Listing(entries.as_slice().into()));
        let old = self.listing.lock().replace(listing.clone());
        drop(old);
        Ok(Some(listing))
    }
}

/// The entry at `at`, and where the one after it is.
fn entry_at(entries: &[u8], at: usize) -> Option<(HostDirent<'_>, usize)> {
    let (entry, rest) = fs::first_dirent(entries.get(at..)?)?;
    Some((entry, entries.len() - rest.len()))
}

/// All names but `.` and `..`.
pub(crate) fn names_of(listing: &Listing) -> Vec<&[u8]> {
    let Listing(entries) = listing;
    let (mut names, mut at) = (Vec::new(), 0);
    while let Some((entry, next)) = entry_at(entries, at) {
        at = next;
        if entry.name != b"." && entry.name != b".." {
            names.push(entry.name);
        }
    }
    names
}

/// Where the entry with the position `pos` is: the end, if there is none.
fn find(entries: &[u8], pos: u64) -> usize {
    let mut at = 0;
    if pos == 0 {
        return at;
    }
    while let Some((entry, next)) = entry_at(entries, at) {
        at = next;
        if entry.next == pos {
            break;
        }
    }
    at
}

impl State {
    /// Makes the entries from `pos` on available. False at the end.
    fn fill(&mut self, node: &HostInode, pos: u64) -> Result<bool, Errno> {
        if self.at < self.ahead.len() && self.pos == pos {
            return Ok(true);
        }
        let fd = match &self.fd {
            Some(fd) => fd.clone(),
            None => self.fd.insert(node.open_dir()?).clone(),
        };
        if pos == 0 || self.end != Some(pos) {
            fs::seek(fd.as_fd(), pos, 0)?;
        }
        self.ahead.clear();
        (self.at, self.pos, self.end) = (0, pos, None);
        Ok(fs::getdents(fd.as_fd(), &mut self.ahead)? > 0)
    }
}

/// Passes on what there is from `at` on, until the sink is full: then false. Gives where it stopped, and the position.
fn emit(file: &File, sink: &mut dyn DirSink, entries: &[u8], at: &mut usize, pos: &mut u64) -> bool {
    while let Some((entry, next)) = entry_at(entries, *at) {
        if !sink.entry(entry.name, number(file, &entry), entry.dtype, entry.next) {
            return false;
        }
        (*at, *pos) = (next, entry.next);
    }
    true
}

/// The number of an entry. That of `..` is the guest's parent directory's, never the host's.
fn number(file: &File, entry: &HostDirent<'_>) -> u64 {
    match entry.name {
        b"." => file.inode().ino(),
        b".." => {
            let parent = file.path().dentry.parent().and_then(|d| d.inode());
            parent.map_or(file.inode().ino(), |i| i.ino())
        }
        _ => entry.ino,
    }
}

impl FileOps for DirFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Err(EINVAL)
    }

    fn readdir(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        pos: u64,
        sink: &mut dyn DirSink,
    ) -> Result<(), Errno> {
        let node = host_inode(file.inode())?;
        let mut state = self.state.lock();
        if pos == 0 {
            state.listing = node.whole_listing()?;
        }
        let state = &mut *state;
        if let Some(Listing(entries)) = state.listing.as_deref() {
            if state.pos != pos || pos == 0 {
                (state.at, state.pos) = (find(entries, pos), pos);
            }
            emit(file, sink, entries, &mut state.at, &mut state.pos);
            return Ok(());
        }
        let mut pos = pos;
        while state.fill(node, pos)? {
            if !emit(file, sink, &state.ahead, &mut state.at, &mut state.pos) {
                return Ok(());
            }
            pos = state.pos;
            state.ahead.clear();
            state.end = Some(pos);
        }
        Ok(())
    }

    fn pollable(&self) -> bool {
        false
    }

    fn fsync(&self, file: &File, data_only: bool) -> Result<(), Errno> {
        fs::sync(host_inode(file.inode())?.open_dir()?.as_fd(), data_only)
    }
}
