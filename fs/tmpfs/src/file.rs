//! Open files and directories. Linux: mm/shmem.c, `shmem_file_operations`; fs/libfs.c, `dcache_readdir`.

use crate::inode::tmpfs_inode;
use crate::shmem::ShmemFile;
use fs_vfs::{DirSink, File, FileOps, TaskContext, Written, dir_emit_dots};
use sentry_mm::{IoDst, IoSrc, Mappable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENXIO, EOPNOTSUPP};
use sentry_uapi::falloc::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::Arc;

/// An open regular file.
pub(crate) struct RegularFile {
    data: Arc<ShmemFile>,
}

impl RegularFile {
    pub(crate) fn new(data: Arc<ShmemFile>) -> RegularFile {
        RegularFile { data }
    }

    pub(crate) fn data(&self) -> &Arc<ShmemFile> {
        &self.data
    }
}

/// What follows from a change of contents: times move. Linux: `file_update_time`.
fn file_update_time(file: &File) -> Result<(), Errno> {
    let inode = file.inode();
    tmpfs_inode(inode)?.meta.lock().modified(inode.sb().clocks.realtime());
    Ok(())
}

impl FileOps for RegularFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        self.data.read(dst, pos)
    }

    fn write(
        &self,
        file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        let append = file.flags().contains(OpenFlags::APPEND);
        let (count, end) = self.data.write(src, pos, append)?;
        if count > 0 {
            file_update_time(file)?;
        }
        Ok(Written { count, end })
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Ok(self.data.size())
    }

    fn seek_data(&self, _file: &File, pos: u64, hole: bool) -> Result<u64, Errno> {
        self.data.seek(pos, hole).ok_or(ENXIO)
    }

    fn pollable(&self) -> bool {
        false
    }

    fn mmap(&self, _file: &File) -> Result<Arc<dyn Mappable>, Errno> {
        Ok(self.data.clone())
    }

    fn map_writable(&self, _file: &File, come: bool) -> Result<(), Errno> {
        self.data.map_writable(come)
    }

    fn fsync(&self, _file: &File, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }

    /// Linux: `shmem_fallocate`, which knows these two modes only.
    fn fallocate(&self, file: &File, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        if mode & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) != 0 {
            return Err(EOPNOTSUPP);
        }
        if mode & FALLOC_FL_PUNCH_HOLE != 0 {
            self.data.punch_hole(offset, len)?;
        } else {
            self.data.allocate(offset, len, mode & FALLOC_FL_KEEP_SIZE != 0)?;
        }
        file_update_time(file)
    }

    fn release(&self, file: &File) {
        if file.writable() {
            self.data.trim();
        }
    }
}

/// An open directory.
pub(crate) struct DirFile;

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
        if !dir_emit_dots(file, pos, sink) {
            return Ok(());
        }
        let dir = tmpfs_inode(file.inode())?.directory()?;
        let mut at = pos.max(fs_vfs::FIRST_ENTRY);
        loop {
            let next = dir.lock().entries.after(at).map(|(pos, entry)| (pos, entry.clone()));
            let Some((pos, (name, inode))) = next else { return Ok(()) };
            if !sink.entry(&name, inode.ino(), inode.file_type().dirent_type(), pos) {
                return Ok(());
            }
            at = pos;
        }
    }

    fn pollable(&self) -> bool {
        false
    }

    fn fsync(&self, _file: &File, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }
}
