//! Linux: include/linux/fs.h, `struct file` and `struct file_operations`; fs/read_write.c.

use crate::notify::{fsnotify_access, fsnotify_close, fsnotify_modify};
use crate::notify_change::{file_remove_privs, write_check_limits};
use crate::write_access::FileWriter;
use crate::{FileOwner, FileType, Inode, Path, PollTable, TaskContext, block_on_file, file_accessed};
use bitflags::bitflags;
use sentry_auth::Cred;
use sentry_mm::{IoDst, IoSrc, Mappable};
use sentry_sync::{Mutex, Wake, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EINVAL, EISDIR, ENODEV, ENOENT, ENOTDIR, ENOTTY, EOPNOTSUPP, ESPIPE};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM};
use std::any::Any;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

bitflags! {
    /// Flags of preadv2(2) and pwritev2(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct IoFlags: u32 {
        /// High priority; no difference here.
        const HIPRI = 1;
        /// As O_DSYNC, for this write.
        const DSYNC = 2;
        /// As O_SYNC, for this write.
        const SYNC = 4;
        /// Fail with EAGAIN rather than wait.
        const NOWAIT = 8;
        /// Write at the end.
        const APPEND = 16;
    }
}

/// Receives directory entries. Linux: `struct dir_context`.
pub trait DirSink {
    /// Takes one entry: its name, inode number, type (`DT_*`), and the position *after* it, which a later
    /// [`FileOps::readdir`] may start at. Returns false if it is full and did not take the entry.
    fn entry(&mut self, name: &[u8], ino: u64, dtype: u8, next: u64) -> bool;
}

/// What an open file does. Methods never sleep; see the crate's head.
pub trait FileOps: Any + Send + Sync {
    /// For the owner of the type to get back at it.
    fn as_any(&self) -> &dyn Any;

    /// Reads at `pos` (ignored by streams) as much as is there and fits; 0 at the end. `EAGAIN`: nothing there yet.
    fn read(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        let _ = (file, ctx, dst, pos);
        Err(EINVAL)
    }

    /// A read that may wait: repeats [`File::read_once`] until there is something. A terminal also counts bytes and time
    /// (VMIN and VTIME of termios(3)).
    fn read_blocking(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        block_on_file(ctx, file, POLLIN | POLLRDNORM, None, || file.read_once(ctx, dst, pos))
    }

