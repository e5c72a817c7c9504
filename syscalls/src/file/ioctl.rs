//! Linux: fs/ioctl.c: the commands every file knows; the rest are the file's own.

use super::fcntl::change_flags;
use super::fown::owner_ioctl;
use super::user::get_file;
use crate::arg::{Addr, Bits, Fd};
use fs_vfs::{File, FileType, TaskContext};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOTTY, EOPNOTSUPP};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::if_::{FIOGETOWN, FIOSETOWN, SIOCGPGRP, SIOCSPGRP};
use sentry_uapi::ioctl::{
    FICLONE, FICLONERANGE, FIDEDUPERANGE, FIGETBSZ, FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, FIONREAD, FIOQSIZE,
};
use std::sync::Arc;

/// ioctl(2).
pub(crate) fn ioctl(task: &mut CurrentTask, fd: Fd, cmd: Bits, arg: Addr) -> SyscallResult {
    let file = get_file(task, fd)?;
    let regular = file.inode().file_type() == FileType::Regular;
    let socket = file.inode().file_type() == FileType::Socket;
    match cmd.0 {
        FIOCLEX => TaskContext::files(task).set_cloexec(fd.0, true)?,
        FIONCLEX => TaskContext::files(task).set_cloexec(fd.0, false)?,
        FIONBIO => set_flag(task, fd, &file, OpenFlags::NONBLOCK, arg)?,
        FIOASYNC => set_flag(task, fd, &file, OpenFlags::ASYNC, arg)?,
        FIOQSIZE => {
            let kind = file.inode().file_type();
            if !matches!(kind, FileType::Regular | FileType::Directory | FileType::Symlink) {
                return Err(ENOTTY.into());
            }
            let bytes = file.inode().getattr()?.blocks.saturating_mul(512);
            task.user()?.write_obj(arg.0, &bytes)?;
        }
        FIGETBSZ => {
            let size = file.inode().getattr()?.blksize;
            if size == 0 {
                return Err(EINVAL.into());
            }
            task.user()?.write_obj(arg.0, &size)?;
        }
        FICLONE | FICLONERANGE | FIDEDUPERANGE => return Err(EOPNOTSUPP.into()),
        FIONREAD if regular => {
            let left = file.ops().size(&file)?.wrapping_sub(file.pos());
            // The low half, as Linux stores it.
            let left = u32::try_from(left & 0xffff_ffff).unwrap_or(0);
            task.user()?.write_obj(arg.0, &left)?;
        }
        FIOSETOWN | SIOCSPGRP if socket => owner_ioctl(task, &file, true, arg)?,
        FIOGETOWN | SIOCGPGRP if socket => owner_ioctl(task, &file, false, arg)?,
        _ => return Ok(file.ops().ioctl(&file, task, cmd.0, arg.0)?.cast_unsigned()),
    }
    Ok(0)
}

/// Sets or clears a status flag as the `int` at `arg` says.
fn set_flag(task: &CurrentTask, fd: Fd, file: &Arc<File>, flag: OpenFlags, arg: Addr) -> Result<(), Errno> {
    let on = task.user()?.read_obj::<i32>(arg.0)? != 0;
    let mut flags = file.flags();
    flags.set(flag, on);
    change_flags(task, fd, file, flags)
}
