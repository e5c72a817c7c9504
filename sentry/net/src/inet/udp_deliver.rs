//! Datagrams on their way: from a sender to the sockets they are for, and out of a socket's queue.

use super::addr::{Endpoint, is_broadcast};
use super::udp::UdpSock;
use crate::ControlMsg;
use crate::control::timestamp;
use crate::netdev::LO_IFINDEX;
use crate::proto_ops::Received;
use crate::sock::{IN_EVENTS, RCV_SHUTDOWN};
use sentry_mm::IoDst;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, ECONNREFUSED, EFAULT};
use sentry_uapi::in_::{
    IP_MULTICAST_ALL, IP_PKTINFO, IP_RECVERR, IP_RECVTOS, IP_RECVTTL, IP_TOS, IP_TTL, InPktinfo, SOL_IP,
};
use sentry_uapi::in6::{
    IPV6_HOPLIMIT, IPV6_PKTINFO, IPV6_RECVERR, IPV6_RECVHOPLIMIT, IPV6_RECVPKTINFO, IPV6_RECVTCLASS,
    IPV6_TCLASS, In6Pktinfo, SOL_IPV6,
};
use sentry_uapi::socket::{AF_INET, MsgFlags};
use std::collections::VecDeque;
use std::net::IpAddr;
use zerocopy::IntoBytes;

/// What a datagram costs its receiver beyond its bytes. Linux: about `SKB_TRUESIZE(0)`.
const OVERHEAD: usize = 832;

/// A datagram.
#[derive(Clone)]
pub(super) struct Packet {
    pub(super) data: Vec<u8>,
    pub(super) from: Endpoint,
    pub(super) to: Endpoint,
    pub(super) tos: i32,
    pub(super) ttl: i32,
    /// Nanoseconds of the real-time clock.
    pub(super) sent: i64,
}

/// Datagrams that wait to be received.
#[derive(Default)]
pub(super) struct PacketQueue {
    packets: VecDeque<Packet>,
    /// What they take of the receive buffer.
    used: usize,
}

impl PacketQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    pub(super) fn first_len(&self) -> usize {
        self.packets.front().map_or(0, |p| p.data.len())
    }

    pub(super) fn clear(&mut self) {
        *self = PacketQueue::default();
    }

    /// Adds a datagram unless the buffer is full. Linux: `__udp_enqueue_schedule_skb`.
    fn push(&mut self, packet: Packet, rcvbuf: usize) -> bool {
        if self.used > rcvbuf {
            return false;
        }
        self.used += packet.data.len() + OVERHEAD;
        self.packets.push_back(packet);
        true
    }

    fn pop(&mut self) -> Option<Packet> {
        let packet = self.packets.pop_front()?;
        self.used = self.used.saturating_sub(packet.data.len() + OVERHEAD);
        Some(packet)
    }
}

impl UdpSock {
    /// Puts a datagram where it belongs. If nobody is there, a connected sender hears of it at its next call, as an ICMP
    /// error would tell it. Linux: `__udp4_lib_rcv`, `__udp4_lib_err`.
    pub(super) fn deliver(&self, packet: Packet) {
        let net = &self.sock.net;
        let dst = packet.to.ip;
        if dst.is_multicast() || is_broadcast(dst) {
            let fits = |ip: IpAddr| ip == dst || (ip.is_unspecified() && ip.is_ipv4() == dst.is_ipv4());
            let socks = net.udp.lookup_all(packet.to.port, |s| fits(s.ip));
            let somebody_joined = socks.iter().any(|s| s.ip.joined(dst));
            for sock in socks {
                let all = sock.ip.is_on(SOL_IP, IP_MULTICAST_ALL) && somebody_joined;
                if !sock.sock.opts.hears_loopback() {
                    continue;
                }
                if !dst.is_multicast() || sock.ip.joined(dst) || all {
                    sock.enqueue(packet.clone());
                }
            }
            return;
        }
        if let Some(sock) = net.udp.lookup(packet.to, packet.from, false)
            && sock.sock.opts.hears_loopback()
        {
            sock.enqueue(packet);
            return;
        }
        let asked = self.ip.is_on(SOL_IP, IP_RECVERR) || self.ip.is_on(SOL_IPV6, IPV6_RECVERR);
        if self.is_connected() || asked {
            self.sock.report_error(ECONNREFUSED);
        }
    }