    /// Writes at `pos` (ignored by streams). `EAGAIN`: no room yet. Fewer bytes than offered means: the rest would wait
    /// or failed. For a regular file with O_APPEND the filesystem itself writes at its end, and returns the position
    /// after the write along with the count.
    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        let _ = (file, ctx, src, pos);
        Err(EINVAL)
    }

    /// Whether pwrite(2) works on it. Linux: `FMODE_PWRITE`.
    fn pwritable(&self) -> bool {
        self.seekable()
    }

    /// Whether there is a file position. False: lseek(2) and pread(2) fail with `ESPIPE`. Linux: `FMODE_LSEEK`.
    fn seekable(&self) -> bool {
        true
    }

    /// Whether lseek(2) leads to 0, whatever it is asked for. Linux: drivers/char/mem.c, `null_lseek`.
    fn always_at_start(&self) -> bool {
        false
    }

    /// lseek(2) beyond SEEK_SET and SEEK_CUR: the size for SEEK_END.
    fn size(&self, file: &File) -> Result<u64, Errno> {
        Ok(file.inode().getattr()?.size)
    }

    /// SEEK_DATA (`hole` false) and SEEK_HOLE. `ENXIO` beyond the end.
    fn seek_data(&self, file: &File, pos: u64, hole: bool) -> Result<u64, Errno> {
        let size = self.size(file)?;
        if pos >= size {
            return Err(sentry_uapi::errno::ENXIO);
        }
        Ok(if hole { size } else { pos })
    }

    /// Directory entries from `pos` on, `.` and `..` included. Linux: `iterate_shared`.
    fn readdir(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        pos: u64,
        sink: &mut dyn DirSink,
    ) -> Result<(), Errno> {
        let _ = (file, ctx, pos, sink);
        Err(ENOTDIR)
    }

    /// The events that hold now (`POLL*`), after naming every queue they depend on to `table`.
    fn poll(&self, file: &File, table: &mut PollTable) -> u32 {
        let _ = (file, table);
        POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
    }

    /// As [`FileOps::poll`], for a file that shows each task something else: signalfd, and epoll over one.
    fn poll_for(&self, file: &File, ctx: &dyn TaskContext, table: &mut PollTable) -> u32 {
        let _ = ctx;
        self.poll(file, table)
    }

    /// Whether epoll can watch it: false for regular files and directories. Linux: `file_can_poll`.
    fn pollable(&self) -> bool {
        true
    }

    /// ioctl(2). `ENOTTY` for a command it does not know.
    fn ioctl(&self, file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        let _ = (file, ctx, cmd, arg);
        Err(ENOTTY)
    }

    /// The pages of the file, for mmap(2).
    fn mmap(&self, file: &File) -> Result<Arc<dyn Mappable>, Errno> {
        let _ = file;
        Err(ENODEV)
    }

    /// Called when a writable shared mapping of the file comes (`true`) or goes (`false`). `EPERM`: the file is sealed
    /// against it. Linux: `mapping_map_writable`.
    fn map_writable(&self, file: &File, come: bool) -> Result<(), Errno> {
        let _ = (file, come);
        Ok(())
    }

    /// fsync(2), or fdatasync(2).
    fn fsync(&self, file: &File, data_only: bool) -> Result<(), Errno> {
        let _ = (file, data_only);
        Err(EINVAL)
    }

    /// fallocate(2). `mode` holds only known `FALLOC_FL_*` bits; the range does not overflow.
    fn fallocate(&self, file: &File, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let _ = (file, mode, offset, len);
        Err(EOPNOTSUPP)
    }

    /// close(2) of one descriptor, of perhaps several. Linux: `flush`. The last one also drops the value.
    fn flush(&self, file: &File, ctx: &dyn TaskContext) -> Result<(), Errno> {
        let _ = (file, ctx);
        Ok(())
    }

    /// Called when status flags were changed by fcntl(F_SETFL).
    fn set_flags(&self, file: &File, flags: OpenFlags) -> Result<(), Errno> {
        let _ = (file, flags);
        Ok(())
    }

    /// Lines of `/proc/[pid]/fdinfo/N` beyond the common ones. Linux: `show_fdinfo`.
    fn show_fdinfo(&self, file: &File) -> String {
        let _ = file;
        String::new()
    }

    /// Called once, when the last reference to the open file goes. Linux: `release`. (`Drop` comes after it.)
    fn release(&self, file: &File) {
        let _ = file;
    }
}

/// Result of a write: bytes taken, and the file position behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes taken.
    pub count: usize,
    /// Position behind the last of them.
    pub end: u64,
}

/// Status flags that fcntl(F_SETFL) may change. Linux: fs/fcntl.c, `SETFL_MASK`.
const SETFL_MASK: OpenFlags = OpenFlags::APPEND
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::ASYNC)
    .union(OpenFlags::DIRECT)
    .union(OpenFlags::NOATIME);

/// An open file description.
pub struct File {
    path: Path,
    inode: Arc<Inode>,
    ops: Box<dyn FileOps>,
    flags: AtomicU32,
    pos: AtomicU64,
    /// Held by whoever reads and writes at the position. Linux: `f_pos_lock`.
    pos_lock: Mutex<(), { level::FILE_POS }>,
    cred: Arc<Cred>,
    /// For a file open for writing.
    writer: OnceLock<FileWriter>,
    owner: Mutex<FileOwner, { level::LEAF }>,
    /// Where the file's events are waited for, if its owner gets signals. Linux: `struct fasync_struct`.
    fasync: Mutex<Option<PollTable>, { level::LEAF }>,
}

impl File {
    /// An open file. `flags` are those of open(2); what only mattered while opening is dropped from them.
    pub fn new(
        path: Path,
        inode: Arc<Inode>,
        ops: Box<dyn FileOps>,
        flags: OpenFlags,
        cred: Arc<Cred>,
    ) -> Arc<File> {
        let kept = flags
            - (OpenFlags::CREAT
                | OpenFlags::EXCL
                | OpenFlags::NOCTTY
                | OpenFlags::TRUNC
                | OpenFlags::CLOEXEC);
        Arc::new(File {
            path,
            inode,
            ops,
            flags: AtomicU32::new(kept.bits()),
            pos: AtomicU64::new(0),
            pos_lock: Mutex::new(()),
            cred,
            writer: OnceLock::new(),
            owner: Mutex::new(FileOwner::NOBODY),
            fasync: Mutex::new(None),
        })
    }

