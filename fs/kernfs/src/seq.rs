//! Linux: fs/seq_file.c.

use crate::SeqNode;
use fs_vfs::{File, FileOps, PollTable, TaskContext, Written};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::any::Any;
use std::sync::Arc;

/// An open file of text, for a [`crate::FileNode`] that makes a node of its own each time it is opened.
pub fn open_seq(node: impl SeqNode) -> Box<dyn FileOps> {
    Box::new(SeqFile::new(Arc::new(node)))
}

/// An open file of text.
pub(crate) struct SeqFile {
    node: Arc<dyn SeqNode>,
    /// What `show` put out last; none before the first read.
    text: Mutex<Option<Arc<[u8]>>, { level::LEAF }>,
}

impl SeqFile {
    pub(crate) fn new(node: Arc<dyn SeqNode>) -> SeqFile {
        SeqFile { node, text: Mutex::new(None) }
    }
}

impl FileOps for SeqFile {
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
        let kept = if pos == 0 { None } else { self.text.lock().clone() };
        let text = match kept {
            Some(text) => text,
            None => {
                let mut out = Vec::new();
                self.node.show(file, ctx, &mut out)?;
                let text: Arc<[u8]> = out.into();
                let old = self.text.lock().replace(text.clone());
                drop(old);
                text
            }
        };
        let rest = usize::try_from(pos).ok().and_then(|pos| text.get(pos..)).unwrap_or_default();
        dst.write(rest)
    }

    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        let count = self.node.write(file, ctx, src, pos)?;
        Ok(Written { count, end: pos.saturating_add(u64::try_from(count).unwrap_or(0)) })
    }

    fn before_write(&self, file: &File, pos: u64, len: usize) -> Result<(), Errno> {
        self.node.before_write(file, pos, len)
    }

    fn pwritable(&self) -> bool {
        self.node.pwritable()
    }

    /// SEEK_END works where the node claims a size, as attributes of sysfs do.
    fn size(&self, _file: &File) -> Result<u64, Errno> {
        match self.node.attr()?.size {
            0 => Err(EINVAL),
            size => Ok(size),
        }
    }

    fn seek_data(&self, _file: &File, _pos: u64, _hole: bool) -> Result<u64, Errno> {
        Err(EINVAL)
    }

    fn poll(&self, file: &File, table: &mut PollTable) -> u32 {
        self.node.poll(file, table)
    }

    fn pollable(&self) -> bool {
        self.node.pollable()
    }
}
