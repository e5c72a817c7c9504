//! Open files and directories. Linux: mm/shmem.c, `shmem_file_operations`; fs/libfs.c, `dcache_readdir`.

use crate::inode::tmpfs_inode;
use crate::shmem::ShmemFile;
use fs_vfs::{
    DirSink, File, FileOps, TaskContext, Written, dir_emit_dots, drop_suidgid, generic_write_checks,
};
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

/// Moves the access time after a read. Linux: `file_accessed`.
fn file_accessed(file: &File) -> Result<(), Errno> {
    if !file.flags().contains(OpenFlags::NOATIME) {
        let inode = file.inode();
        tmpfs_inode(inode)?.meta.lock().accessed(inode.sb().clocks.realtime());
    }
    Ok(())
}

/// What follows from a change of contents: times move, set-ID bits and file capabilities go. Linux: `file_modified`.
fn file_modified(file: &File, ctx: Option<&dyn TaskContext>) -> Result<(), Errno> {
    let inode = file.inode();
    let node = tmpfs_inode(inode)?;
    let perm = {
        let mut meta = node.meta.lock();
        meta.modified(inode.sb().clocks.realtime());
        meta.perm
    };
    node.kill_capability();
    let stripped = match ctx {
        Some(ctx) if perm & 0o6000 != 0 => drop_suidgid(perm, &ctx.cred()),
        Some(_) => None,
        None => drop_suidgid(perm, file.cred()),
    };
    if let Some(perm) = stripped {
        node.meta.lock().perm = perm;
    }
    Ok(())
}

impl FileOps for RegularFile {
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
        let n = self.data.read(dst, pos)?;
        file_accessed(file)?;
        Ok(n)
    }

    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        let append = file.flags().contains(OpenFlags::APPEND);
        let (count, end) =
            self.data.write(src, pos, append, |pos, count| generic_write_checks(ctx, pos, count))?;
        if count > 0 {
            file_modified(file, Some(ctx))?;
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

    fn mmap(&self, file: &File) -> Result<Arc<dyn Mappable>, Errno> {
        file_accessed(file)?;
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
        file_modified(file, None)
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
        file_accessed(file)?;
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
