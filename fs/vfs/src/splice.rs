//! Linux: fs/splice.c, and from fs/read_write.c sendfile(2) and copy_file_range(2).
//!
//! Bytes are copied through a buffer of bounded size where Linux passes pages on. An offset that is given is read and
//! moved instead of the file's position.

use crate::pipe::Pipe;
use crate::{File, FileType, IoFlags, TaskContext};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EBADF, EINVAL, EISDIR, EOVERFLOW, ESPIPE};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::splice::{SPLICE_F_ALL, SPLICE_F_NONBLOCK};
use std::sync::Arc;

/// Most bytes of one call. Linux: `MAX_RW_COUNT`.
const MAX_RW_COUNT: usize = 0x7fff_f000;

/// Size of the buffer in between.
const CHUNK: usize = 64 << 10;

/// A place in a file: its own position, or one of the caller's.
struct Position<'a> {
    file: &'a File,
    given: Option<&'a mut u64>,
    at: u64,
}

impl<'a> Position<'a> {
    fn new(file: &'a File, given: Option<&'a mut u64>) -> Position<'a> {
        let at = match &given {
            Some(at) => **at,
            None if file.ops().seekable() => file.pos(),
            None => 0,
        };
        Position { file, given, at }
    }

    /// `EINVAL` for a place or a length that is none, or beyond all offsets together. Linux: `rw_verify_area`.
    fn check(&self, len: usize) -> Result<(), Errno> {
        let (at, len) = (i64::try_from(self.at), i64::try_from(len));
        let end = at.ok().zip(len.ok()).and_then(|(at, len)| at.checked_add(len));
        end.map(|_| ()).ok_or(EINVAL)
    }

    fn advance(&mut self, n: usize) {
        self.at = self.at.saturating_add(n as u64);
    }

    /// Leaves the file's position, or the caller's, behind what was transferred.
    fn store(self) {
        match self.given {
            Some(given) => *given = self.at,
            None if self.file.ops().seekable() => {
                let _ = self.file.lseek(i64::try_from(self.at).unwrap_or(i64::MAX), 0);
            }
            None => {}
        }
    }

    fn read(&self, ctx: &dyn TaskContext, buf: &mut [u8]) -> Result<usize, Errno> {
        self.file.read_at(ctx, &mut IoDst::from_slice(buf), self.at, IoFlags::empty())
    }

    fn write(&self, ctx: &dyn TaskContext, bytes: &[u8]) -> Result<usize, Errno> {
        self.file.write_at(ctx, &mut IoSrc::from_slice(bytes), self.at, IoFlags::empty())
    }
}

/// What has been transferred, or why nothing was.
fn outcome(total: usize, error: Option<Errno>) -> Result<usize, Errno> {
    match error {
        Some(e) if total == 0 => Err(e),
        _ => Ok(total),
    }
}

/// A buffer for transfers of `len` bytes in all.
fn chunk_for(len: usize) -> Vec<u8> {
    vec![0; len.min(CHUNK)]
}

/// Copies up to `len` bytes until the source ends or either side fails. Linux: `do_splice_direct`.
fn copy(
    ctx: &dyn TaskContext,
    from: &mut Position<'_>,
    to: &mut Position<'_>,
    len: usize,
) -> Result<usize, Errno> {
    let mut buf = chunk_for(len);
    let mut total = 0;
    let mut error = None;
    while total < len {
        let want = (len - total).min(buf.len());
        let read = match from.read(ctx, buf.get_mut(..want).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) => {
                error = Some(e);
                break;
            }
        };
        match to.write(ctx, buf.get(..read).unwrap_or_default()) {
            Ok(n) => {
                from.advance(n);
                to.advance(n);
                total += n;
                if n < read {
                    break;
                }
            }
            Err(e) => {
                error = Some(e);
                break;
            }
        }
    }
    outcome(total, error)
}

