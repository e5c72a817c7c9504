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

/// Bytes asked of the host at once.
const BUFFER: usize = 32 * 1024;

/// Most entries of a directory that are kept.
const LISTING_MAX: usize = 16 * 1024;

/// All entries of a directory, in the host's order.
pub(crate) struct Listing {
    entries: Vec<HostDirent>,
}

/// An open directory.
pub(crate) struct DirFile {
    state: Mutex<State, { level::INODE }>,
}

#[derive(Default)]
struct State {
    fd: Option<Arc<OwnedFd>>,
    /// Entries read ahead, the position of the first of them, and how many have been passed on.
    ahead: Vec<HostDirent>,
    start: u64,
    passed: usize,
    listing: Option<Arc<Listing>>,
}

impl DirFile {
    pub(crate) fn new() -> DirFile {
        DirFile { state: Mutex::default() }
    }
}

impl HostInode {
    fn open_dir(&self) -> Result<Arc<OwnedFd>, Errno> {
        let fd = fs::reopen_dir(self.path_fd()?.as_fd(), flags::O_RDONLY | flags::O_DIRECTORY, 0)?;
        Ok(Arc::new(fd))
    }

    /// The whole directory, if it may be kept.
    fn whole_listing(&self) -> Result<Option<Arc<Listing>>, Errno> {
        if !self.fs.exclusive() || self.fs.writable {
            return Ok(None);
        }
        if let Some(listing) = self.listing.lock().clone() {
            return Ok(Some(listing));
        }
        let fd = self.open_dir()?;
        let mut entries = Vec::new();
        loop {
            let more = fs::getdents(fd.as_fd(), BUFFER)?;
            if more.is_empty() {
                break;
            }
            entries.extend(more);
            if entries.len() > LISTING_MAX {
                return Ok(None);
            }
        }
        let listing = Arc::new(Listing { entries });
        let old = self.listing.lock().replace(listing.clone());
        drop(old);
        Ok(Some(listing))
    }
}

impl State {
    /// The position of the entry `at`, given that of the first.
    fn pos_of(entries: &[HostDirent], start: u64, at: usize) -> u64 {
        at.checked_sub(1).and_then(|before| entries.get(before)).map_or(start, |e| e.next)
    }

    /// Makes the entries from `pos` on available. False at the end.
    fn fill(&mut self, node: &HostInode, pos: u64) -> Result<bool, Errno> {
        if self.passed < self.ahead.len() && State::pos_of(&self.ahead, self.start, self.passed) == pos {
            return Ok(true);
        }
        let fd = match &self.fd {
            Some(fd) => fd.clone(),
            None => self.fd.insert(node.open_dir()?).clone(),
        };
        let end = State::pos_of(&self.ahead, self.start, self.ahead.len());
        if pos != end || pos == 0 {
            fs::seek(fd.as_fd(), pos, 0)?;
        }
        self.ahead = fs::getdents(fd.as_fd(), BUFFER)?;
        self.start = pos;
        self.passed = 0;
        Ok(!self.ahead.is_empty())
    }
}

/// Passes an entry on. The number of `..` is the guest's parent directory's, never the host's.
fn emit(file: &File, sink: &mut dyn DirSink, entry: &HostDirent) -> bool {
    let ino = match &*entry.name {
        b"." => file.inode().ino(),
        b".." => {
            let parent = file.path().dentry.parent().and_then(|d| d.inode());
            parent.map_or(file.inode().ino(), |i| i.ino())
        }
        _ => entry.ino,
    };
    sink.entry(&entry.name, ino, entry.dtype, entry.next)
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
        if let Some(listing) = state.listing.clone() {
            let entries = &listing.entries;
            if State::pos_of(entries, 0, state.passed) != pos {
                let found = entries.iter().position(|e| e.next == pos).map(|at| at + 1);
                state.passed = if pos == 0 { 0 } else { found.unwrap_or(entries.len()) };
            }
            while let Some(entry) = entries.get(state.passed) {
                if !emit(file, sink, entry) {
                    return Ok(());
                }
                state.passed += 1;
            }
            return Ok(());
        }
        let mut pos = pos;
        while state.fill(node, pos)? {
            while let Some(entry) = state.ahead.get(state.passed) {
                if !emit(file, sink, entry) {
                    return Ok(());
                }
                pos = entry.next;
                state.passed += 1;
            }
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
