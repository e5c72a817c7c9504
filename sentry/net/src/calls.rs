//! Linux: net/socket.c: the calls on a socket's file, which wait where the socket itself does not.
//!
//! A wait ends with `ERESTARTSYS` when a signal is pending; if the socket has a time-out for the direction, with `EINTR`,
//! since a restarted call would begin its time anew. A call that has transferred something returns that instead.

use crate::SockAddr;
use crate::proto_ops::{Connect, Received, SendMsg};
use crate::sock::{Direction, IN_EVENTS, OUT_EVENTS, RCV_SHUTDOWN, shutdown_mask};
use crate::socket::{Socket, sock_alloc_file};
use crate::sockopt::{GetOptError, NO_PEER, clip, sock_getsockopt, sock_setsockopt};
use fs_vfs::{File, Inode, TaskContext};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{
    EAGAIN, ECONNABORTED, EINPROGRESS, EINTR, EINVAL, ENODATA, ENOTCONN, EPIPE, ERESTARTSYS,
};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::socket::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// bind(2). A unix address that [`crate::unix_path`] finds a path in goes through [`bind_inode`] instead.
pub fn bind(ctx: &dyn TaskContext, file: &File, addr: &SockAddr) -> Result<(), Errno> {
    Socket::of(file)?.ops.bind(ctx, addr, None)
}

/// bind(2) of a unix socket to a path, for which the caller has just made the socket file `inode`. It fails with
/// `EADDRINUSE` itself if the path exists, and removes the file again if this fails.
///
/// # Errors
/// `EINVAL` if the socket has a name already.
pub fn bind_inode(
    ctx: &dyn TaskContext,
    file: &File,
    addr: &SockAddr,
    inode: &Arc<Inode>,
) -> Result<(), Errno> {
    Socket::of(file)?.ops.bind(ctx, addr, Some(inode))
}

/// listen(2).
pub fn listen(ctx: &dyn TaskContext, file: &File, backlog: i32) -> Result<(), Errno> {
    let socket = Socket::of(file)?;
    let most = socket.net().sysctl.somaxconn.load(Ordering::Relaxed);
    // A negative backlog is a large one, as on Linux.
    let backlog = u32::from_ne_bytes(backlog.to_ne_bytes()).min(most);
    socket.ops.listen(ctx, backlog)
}

/// accept4(2): the new file, and the address of the peer. SOCK_CLOEXEC in `flags` is the caller's.
pub fn accept4(ctx: &dyn TaskContext, file: &File, flags: u32) -> Result<(Arc<File>, SockAddr), Errno> {
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(EINVAL);
    }
    let socket = Socket::of(file)?;
    let sock = socket.ops.sock();
    let accepted = if nonblocking(file, MsgFlags::empty()) {
        socket.ops.accept()?
    } else {
        let deadline = sock.deadline(Direction::Receive);
        sock.block(ctx, IN_EVENTS, deadline, |_| socket.ops.accept())?
    };
    let peer = accepted.accepted_from();
    let file = sock_alloc_file(ctx, accepted, flags);
    Ok((file, peer.map_err(|_| ECONNABORTED)?))
}

/// connect(2). A unix address that [`crate::unix_path`] finds a path in goes through [`connect_inode`] instead.
pub fn connect(ctx: &dyn TaskContext, file: &File, addr: &SockAddr) -> Result<(), Errno> {
    connect_to(ctx, file, addr, None)
}

/// connect(2) of a unix socket to a path, which led to `inode` after symbolic links were followed. Permission to write
/// to it is checked here.
///
/// # Errors
/// `EACCES`; `ECONNREFUSED` if nobody listens there; `EPROTOTYPE` for a socket of another type.
pub fn connect_inode(
    ctx: &dyn TaskContext,
    file: &File,
    addr: &SockAddr,
    inode: &Arc<Inode>,
) -> Result<(), Errno> {
    connect_to(ctx, file, addr, Some(inode))
}

