//! Linux: net/socket.c, `struct socket` as an open file; `sys_socket` and `sys_socketpair`.

use crate::proto_ops::{ProtoOps, Received, SendMsg};
use crate::unix::UnixSock;
use crate::{NetNamespace, ScmCreds, inet, ioctl, netlink, unix};
use fs_vfs::{File, FileOps, PollTable, Pseudo, TaskContext, Written};
use sentry_auth::{CapSet, ns_capable};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAFNOSUPPORT, EINVAL, ENOTSOCK, EPERM, EPIPE};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::signal::SIGPIPE;
use sentry_uapi::socket::*;
use std::any::Any;
use std::sync::Arc;

/// An open socket.
pub struct Socket {
    pub(crate) ops: Arc<dyn ProtoOps>,
}

impl Socket {
    /// The socket behind an open file.
    ///
    /// # Errors
    /// `ENOTSOCK` if there is none.
    pub fn of(file: &File) -> Result<&Socket, Errno> {
        file.downcast::<Socket>().ok_or(ENOTSOCK)
    }

    /// The namespace it was made in.
    pub fn net(&self) -> &Arc<NetNamespace> {
        &self.ops.sock().net
    }

    /// `AF_*`.
    pub fn family(&self) -> u16 {
        self.ops.sock().family
    }

    /// `SOCK_*`.
    pub fn socket_type(&self) -> u32 {
        self.ops.sock().ty
    }

    /// The credentials of the peer of a unix socket, in kernel ids and a global pid: what SO_PEERCRED and SO_PEERPIDFD tell.
    /// None without a peer.
    pub fn peercred(&self) -> Option<ScmCreds> {
        UnixSock::of(&*self.ops)?.peercred()
    }

    /// Whether a receive with these flags throws the bytes away (MSG_TRUNC on TCP): the view tells only how many, and need
    /// not be the caller's buffer, which may be no valid one.
    pub fn discards(&self, flags: MsgFlags) -> bool {
        flags.contains(MsgFlags::TRUNC)
            && !flags.contains(MsgFlags::OOB)
            && self.ops.sock().is_stream()
            && self.family() != AF_UNIX
    }

    /// A broken stream kills its writer. Linux: `sk_stream_error`, `unix_stream_sendmsg`.
    pub(crate) fn sigpipe(&self, ctx: &dyn TaskContext, flags: MsgFlags) {
        if self.ops.sock().is_stream() && !flags.contains(MsgFlags::NOSIGNAL) {
            ctx.send_sig(SIGPIPE);
        }
    }
}

impl FileOps for Socket {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let nonblock = file.flags().contains(OpenFlags::NONBLOCK);
        let flags = if nonblock { MsgFlags::DONTWAIT } else { MsgFlags::empty() };
        self.ops.recvmsg(ctx, dst, flags, &mut Received::default())
    }

    fn write(
        &self,
        _file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        _pos: u64,
    ) -> Result<Written, Errno> {
        match self.ops.sendmsg(ctx, &mut SendMsg::default(), src, &mut None) {
            Ok(count) => Ok(Written { count, end: 0 }),
            Err(e) => {
                if e == EPIPE {
                    self.sigpipe(ctx, MsgFlags::empty());
                }
                Err(e)
            }
        }
    }

    fn seekable(&self) -> bool {
        false
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait(&self.ops.sock().wq);
        self.ops.poll(table)
    }

    fn ioctl(&self, _file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        ioctl::sock_ioctl(&*self.ops, ctx, cmd, arg)
    }

    fn show_fdinfo(&self, _file: &File) -> String {
        self.ops.show_fdinfo()
    }

    fn release(&self, _file: &File) {
        self.ops.release();
    }
}

/// The file of a new socket. Linux: `sock_alloc_file`.
pub(crate) fn sock_alloc_file(ctx: &dyn TaskContext, ops: Arc<dyn ProtoOps>, flags: u32) -> Arc<File> {
    let nonblock = if flags & SOCK_NONBLOCK != 0 { OpenFlags::NONBLOCK } else { OpenFlags::empty() };
    ctx.vfs().pseudo_file(
        Pseudo::Socket,
        "",
        Box::new(Socket { ops }),
        OpenFlags::RDWR | nonblock,
        ctx.cred(),
    )
}

/// Linux: `__sock_create`, and `create` of the families.
fn sock_create(
    ctx: &dyn TaskContext,
    net: &Arc<NetNamespace>,
    domain: i32,
    ty: u32,
    protocol: i32,
) -> Result<Arc<dyn ProtoOps>, Errno> {
    let family = u16::try_from(domain).ok().filter(|f| *f < AF_MAX).ok_or(EAFNOSUPPORT)?;
    if ty >= SOCK_MAX {
        return Err(EINVAL);
    }
    match family {
        AF_UNIX => unix::create(net, ty, protocol),
        AF_INET | AF_INET6 => inet::create(ctx, net, family, ty, protocol),
        AF_NETLINK => netlink::create(net, ty, protocol),
        AF_PACKET if !ns_capable(&ctx.cred(), &net.user_ns, CapSet::NET_RAW) => Err(EPERM),
        _ => Err(EAFNOSUPPORT),
    }
}

/// Splits socket(2)'s second argument into the type and the flags.
fn split_type(ty: i32) -> Result<(u32, u32), Errno> {
    let ty = u32::from_ne_bytes(ty.to_ne_bytes());
    let flags = ty & !SOCK_TYPE_MASK;
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(EINVAL);
    }
    Ok((ty & SOCK_TYPE_MASK, flags))
}

/// socket(2). SOCK_CLOEXEC is the caller's, who makes the descriptor.
///
/// # Errors
/// `EINVAL`, `EAFNOSUPPORT`, `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`; `EPERM` for raw sockets without CAP_NET_RAW.
pub fn socket(
    ctx: &dyn TaskContext,
    net: &Arc<NetNamespace>,
    domain: i32,
    ty: i32,
    protocol: i32,
) -> Result<Arc<File>, Errno> {
    let (ty, flags) = split_type(ty)?;
    let ops = sock_create(ctx, net, domain, ty, protocol)?;
    Ok(sock_alloc_file(ctx, ops, flags))
}

/// socketpair(2).
///
/// # Errors
/// Those of [`socket`]; `EOPNOTSUPP` for a family that has no pairs.
pub fn socketpair(
    ctx: &dyn TaskContext,
    net: &Arc<NetNamespace>,
    domain: i32,
    ty: i32,
    protocol: i32,
) -> Result<(Arc<File>, Arc<File>), Errno> {
    let (ty, flags) = split_type(ty)?;
    let a = sock_create(ctx, net, domain, ty, protocol)?;
    let b = sock_create(ctx, net, domain, ty, protocol)?;
    a.pair(ctx, &b)?;
    Ok((sock_alloc_file(ctx, a, flags), sock_alloc_file(ctx, b, flags)))
}
