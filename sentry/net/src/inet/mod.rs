//! Linux: net/ipv4/af_inet.c and net/ipv6/af_inet6.c: TCP and UDP over the loopback of a namespace.
//!
//! There are no packets: a connection joins two byte queues in memory, a datagram goes from the sender straight into the
//! receiver's queue. What a program sees of TCP's states is kept, save that a closed connection leaves no TIME_WAIT.

pub(crate) mod addr;
mod channel;
mod ip_options;
pub(crate) mod ports;
pub(crate) mod tcp;
mod tcp_connect;
mod tcp_options;
pub(crate) mod udp;
mod udp_deliver;

use crate::proto_ops::ProtoOps;
use crate::{NetNamespace, Sock};
use addr::Endpoint;
use fs_vfs::TaskContext;
use sentry_auth::{CapSet, Cred, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EADDRNOTAVAIL, EINVAL, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT};
use sentry_uapi::in_::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IP, IPPROTO_MAX, IPPROTO_TCP, IPPROTO_UDP};
use sentry_uapi::socket::{AF_INET, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Linux: `inet_create`, `inet6_create`.
pub(crate) fn create(
    ctx: &dyn TaskContext,
    net: &Arc<NetNamespace>,
    family: u16,
    ty: u32,
    protocol: i32,
) -> Result<Arc<dyn ProtoOps>, Errno> {
    if !(0..IPPROTO_MAX).contains(&protocol) {
        return Err(EINVAL);
    }
    let ping = if family == AF_INET { IPPROTO_ICMP } else { IPPROTO_ICMPV6 };
    match (ty, protocol) {
        (SOCK_STREAM, IPPROTO_IP | IPPROTO_TCP) => Ok(tcp::TcpSock::new(net, family)),
        (SOCK_DGRAM, IPPROTO_IP | IPPROTO_UDP) => Ok(udp::UdpSock::new(net, family)),
        // Nobody is in `ping_group_range` by default.
        (SOCK_DGRAM, p) if p == ping => Err(EACCES),
        (SOCK_RAW, p) if p != IPPROTO_IP && !ns_capable(&ctx.cred(), &net.user_ns, CapSet::NET_RAW) => {
            Err(EPERM)
        }
        (SOCK_STREAM | SOCK_DGRAM | SOCK_RAW, _) => Err(EPROTONOSUPPORT),
        _ => Err(ESOCKTNOSUPPORT),
    }
}

/// What a socket is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    /// The address bind(2) asked for; the wildcard if it did not, or there was no bind(2).
    pub(crate) asked: IpAddr,
    /// The address in use: once connected, the connection's.
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    /// In the table as a bound socket, rather than by its connection alone.
    pub(crate) in_table: bool,
    /// The port was asked for. Linux: `SOCK_BINDPORT_LOCK`.
    pub(crate) explicit_port: bool,
}

/// The checks of bind(2) on the address and the port. `free` is IP_FREEBIND or the like. Linux: `__inet_bind`.
pub(crate) fn check_bind(sock: &Sock, cred: &Cred, at: Endpoint, free: bool) -> Result<(), Errno> {
    let net = &sock.net;
    let ip = at.ip;
    if sock.is_stream() && ip.is_ipv6() && ip.is_multicast() {
        return Err(EINVAL);
    }
    let group = ip.is_multicast() || addr::is_broadcast(ip);
    // An address of a loopback that is down is nobody's, but IPv4 still binds to it.
    if !ip.is_unspecified() && !addr::is_local(ip) && !group && !free {
        return Err(EADDRNOTAVAIL);
    }
    let first = net.sysctl.ip_unprivileged_port_start.load(Ordering::Relaxed);
    if at.port != 0 && u32::from(at.port) < first && !ns_capable(cred, &net.user_ns, CapSet::NET_BIND_SERVICE)
    {
        return Err(EACCES);
    }
    Ok(())
}
