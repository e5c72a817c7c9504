//! `/proc/[pid]/{mem,pagemap}`. Linux: fs/proc/base.c, `mem_rw`; fs/proc/task_mmu.c, `pagemap_read`.

use crate::pid::ProcTask;
use fs_kernfs::{FileNode, Node, NodeAttr, NodeOps};
use fs_vfs::{File, FileOps, Inode, TaskContext, Written};
use sentry_mm::{IoDst, IoSrc, MemoryManager, PAGE_SIZE, UserAccess};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EIO};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::{Arc, Weak};

/// Bytes copied at once.
const PIECE: usize = 4096;

struct MemNode {
    at: ProcTask,
    pagemap: bool,
}

/// `/proc/[pid]/mem`: the memory itself, whatever the protection of its pages.
pub(crate) fn node(at: &ProcTask) -> Node {
    Node::file(MemNode { at: at.clone(), pagemap: false })
}

/// `/proc/[pid]/pagemap`: a word for each page. Which frames they are is not told.
pub(crate) fn pagemap(at: &ProcTask) -> Node {
    Node::file(MemNode { at: at.clone(), pagemap: true })
}

impl NodeOps for MemNode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(if self.pagemap { 0o400 } else { 0o600 }, false)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl FileNode for MemNode {
    fn open(
        self: Arc<Self>,
        _inode: &Arc<Inode>,
        ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let who = self.at.subject()?;
        let mm = if who.task().is_some() { self.at.access(ctx)?.mm().ok() } else { None };
        let mm = mm.map(|mm| Arc::downgrade(&mm));
        let end = who.kernel.platform.user_range().1;
        Ok(if self.pagemap { Box::new(PageMap { mm, end }) } else { Box::new(Mem { mm }) })
    }
}

/// The address space that was there when the file was opened, as long as somebody runs in it.
struct Mem {
    mm: Option<Weak<MemoryManager>>,
}

impl FileOps for Mem {
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
        let Some(mm) = self.mm.as_ref().and_then(Weak::upgrade) else { return Ok(0) };
        let mut buf = [0; PIECE];
        let mut done = 0;
        while dst.remaining() > 0 {
            let want = dst.remaining().min(PIECE);
            let addr = pos.checked_add(done as u64).ok_or(EIO)?;
            let got = mm.copy_from_user_partial(addr, &mut buf[..want], UserAccess::Force(false));
            done += dst.write(&buf[..got])?;
            if got < want {
                break;
            }
        }
        if done == 0 && dst.remaining() > 0 { Err(EIO) } else { Ok(done) }
    }

    fn write(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        let Some(mm) = self.mm.as_ref().and_then(Weak::upgrade) else {
            return Ok(Written { count: 0, end: pos });
        };
        let mut buf = [0; PIECE];
        let mut done = 0;
        while src.remaining() > 0 {
            let want = src.remaining().min(PIECE);
            let got = src.read(&mut buf[..want])?;
            let addr = pos.checked_add(done as u64).ok_or(EIO)?;
            let put = mm.copy_to_user_partial(addr, &buf[..got], UserAccess::Force(true));
            done += put;
            if put < got || got == 0 {
                if done == 0 {
                    return Err(EIO);
                }
                break;
            }
        }
        Ok(Written { count: done, end: pos.saturating_add(done as u64) })
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Err(EINVAL)
    }

    fn pollable(&self) -> bool {
        false
    }
}

/// Bytes of a word of `pagemap`.
const PM_ENTRY_BYTES: u64 = 8;
/// The page is present. Linux: `PM_PRESENT`.
const PM_PRESENT: u64 = 1 << 63;
/// The page is a file's or shared. Linux: `PM_FILE`.
const PM_FILE: u64 = 1 << 61;

struct PageMap {
    mm: Option<Weak<MemoryManager>>,
    /// One past the last address there can be.
    end: u64,
}

impl FileOps for PageMap {
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
        let room = dst.remaining() as u64;
        if !pos.is_multiple_of(PM_ENTRY_BYTES) || !room.is_multiple_of(PM_ENTRY_BYTES) {
            return Err(EINVAL);
        }
        let Some(mm) = self.mm.as_ref().and_then(Weak::upgrade) else { return Ok(0) };
        let mut done = 0;
        let mut addr = (pos / PM_ENTRY_BYTES).saturating_mul(PAGE_SIZE);
        while dst.remaining() > 0 && addr < self.end {
            let usage = mm.usage_of(addr, addr + PAGE_SIZE);
            let file = if usage.anonymous == 0 { PM_FILE } else { 0 };
            let word = if usage.resident > 0 { PM_PRESENT | file } else { 0 };
            done += dst.write(&word.to_ne_bytes())?;
            addr += PAGE_SIZE;
        }
        Ok(done)
    }

    fn pollable(&self) -> bool {
        false
    }
}