    fn enqueue(&self, packet: Packet) {
        if self.queue.lock().push(packet, self.sock.opts.rcvbuf()) {
            self.sock.wq.wake(IN_EVENTS);
        }
    }

    /// Linux: `udp_recvmsg`, `udpv6_recvmsg`. There is no error queue: MSG_ERRQUEUE finds it empty.
    pub(super) fn udp_recvmsg(
        &self,
        dst: &mut IoDst<'_>,
        flags: MsgFlags,
        out: &mut Received,
    ) -> Result<usize, Errno> {
        if flags.contains(MsgFlags::ERRQUEUE) {
            return Err(EAGAIN);
        }
        if let Some(e) = self.sock.take_error() {
            return Err(e);
        }
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            drop(queue);
            let shut = self.sock.shutdown_bits() & RCV_SHUTDOWN != 0;
            return if shut && !flags.contains(MsgFlags::DONTWAIT) { Ok(0) } else { Err(EAGAIN) };
        }
        let (len, copied) = if flags.contains(MsgFlags::PEEK) {
            let Some(packet) = queue.packets.front() else { return Err(EAGAIN) };
            (packet.data.len(), self.copy_out(packet, dst, out)?)
        } else {
            let Some(packet) = queue.pop() else { return Err(EAGAIN) };
            drop(queue);
            (packet.data.len(), self.copy_out(&packet, dst, out)?)
        };
        Ok(if flags.contains(MsgFlags::TRUNC) { len } else { copied })
    }

    fn copy_out(&self, packet: &Packet, dst: &mut IoDst<'_>, out: &mut Received) -> Result<usize, Errno> {
        let copied = dst.write(&packet.data)?;
        if copied < packet.data.len() {
            if dst.remaining() > 0 {
                return Err(EFAULT);
            }
            out.flags |= MsgFlags::TRUNC;
        }
        out.addr = Some(packet.from.to_sockaddr(self.sock.family));
        out.control.extend(timestamp(&self.sock, packet.sent));
        self.ancillary(packet, &mut out.control);
        Ok(copied)
    }

    /// Linux: `ip_cmsg_recv`, `ip6_datagram_recv_ctl`.
    fn ancillary(&self, packet: &Packet, out: &mut Vec<ControlMsg>) {
        let mut put = |level, ty, bytes: &[u8]| {
            out.push(ControlMsg::Other { level, ty, data: bytes.to_vec() });
        };
        if let (AF_INET, IpAddr::V4(to)) = (self.sock.family, packet.to.ip) {
            if self.ip.is_on(SOL_IP, IP_PKTINFO) {
                let info =
                    InPktinfo { ipi_ifindex: LO_IFINDEX, ipi_spec_dst: to.octets(), ipi_addr: to.octets() };
                put(SOL_IP, IP_PKTINFO, info.as_bytes());
            }
            if self.ip.is_on(SOL_IP, IP_RECVTTL) {
                put(SOL_IP, IP_TTL, packet.ttl.as_bytes());
            }
            if self.ip.is_on(SOL_IP, IP_RECVTOS) {
                let tos = u8::try_from(packet.tos).unwrap_or(0);
                put(SOL_IP, IP_TOS, &[tos]);
            }
            return;
        }
        let to = match packet.to.ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        if self.ip.is_on(SOL_IPV6, IPV6_RECVPKTINFO) {
            let info = In6Pktinfo { ipi6_addr: to.octets(), ipi6_ifindex: LO_IFINDEX };
            put(SOL_IPV6, IPV6_PKTINFO, info.as_bytes());
        }
        if self.ip.is_on(SOL_IPV6, IPV6_RECVHOPLIMIT) {
            put(SOL_IPV6, IPV6_HOPLIMIT, packet.ttl.as_bytes());
        }
        if self.ip.is_on(SOL_IPV6, IPV6_RECVTCLASS) {
            put(SOL_IPV6, IPV6_TCLASS, packet.tos.as_bytes());
        }
    }
}
