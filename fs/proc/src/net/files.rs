//! The files of the directory. Linux: the `proc_create_net` calls of net/.

use super::{NetEntry, ShowNet, dev};
use crate::seq::put;
use sentry_net::NetNamespace;

const fn entry(name: &'static str, show: ShowNet) -> NetEntry {
    NetEntry { name, perm: 0o444, show }
}

fn titled(out: &mut Vec<u8>, title: &str) {
    out.extend_from_slice(title.as_bytes());
    out.push(b'\n');
}

/// Title of a list of sockets of IPv4; TCP's differs from the others'.
const TCP: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const UDP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref \
                   pointer drops";
const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue \
                    rx_queue tr tm->when retrnsmt   uid  timeout inode";
const UDP6: &str = "  sl  local_address                         remote_address                        st tx_queue \
                    rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops";
/// A line of `/proc/net/tcp` is filled up to this width. Linux: `TMPSZ`.
const TCP_WIDTH: usize = 149;
/// And one of `/proc/net/udp`.
const UDP_WIDTH: usize = 127;

fn tcp(_net: &NetNamespace, out: &mut Vec<u8>) {
    put(out, format_args!("{TCP:<TCP_WIDTH$}\n"));
}

fn udp(_net: &NetNamespace, out: &mut Vec<u8>) {
    put(out, format_args!(" {UDP:<0$}\n", UDP_WIDTH - 1));
}

/// The others' titles lack the first blank.
fn icmp(_net: &NetNamespace, out: &mut Vec<u8>) {
    put(out, format_args!("{UDP:<UDP_WIDTH$}\n"));
}

/// One protocol of `snmp`: its name, the names of its counters, and their values, zero where none is given.
fn snmp_pair(out: &mut Vec<u8>, name: &str, counters: &str, first: &[i64]) {
    let values = counters.split(' ').enumerate().map(|(at, _)| first.get(at).copied().unwrap_or(0));
    put(out, format_args!("{name}: {counters}\n{name}:"));
    for value in values {
        put(out, format_args!(" {value}"));
    }
    out.push(b'\n');
}

const IP: &str = "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards \
                  InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs \
                  FragFails FragCreates";
const ICMP: &str = "InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects \
                    InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors \
                    OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps \
                    OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps";
const TCP_MIB: &str = "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab \
                       InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors";
const UDP_MIB: &str = "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti \
                       MemErrors";

/// Linux: net/ipv4/proc.c, `snmp_seq_show`.
fn snmp(_net: &NetNamespace, out: &mut Vec<u8>) {
    snmp_pair(out, "Ip", IP, &[2, 64]);
    snmp_pair(out, "Icmp", ICMP, &[]);
    snmp_pair(out, "IcmpMsg", "", &[]);
    snmp_pair(out, "Tcp", TCP_MIB, &[1, 200, 120_000, -1]);
    snmp_pair(out, "Udp", UDP_MIB, &[]);
    snmp_pair(out, "UdpLite", UDP_MIB, &[]);
}

/// Linux: net/ipv6/proc.c, `snmp6_seq_show`.
fn snmp6(_net: &NetNamespace, out: &mut Vec<u8>) {
    for name in [
        "Ip6InReceives",
        "Ip6InHdrErrors",
        "Ip6InDiscards",
        "Ip6InDelivers",
        "Ip6OutForwDatagrams",
        "Ip6OutRequests",
        "Ip6OutDiscards",
        "Ip6OutNoRoutes",
        "Ip6InOctets",
        "Ip6OutOctets",
        "Icmp6InMsgs",
        "Icmp6InErrors",
        "Icmp6OutMsgs",
        "Icmp6OutErrors",
        "Udp6InDatagrams",
        "Udp6NoPorts",
        "Udp6InErrors",
        "Udp6OutDatagrams",
    ] {
        put(out, format_args!("{name:<32}\t0\n"));
    }
}

/// Linux: `netstat_seq_show`.
fn netstat(_net: &NetNamespace, out: &mut Vec<u8>) {
    snmp_pair(
        out,
        "TcpExt",
        "SyncookiesSent SyncookiesRecv SyncookiesFailed ListenOverflows ListenDrops",
        &[],
    );
    snmp_pair(
        out,
        "IpExt",
        "InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts",
        &[],
    );
}

fn sockstat(_net: &NetNamespace, out: &mut Vec<u8>) {
    titled(
        out,
        "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\n\
         RAW: inuse 0\nFRAG: inuse 0 memory 0",
    );
}

fn sockstat6(_net: &NetNamespace, out: &mut Vec<u8>) {
    titled(out, "TCP6: inuse 0\nUDP6: inuse 0\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0");
}

const ARP: &str = "IP address       HW type     Flags       HW address            Mask     Device";
const NETLINK: &str =
    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode";
const PACKET: &str = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode";
const PROTOCOLS: &str = "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re \
                         bi br ha uh gp em";
const UNIX: &str = "Num       RefCount Protocol Flags    Type St Inode Path";

pub(super) static FILES: &[NetEntry] = &[
    entry("arp", |_, out| titled(out, ARP)),
    entry("dev", dev::dev),
    entry("dev_mcast", |_, _| ()),
    entry("fib_trie", |_, _| ()),
    entry("icmp", icmp),
    entry("if_inet6", dev::if_inet6),
    entry("igmp", |_, out| titled(out, "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter")),
    entry("igmp6", |_, _| ()),
    entry("ipv6_route", dev::ipv6_route),
    entry("netlink", |_, out| titled(out, NETLINK)),
    entry("netstat", netstat),
    entry("packet", |_, out| titled(out, PACKET)),
    entry("protocols", |_, out| titled(out, PROTOCOLS)),
    entry("psched", |_, out| titled(out, "000003e8 00000040 000f4240 3b9aca00")),
    entry("ptype", |_, out| titled(out, "Type Device      Function")),
    entry("raw", |_, out| titled(out, UDP)),
    entry("raw6", |_, out| titled(out, UDP6)),
    entry("route", dev::route),
    entry("snmp", snmp),
    entry("snmp6", snmp6),
    entry("sockstat", sockstat),
    entry("sockstat6", sockstat6),
    entry("tcp", tcp),
    entry("tcp6", |_, out| titled(out, TCP6)),
    entry("udp", udp),
    entry("udp6", |_, out| titled(out, UDP6)),
    entry("udplite", udp),
    entry("udplite6", |_, out| titled(out, UDP6)),
    entry("unix", |_, out| titled(out, UNIX)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_auth::UserNamespace;
    use sentry_time::Clocks;
    use std::sync::Arc;

    #[test]
    fn titles_are_the_native_kernels() {
        let net = NetNamespace::new_initial(UserNamespace::new_initial(), Arc::new(Clocks::scripted()), None);
        for name in [
            "arp",
            "icmp",
            "netlink",
            "packet",
            "protocols",
            "raw",
            "raw6",
            "tcp",
            "tcp6",
            "udp",
            "udp6",
            "unix",
        ] {
            let Ok(native) = std::fs::read_to_string(format!("/proc/net/{name}")) else { continue };
            let mut out = Vec::new();
            let entry = FILES.iter().find(|e| e.name == name);
            entry.map(|e| (e.show)(&net, &mut out)).unwrap_or_default();
            let ours = String::from_utf8_lossy(&out).into_owned();
            assert_eq!(ours.lines().next(), native.lines().next(), "{name}");
        }
    }
}
