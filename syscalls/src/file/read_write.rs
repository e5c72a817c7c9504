//! Linux: fs/read_write.c. A transfer longer than one view of guest memory is made in pieces, and other users of the same
//! file position may come in between.

use super::iov::UserIov;
use super::user::get_file;
use crate::arg::{Addr, Bits, BufIn, BufOut, Fd, Whence};
use fs_vfs::{File, FileType, IoFlags};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_mm::{IoDst, IoSrc};
use sentry_net::{SendMsg, Socket};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EINVAL, EISDIR, EOPNOTSUPP, ESPIPE};
use sentry_uapi::socket::MsgFlags;

/// read(2).
pub(crate) fn read(task: &mut CurrentTask, fd: Fd, buf: BufOut, count: usize) -> SyscallResult {
    let file = get_file(task, fd)?;
    may_read(&file)?;
    do_iter_read(task, &file, UserIov::single(buf.0, count)?, None, IoFlags::empty())
}

/// write(2).
pub(crate) fn write(task: &mut CurrentTask, fd: Fd, buf: BufIn, count: usize) -> SyscallResult {
    let file = get_file(task, fd)?;
    may_write(&file)?;
    do_iter_write(task, &file, UserIov::single(buf.0, count)?, None, IoFlags::empty())
}

/// pread64(2).
pub(crate) fn pread64(task: &mut CurrentTask, fd: Fd, buf: BufOut, count: usize, pos: i64) -> SyscallResult {
    let pos = u64::try_from(pos).map_err(|_| EINVAL)?;
    let file = get_positioned(task, fd)?;
    may_read(&file)?;
    let iov = UserIov::single(buf.0, count)?;
    do_iter_read(task, &file, iov, Some(pos), IoFlags::empty())
}

/// pwrite64(2).
pub(crate) fn pwrite64(task: &mut CurrentTask, fd: Fd, buf: BufIn, count: usize, pos: i64) -> SyscallResult {
    let pos = u64::try_from(pos).map_err(|_| EINVAL)?;
    let file = get_positioned(task, fd)?;
    may_pwrite(&file)?;
    may_write(&file)?;
    let iov = UserIov::single(buf.0, count)?;
    do_iter_write(task, &file, iov, Some(pos), IoFlags::empty())
}

/// readv(2).
pub(crate) fn readv(task: &mut CurrentTask, fd: Fd, vec: Addr, vlen: u64) -> SyscallResult {
    do_readv(task, fd, vec, vlen, None, 0)
}

/// writev(2).
pub(crate) fn writev(task: &mut CurrentTask, fd: Fd, vec: Addr, vlen: u64) -> SyscallResult {
    do_writev(task, fd, vec, vlen, None, 0)
}

/// preadv(2). The upper half of the position is of 32-bit tasks.
pub(crate) fn preadv(
    task: &mut CurrentTask,
    fd: Fd,
    vec: Addr,
    vlen: u64,
    pos: i64,
    _pos_high: u64,
) -> SyscallResult {
    let pos = u64::try_from(pos).map_err(|_| EINVAL)?;
    do_readv(task, fd, vec, vlen, Some(pos), 0)
}

/// pwritev(2).
pub(crate) fn pwritev(
    task: &mut CurrentTask,
    fd: Fd,
    vec: Addr,
    vlen: u64,
    pos: i64,
    _pos_high: u64,
) -> SyscallResult {
    let pos = u64::try_from(pos).map_err(|_| EINVAL)?;
    do_writev(task, fd, vec, vlen, Some(pos), 0)
}

/// preadv2(2): with a position of -1, at the file position.
pub(crate) fn preadv2(
    task: &mut CurrentTask,
    fd: Fd,
    vec: Addr,
    vlen: u64,
    pos: i64,
    _pos_high: u64,
    flags: Bits,
) -> SyscallResult {
    let pos = optional_pos(pos)?;
    do_readv(task, fd, vec, vlen, pos, flags.0)
}

