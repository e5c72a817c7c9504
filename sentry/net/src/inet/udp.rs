//! Linux: net/ipv4/udp.c and net/ipv6/udp.c.

use super::addr::{Endpoint, any, is_broadcast, is_local, source_for};
use super::ip_options::IpOptions;
use super::ports::{Bound, Sharing};
use super::udp_deliver::{Packet, PacketQueue};
use super::{Binding, check_bind};
use crate::netdev::LO_IFINDEX;
use crate::proto_ops::{Connect, ProtoOps, Received, SendMsg};
use crate::sock::{RCV_SHUTDOWN, SEND_SHUTDOWN, SHUTDOWN_MASK, STATE_EVENTS, Sock};
use crate::{GetOptError, NetNamespace, SendControl, SockAddr};
use fs_vfs::{Inode, PollTable, TaskContext};
use sentry_auth::Cred;
use sentry_mm::{IoDst, IoSrc};
use sentry_sync::{Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{
    EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, EDESTADDRREQ, EFAULT, EINVAL, EMSGSIZE, ENETUNREACH,
    ENOTCONN, EOPNOTSUPP, EPIPE,
};
use sentry_uapi::in_::{IP_PKTINFO, IPPROTO_UDP, InPktinfo, SOL_IP};
use sentry_uapi::in6::{IPV6_PKTINFO, In6Pktinfo, SOL_IPV6};
use sentry_uapi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRBAND, POLLWRNORM};
use sentry_uapi::socket::{AF_INET, AF_INET6, AF_UNSPEC, MsgFlags, SOCK_DGRAM};
use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Weak};
use zerocopy::FromBytes;

/// Most bytes in a datagram over IPv4: 65535 less its headers.
const MAX_V4: usize = 65507;
/// Most bytes in a datagram over IPv6, whose own header does not count.
const MAX_V6: usize = 65527;

/// A UDP socket.
pub(crate) struct UdpSock {
    pub(super) this: Weak<UdpSock>,
    pub(super) sock: Arc<Sock>,
    pub(super) ip: IpOptions,
    state: Mutex<State, { level::SOCKET }>,
    pub(super) queue: Mutex<PacketQueue, { level::BUFFER }>,
}

#[derive(Default)]
struct State {
    binding: Option<Binding>,
    remote: Option<Endpoint>,
}

