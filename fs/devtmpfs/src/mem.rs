//! Linux: drivers/char/mem.c.

use crate::random::RandomFile;
use fs_tmpfs::{FaultAround, Quota, ShmemFile};
use fs_vfs::{DeviceKind, File, FileOps, TaskContext, Vfs, Written};
use sentry_mm::{IoDst, IoSrc, Mappable, MemoryFile, PAGE_SIZE};
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOSPC;
use std::any::Any;
use std::sync::Arc;

/// Major number of the memory devices. Linux: include/uapi/linux/major.h.
pub(crate) const MEM_MAJOR: u32 = 1;

/// Minor numbers. Linux: drivers/char/mem.c, `devlist`.
pub(crate) const NULL: u32 = 3;
pub(crate) const ZERO: u32 = 5;
pub(crate) const FULL: u32 = 7;
pub(crate) const RANDOM: u32 = 8;
pub(crate) const URANDOM: u32 = 9;

/// Registers the drivers of `/dev/null`, `zero`, `full`, `random` and `urandom`.
///
/// # Errors
/// `EBUSY` if they are registered already.
pub fn register_mem_devices(vfs: &Vfs, memory: &Arc<MemoryFile>) -> Result<(), Errno> {
    for minor in [NULL, ZERO, FULL, RANDOM, URANDOM] {
        let memory = memory.clone();
        vfs.devices().register(
            DeviceKind::Char,
            MEM_MAJOR,
            minor..=minor,
            "mem",
            Arc::new(move |_, _, _| {
                let ops: Box<dyn FileOps> = match minor {
                    NULL => Box::new(NullFile),
                    ZERO => Box::new(ZeroFile { full: false, memory: memory.clone() }),
                    FULL => Box::new(ZeroFile { full: true, memory: memory.clone() }),
                    _ => Box::new(RandomFile { pollable: minor == RANDOM }),
                };
                Ok(ops)
            }),
        )?;
    }
    Ok(())
}

/// Takes all of a write without looking at it.
pub(crate) fn swallow(src: &mut IoSrc<'_>, pos: u64) -> Written {
    let count = src.remaining();
    src.advance(count);
    Written { count, end: pos.saturating_add(u64::try_from(count).unwrap_or(0)) }
}

/// `/dev/null`.
struct NullFile;

impl FileOps for NullFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        _dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        Ok(0)
    }

    fn write(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        Ok(swallow(src, pos))
    }

    fn always_at_start(&self) -> bool {
        true
    }

    fn pollable(&self) -> bool {
        false
    }
}

/// `/dev/zero` and `/dev/full`.
struct ZeroFile {
    full: bool,
    memory: Arc<MemoryFile>,
}

impl FileOps for ZeroFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        dst.write_zeros(dst.remaining())
    }

    fn write(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        if self.full { Err(ENOSPC) } else { Ok(swallow(src, pos)) }
    }

    fn always_at_start(&self) -> bool {
        true
    }

    fn pollable(&self) -> bool {
        false
    }

    /// Every mapping is memory of its own. Linux: `mmap_zero`, `shmem_zero_setup`.
    fn mmap(&self, _file: &File) -> Result<Arc<dyn Mappable>, Errno> {
        if self.full {
            return Err(sentry_uapi::errno::ENODEV);
        }
        let data = ShmemFile::new(self.memory.clone(), Arc::new(Quota::default()), FaultAround::All);
        data.truncate(i64::MAX.unsigned_abs() & !(PAGE_SIZE - 1))?;
        Ok(data)
    }
}