fn connect_to(
    ctx: &dyn TaskContext,
    file: &File,
    addr: &SockAddr,
    inode: Option<&Arc<Inode>>,
) -> Result<(), Errno> {
    let ops = &Socket::of(file)?.ops;
    let sock = ops.sock();
    let nonblock = nonblocking(file, MsgFlags::empty());
    let deadline = if nonblock { Some(Instant::now()) } else { sock.deadline(Direction::Send) };
    let mut pending = false;
    let step =
        sock.block(ctx, OUT_EVENTS, deadline, |wait| match ops.connect(ctx, addr, inode, nonblock)? {
            Connect::Done => Ok(()),
            Connect::Pending => {
                pending = true;
                Ok(())
            }
            Connect::Full(queue) => {
                *wait = Some(queue);
                Err(EAGAIN)
            }
        });
    step?;
    if !pending {
        return Ok(());
    }
    sock.block(ctx, OUT_EVENTS, deadline, |_| ops.connect_result())
        .map_err(|e| if e == EAGAIN { EINPROGRESS } else { e })
}

/// getsockname(2).
pub fn getsockname(file: &File) -> Result<SockAddr, Errno> {
    Ok(Socket::of(file)?.ops.getname())
}

/// getpeername(2).
pub fn getpeername(file: &File) -> Result<SockAddr, Errno> {
    Socket::of(file)?.ops.getpeername()
}

/// shutdown(2).
pub fn shutdown(file: &File, how: i32) -> Result<(), Errno> {
    let socket = Socket::of(file)?;
    socket.ops.shutdown(shutdown_mask(u32::from_ne_bytes(how.to_ne_bytes()))?)
}

fn nonblocking(file: &File, flags: MsgFlags) -> bool {
    flags.contains(MsgFlags::DONTWAIT) || file.flags().contains(OpenFlags::NONBLOCK)
}

/// send(2), sendto(2), sendmsg(2). On a blocking stream all bytes go, unless a signal, the time-out or an error comes in
/// between. Sends SIGPIPE along with `EPIPE` where Linux does.
///
/// For write(2), `msg` is `SendMsg::default()`. `File::write` does the same without the socket's time-out.
pub fn sendmsg(
    ctx: &dyn TaskContext,
    file: &File,
    msg: &mut SendMsg,
    src: &mut IoSrc<'_>,
) -> Result<usize, Errno> {
    let socket = Socket::of(file)?;
    let ops = &socket.ops;
    let sock = ops.sock();
    let result = if nonblocking(file, msg.flags) {
        ops.sendmsg(ctx, msg, src, &mut None)
    } else {
        let deadline = sock.deadline(Direction::Send);
        let mut total = 0;
        loop {
            let once = sock
                .block(ctx, OUT_EVENTS, deadline, |wait| src.attempt(|src| ops.sendmsg(ctx, msg, src, wait)));
            match once {
                Ok(n) => {
                    total += n;
                    if n == 0 || !sock.is_stream() || src.remaining() == 0 {
                        break Ok(total);
                    }
                }
                Err(_) if total > 0 => break Ok(total),
                Err(e) => break Err(e),
            }
        }
    };
    if result == Err(EPIPE) {
        socket.sigpipe(ctx, msg.flags);
    }
    result
}

