//! Open regular files. Linux: fs/overlayfs/file.c.

use crate::inode::ovl_inode;
use fs_vfs::{File, FileOps, PollTable, TaskContext, Written};
use sentry_mm::{IoDst, IoSrc, Mappable};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// An open file of one layer.
///
/// A file opened for reading stays with the lower layer until it is copied up; then it reads the upper one, as on Linux
/// (`ovl_real_fdget`). Mappings made before stay with the lower one.
pub(crate) struct OvlFile {
    first: Arc<File>,
    /// The upper file, opened when it had come after `first`.
    upper: OnceLock<Arc<File>>,
    opening: Mutex<(), { level::OVERLAY }>,
}

impl OvlFile {
    pub(crate) fn new(first: Arc<File>) -> OvlFile {
        OvlFile { first, upper: OnceLock::new(), opening: Mutex::new(()) }
    }

    fn real(&self, file: &File) -> Result<&Arc<File>, Errno> {
        let Some(upper) = ovl_inode(file.inode())?.upper() else { return Ok(&self.first) };
        if Arc::ptr_eq(upper, self.first.inode()) {
            return Ok(&self.first);
        }
        if let Some(real) = self.upper.get() {
            return Ok(real);
        }
        let _opening = self.opening.lock();
        if self.upper.get().is_none() {
            let fs = &ovl_inode(file.inode())?.fs;
            let real = fs.open_real(&fs.mounter, upper, file.flags())?;
            return Ok(self.upper.get_or_init(|| real));
        }
        Ok(self.upper.get().unwrap_or(&self.first))
    }
}

impl FileOps for OvlFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        let real = self.real(file)?;
        real.ops().read(real, ctx, dst, pos)
    }

    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        let real = self.real(file)?;
        real.ops().write(real, ctx, src, pos)
    }

    fn size(&self, file: &File) -> Result<u64, Errno> {
        let real = self.real(file)?;
        real.ops().size(real)
    }

    fn seek_data(&self, file: &File, pos: u64, hole: bool) -> Result<u64, Errno> {
        let real = self.real(file)?;
        real.ops().seek_data(real, pos, hole)
    }

    fn poll(&self, file: &File, table: &mut PollTable) -> u32 {
        self.real(file).map_or(sentry_uapi::poll::POLLERR, |real| real.ops().poll(real, table))
    }

    fn pollable(&self) -> bool {
        self.first.ops().pollable()
    }

    fn ioctl(&self, file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        let real = self.real(file)?;
        real.ops().ioctl(real, ctx, cmd, arg)
    }

    fn mmap(&self, file: &File) -> Result<Arc<dyn Mappable>, Errno> {
        let real = self.real(file)?;
        real.ops().mmap(real)
    }

    fn map_writable(&self, file: &File, come: bool) -> Result<(), Errno> {
        let real = self.real(file)?;
        real.ops().map_writable(real, come)
    }

    fn fsync(&self, file: &File, data_only: bool) -> Result<(), Errno> {
        let real = self.real(file)?;
        real.ops().fsync(real, data_only)
    }

    fn fallocate(&self, file: &File, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let real = self.real(file)?;
        real.ops().fallocate(real, mode, offset, len)
    }

    fn flush(&self, file: &File, ctx: &dyn TaskContext) -> Result<(), Errno> {
        let real = self.real(file)?;
        real.ops().flush(real, ctx)
    }

    fn set_flags(&self, file: &File, flags: OpenFlags) -> Result<(), Errno> {
        self.real(file)?.set_status_flags(flags)
    }
}
