//! Linux: net/netlink/af_netlink.c: the socket. Of the protocols there is NETLINK_ROUTE, which answers at once; nothing is
//! ever multicast, so groups can be joined and stay silent.

mod message;
mod rtnetlink;

use crate::proto_ops::{Connect, ProtoOps, Received, SendMsg};
use crate::sock::{IN_EVENTS, Sock};
use crate::sockopt::{clip, int_value};
use crate::{ControlMsg, GetOptError, NetNamespace, ScmCreds, SockAddr, Socket};
use fs_vfs::{File, Inode, PollTable, TaskContext};
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{
    EADDRINUSE, EAGAIN, ECONNREFUSED, EFAULT, EINVAL, EMSGSIZE, ENOBUFS, ENOPROTOOPT, EOPNOTSUPP, EPERM,
    EPROTONOSUPPORT, ESOCKTNOSUPPORT,
};
use sentry_uapi::netlink::*;
use sentry_uapi::poll::{POLLERR, POLLIN, POLLOUT, POLLRDNORM, POLLWRBAND, POLLWRNORM};
use sentry_uapi::socket::{AF_NETLINK, AF_UNSPEC, MsgFlags, SOCK_DGRAM, SOCK_RAW};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Ports in use in a namespace.
#[derive(Default)]
pub(crate) struct NetlinkPorts {
    taken: Mutex<BTreeSet<u32>, { level::LEAF }>,
}

/// A netlink socket.
struct NetlinkSock {
    sock: Sock,
    state: Mutex<State, { level::SOCKET }>,
}

#[derive(Default)]
struct State {
    port: Option<u32>,
    groups: u32,
    options: BTreeMap<i32, i32>,
    /// Answers, a datagram each.
    queue: VecDeque<Vec<u8>>,
    queued: usize,
}

/// Linux: `netlink_create`.
pub(crate) fn create(net: &Arc<NetNamespace>, ty: u32, protocol: i32) -> Result<Arc<dyn ProtoOps>, Errno> {
    if ty != SOCK_RAW && ty != SOCK_DGRAM {
        return Err(ESOCKTNOSUPPORT);
    }
    if protocol != NETLINK_ROUTE {
        return Err(EPROTONOSUPPORT);
    }
    let sock = Sock::new(net, AF_NETLINK, ty, protocol);
    Ok(Arc::new(NetlinkSock { sock, state: Mutex::new(State::default()) }))
}

/// The address of the kernel, which all answers come from.
fn kernel_addr() -> SockAddr {
    SockAddr::from_struct(&SockaddrNl { nl_family: AF_NETLINK, ..SockaddrNl::default() })
}

fn parse(addr: &SockAddr) -> Result<SockaddrNl, Errno> {
    let nl: SockaddrNl = addr.read().filter(|_| addr.len() >= size_of::<SockaddrNl>()).ok_or(EINVAL)?;
    if nl.nl_family == AF_NETLINK { Ok(nl) } else { Err(EINVAL) }
}

impl NetlinkSock {
    /// Linux: `netlink_insert`; for port 0 `netlink_autobind`, which begins with the process id.
    fn bind_port(&self, ctx: &dyn TaskContext, wanted: u32) -> Result<u32, Errno> {
        let first = ctx.ids().0;
        let mut state = self.state.lock();
        match state.port {
            Some(port) if wanted == 0 || wanted == port => return Ok(port),
            Some(_) => return Err(EINVAL),
            None => {}
        }
        let mut taken = self.sock.net.netlink.taken.lock();
        let port = if wanted == 0 {
            let below = (0..u32::MAX).rev();
            std::iter::once(first).chain(below).find(|p| *p != 0 && !taken.contains(p)).ok_or(EADDRINUSE)?
        } else {
            wanted
        };
        if !taken.insert(port) {
            return Err(EADDRINUSE);
        }
        state.port = Some(port);
        Ok(port)
    }
}

impl ProtoOps for NetlinkSock {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn sock(&self) -> &Sock {
        &self.sock
    }