/// recv(2), recvfrom(2), recvmsg(2).
///
/// For read(2), `flags` are empty; a read(2) of no bytes returns 0 before it comes here. `File::read` does the same
/// without the socket's time-out and SO_RCVLOWAT.
pub fn recvmsg(
    ctx: &dyn TaskContext,
    file: &File,
    dst: &mut IoDst<'_>,
    flags: MsgFlags,
) -> Result<Received, Errno> {
    let ops = &Socket::of(file)?.ops;
    let sock = ops.sock();
    let mut out = Received::default();
    let nonblock = nonblocking(file, flags);
    if nonblock {
        out.count = ops.recvmsg(ctx, dst, flags | MsgFlags::DONTWAIT, &mut out)?;
        return Ok(out);
    }
    let deadline = sock.deadline(Direction::Receive);
    let wanted = dst.remaining();
    let target = if flags.contains(MsgFlags::WAITALL) { wanted } else { sock.opts.rcvlowat().min(wanted) };
    // A look at what is there waits for all of it on TCP only, and can never see more than the buffer holds.
    let all_peeked =
        flags.contains(MsgFlags::PEEK | MsgFlags::WAITALL) && sock.family != AF_UNIX && sock.is_stream();
    let least = if all_peeked { target.min(sock.opts.rcvbuf() / 2) } else { 0 };
    loop {
        let mut attempt = |dst: &mut IoDst<'_>| {
            let n = ops.recvmsg(ctx, dst, flags, &mut out)?;
            let more_may_come = sock.shutdown_bits() & RCV_SHUTDOWN == 0 && !sock.has_error();
            if n > 0 && n < least && more_may_come {
                dst.revert(n);
                return Err(EAGAIN);
            }
            Ok(n)
        };
        let once = sock.block(ctx, IN_EVENTS, deadline, |_| dst.attempt(&mut attempt));
        match once {
            Err(EAGAIN | EINTR | ERESTARTSYS) if all_peeked && ops.inq().is_ok_and(|n| n > 0) => {
                out.count = dst.attempt(|dst| ops.recvmsg(ctx, dst, flags, &mut out))?;
                return Ok(out);
            }
            Ok(n) => {
                out.count += n;
                let done = n == 0 || out.count >= target || out.stop;
                if done || !sock.is_stream() || flags.intersects(MsgFlags::PEEK | MsgFlags::OOB) {
                    return Ok(out);
                }
            }
            Err(e) if out.count > 0 => {
                // What ended the wait belongs to the next call, unless it was the wait's own end.
                if ![EAGAIN, EINTR, ERESTARTSYS, ENOTCONN].contains(&e) {
                    sock.set_error(e);
                }
                return Ok(out);
            }
            Err(e) => return Err(e),
        }
    }
}

/// setsockopt(2).
pub fn setsockopt(
    ctx: &dyn TaskContext,
    file: &File,
    level: i32,
    name: i32,
    value: &[u8],
) -> Result<(), Errno> {
    let ops = &Socket::of(file)?.ops;
    if level == SOL_SOCKET {
        sock_setsockopt(ops.sock(), &ctx.cred(), name, value)
    } else {
        ops.setsockopt(ctx, level, name, value)
    }
}

/// getsockopt(2): the value, at most `len` bytes, whose length goes to `optlen`.
///
/// # Errors
/// As Linux; the error of SO_PEERGROUPS carries the length that would be enough.
pub fn getsockopt(
    ctx: &dyn TaskContext,
    file: &File,
    level: i32,
    name: i32,
    len: usize,
) -> Result<Vec<u8>, GetOptError> {
    let ops = &Socket::of(file)?.ops;
    match (level, name) {
        (SOL_SOCKET, SO_PEERCRED) if ops.sock().family != AF_UNIX => Ok(clip(&NO_PEER, len)),
        (SOL_SOCKET, SO_PEERGROUPS | SO_PEERPIDFD) if ops.sock().family != AF_UNIX => Err(ENODATA.into()),
        (SOL_SOCKET, SO_PEERCRED | SO_PEERGROUPS | SO_PEERPIDFD) => ops.getsockopt(ctx, level, name, len),
        (SOL_SOCKET, SO_PEERNAME) => {
            let addr = ops.getpeername().map_err(|_| ENOTCONN)?;
            if addr.len() < len { Err(EINVAL.into()) } else { Ok(addr.as_bytes()[..len].to_vec()) }
        }
        (SOL_SOCKET, _) => Ok(sock_getsockopt(ops.sock(), ops.listening(), name, len)?),
        _ => ops.getsockopt(ctx, level, name, len),
    }
}