/// pwritev2(2): with a position of -1, at the file position.
pub(crate) fn pwritev2(
    task: &mut CurrentTask,
    fd: Fd,
    vec: Addr,
    vlen: u64,
    pos: i64,
    _pos_high: u64,
    flags: Bits,
) -> SyscallResult {
    let pos = optional_pos(pos)?;
    do_writev(task, fd, vec, vlen, pos, flags.0)
}

/// lseek(2).
pub(crate) fn lseek(task: &mut CurrentTask, fd: Fd, offset: i64, whence: Whence) -> SyscallResult {
    let file = get_file(task, fd)?;
    if whence.0 > 4 {
        return Err(EINVAL.into());
    }
    Ok(file.lseek(offset, whence.0)?)
}

fn optional_pos(pos: i64) -> Result<Option<u64>, Errno> {
    if pos == -1 { Ok(None) } else { u64::try_from(pos).map(Some).map_err(|_| EINVAL) }
}

/// The file behind a descriptor, for a call that names a position.
fn get_positioned(task: &CurrentTask, fd: Fd) -> Result<std::sync::Arc<File>, Errno> {
    let file = get_file(task, fd)?;
    if file.ops().seekable() { Ok(file) } else { Err(ESPIPE) }
}

/// Linux: the test of `FMODE_PWRITE`.
fn may_pwrite(file: &File) -> Result<(), Errno> {
    if file.ops().pwritable() { Ok(()) } else { Err(ESPIPE) }
}

/// Linux: the tests of `FMODE_READ` and `FMODE_CAN_READ`.
pub(super) fn may_read(file: &File) -> Result<(), Errno> {
    match (file.readable(), file.inode().is_dir()) {
        (false, _) => Err(EBADF),
        (true, true) => Err(EISDIR),
        (true, false) => Ok(()),
    }
}

pub(super) fn may_write(file: &File) -> Result<(), Errno> {
    if file.writable() { Ok(()) } else { Err(EBADF) }
}

/// Linux: include/linux/fs.h, `kiocb_set_rw_flags`.
pub(super) fn rw_flags(flags: u32) -> Result<IoFlags, Errno> {
    IoFlags::from_bits(flags).ok_or(EOPNOTSUPP)
}

fn do_readv(
    task: &mut CurrentTask,
    fd: Fd,
    vec: Addr,
    vlen: u64,
    pos: Option<u64>,
    flags: u32,
) -> SyscallResult {
    let file = if pos.is_some() { get_positioned(task, fd)? } else { get_file(task, fd)? };
    let iov = UserIov::import(task, vec.0, vlen)?;
    may_read(&file)?;
    if iov.len() == 0 {
        return Ok(0);
    }
    do_iter_read(task, &file, iov, pos, rw_flags(flags)?)
}

fn do_writev(
    task: &mut CurrentTask,
    fd: Fd,
    vec: Addr,
    vlen: u64,
    pos: Option<u64>,
    flags: u32,
) -> SyscallResult {
    let file = if pos.is_some() { get_positioned(task, fd)? } else { get_file(task, fd)? };
    if pos.is_some() {
        may_pwrite(&file)?;
    }
    let iov = UserIov::import(task, vec.0, vlen)?;
    may_write(&file)?;
    if iov.len() == 0 {
        return Ok(0);
    }
    let io = rw_flags(flags)?;
    if io.contains(IoFlags::APPEND) && file.inode().file_type() == FileType::Regular {
        return append(task, &file, iov, pos, io - IoFlags::APPEND);
    }
    do_iter_write(task, &file, iov, pos, io)
}

/// RWF_APPEND: writes at the end, wherever the call said; the file position moves only if the call meant that. Not as
/// one step: somebody else's write may come in between. Linux: `generic_write_checks` with `IOCB_APPEND`.
fn append(task: &CurrentTask, file: &File, iov: UserIov, pos: Option<u64>, io: IoFlags) -> SyscallResult {
    let end = file.ops().size(file)?;
    let n = do_iter_write(task, file, iov, Some(end), io)?;
    if pos.is_none() {
        file.lseek(i64::try_from(end.saturating_add(n)).map_err(|_| EINVAL)?, 0)?;
    }
    Ok(n)
}