    /// Notes what a file open for writing holds.
    pub(crate) fn set_writer(&self, writer: FileWriter) {
        // Set once, by the open that made the file.
        let _ = self.writer.set(writer);
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    pub fn inode(&self) -> &Arc<Inode> {
        &self.inode
    }

    /// What it does.
    pub fn ops(&self) -> &dyn FileOps {
        &*self.ops
    }

    /// What it does, if that is of type `T`.
    pub fn downcast<T: FileOps>(&self) -> Option<&T> {
        self.ops.as_any().downcast_ref()
    }

    /// Credentials of whoever opened it. Linux: `f_cred`.
    pub fn cred(&self) -> &Arc<Cred> {
        &self.cred
    }

    /// Access mode and status flags, as fcntl(F_GETFL) gives them.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// fcntl(F_SETFL).
    pub fn set_status_flags(&self, new: OpenFlags) -> Result<(), Errno> {
        let flags = (self.flags() - SETFL_MASK) | (new & SETFL_MASK);
        self.ops.set_flags(self, flags)?;
        self.flags.store(flags.bits(), Ordering::Relaxed);
        Ok(())
    }

    /// Who gets its signals. Linux: `f_owner`.
    pub fn owner(&self) -> FileOwner {
        *self.owner.lock()
    }

    /// Sets who gets its signals.
    pub fn set_owner(&self, owner: FileOwner) {
        *self.owner.lock() = owner;
    }

    /// Calls `waker` at each of its events from now on, or nobody. Linux: `fasync_helper`.
    pub fn set_fasync(&self, waker: Option<Arc<dyn Wake>>) {
        let table = waker.map(|waker| {
            let mut table = PollTable::new(POLLIN | POLLOUT | POLLPRI, waker);
            self.ops.poll(self, &mut table);
            table
        });
        let old = std::mem::replace(&mut *self.fasync.lock(), table);
        drop(old);
    }

    /// Whether it may be read. Not with O_PATH.
    pub fn readable(&self) -> bool {
        let flags = self.flags();
        flags.readable() && !flags.contains(OpenFlags::PATH)
    }

    /// Whether it may be written. Not with O_PATH.
    pub fn writable(&self) -> bool {
        let flags = self.flags();
        flags.writable() && !flags.contains(OpenFlags::PATH)
    }

    /// The events that hold now.
    pub fn poll_now(&self) -> u32 {
        self.ops.poll(self, &mut PollTable::query())
    }

    /// read(2): from the file position, which moves. Linux: `ksys_read`.
    pub fn read(&self, ctx: &dyn TaskContext, dst: &mut IoDst<'_>, io: IoFlags) -> Result<usize, Errno> {
        if !self.ops.seekable() {
            return self.read_at(ctx, dst, 0, io);
        }
        let _lock = self.pos_lock.lock();
        let pos = self.pos();
        let n = self.read_once(ctx, dst, pos)?;
        self.set_pos(pos.saturating_add(n as u64));
        Ok(n)
    }

    /// pread(2); also read(2) of what has no position.
    pub fn read_at(
        &self,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
        io: IoFlags,
    ) -> Result<usize, Errno> {
        if self.flags().contains(OpenFlags::NONBLOCK) || io.contains(IoFlags::NOWAIT) {
            return self.read_once(ctx, dst, pos);
        }
        self.ops.read_blocking(self, ctx, dst, pos)
    }

    /// A read that does not wait, whatever the file's flags.
    ///
    /// # Errors
    /// `EBADF`, `EISDIR`; those of [`FileOps::read`].
    pub fn read_once(&self, ctx: &dyn TaskContext, dst: &mut IoDst<'_>, pos: u64) -> Result<usize, Errno> {
        if !self.readable() {
            return Err(EBADF);
        }
        if self.inode.is_dir() {
            return Err(EISDIR);
        }
        let n = dst.attempt(|dst| self.ops.read(self, ctx, dst, pos))?;
        if self.inode.file_type() == FileType::Regular {
            file_accessed(self);
        }
        if n > 0 {
            fsnotify_access(self);
        }
        Ok(n)
    }

    /// One write, with what the VFS does around it: limits, set-ID bits, notification. Linux: `vfs_write`,
    /// `generic_write_checks`.
    fn write_once(&self, ctx: &dyn TaskContext, src: &mut IoSrc<'_>, pos: u64) -> Result<Written, Errno> {
        if self.inode.file_type() == FileType::Regular && src.remaining() > 0 {
            let at = if self.flags().contains(OpenFlags::APPEND) { self.ops.size(self)? } else { pos };
            let allowed = write_check_limits(ctx, at, src.remaining())?;
            if allowed < src.remaining() {
                src.truncate(allowed);
            }
            file_remove_privs(ctx, self)?;
        }
        let written = src.attempt(|src| self.ops.write(self, ctx, src, pos))?;
        if written.count > 0 {
            fsnotify_modify(self);
        }
        Ok(written)
    }

    /// write(2): at the file position, which moves.
    pub fn write(&self, ctx: &dyn TaskContext, src: &mut IoSrc<'_>, io: IoFlags) -> Result<usize, Errno> {
        if !self.ops.seekable() {
            return self.write_at(ctx, src, 0, io);
        }
        if !self.writable() {
            return Err(EBADF);
        }
        let _lock = self.pos_lock.lock();
        let written = self.write_once(ctx, src, self.pos())?;
        self.set_pos(written.end);
        Ok(written.count)
    }

    /// pwrite(2); also write(2) to what has no position. A stream takes all bytes unless a signal ends the wait.
    pub fn write_at(
        &self,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
        io: IoFlags,
    ) -> Result<usize, Errno> {
        if !self.writable() {
            return Err(EBADF);
        }
        if self.ops.seekable() || self.flags().contains(OpenFlags::NONBLOCK) || io.contains(IoFlags::NOWAIT) {
            return self.write_once(ctx, src, pos).map(|w| w.count);
        }
        let mut total = 0;
        loop {
            let once =
                block_on_file(ctx, self, POLLOUT | POLLWRNORM, None, || self.write_once(ctx, src, pos));
            match once {
                Ok(written) => {
                    total += written.count;
                    if written.count == 0 || src.remaining() == 0 {
                        return Ok(total);
                    }
                }
                Err(_) if total > 0 => return Ok(total),
                Err(e) => return Err(e),
            }
        }
    }

    /// lseek(2) with SEEK_SET (0), SEEK_CUR (1), SEEK_END (2), SEEK_DATA (3), SEEK_HOLE (4).
    pub fn lseek(&self, offset: i64, whence: u32) -> Result<u64, Errno> {
        if self.flags().contains(OpenFlags::PATH) {
            return Err(EBADF);
        }
        if !self.ops.seekable() {
            return Err(ESPIPE);
        }
        let _lock = self.pos_lock.lock();
        if self.ops.always_at_start() {
            self.set_pos(0);
            return Ok(0);
        }
        let base = match whence {
            0 => 0,
            1 => self.pos(),
            2 => self.ops.size(self)?,
            3 | 4 => {
                let from = u64::try_from(offset).map_err(|_| sentry_uapi::errno::ENXIO)?;
                let found = self.ops.seek_data(self, from, whence == 4)?;
                self.set_pos(found);
                return Ok(found);
            }
            _ => return Err(EINVAL),
        };
        let new = base.checked_add_signed(offset).filter(|n| i64::try_from(*n).is_ok()).ok_or(EINVAL)?;
        self.set_pos(new);
        Ok(new)
    }

    /// The file position. Takes no lock: `/proc/[pid]/fdinfo/N` shows it of any file, itself included.
    pub fn pos(&self) -> u64 {
        self.pos.load(Ordering::Relaxed)
    }

    fn set_pos(&self, pos: u64) {
        self.pos.store(pos, Ordering::Relaxed);
    }

    /// getdents64(2): entries from the file position on, which moves behind the last one taken.
    pub fn readdir(&self, ctx: &dyn TaskContext, sink: &mut dyn DirSink) -> Result<(), Errno> {
        if !self.inode.is_dir() {
            return Err(ENOTDIR);
        }
        if self.path.dentry.is_dead() {
            return Err(ENOENT);
        }
        struct Track<'a>(&'a mut dyn DirSink, u64);
        impl DirSink for Track<'_> {
            fn entry(&mut self, name: &[u8], ino: u64, dtype: u8, next: u64) -> bool {
                let taken = self.0.entry(name, ino, dtype, next);
                if taken {
                    self.1 = next;
                }
                taken
            }
        }
        let lock = self.pos_lock.lock();
        let pos = self.pos();
        let mut track = Track(sink, pos);
        let result = self.ops.readdir(self, ctx, pos, &mut track);
        self.set_pos(track.1);
        drop(lock);
        if result.is_ok() {
            file_accessed(self);
            fsnotify_access(self);
        }
        result
    }
}

impl Drop for File {
    fn drop(&mut self) {
        fsnotify_close(self);
        crate::locks::locks_remove_file(self);
        self.ops.release(self);
    }
}
