//! Linux: include/linux/net.h, `struct proto_ops`: what a family of sockets implements.
//!
//! This is where a network stack of its own would plug in: a stack that reaches the outside makes sockets whose
//! `ProtoOps` are its own, or holds the far ends of a loopback connection's two byte streams.

use crate::{ControlMsg, SendControl, Sock, SockAddr};
use fs_vfs::{Inode, PollTable, TaskContext};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::WaitQueue;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EOPNOTSUPP};
use sentry_uapi::socket::MsgFlags;
use std::any::Any;
use std::sync::Arc;

/// A message to send, its bytes left aside.
#[derive(Default)]
pub struct SendMsg {
    /// Where to, if the call says so.
    pub addr: Option<SockAddr>,
    /// The inode that a path in `addr` led to.
    pub inode: Option<Arc<Inode>>,
    /// Control messages. Taken when the message, or the first byte of it, has gone.
    pub control: Vec<SendControl>,
    /// `MSG_*`.
    pub flags: MsgFlags,
}

/// What came with received bytes.
#[derive(Default)]
pub struct Received {
    /// Bytes put into the buffer; with MSG_TRUNC, the length of the datagram.
    pub count: usize,
    /// The sender's address; none if it has none, or a stream does not tell.
    pub addr: Option<SockAddr>,
    /// Control messages.
    pub control: Vec<ControlMsg>,
    /// `msg_flags`.
    pub flags: MsgFlags,
    /// A stream has reached a boundary that one call may not read across.
    pub(crate) stop: bool,
}

/// How a connect went.
pub(crate) enum Connect {
    /// Connected.
    Done,
    /// Under way; [`ProtoOps::connect_result`] tells when it is over.
    Pending,
    /// The other side has no room yet: try again when this queue is woken.
    Full(WaitQueue),
}

/// One kind of socket. No method sleeps: `EAGAIN` asks the caller to wait on the socket's queue.
pub(crate) trait ProtoOps: Any + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn sock(&self) -> &Sock;
    /// `inode` is the socket file made for a path in `addr`.
    fn bind(&self, ctx: &dyn TaskContext, addr: &SockAddr, inode: Option<&Arc<Inode>>) -> Result<(), Errno>;
    /// `inode` is what a path in `addr` led to.
    fn connect(
        &self,
        ctx: &dyn TaskContext,
        addr: &SockAddr,
        inode: Option<&Arc<Inode>>,
        nonblock: bool,
    ) -> Result<Connect, Errno>;
    /// The outcome of a pending connect, `EAGAIN` while there is none.
    fn connect_result(&self) -> Result<(), Errno> {
        Err(EINVAL)
    }
    /// The other end of a socketpair(2) is `peer`, of the same type, and both are new.
    fn pair(&self, ctx: &dyn TaskContext, peer: &Arc<dyn ProtoOps>) -> Result<(), Errno> {
        let _ = (ctx, peer);
        Err(EOPNOTSUPP)
    }
    fn listen(&self, ctx: &dyn TaskContext, backlog: u32) -> Result<(), Errno> {
        let _ = (ctx, backlog);
        Err(EOPNOTSUPP)
    }
    fn accept(&self) -> Result<Arc<dyn ProtoOps>, Errno> {
        Err(EOPNOTSUPP)
    }
    fn listening(&self) -> bool {
        false
    }
    fn getname(&self) -> SockAddr;
    /// `ENOTCONN` without a peer.
    fn getpeername(&self) -> Result<SockAddr, Errno>;
    /// The peer of a connection that was just accepted, even if it has ended already.
    fn accepted_from(&self) -> Result<SockAddr, Errno> {
        self.getpeername()
    }
    /// With `EAGAIN`, `wait` may be set to what is to be waited on besides the socket itself.
    fn sendmsg(
        &self,
        ctx: &dyn TaskContext,
        msg: &mut SendMsg,
        src: &mut IoSrc<'_>,
        wait: &mut Option<WaitQueue>,
    ) -> Result<usize, Errno>;
    /// Adds to `out`, which a stream's earlier part of the same call may have filled already.
    fn recvmsg(
        &self,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        flags: MsgFlags,
        out: &mut Received,
    ) -> Result<usize, Errno>;
    /// `how` is one or both of `RCV_SHUTDOWN` and `SEND_SHUTDOWN`.
    fn shutdown(&self, how: u8) -> Result<(), Errno>;
    fn poll(&self, table: &mut PollTable) -> u32;
    /// Of a level other than SOL_SOCKET.
    fn setsockopt(&self, ctx: &dyn TaskContext, level: i32, name: i32, value: &[u8]) -> Result<(), Errno>;
    fn getsockopt(
        &self,
        ctx: &dyn TaskContext,
        level: i32,
        name: i32,
        len: usize,
    ) -> Result<Vec<u8>, crate::GetOptError>;
    /// FIONREAD.
    fn inq(&self) -> Result<usize, Errno>;
    /// SIOCOUTQ.
    fn outq(&self) -> Result<usize, Errno>;
    /// SIOCATMARK.
    fn at_mark(&self) -> Result<bool, Errno> {
        Err(sentry_uapi::errno::ENOTTY)
    }
    /// Lines of `/proc/[pid]/fdinfo/N`.
    fn show_fdinfo(&self) -> String {
        String::new()
    }
    /// The open file is gone.
    fn release(&self);
}
