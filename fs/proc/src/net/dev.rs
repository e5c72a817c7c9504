//! The interface and its addresses and routes. Linux: net/core/net-procfs.c, net/ipv6/addrconf.c, net/ipv4/fib_trie.c.

use crate::seq::put;
use sentry_net::NetNamespace;

const DEV_TITLE: &str = "Inter-|   Receive                                                |  Transmit\n \
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier \
     compressed\n";

/// Linux: `dev_seq_printf_stats`. Packets are not counted.
pub(super) fn dev(net: &NetNamespace, out: &mut Vec<u8>) {
    out.extend_from_slice(DEV_TITLE.as_bytes());
    let zero = 0;
    for dev in net.devices() {
        put(
            out,
            format_args!(
                "{:>6}: {zero:>7} {zero:>7} {zero:>4} {zero:>4} {zero:>4} {zero:>5} {zero:>10} {zero:>9} \
                 {zero:>8} {zero:>7} {zero:>4} {zero:>4} {zero:>4} {zero:>5} {zero:>7} {zero:>10}\n",
                dev.name
            ),
        );
    }
}

/// Linux: `if6_seq_show`: address, index, length of the prefix, scope, flags.
pub(super) fn if_inet6(net: &NetNamespace, out: &mut Vec<u8>) {
    if net.lo.is_up() {
        put(out, format_args!("{:032x} 01 80 10 80 {:>8}\n", 1, "lo"));
    }
}

/// Linux: `fib_route_seq_show`: the main table is empty.
pub(super) fn route(_net: &NetNamespace, out: &mut Vec<u8>) {
    let title = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
    put(out, format_args!("{title:<127}\n"));
}

/// Linux: net/ipv6/route.c, `rt6_info_route`.
pub(super) fn ipv6_route(net: &NetNamespace, out: &mut Vec<u8>) {
    let (none, one) = (format!("{:032x}", 0), format!("{:032x}", 1));
    if net.lo.is_up() {
        let counts = "00000000 00000002 00000000 80200001";
        put(out, format_args!("{one} 80 {none} 00 {none} {counts} {:>8}\n", "lo"));
    }
    let counts = "ffffffff 00000001 00000000 00200200";
    put(out, format_args!("{none} 00 {none} 00 {none} {counts} {:>8}\n", "lo"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_auth::UserNamespace;
    use sentry_time::Clocks;
    use std::sync::Arc;

    #[test]
    fn lines_are_as_wide_as_the_native_kernels() {
        let net = NetNamespace::new_initial(UserNamespace::new_initial(), Arc::new(Clocks::scripted()), None);
        let show = |f: fn(&NetNamespace, &mut Vec<u8>)| {
            let mut out = Vec::new();
            f(&net, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        let native = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
        let (ours, theirs) = (show(dev), native("dev"));
        assert_eq!(ours.lines().take(2).collect::<Vec<_>>(), theirs.lines().take(2).collect::<Vec<_>>());
        let idle = "  ifb0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0";
        assert_eq!(ours.lines().nth(2).map(str::len), Some(idle.len()));
        assert_eq!(show(route).lines().next(), native("route").lines().next());
        let lo = |text: &str| text.lines().find(|l| l.ends_with(" lo")).map(str::to_owned);
        assert_eq!(lo(&show(if_inet6)), lo(&native("if_inet6")));
        let width = |text: &str| lo(text).map(|l| l.len());
        assert_eq!(width(&show(ipv6_route)), width(&native("ipv6_route")));
    }
}
