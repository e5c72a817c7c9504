//! The system calls. Linux: ipc/mqueue.c.

use super::inode::QueueFile;
use super::notify::MqNotify;
use super::queue::MqMessage;
use crate::CurrentTask;
use fs_vfs::{
    At, File, LookupFlags, OpenHow, Path, TaskContext, build_open_flags, do_filp_open, do_unlinkat,
    user_path_at,
};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EBADF, EEXIST, EINVAL, ENAMETOOLONG, ENOENT};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::mqueue::MqAttr;
use std::sync::Arc;
use std::time::Instant;

/// Longest name of a queue.
const NAME_MAX: usize = 255;
/// Flags that mean something for a queue.
const FLAGS: OpenFlags =
    OpenFlags::from_bits_retain(3).union(OpenFlags::CREAT).union(OpenFlags::EXCL).union(OpenFlags::NONBLOCK);

/// Linux: `getname`, `lookup_one_common`.
fn check_name(name: &[u8]) -> Result<(), Errno> {
    if name.is_empty() {
        return Err(ENOENT);
    }
    if name == b"." || name == b".." || name.contains(&b'/') {
        return Err(EACCES);
    }
    if name.len() > NAME_MAX { Err(ENAMETOOLONG) } else { Ok(()) }
}

fn queue(file: &File) -> Result<&QueueFile, Errno> {
    file.downcast::<QueueFile>().ok_or(EBADF)
}

impl CurrentTask {
    fn mq_root(&self) -> At {
        let mnt = self.ipc_ns().mq_mount(self.vfs());
        At::Dir(Path { dentry: mnt.root.clone(), mnt })
    }

    /// mq_open(2). Linux: `do_mq_open`.
    ///
    /// # Errors
    /// `EACCES` and `ENAMETOOLONG` for a name; `ENOENT`, `EEXIST`; `EINVAL` and the errors of limits for what was asked for.
    pub fn mq_open(
        &self,
        name: &[u8],
        flags: OpenFlags,
        mode: u32,
        attr: Option<MqAttr>,
    ) -> Result<Arc<File>, Errno> {
        check_name(name)?;
        let root = self.mq_root();
        let flags = flags & FLAGS;
        let open = |flags: OpenFlags| {
            let op = build_open_flags(&OpenHow::for_open(flags.bits(), mode))?;
            do_filp_open(self, &root, name, &op)
        };
        let create = flags.contains(OpenFlags::CREAT);
        loop {
            if !create || !flags.contains(OpenFlags::EXCL) {
                // What exists is not created, so neither the mode nor rules for shared directories count.
                match user_path_at(self, &root, name, LookupFlags::empty()) {
                    Ok(_) if flags.bits() & 3 == 3 => return Err(EINVAL),
                    Ok(_) => match open(flags - (OpenFlags::CREAT | OpenFlags::EXCL)) {
                        Err(ENOENT) if create => continue,
                        opened => return opened,
                    },
                    Err(ENOENT) if create => {}
                    Err(e) => return Err(e),
                }
            }
            self.mq_attr.set(attr);
            let opened = open(flags | OpenFlags::EXCL);
            self.mq_attr.set(None);
            match opened {
                Err(EEXIST) if !flags.contains(OpenFlags::EXCL) => {}
                opened => return opened,
            }
        }
    }

    /// mq_unlink(2).
    ///
    /// # Errors
    /// `EACCES` and `ENAMETOOLONG` for a name; `ENOENT`; `EPERM` for another's queue.
    pub fn mq_unlink(&self, name: &[u8]) -> Result<(), Errno> {
        check_name(name)?;
        do_unlinkat(self, &self.mq_root(), name, 0)
    }

    /// mq_timedsend(2).
    ///
    /// # Errors
    /// `EBADF` for a file that is no queue or not open for writing; those of sending.
    pub fn mq_send(
        &self,
        file: &File,
        priority: u32,
        read: impl FnOnce() -> Result<Vec<u8>, Errno>,
        len: usize,
        deadline: Option<Instant>,
    ) -> Result<(), Errno> {
        let q = queue(file)?;
        if !file.writable() {
            return Err(EBADF);
        }
        if len > q.queue.msgsize {
            return Err(sentry_uapi::errno::EMSGSIZE);
        }
        let nonblock = file.flags().contains(OpenFlags::NONBLOCK);
        q.queue.send(self, priority, read()?, nonblock, deadline)?;
        QueueFile::touch(file);
        Ok(())
    }

    /// mq_timedreceive(2): priority and text.
    ///
    /// # Errors
    /// `EBADF` for a file that is no queue or not open for reading; those of receiving.
    pub fn mq_receive(
        &self,
        file: &File,
        max: usize,
        deadline: Option<Instant>,
    ) -> Result<(u32, Vec<u8>), Errno> {
        let q = queue(file)?;
        if !file.readable() {
            return Err(EBADF);
        }
        let nonblock = file.flags().contains(OpenFlags::NONBLOCK);
        let MqMessage { priority, text, .. } = q.queue.receive(self, max, nonblock, deadline)?;
        QueueFile::touch(file);
        Ok((priority, text))
    }

    /// mq_notify(2).
    ///
    /// # Errors
    /// `EBADF` for a file that is no queue; `EBUSY`.
    pub fn mq_notify(&self, file: &File, how: Option<MqNotify>) -> Result<(), Errno> {
        queue(file)?.queue.notify(self, how)
    }

    /// mq_getsetattr(2): the attributes as they were; O_NONBLOCK may be changed.
    ///
    /// # Errors
    /// `EBADF` for a file that is no queue.
    pub fn mq_getsetattr(&self, file: &File, nonblock: Option<bool>) -> Result<MqAttr, Errno> {
        let mut old = queue(file)?.queue.attr();
        old.mq_flags = i64::from((file.flags() & OpenFlags::NONBLOCK).bits());
        if let Some(nonblock) = nonblock {
            let mut flags = file.flags();
            flags.set(OpenFlags::NONBLOCK, nonblock);
            file.set_status_flags(flags)?;
        }
        Ok(old)
    }
}
