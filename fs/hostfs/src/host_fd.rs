//! A descriptor of the host's that the guest was given open: standard input, output, error. Its open file description is
//! shared with the caller of the runtime, so its flags stay as they are: before each transfer the host is asked whether
//! it would block.

use fs_vfs::{Attr, File, FileOps, FileType, Inode, InodeOps, PollTable, Pseudo, TaskContext, Vfs, Written};
use platform_host::fs::stat;
use platform_host::io;
use platform_host::poller::{HostPoller, poll_now, readable_bytes};
use sentry_auth::{Cred, Kgid, Kuid};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::WaitQueue;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, ENOTTY, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use sentry_uapi::stat::makedev;
use sentry_uapi::time::Timespec;
use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Most a single write hands to a host pipe or terminal: what one that polls writable takes without blocking.
const PIPE_BUF: usize = 4096;

struct HostFd {
    fd: Arc<OwnedFd>,
    queue: WaitQueue,
    /// A regular file of the host: never blocks, and keeps its own position.
    regular: bool,
}

/// An open file for a host descriptor. `access` is its access mode, as fcntl(F_GETFL) of the host gave it.
///
/// # Errors
/// Those of watching it.
pub fn host_fd_file(
    vfs: &Vfs,
    poller: &HostPoller,
    fd: OwnedFd,
    file_type: FileType,
    access: OpenFlags,
    cred: Arc<Cred>,
) -> Result<Arc<File>, Errno> {
    let queue = WaitQueue::new();
    let wake = queue.clone();
    let regular = match poller.watch(fd.as_fd(), Box::new(move |events| wake.wake_all(events))) {
        Ok(()) => false,
        Err(EPERM) => true,
        Err(e) => return Err(e),
    };
    let fs = match file_type {
        FileType::Fifo => Pseudo::Pipe,
        FileType::Socket => Pseudo::Socket,
        _ => Pseudo::Anon,
    };
    let fd = Arc::new(fd);
    let stat = stat(fd.as_fd())?;
    let sb = vfs.pseudo_inode(fs, &cred).sb().clone();
    let ino = vfs.alloc_ino();
    let name = match file_type {
        FileType::Fifo => format!("pipe:[{ino}]"),
        FileType::Socket => format!("socket:[{ino}]"),
        _ => "host:".to_owned(),
    };
    let node = HostNode { fd: fd.clone(), uid: cred.fsuid, gid: cred.fsgid };
    let inode = Inode::new(sb, ino, file_type, makedev(stat.rdev.0, stat.rdev.1), Box::new(node));
    let path = vfs.pseudo_path(fs, inode.clone(), name.as_bytes());
    Ok(File::new(path, inode, Box::new(HostFd { fd, queue, regular }), access, cred))
}

/// What stat(2) shows of the descriptor: the host's file, owned by the guest's user.
struct HostNode {
    fd: Arc<OwnedFd>,
    uid: Kuid,
    gid: Kgid,
}

impl InodeOps for HostNode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        let stat = stat(self.fd.as_fd())?;
        Ok(Attr {
            ino: inode.ino(),
            perm: stat.mode & 0o7777,
            nlink: 1,
            uid: self.uid,
            gid: self.gid,
            rdev: inode.rdev(),
            size: stat.size,
            blksize: 4096,
            blocks: stat.size.div_ceil(512),
            atime: time(stat.atime),
            mtime: time(stat.mtime),
            ctime: time(stat.ctime),
            btime: None,
        })
    }
}

fn time((tv_sec, nsec): (i64, u32)) -> Timespec {
    Timespec { tv_sec, tv_nsec: nsec.into() }
}

impl HostFd {
    fn ready(&self, events: u32) -> Result<(), Errno> {
        if self.regular || poll_now(self.fd.as_fd()) & (events | POLLHUP | POLLERR) != 0 {
            Ok(())
        } else {
            Err(EAGAIN)
        }
    }
}

impl FileOps for HostFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn seekable(&self) -> bool {
        false
    }

    fn read(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        self.ready(POLLIN)?;
        let n = io::readv(self.fd.as_fd(), &dst.segs(usize::MAX))?;
        dst.advance(n);
        Ok(n)
    }

    fn write(
        &self,
        _file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        _pos: u64,
    ) -> Result<Written, Errno> {
        self.ready(POLLOUT)?;
        let max = if self.regular { usize::MAX } else { PIPE_BUF };
        let n = io::writev(self.fd.as_fd(), &src.segs(max)).inspect_err(|e| {
            if *e == sentry_uapi::errno::EPIPE {
                ctx.send_sig(sentry_uapi::signal::SIGPIPE);
            }
        })?;
        src.advance(n);
        Ok(Written { count: n, end: 0 })
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait(&self.queue);
        let events = if self.regular { POLLIN | POLLOUT } else { poll_now(self.fd.as_fd()) };
        let normal = if events & POLLIN != 0 { POLLRDNORM } else { 0 };
        events | normal | if events & POLLOUT != 0 { POLLWRNORM } else { 0 }
    }

    fn ioctl(&self, _file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        /// FIONREAD.
        const FIONREAD: u32 = 0x541b;
        if cmd != FIONREAD {
            return Err(ENOTTY);
        }
        ctx.mm()?.write_obj(arg, &readable_bytes(self.fd.as_fd())?)?;
        Ok(0)
    }

    fn fsync(&self, _file: &File, _data_only: bool) -> Result<(), Errno> {
        if self.regular { Ok(()) } else { Err(sentry_uapi::errno::EINVAL) }
    }
}