    /// Linux: `netlink_bind`.
    fn bind(&self, ctx: &dyn TaskContext, addr: &SockAddr, _: Option<&Arc<Inode>>) -> Result<(), Errno> {
        let nl = parse(addr)?;
        self.bind_port(ctx, nl.nl_pid)?;
        self.state.lock().groups = nl.nl_groups;
        Ok(())
    }

    /// Linux: `netlink_connect`. The kernel is the only peer.
    fn connect(
        &self,
        ctx: &dyn TaskContext,
        addr: &SockAddr,
        _: Option<&Arc<Inode>>,
        _nonblock: bool,
    ) -> Result<Connect, Errno> {
        if addr.family().ok_or(EINVAL)? == AF_UNSPEC {
            return Ok(Connect::Done);
        }
        let nl = parse(addr)?;
        if nl.nl_groups != 0 || nl.nl_pid != 0 {
            return Err(EPERM);
        }
        self.bind_port(ctx, 0)?;
        Ok(Connect::Done)
    }

    fn getname(&self) -> SockAddr {
        let state = self.state.lock();
        SockAddr::from_struct(&SockaddrNl {
            nl_family: AF_NETLINK,
            nl_pid: state.port.unwrap_or(0),
            nl_groups: state.groups,
            ..SockaddrNl::default()
        })
    }

    fn getpeername(&self) -> Result<SockAddr, Errno> {
        Ok(kernel_addr())
    }

    /// Linux: `netlink_sendmsg`, `netlink_rcv_skb`.
    fn sendmsg(
        &self,
        ctx: &dyn TaskContext,
        msg: &mut SendMsg,
        src: &mut IoSrc<'_>,
        _wait: &mut Option<WaitQueue>,
    ) -> Result<usize, Errno> {
        if msg.flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        let to = match &msg.addr {
            Some(addr) => parse(addr)?,
            None => SockaddrNl::default(),
        };
        if to.nl_groups != 0 {
            return Err(EPERM);
        }
        let port = self.bind_port(ctx, 0)?;
        let len = src.remaining();
        if len > self.sock.opts.sndbuf() - 32 {
            return Err(EMSGSIZE);
        }
        if to.nl_pid != 0 {
            return Err(ECONNREFUSED);
        }
        let request = src.read_vec(len)?;
        if request.len() < len {
            return Err(EFAULT);
        }
        let capped = self.state.lock().options.get(&NETLINK_CAP_ACK).is_some_and(|v| *v != 0);
        let mut answers = Vec::new();
        rtnetlink::receive(ctx, &self.sock.net, port, capped, &request, &mut answers);
        if answers.is_empty() {
            return Ok(len);
        }
        let mut state = self.state.lock();
        for answer in answers {
            if state.queued > self.sock.opts.rcvbuf() {
                self.sock.set_error(ENOBUFS);
                break;
            }
            state.queued += answer.len();
            state.queue.push_back(answer);
        }
        drop(state);
        self.sock.wq.wake(IN_EVENTS);
        Ok(len)
    }

    /// Linux: `netlink_recvmsg`.
    fn recvmsg(
        &self,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        flags: MsgFlags,
        out: &mut Received,
    ) -> Result<usize, Errno> {
        if flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        if let Some(e) = self.sock.take_error() {
            return Err(e);
        }
        let mut state = self.state.lock();
        let answer = state.queue.front().ok_or(EAGAIN)?;
        let (len, copied) = (answer.len(), dst.write(answer)?);
        if !flags.contains(MsgFlags::PEEK) {
            state.queue.pop_front();
            state.queued -= len;
        }
        drop(state);
        if copied < len {
            out.flags |= MsgFlags::TRUNC;
        }
        out.addr = Some(kernel_addr());
        if self.sock.opts.pass_cred() {
            let root =
                ScmCreds { pid: 0, uid: sentry_auth::Kuid::GLOBAL_ROOT, gid: sentry_auth::Kgid::GLOBAL_ROOT };
            out.control.push(ControlMsg::Credentials(root));
        }
        Ok(if flags.contains(MsgFlags::TRUNC) { len } else { copied })
    }