impl UdpSock {
    pub(crate) fn new(net: &Arc<NetNamespace>, family: u16) -> Arc<UdpSock> {
        Arc::new_cyclic(|this| UdpSock {
            this: this.clone(),
            sock: Arc::new(Sock::new(net, family, SOCK_DGRAM, IPPROTO_UDP)),
            ip: IpOptions::new(net),
            state: Mutex::new(State::default()),
            queue: Mutex::new(PacketQueue::default()),
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state.lock().remote.is_some()
    }

    fn bind_port(&self, cred: &Cred, at: Endpoint) -> Result<Binding, Errno> {
        let net = &self.sock.net;
        let sharing = Sharing {
            ip: at.ip,
            v6only: self.ip.v6only(),
            reuse: self.sock.opts.reuse(),
            reuseport: self.sock.opts.reuseport(),
            uid: cred.euid,
        };
        let bound = Bound { sock: self.this.clone(), sharing, listening: false, remote: None };
        let port = net.udp.bind(at.port, &net.sysctl.local_port_range(), bound)?;
        let mut state = self.state.lock();
        if state.binding.is_some() {
            // Another thread was faster.
            drop(state);
            net.udp.unbind(port, &self.this);
            return Err(EINVAL);
        }
        let binding = Binding { asked: at.ip, ip: at.ip, port, in_table: true, explicit_port: at.port != 0 };
        state.binding = Some(binding);
        Ok(binding)
    }

    /// The port it sends from, chosen if need be. Linux: `inet_autobind`.
    fn autobind(&self, cred: &Cred) -> Result<Binding, Errno> {
        if let Some(binding) = self.state.lock().binding {
            return Ok(binding);
        }
        match self.bind_port(cred, Endpoint::new(any(self.sock.family), 0)) {
            Err(EINVAL) => self.state.lock().binding.ok_or(EAGAIN),
            other => other.map_err(|_| EAGAIN),
        }
    }

    /// Tells the table of ports what the socket takes.
    fn update_table(&self, binding: Binding, remote: Option<Endpoint>) {
        self.sock.net.udp.update(binding.port, &self.this, |b| {
            b.sharing.ip = binding.ip;
            b.remote = remote;
        });
    }

    /// Linux: `__udp_disconnect`.
    fn disconnect(&self) {
        let mut state = self.state.lock();
        state.remote = None;
        if let Some(binding) = &mut state.binding {
            binding.ip = binding.asked;
        }
        let binding = state.binding;
        if binding.is_some_and(|b| !b.explicit_port) {
            state.binding = None;
        }
        drop(state);
        if let Some(binding) = binding {
            if binding.explicit_port {
                self.update_table(binding, None);
            } else {
                self.sock.net.udp.unbind(binding.port, &self.this);
            }
        }
    }

    /// Where a datagram to `to` goes, and from which address. Checks what the route says of it.
    fn route(&self, to: Endpoint, from: Option<IpAddr>) -> Result<(IpAddr, IpAddr), Errno> {
        let v4_from_v6 = to.ip.is_ipv4() && self.sock.family == AF_INET6;
        if v4_from_v6 && self.ip.v6only() {
            return Err(ENETUNREACH);
        }
        let from = from.filter(|ip| !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast(*ip));
        let over_lo = self.ip.multicast_if() || self.sock.opts.bound_dev() == LO_IFINDEX;
        let dst = if is_broadcast(to.ip) || to.ip.is_multicast() {
            if !self.sock.net.lo.is_up() || (!to.ip.is_loopback() && !over_lo) {
                return Err(ENETUNREACH);
            }
            if is_broadcast(to.ip) && !self.sock.opts.broadcast() {
                return Err(EACCES);
            }
            to.ip
        } else {
            self.sock.net.route(to.ip, self.sock.opts.bound_dev())?
        };
        let from = from.unwrap_or_else(|| source_for(dst));
        if from.is_ipv4() != dst.is_ipv4() {
            return Err(if dst.is_ipv4() { ENETUNREACH } else { EINVAL });
        }
        Ok((dst, from))
    }

    /// The destination a call names. None: the one the socket is connected to. Linux: `udp_sendmsg`, `udpv6_sendmsg`.
    fn named_destination(&self, addr: &SockAddr) -> Result<Option<Endpoint>, Errno> {
        let family = addr.family().ok_or(EINVAL)?;
        if self.sock.family == AF_INET6 {
            match family {
                AF_UNSPEC => return Ok(None),
                AF_INET | AF_INET6 => {}
                _ => return Err(EINVAL),
            }
        }
        let to = if self.sock.family == AF_INET && family == AF_UNSPEC {
            // Read as an IPv4 address all the same.
            let mut bytes = addr.as_bytes().to_vec();
            bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
            Endpoint::for_connect(AF_INET, &SockAddr::from_bytes(&bytes)?, true)?
        } else {
            Endpoint::for_connect(self.sock.family, addr, true)?
        };
        if to.port == 0 { Err(EINVAL) } else { Ok(Some(to)) }
    }
}

/// The source address that IP_PKTINFO or IPV6_PKTINFO asks for. Linux: `ip_cmsg_send`, `ip6_datagram_send_ctl`.
///
/// # Errors
/// `EADDRNOTAVAIL` for an address that is not this host's; `EINVAL` for a message of the wrong length.
fn chosen_source(control: &[SendControl]) -> Result<Option<IpAddr>, Errno> {
    let mut source = None;
    for message in control {
        let SendControl::Other { level, ty, data } = message else { continue };
        let ip: IpAddr = match (*level, *ty) {
            (SOL_IP, IP_PKTINFO) => {
                Ipv4Addr::from(InPktinfo::read_from_bytes(data).map_err(|_| EINVAL)?.ipi_spec_dst).into()
            }
            (SOL_IPV6, IPV6_PKTINFO) => {
                let info = In6Pktinfo::read_from_bytes(data).map_err(|_| EINVAL)?;
                let v6 = Ipv6Addr::from(info.ipi6_addr);
                v6.to_ipv4_mapped().map_or(v6.into(), IpAddr::V4)
            }
            _ => continue,
        };
        if !ip.is_unspecified() {
            source = Some(ip).filter(|ip| is_local(*ip));
            source.ok_or(EADDRNOTAVAIL)?;
        }
    }
    Ok(source)
}

impl ProtoOps for UdpSock {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn sock(&self) -> &Sock {
        &self.sock
    }

    fn bind(&self, ctx: &dyn TaskContext, addr: &SockAddr, _: Option<&Arc<Inode>>) -> Result<(), Errno> {
        let at = Endpoint::for_bind(self.sock.family, addr)?;
        if at.ip.is_ipv4() && self.ip.v6only() && self.sock.family == AF_INET6 {
            return Err(EINVAL);
        }
        let cred = ctx.cred();
        check_bind(&self.sock, &cred, at, self.ip.freebind())?;
        {
            let state = self.state.lock();
            if state.binding.is_some() || state.remote.is_some() {
                return Err(EINVAL);
            }
        }
        self.bind_port(&cred, at).map(|_| ())
    }

    /// Linux: `inet_dgram_connect`, `__ip4_datagram_connect`, `__ip6_datagram_connect`.
    fn connect(
        &self,
        ctx: &dyn TaskContext,
        addr: &SockAddr,
        _: Option<&Arc<Inode>>,
        _nonblock: bool,
    ) -> Result<Connect, Errno> {
        let family = addr.family().ok_or(EINVAL)?;
        if family == AF_UNSPEC {
            self.disconnect();
            return Ok(Connect::Done);
        }
        let binding = self.autobind(&ctx.cred())?;
        if self.sock.family == AF_INET6 && family == AF_INET && self.ip.v6only() {
            return Err(EAFNOSUPPORT);
        }
        let to = Endpoint::for_connect(self.sock.family, addr, true)?;
        let (dst, from) = self.route(to, Some(binding.asked))?;
        let remote = Endpoint::new(dst, to.port);
        let binding = {
            let mut state = self.state.lock();
            state.remote = Some(remote);
            let Some(binding) = &mut state.binding else { return Err(EAGAIN) };
            binding.ip = from;
            *binding
        };
        self.update_table(binding, Some(remote));
        Ok(Connect::Done)
    }

    fn getname(&self) -> SockAddr {
        let binding = self.state.lock().binding;
        let at = binding.map_or(Endpoint::new(any(self.sock.family), 0), |b| Endpoint::new(b.ip, b.port));
        at.to_sockaddr(self.sock.family)
    }

    fn getpeername(&self) -> Result<SockAddr, Errno> {
        let remote = self.state.lock().remote;
        Ok(remote.filter(|r| r.port != 0).ok_or(ENOTCONN)?.to_sockaddr(self.sock.family))
    }

    /// Linux: `udp_sendmsg`, `udpv6_sendmsg`.
    fn sendmsg(
        &self,
        ctx: &dyn TaskContext,
        msg: &mut SendMsg,
        src: &mut IoSrc<'_>,
        _wait: &mut Option<WaitQueue>,
    ) -> Result<usize, Errno> {
        let binding = self.autobind(&ctx.cred())?;
        let len = src.remaining();
        if len > 0xffff {
            return Err(EMSGSIZE);
        }
        if msg.flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        let named = match &msg.addr {
            Some(addr) => self.named_destination(addr)?,
            None => None,
        };
        let remote = self.state.lock().remote;
        let to = named.or(remote).ok_or(EDESTADDRREQ)?;
        let bound = if named.is_none() { binding.ip } else { binding.asked };
        let source = chosen_source(&msg.control)?.unwrap_or(bound);
        let (dst, from) = self.route(to, Some(source))?;
        if len > if dst.is_ipv4() { MAX_V4 } else { MAX_V6 } {
            return Err(EMSGSIZE);
        }
        if let Some(e) = self.sock.take_error() {
            return Err(e);
        }
        if self.sock.shutdown_bits() & SEND_SHUTDOWN != 0 {
            return Err(EPIPE);
        }
        let data = src.read_vec(len)?;
        if data.len() < len {
            return Err(EFAULT);
        }
        self.deliver(Packet {
            data,
            from: Endpoint::new(from, binding.port),
            to: Endpoint::new(dst, to.port),
            tos: self.ip.tos(),
            ttl: self.ip.ttl(),
            sent: self.sock.net.clocks().realtime_nanos(),
        });
        Ok(len)
    }

    fn recvmsg(
        &self,
        _ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        flags: MsgFlags,
        out: &mut Received,
    ) -> Result<usize, Errno> {
        self.udp_recvmsg(dst, flags, out)
    }

    /// Linux: `inet_shutdown`.
    fn shutdown(&self, how: u8) -> Result<(), Errno> {
        self.sock.add_shutdown(how);
        self.sock.wq.wake_all(STATE_EVENTS);
        if self.is_connected() { Ok(()) } else { Err(ENOTCONN) }
    }

    /// Linux: net/core/datagram.c, `datagram_poll`.
    fn poll(&self, _table: &mut PollTable) -> u32 {
        let shutdown = self.sock.shutdown_bits();
        let mut mask = POLLOUT | POLLWRNORM | POLLWRBAND;
        if self.sock.has_error() {
            mask |= POLLERR;
        }
        if shutdown & RCV_SHUTDOWN != 0 {
            mask |= POLLRDHUP | POLLIN | POLLRDNORM;
        }
        if shutdown == SHUTDOWN_MASK {
            mask |= POLLHUP;
        }
        if !self.queue.lock().is_empty() {
            mask |= POLLIN | POLLRDNORM;
        }
        mask
    }

    fn setsockopt(&self, ctx: &dyn TaskContext, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let bound = self.state.lock().binding.is_some();
        self.ip.set(ctx, &self.sock, bound, level, name, value)
    }

    fn getsockopt(
        &self,
        _: &dyn TaskContext,
        level: i32,
        name: i32,
        len: usize,
    ) -> Result<Vec<u8>, GetOptError> {
        Ok(self.ip.get(&self.sock, self.is_connected(), level, name, len)?)
    }

    /// The length of the next datagram. Linux: `first_packet_length`.
    fn inq(&self) -> Result<usize, Errno> {
        Ok(self.queue.lock().first_len())
    }

    fn outq(&self) -> Result<usize, Errno> {
        Ok(0)
    }

    fn release(&self) {
        let binding = self.state.lock().binding.take();
        if let Some(binding) = binding {
            self.sock.net.udp.unbind(binding.port, &self.this);
        }
        self.queue.lock().clear();
    }
}
