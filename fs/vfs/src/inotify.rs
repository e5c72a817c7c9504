//! Linux: fs/notify/inotify/inotify_user.c and inotify_fsnotify.c.

mod group;
#[cfg(test)]
mod tests;

pub use group::InotifyLimits;

use crate::namei::LookupFlags;
use crate::{Access, At, File, FileOps, PollTable, Pseudo, TaskContext, user_path_at};
use group::Group;
use sentry_mm::IoDst;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, EINVAL, ENOENT, ENOTTY};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::inotify::{
    IN_ALL_EVENTS, IN_CLOEXEC, IN_DONT_FOLLOW, IN_EXCL_UNLINK, IN_IGNORED, IN_ISDIR, IN_MASK_ADD,
    IN_MASK_CREATE, IN_NONBLOCK, IN_ONESHOT, IN_ONLYDIR, IN_Q_OVERFLOW, IN_UNMOUNT, INOTIFY_IOC_SETNEXTWD,
};
use sentry_uapi::ioctl::FIONREAD;
use sentry_uapi::poll::{POLLIN, POLLRDNORM};
use std::any::Any;
use std::fmt::Write;
use std::sync::Arc;

/// Everything a mask may hold. Linux: `ALL_INOTIFY_BITS`.
const ALL_BITS: u32 = IN_ALL_EVENTS
    | IN_UNMOUNT
    | IN_Q_OVERFLOW
    | IN_IGNORED
    | IN_ONLYDIR
    | IN_DONT_FOLLOW
    | IN_EXCL_UNLINK
    | IN_MASK_CREATE
    | IN_MASK_ADD
    | IN_ISDIR
    | IN_ONESHOT;

/// The open file of an inotify instance. Its watches go with it.
struct InotifyFile(Arc<Group>);

impl Drop for InotifyFile {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

impl FileOps for InotifyFile {
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
        let mut total = 0;
        loop {
            // The queue says EAGAIN where there is nothing more, EINVAL where the next event does not fit.
            let event = match self.0.pop(dst.remaining()) {
                Ok(event) => event,
                Err(_) if total > 0 => return Ok(total),
                Err(e) => return Err(e),
            };
            if dst.write(&event) != Ok(event.len()) {
                return Err(EFAULT);
            }
            total += event.len();
        }
    }

    fn seekable(&self) -> bool {
        false
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait(&self.0.queue);
        if self.0.is_empty() { 0 } else { POLLIN | POLLRDNORM }
    }

    fn ioctl(&self, _file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        match cmd {
            FIONREAD => {
                let len = i32::try_from(self.0.bytes()).unwrap_or(i32::MAX);
                ctx.mm()?.write_obj(arg, &len)?;
                Ok(0)
            }
            INOTIFY_IOC_SETNEXTWD => {
                let wd = i32::try_from(arg).ok().filter(|wd| *wd >= 1).ok_or(EINVAL)?;
                self.0.set_next_wd(wd);
                Ok(0)
            }
            _ => Err(ENOTTY),
        }
    }

    fn show_fdinfo(&self, _file: &File) -> String {
        let mut out = String::new();
        for (wd, inode, mask) in self.0.watches() {
            let (ino, dev) = (inode.ino(), inode.sb().dev);
            let _ = writeln!(out, "inotify wd:{wd:x} ino:{ino:x} sdev:{dev:x} mask:{mask:x} ignored_mask:0 ");
        }
        out
    }
}

fn group(file: &File) -> Result<&Arc<Group>, Errno> {
    file.downcast::<InotifyFile>().map(|f| &f.0).ok_or(EINVAL)
}

/// inotify_init1(2). Of `flags`, IN_CLOEXEC is the caller's.
///
/// # Errors
/// `EINVAL` for unknown flags; `EMFILE` beyond `max_user_instances`. Linux: `do_inotify_init`.
pub fn do_inotify_init(ctx: &dyn TaskContext, flags: u32) -> Result<Arc<File>, Errno> {
    if flags & !(IN_CLOEXEC | IN_NONBLOCK) != 0 {
        return Err(EINVAL);
    }
    let cred = ctx.cred();
    let group = Group::new(&ctx.vfs().inotify, cred.euid)?;
    let mut open = OpenFlags::empty();
    open.set(OpenFlags::NONBLOCK, flags & IN_NONBLOCK != 0);
    Ok(ctx.vfs().pseudo_file(Pseudo::Anon, "inotify", Box::new(InotifyFile(group)), open, cred))
}

/// The first check of inotify_add_watch(2), before the descriptor is looked at: `EINVAL` for a mask with unknown bits or
/// without any.
pub fn inotify_check_mask(mask: u32) -> Result<(), Errno> {
    if mask & !ALL_BITS != 0 || mask == 0 { Err(EINVAL) } else { Ok(()) }
}

/// inotify_add_watch(2): the watch descriptor.
///
/// # Errors
/// Those of [`inotify_check_mask`]; `EINVAL` for IN_MASK_ADD with IN_MASK_CREATE, and for a file that is no inotify
/// instance; those of looking the path up; `EACCES` for a file that may not be read; `EEXIST` with IN_MASK_CREATE;
/// `ENOSPC` beyond `max_user_watches`.
pub fn do_inotify_add_watch(
    ctx: &dyn TaskContext,
    file: &File,
    name: &[u8],
    mask: u32,
) -> Result<i32, Errno> {
    inotify_check_mask(mask)?;
    if mask & IN_MASK_ADD != 0 && mask & IN_MASK_CREATE != 0 {
        return Err(EINVAL);
    }
    let group = group(file)?;
    let mut flags = LookupFlags::empty();
    flags.set(LookupFlags::FOLLOW, mask & IN_DONT_FOLLOW == 0);
    flags.set(LookupFlags::DIRECTORY, mask & IN_ONLYDIR != 0);
    let path = user_path_at(ctx, &At::Cwd, name, flags)?;
    let inode = path.inode().ok_or(ENOENT)?;
    inode.permission(&ctx.cred(), Access::READ)?;
    group.update_watch(inode, mask)
}

/// inotify_rm_watch(2). `EINVAL` for a file that is no inotify instance, and for a descriptor that is no watch of it.
pub fn do_inotify_rm_watch(file: &File, wd: i32) -> Result<(), Errno> {
    group(file)?.remove_watch(wd)
}
