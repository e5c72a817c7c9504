//! `/proc/[pid]/{cmdline,environ,auxv}`. Linux: fs/proc/base.c, `get_mm_cmdline`, `environ_read`, `auxv_read`.

use crate::pid::ProcTask;
use crate::pid::entry::View;
use fs_kernfs::{FileNode, Node, NodeAttr, NodeOps};
use fs_vfs::{File, FileOps, Inode, TaskContext};
use sentry_mm::{IoDst, MemoryManager, PAGE_SIZE, UserAccess};
use sentry_uapi::Errno;
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::{Arc, Weak};

/// Bytes copied at once.
const PIECE: usize = 4096;

/// A part of a process's memory shown as a file.
struct Strings {
    at: ProcTask,
    environ: bool,
}

/// `/proc/[pid]/cmdline`: for everybody, of the program that runs when it is read.
pub(crate) fn cmdline(at: &ProcTask) -> Node {
    Node::file(Strings { at: at.clone(), environ: false })
}

/// `/proc/[pid]/environ`: for those who may trace the process, of the program that ran when it was opened.
pub(crate) fn environ(at: &ProcTask) -> Node {
    Node::file(Strings { at: at.clone(), environ: true })
}

/// `/proc/[pid]/auxv`.
pub(crate) fn auxv(view: &View<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    if let Some(mm) = view.who.mm() {
        out.extend_from_slice(&mm.info().auxv);
    }
    Ok(())
}

impl NodeOps for Strings {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(if self.environ { 0o400 } else { 0o444 }, false)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }
}

impl FileNode for Strings {
    fn open(
        self: Arc<Self>,
        _inode: &Arc<Inode>,
        ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        if !self.environ {
            return Ok(Box::new(Cmdline { at: self.at.clone() }));
        }
        let who = self.at.subject()?;
        let mm = if who.task().is_some() { self.at.access(ctx)?.mm().ok() } else { None };
        Ok(Box::new(Environ { mm: mm.map(|mm| Arc::downgrade(&mm)) }))
    }
}

/// Copies `start + pos .. end` of an address space as far as it is mapped and there is room.
fn read_range(
    mm: &MemoryManager,
    start: u64,
    end: u64,
    pos: u64,
    dst: &mut IoDst<'_>,
) -> Result<usize, Errno> {
    let mut at = start.saturating_add(pos);
    let mut done = 0;
    let mut buf = [0; PIECE];
    while at < end && dst.remaining() > 0 {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(dst.remaining()).min(PIECE);
        let got = mm.copy_from_user_partial(at, &mut buf[..want], UserAccess::Force(false));
        if got == 0 {
            break;
        }
        done += dst.write(&buf[..got])?;
        at = at.saturating_add(got as u64);
    }
    Ok(done)
}

/// Linux: `get_mm_cmdline`.
fn read_cmdline(mm: &MemoryManager, pos: u64, dst: &mut IoDst<'_>) -> Result<usize, Errno> {
    let info = mm.info();
    let (arg_start, arg_end) = info.args;
    let (env_start, env_end) = info.env;
    if env_end == 0 || arg_start >= arg_end {
        return Ok(0);
    }
    // A title may run over the end of the arguments only where the environment follows them.
    let follows = env_start == arg_end && env_end >= env_start;
    let end = if follows { env_end } else { arg_end };
    if pos >= end - arg_start {
        return Ok(0);
    }
    let mut last = [0];
    let got = mm.copy_from_user_partial(arg_end - 1, &mut last, UserAccess::Force(false));
    if got == 1 && last[0] != 0 {
        // The program has written a title over its arguments, perhaps on into its environment.
        return read_title(mm, arg_start, pos, dst);
    }
    read_range(mm, arg_start, arg_end, pos, dst)
}

/// One string from the start of the arguments, at most a page. Linux: `get_mm_proctitle`.
fn read_title(mm: &MemoryManager, arg_start: u64, pos: u64, dst: &mut IoDst<'_>) -> Result<usize, Errno> {
    if pos >= PAGE_SIZE {
        return Ok(0);
    }
    let mut page = [0; PIECE];
    let got = mm.copy_from_user_partial(arg_start, &mut page, UserAccess::Force(false));
    let title = page.get(..got).unwrap_or_default();
    let len = title.iter().position(|b| *b == 0).map_or(got, |zero| zero + 1);
    let from = usize::try_from(pos).unwrap_or(usize::MAX);
    dst.write(title.get(from..len).unwrap_or_default())
}

struct Cmdline {
    at: ProcTask,
}

impl FileOps for Cmdline {
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
        match self.at.subject()?.mm() {
            Some(mm) => read_cmdline(&mm, pos, dst),
            None => Ok(0),
        }
    }

    fn pollable(&self) -> bool {
        false
    }
}

struct Environ {
    mm: Option<Weak<MemoryManager>>,
}

impl FileOps for Environ {
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
        let (start, end) = mm.info().env;
        read_range(&mm, start, end, pos, dst)
    }

    fn pollable(&self) -> bool {
        false
    }
}
