//! Linux: include/linux/fs.h, `get_write_access` and `deny_write_access`.

use crate::mount::WriteAccess;
use crate::{Inode, Mount};
use sentry_uapi::Errno;
use sentry_uapi::errno::ETXTBSY;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One who writes to an inode: while it lives the file cannot be executed.
pub(crate) struct InodeWriter {
    inode: Arc<Inode>,
}

impl InodeWriter {
    /// # Errors
    /// `ETXTBSY` while the file is being executed.
    pub(crate) fn new(inode: &Arc<Inode>) -> Result<InodeWriter, Errno> {
        let more = |n: i32| if n < 0 { None } else { n.checked_add(1) };
        match inode.writecount.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(InodeWriter { inode: inode.clone() }),
            Err(_) => Err(ETXTBSY),
        }
    }
}

impl Drop for InodeWriter {
    fn drop(&mut self) {
        self.inode.writecount.fetch_sub(1, Ordering::AcqRel);
    }
}

/// While it lives, opening the file for writing fails with `ETXTBSY`: held for what is being executed.
pub struct DenyWrite {
    inode: Arc<Inode>,
}

impl DenyWrite {
    /// Linux: `deny_write_access`.
    ///
    /// # Errors
    /// `ETXTBSY` while somebody has the file open for writing.
    pub fn new(inode: &Arc<Inode>) -> Result<DenyWrite, Errno> {
        let more = |n: i32| if n > 0 { None } else { n.checked_sub(1) };
        match inode.writecount.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(DenyWrite { inode: inode.clone() }),
            Err(_) => Err(ETXTBSY),
        }
    }
}

impl Clone for DenyWrite {
    fn clone(&self) -> DenyWrite {
        self.inode.writecount.fetch_sub(1, Ordering::AcqRel);
        DenyWrite { inode: self.inode.clone() }
    }
}

impl Drop for DenyWrite {
    fn drop(&mut self) {
        self.inode.writecount.fetch_add(1, Ordering::AcqRel);
    }
}

/// What a file open for writing holds: its inode cannot be executed, its mount not be made read-only.
pub(crate) struct FileWriter {
    _inode: InodeWriter,
    _mount: WriteAccess,
}

impl FileWriter {
    /// # Errors
    /// `ETXTBSY`, `EROFS`.
    pub(crate) fn new(inode: &Arc<Inode>, mnt: &Arc<Mount>) -> Result<FileWriter, Errno> {
        let inode = InodeWriter::new(inode)?;
        Ok(FileWriter { _inode: inode, _mount: mnt.want_write()? })
    }
}