/// Repeats `op` while it says `EAGAIN`, after `wait` has waited for a better moment.
fn retry<T>(
    nonblock: bool,
    mut op: impl FnMut() -> Result<T, Errno>,
    wait: impl Fn() -> Result<(), Errno>,
) -> Result<T, Errno> {
    loop {
        match op() {
            Err(EAGAIN) if !nonblock => wait()?,
            done => return done,
        }
    }
}

/// Linux: `splice_file_to_pipe`.
fn file_to_pipe(
    ctx: &dyn TaskContext,
    from: &mut Position<'_>,
    pipe: &Arc<Pipe>,
    len: usize,
    nonblock: bool,
) -> Result<usize, Errno> {
    let mut buf = chunk_for(len);
    let mut total = 0;
    let mut error = None;
    while total < len {
        let want = (len - total).min(CHUNK);
        // Only the first piece is waited for.
        let reserved = retry(nonblock || total > 0, || pipe.reserve(ctx, want), || pipe.wait_writable(ctx));
        let reservation = match reserved {
            Ok(reservation) => reservation,
            Err(e) => {
                error = Some(e);
                break;
            }
        };
        let want = want.min(reservation.room());
        let read = match from.read(ctx, buf.get_mut(..want).unwrap_or_default()) {
            Ok(n) => n,
            Err(e) => {
                error = Some(e);
                break;
            }
        };
        let n = reservation.commit(buf.get(..read).unwrap_or_default());
        from.advance(n);
        total += n;
        if n < want || !from.file.ops().seekable() {
            break;
        }
    }
    outcome(total, error)
}

/// Linux: `splice_from_pipe`.
fn pipe_to_file(
    ctx: &dyn TaskContext,
    pipe: &Arc<Pipe>,
    to: &mut Position<'_>,
    len: usize,
    nonblock: bool,
) -> Result<usize, Errno> {
    let mut buf = Vec::new();
    let mut total = 0;
    let mut error = None;
    while total < len {
        let want = (len - total).min(CHUNK);
        let taken = retry(nonblock || total > 0, || pipe.take(want), || pipe.wait_readable(ctx));
        let mut transit = match taken {
            Ok(transit) if transit.is_empty() => break,
            Ok(transit) => transit,
            Err(e) => {
                error = Some(e);
                break;
            }
        };
        buf.clear();
        for chunk in transit.chunks() {
            let left = want - buf.len();
            buf.extend_from_slice(chunk.get(..left).unwrap_or(chunk));
        }
        match to.write(ctx, &buf) {
            Ok(n) => {
                transit.consume(n);
                to.advance(n);
                total += n;
                if n < buf.len() {
                    break;
                }
            }
            Err(e) => {
                error = Some(e);
                break;
            }
        }
    }
    outcome(total, error)
}

fn nonblocking(file: &File) -> bool {
    file.flags().contains(OpenFlags::NONBLOCK)
}

