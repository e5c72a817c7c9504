//! Open regular files of the host.

use crate::inode::host_inode;
use fs_vfs::{File, FileOps, TaskContext, Written};
use platform_host::fs;
use platform_host::io::{MAX_SEGS, preadv, pwritev};
use sentry_mm::{IoDst, IoSrc, Mappable, Segs};
use sentry_uapi::Errno;
use sentry_uapi::falloc::{FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// An open regular file.
pub(crate) struct HostFile {
    fd: Arc<OwnedFd>,
}

/// As many segments as one host call takes.
pub(crate) fn one_call(segs: &Segs) -> &[platform_host::io::HostSeg] {
    segs.get(..MAX_SEGS).unwrap_or(segs)
}

impl HostFile {
    pub(crate) fn new(fd: Arc<OwnedFd>) -> HostFile {
        HostFile { fd }
    }

    fn append(&self, src: &mut IoSrc<'_>) -> Result<Written, Errno> {
        let segs = src.segs(usize::MAX);
        let count = if segs.is_empty() { 0 } else { fs::append(self.fd.as_fd(), one_call(&segs))? };
        src.advance(count);
        Ok(Written { count, end: fs::stat(self.fd.as_fd())?.size })
    }
}

impl FileOps for HostFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        if let Some(pages) = host_inode(file.inode())?.pages()
            && pages.has_dirty()
        {
            return pages.read(self.fd.as_fd(), dst, pos);
        }
        let mut at = pos;
        let mut total = 0;
        while dst.remaining() > 0 {
            let segs = dst.segs(usize::MAX);
            let want: usize = one_call(&segs).iter().map(|s| s.len()).sum();
            let n = match preadv(self.fd.as_fd(), one_call(&segs), at) {
                Ok(n) => n,
                Err(_) if total > 0 => break,
                Err(e) => return Err(e),
            };
            dst.advance(n);
            total += n;
            at = at.saturating_add(u64::try_from(n).unwrap_or(0));
            if n < want {
                break;
            }
        }
        Ok(total)
    }

    fn write(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        let node = host_inode(file.inode())?;
        let written = if file.flags().contains(OpenFlags::APPEND) {
            self.append(src)?
        } else {
            let segs = src.segs(usize::MAX);
            let count = if segs.is_empty() { 0 } else { pwritev(self.fd.as_fd(), one_call(&segs), pos)? };
            src.advance(count);
            Written { count, end: pos.saturating_add(u64::try_from(count).unwrap_or(0)) }
        };
        let len = u64::try_from(written.count).unwrap_or(0);
        if let Some(pages) = node.pages() {
            pages.written(self.fd.as_fd(), written.end.saturating_sub(len), len)?;
        }
        node.changed();
        Ok(written)
    }

    fn seek_data(&self, _file: &File, pos: u64, hole: bool) -> Result<u64, Errno> {
        fs::seek(self.fd.as_fd(), pos, if hole { 4 } else { 3 })
    }

    fn pollable(&self) -> bool {
        false
    }

    fn mmap(&self, file: &File) -> Result<Arc<dyn Mappable>, Errno> {
        let node = host_inode(file.inode())?;
        let pages = node.pages_or_make();
        pages.use_fd(&self.fd, file.writable());
        pages.use_reader(|| node.read_fd());
        Ok(pages.clone())
    }

    fn map_writable(&self, file: &File, come: bool) -> Result<(), Errno> {
        let Some(pages) = host_inode(file.inode())?.pages() else { return Ok(()) };
        if pages.map_writable(come) { Ok(()) } else { pages.write_back(0, u64::MAX) }
    }

    fn fsync(&self, file: &File, data_only: bool) -> Result<(), Errno> {
        if let Some(pages) = host_inode(file.inode())?.pages() {
            pages.write_back(0, u64::MAX)?;
        }
        fs::sync(self.fd.as_fd(), data_only)
    }

    fn fallocate(&self, file: &File, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let node = host_inode(file.inode())?;
        let Some(pages) = node.pages() else {
            fs::fallocate(self.fd.as_fd(), mode, offset, len)?;
            node.changed();
            return Ok(());
        };
        pages.write_back(0, u64::MAX)?;
        fs::fallocate(self.fd.as_fd(), mode, offset, len)?;
        node.changed();
        // What was moved has another place in the file now.
        let moves = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE) != 0;
        pages.forget(offset, if moves { u64::MAX - offset } else { len }, moves);
        Ok(())
    }

    fn release(&self, file: &File) {
        if file.writable()
            && let Ok(node) = host_inode(file.inode())
            && let Some(pages) = node.pages()
        {
            // The last chance; an error has nobody left to go to.
            let _ = pages.write_back(0, u64::MAX);
        }
    }
}