    fn shutdown(&self, _how: u8) -> Result<(), Errno> {
        Err(EOPNOTSUPP)
    }

    fn poll(&self, _table: &mut PollTable) -> u32 {
        let mut mask = POLLOUT | POLLWRNORM | POLLWRBAND;
        if self.sock.has_error() {
            mask |= POLLERR;
        }
        if !self.state.lock().queue.is_empty() {
            mask |= POLLIN | POLLRDNORM;
        }
        mask
    }

    /// Linux: `netlink_setsockopt`.
    fn setsockopt(&self, _: &dyn TaskContext, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if level != SOL_NETLINK {
            return Err(ENOPROTOOPT);
        }
        let val = int_value(value)?;
        match name {
            NETLINK_ADD_MEMBERSHIP | NETLINK_DROP_MEMBERSHIP => {
                let bit = u32::try_from(val)
                    .ok()
                    .and_then(|v| v.checked_sub(1))
                    .filter(|b| *b < 64)
                    .ok_or(EINVAL)?;
                let mask = 1u32.checked_shl(bit).unwrap_or(0);
                let mut state = self.state.lock();
                if name == NETLINK_ADD_MEMBERSHIP {
                    state.groups |= mask;
                } else {
                    state.groups &= !mask;
                }
                Ok(())
            }
            NETLINK_PKTINFO
            | NETLINK_NO_ENOBUFS
            | NETLINK_CAP_ACK
            | NETLINK_EXT_ACK
            | NETLINK_GET_STRICT_CHK => {
                self.state.lock().options.insert(name, i32::from(val != 0));
                Ok(())
            }
            _ => Err(ENOPROTOOPT),
        }
    }

    fn getsockopt(
        &self,
        _: &dyn TaskContext,
        level: i32,
        name: i32,
        len: usize,
    ) -> Result<Vec<u8>, GetOptError> {
        match (level, name) {
            (
                SOL_NETLINK,
                NETLINK_PKTINFO
                | NETLINK_NO_ENOBUFS
                | NETLINK_CAP_ACK
                | NETLINK_EXT_ACK
                | NETLINK_GET_STRICT_CHK,
            ) => Ok(clip(&self.state.lock().options.get(&name).copied().unwrap_or(0), len)),
            _ => Err(ENOPROTOOPT.into()),
        }
    }

    fn inq(&self) -> Result<usize, Errno> {
        Err(sentry_uapi::errno::ENOTTY)
    }

    fn outq(&self) -> Result<usize, Errno> {
        Err(sentry_uapi::errno::ENOTTY)
    }

    fn release(&self) {
        let port = self.state.lock().port.take();
        if let Some(port) = port {
            self.sock.net.netlink.taken.lock().remove(&port);
        }
    }
}

/// A netlink socket that a part of the kernel sends to. Linux: `netlink_getsockbyfd`, `netlink_sendskb`.
#[derive(Clone)]
pub struct NetlinkSink(Arc<dyn ProtoOps>);

impl NetlinkSink {
    /// The socket behind an open file.
    ///
    /// # Errors
    /// `ENOTSOCK` if there is none; `EINVAL` for one of another family.
    pub fn of(file: &File) -> Result<NetlinkSink, Errno> {
        let ops = Socket::of(file)?.ops.clone();
        if ops.as_any().is::<NetlinkSock>() { Ok(NetlinkSink(ops)) } else { Err(EINVAL) }
    }

    /// Queues a datagram, if there is room.
    pub fn deliver(&self, datagram: Vec<u8>) {
        if let Some(nl) = self.0.as_any().downcast_ref::<NetlinkSock>() {
            let mut state = nl.state.lock();
            if state.queued > nl.sock.opts.rcvbuf() {
                nl.sock.set_error(ENOBUFS);
            } else {
                state.queued += datagram.len();
                state.queue.push_back(datagram);
            }
            drop(state);
            nl.sock.wq.wake(IN_EVENTS);
        }
    }
}