/// splice(2) between a pipe and a file, or two pipes.
///
/// # Errors
/// `EINVAL` for unknown flags, no pipe at all, both ends of one, a file opened with O_APPEND, or an offset for a file
/// without; `EBADF` for the wrong access mode; `ESPIPE` for an offset into a pipe; `EAGAIN` with SPLICE_F_NONBLOCK;
/// `EPIPE`; those of reading and writing. Linux: `do_splice`.
pub fn do_splice(
    ctx: &dyn TaskContext,
    from: &File,
    off_in: Option<&mut u64>,
    to: &File,
    off_out: Option<&mut u64>,
    len: usize,
    flags: u32,
) -> Result<usize, Errno> {
    if len == 0 {
        return Ok(0);
    }
    if flags & !SPLICE_F_ALL != 0 {
        return Err(EINVAL);
    }
    let (source, sink) = (from.pipe(), to.pipe());
    if (source.is_some() && off_in.is_some()) || (sink.is_some() && off_out.is_some()) {
        return Err(ESPIPE);
    }
    if !from.readable() || !to.writable() {
        return Err(EBADF);
    }
    let len = len.min(MAX_RW_COUNT);
    let nonblock = flags & SPLICE_F_NONBLOCK != 0;
    match (source, sink) {
        (Some(source), Some(sink)) => {
            let nonblock = nonblock || nonblocking(from) || nonblocking(to);
            pipe_to_pipe(ctx, source, sink, len, nonblock, false)
        }
        (Some(source), None) => {
            if (off_out.is_some() && !to.ops().seekable()) || to.flags().contains(OpenFlags::APPEND) {
                return Err(EINVAL);
            }
            let mut at = Position::new(to, off_out);
            at.check(len)?;
            let result = pipe_to_file(ctx, source, &mut at, len, nonblock || nonblocking(from));
            at.store();
            result
        }
        (None, Some(sink)) => {
            if (off_in.is_some() && !from.ops().seekable()) || from.inode().is_dir() {
                return Err(EINVAL);
            }
            let mut at = Position::new(from, off_in);
            at.check(len)?;
            let result = file_to_pipe(ctx, &mut at, sink, len, nonblock || nonblocking(to));
            at.store();
            result
        }
        (None, None) => Err(EINVAL),
    }
}

/// Linux: `splice_pipe_to_pipe` and `do_tee`.
fn pipe_to_pipe(
    ctx: &dyn TaskContext,
    source: &Arc<Pipe>,
    sink: &Arc<Pipe>,
    len: usize,
    nonblock: bool,
    copy: bool,
) -> Result<usize, Errno> {
    if Arc::ptr_eq(source, sink) {
        return Err(EINVAL);
    }
    let wait = || {
        source.wait_readable(ctx)?;
        sink.wait_writable(ctx)
    };
    retry(nonblock, || source.transfer(ctx, sink, len, copy), wait)
}