/// Linux: `rw_verify_area`.
pub(super) fn verify_area(pos: Option<u64>, len: usize) -> Result<(), Errno> {
    let end = pos.unwrap_or(0).checked_add(len as u64);
    if end.is_some_and(|end| i64::try_from(end).is_ok()) { Ok(()) } else { Err(EINVAL) }
}

/// Whether a read that filled its buffer may be followed by another, with no fear that it waits.
fn reads_on(file: &File) -> bool {
    matches!(file.inode().file_type(), FileType::Regular | FileType::CharDevice | FileType::BlockDevice)
}

/// Reads at the file position. Sockets have time-outs, which only their own call knows. Linux: `sock_read_iter`.
fn read_here(task: &CurrentTask, file: &File, dst: &mut IoDst<'_>, io: IoFlags) -> Result<usize, Errno> {
    if file.inode().file_type() != FileType::Socket || Socket::of(file).is_err() {
        return file.read(task, dst, io);
    }
    if dst.remaining() == 0 {
        return Ok(0);
    }
    Ok(sentry_net::recvmsg(task, file, dst, wait_flags(io))?.count)
}

/// Writes at the file position. Linux: `sock_write_iter`.
fn write_here(task: &CurrentTask, file: &File, src: &mut IoSrc<'_>, io: IoFlags) -> Result<usize, Errno> {
    if file.inode().file_type() != FileType::Socket || Socket::of(file).is_err() {
        return file.write(task, src, io);
    }
    let mut msg = SendMsg { flags: wait_flags(io), ..SendMsg::default() };
    sentry_net::sendmsg(task, file, &mut msg, src)
}

fn wait_flags(io: IoFlags) -> MsgFlags {
    if io.contains(IoFlags::NOWAIT) { MsgFlags::DONTWAIT } else { MsgFlags::empty() }
}

pub(super) fn do_iter_read(
    task: &CurrentTask,
    file: &File,
    mut iov: UserIov,
    mut pos: Option<u64>,
    io: IoFlags,
) -> SyscallResult {
    verify_area(pos, iov.len())?;
    let mm = task.user()?;
    let mut total = 0_u64;
    loop {
        let once = mm.dst(iov.ranges()).and_then(|mut dst| {
            let room = dst.remaining();
            let n = match pos {
                Some(pos) => file.read_at(task, &mut dst, pos, io)?,
                None => read_here(task, file, &mut dst, io)?,
            };
            Ok((n, room))
        });
        match once {
            Ok((n, room)) => {
                total += n as u64;
                iov.advance(n);
                pos = pos.map(|p| p.saturating_add(n as u64));
                if n == 0 || n < room || iov.len() == 0 || !reads_on(file) {
                    return Ok(total);
                }
            }
            Err(_) if total > 0 => return Ok(total),
            Err(e) => return Err(e.into()),
        }
    }
}

pub(super) fn do_iter_write(
    task: &CurrentTask,
    file: &File,
    mut iov: UserIov,
    mut pos: Option<u64>,
    io: IoFlags,
) -> SyscallResult {
    verify_area(pos, iov.len())?;
    let mm = task.user()?;
    let mut total = 0_u64;
    loop {
        let once = mm.src(iov.ranges()).and_then(|mut src| {
            let offered = src.remaining();
            let n = match pos {
                Some(pos) => file.write_at(task, &mut src, pos, io)?,
                None => write_here(task, file, &mut src, io)?,
            };
            Ok((n, offered))
        });
        match once {
            Ok((n, offered)) => {
                total += n as u64;
                iov.advance(n);
                pos = pos.map(|p| p.saturating_add(n as u64));
                if n == 0 || n < offered || iov.len() == 0 {
                    return Ok(total);
                }
            }
            Err(_) if total > 0 => return Ok(total),
            Err(e) => return Err(e.into()),
        }
    }
}
