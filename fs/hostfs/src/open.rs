//! Descriptors for contents, and opening.

use crate::dir::DirFile;
use crate::file::HostFile;
use crate::inode::{HostInode, host_flags as flags, host_inode};
use crate::super_block::key;
use fs_vfs::{FileOps, FileType, Inode};
use platform_host::fs;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, ENOENT, ENXIO, EOPNOTSUPP, EROFS, ESTALE};
use sentry_uapi::fcntl::OpenFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

impl HostInode {
    /// A descriptor to read a regular file or a directory by, or also to write a regular file.
    pub(crate) fn io_fd(&self, write: bool) -> Result<Arc<OwnedFd>, Errno> {
        if write {
            self.check_writable()?;
        }
        if let Some(fd) = self.write.get() {
            return Ok(fd);
        }
        if write { self.open_write() } else { self.read_fd() }
    }

    /// A descriptor that is for reading only.
    pub(crate) fn read_fd(&self) -> Result<Arc<OwnedFd>, Errno> {
        match self.read.get() {
            Some(fd) => Ok(fd),
            None => {
                let fd = self.open_host(flags::O_RDONLY)?;
                self.fs.fds.store(&self.read, fd.clone());
                Ok(fd)
            }
        }
    }

    fn open_write(&self) -> Result<Arc<OwnedFd>, Errno> {
        match self.open_host(flags::O_RDWR) {
            Ok(fd) => {
                self.fs.fds.store(&self.write, fd.clone());
                Ok(fd)
            }
            // A sentry without privileges may write what it may not read. Not kept, since readers would get it.
            Err(EACCES) => self.open_host(flags::O_WRONLY),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn open_host(&self, mode: i32) -> Result<Arc<OwnedFd>, Errno> {
        let _names = self.fs.names.read();
        let fd = match self.place() {
            Some(place) => {
                let dir = host_inode(&place.dir)?.path_fd_locked()?;
                fs::open_beneath(dir.as_fd(), &place.name, mode | flags::O_SAFE, 0)?
            }
            // Without a name only a directory can be opened again, through itself.
            None if !self.is_dir => return Err(ENOENT),
            None => fs::reopen_dir(self.path_fd_locked()?.as_fd(), mode | flags::O_DIRECTORY, 0)?,
        };
        if !self.fs.exclusive() && key(&fs::stat(fd.as_fd())?) != self.key {
            return Err(ESTALE);
        }
        Ok(Arc::new(fd))
    }

    /// Changes permission bits. `EOPNOTSUPP` for what cannot be opened: by name alone a link might be followed.
    pub(crate) fn chmod(&self, file_type: FileType, perm: u32) -> Result<(), Errno> {
        if !matches!(file_type, FileType::Regular | FileType::Directory) {
            return Err(EOPNOTSUPP);
        }
        let fd = match self.io_fd(false) {
            Err(EACCES) if file_type == FileType::Regular => self.io_fd(true)?,
            other => other?,
        };
        fs::chmod(fd.as_fd(), perm)
    }
}

pub(crate) fn open(
    node: &HostInode,
    inode: &Arc<Inode>,
    open_flags: OpenFlags,
) -> Result<Box<dyn FileOps>, Errno> {
    match inode.file_type() {
        FileType::Directory => Ok(Box::new(DirFile::new())),
        FileType::Regular => {
            let write = open_flags.writable();
            if write && !node.fs.writable {
                return Err(EROFS);
            }
            let fd = node.io_fd(write)?;
            if let Some(pages) = node.pages()
                && !node.fs.exclusive()
            {
                pages.revalidate(&node.stat_now()?);
            }
            Ok(Box::new(HostFile::new(fd)))
        }
        _ => Err(ENXIO),
    }
}