/// tee(2): copies what is in one pipe to another.
///
/// # Errors
/// `EINVAL` for unknown flags and unless both are pipes, and different ones; `EBADF` for the wrong access mode; `EAGAIN`
/// with SPLICE_F_NONBLOCK; `EPIPE`.
pub fn do_tee(ctx: &dyn TaskContext, from: &File, to: &File, len: usize, flags: u32) -> Result<usize, Errno> {
    if flags & !SPLICE_F_ALL != 0 {
        return Err(EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    if !from.readable() || !to.writable() {
        return Err(EBADF);
    }
    let (Some(source), Some(sink)) = (from.pipe(), to.pipe()) else { return Err(EINVAL) };
    let nonblock = flags & SPLICE_F_NONBLOCK != 0 || nonblocking(from) || nonblocking(to);
    pipe_to_pipe(ctx, source, sink, len.min(MAX_RW_COUNT), nonblock, true)
}

/// vmsplice(2) into a pipe: as much as it takes at once, after waiting for some room.
///
/// # Errors
/// `EINVAL` for unknown flags; `EBADF` unless it is a pipe's writing end; `EAGAIN` with SPLICE_F_NONBLOCK; `EPIPE`.
/// Linux: `vmsplice_to_pipe`.
pub fn do_vmsplice_from(
    ctx: &dyn TaskContext,
    file: &File,
    src: &mut IoSrc<'_>,
    flags: u32,
) -> Result<usize, Errno> {
    if flags & !SPLICE_F_ALL != 0 {
        return Err(EINVAL);
    }
    let pipe = file.pipe().filter(|_| file.writable()).ok_or(EBADF)?;
    let nonblock = flags & SPLICE_F_NONBLOCK != 0;
    retry(nonblock, || src.attempt(|src| pipe.write(ctx, src, false)), || pipe.wait_writable(ctx))
}

/// vmsplice(2) out of a pipe: what is there, after waiting for something.
///
/// # Errors
/// `EINVAL` for unknown flags; `EBADF` unless it is a pipe's reading end; `EAGAIN` with SPLICE_F_NONBLOCK. Linux:
/// `vmsplice_to_user`.
pub fn do_vmsplice_to(
    ctx: &dyn TaskContext,
    file: &File,
    dst: &mut IoDst<'_>,
    flags: u32,
) -> Result<usize, Errno> {
    if flags & !SPLICE_F_ALL != 0 {
        return Err(EINVAL);
    }
    let pipe = file.pipe().filter(|_| file.readable()).ok_or(EBADF)?;
    let nonblock = flags & SPLICE_F_NONBLOCK != 0;
    retry(nonblock, || dst.attempt(|dst| pipe.read(dst)), || pipe.wait_readable(ctx))
}

/// sendfile(2).
///
/// # Errors
/// `EBADF` for the wrong access mode; `ESPIPE` for an offset into, `EINVAL` for reading from a file without one; `EINVAL`
/// for a sink opened with O_APPEND, and for offsets beyond all; those of reading and writing. Linux: `do_sendfile`.
pub fn do_sendfile(
    ctx: &dyn TaskContext,
    to: &File,
    from: &File,
    offset: Option<&mut u64>,
    count: usize,
) -> Result<usize, Errno> {
    if !from.readable() {
        return Err(EBADF);
    }
    let seekable = from.ops().seekable();
    if offset.is_some() && !seekable {
        return Err(ESPIPE);
    }
    let mut source = Position::new(from, offset);
    source.check(count)?;
    let count = count.min(MAX_RW_COUNT);
    if !to.writable() {
        return Err(EBADF);
    }
    if !seekable || from.inode().is_dir() {
        return Err(EINVAL);
    }
    let result = match to.pipe() {
        Some(pipe) => file_to_pipe(ctx, &mut source, pipe, count, nonblocking(to)),
        None if to.flags().contains(OpenFlags::APPEND) => return Err(EINVAL),
        None => {
            let mut sink = Position::new(to, None);
            let result = copy(ctx, &mut source, &mut sink, count);
            sink.store();
            result
        }
    };
    source.store();
    result
}

/// copy_file_range(2), between any two regular files.
///
/// # Errors
/// `EINVAL` for flags; `EISDIR`, `EINVAL` for what is not regular; `EBADF` for the wrong access mode or O_APPEND;
/// `EOVERFLOW`; `EINVAL` for overlapping ranges of one file; those of reading and writing. Linux:
/// `generic_copy_file_checks`.
pub fn do_copy_file_range(
    ctx: &dyn TaskContext,
    from: &File,
    off_in: Option<&mut u64>,
    to: &File,
    off_out: Option<&mut u64>,
    len: usize,
    flags: u32,
) -> Result<usize, Errno> {
    if flags != 0 {
        return Err(EINVAL);
    }
    let types = [from.inode().file_type(), to.inode().file_type()];
    if types.contains(&FileType::Directory) {
        return Err(EISDIR);
    }
    if types != [FileType::Regular; 2] {
        return Err(EINVAL);
    }
    if !from.readable() || !to.writable() || to.flags().contains(OpenFlags::APPEND) {
        return Err(EBADF);
    }
    let mut source = Position::new(from, off_in);
    let mut sink = Position::new(to, off_out);
    let length = len as u64;
    if source.at.checked_add(length).is_none() || sink.at.checked_add(length).is_none() {
        return Err(EOVERFLOW);
    }
    let left = from.ops().size(from)?.saturating_sub(source.at);
    let len = len.min(MAX_RW_COUNT).min(usize::try_from(left).unwrap_or(usize::MAX));
    let length = len as u64;
    let overlap = sink.at < source.at.saturating_add(length) && source.at < sink.at.saturating_add(length);
    if Arc::ptr_eq(from.inode(), to.inode()) && overlap {
        return Err(EINVAL);
    }
    source.check(len)?;
    sink.check(len)?;
    let result = copy(ctx, &mut source, &mut sink, len);
    source.store();
    sink.store();
    result
}

#[cfg(test)]
mod tests;
