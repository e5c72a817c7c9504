//! `/proc/sys/net`: of the caller's network namespace. Linux: net/core/sysctl_net_core.c, net/ipv4/sysctl_net_ipv4.c,
//! net/ipv6/sysctl_net_ipv6.c, net/unix/sysctl_net_unix.c.

use super::ctl::{dir, fixed, net_kept, net_numbers};
use fs_kernfs::Node;
use sentry_net::NetNamespace;
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use std::sync::atomic::{AtomicU32, Ordering};

/// Least size of a socket's buffer. Linux: `SOCK_MIN_SNDBUF`.
const SOCK_MIN_BUF: u32 = 4608;

fn get(value: &AtomicU32) -> Vec<i128> {
    vec![value.load(Ordering::Relaxed).into()]
}

fn set(value: &AtomicU32, new: &[i128], min: u32, max: u32) -> Result<(), Errno> {
    let new = new.first().and_then(|v| u32::try_from(*v).ok()).filter(|v| (min..=max).contains(v));
    value.store(new.ok_or(EINVAL)?, Ordering::Relaxed);
    Ok(())
}

/// The largest number Linux keeps in an `int`.
const INT_MAX: u32 = i32::MAX.unsigned_abs();

fn core() -> Node {
    dir([
        ("default_qdisc", fixed("noqueue")),
        ("dev_weight", net_kept(&[64])),
        ("message_burst", net_kept(&[10])),
        ("message_cost", net_kept(&[5])),
        ("netdev_budget", net_kept(&[300])),
        ("netdev_max_backlog", net_kept(&[1000])),
        ("optmem_max", net_kept(&[20480])),
        (
            "rmem_default",
            net_numbers(
                |n| get(&n.sysctl.rmem_default),
                |n, v| set(&n.sysctl.rmem_default, v, SOCK_MIN_BUF / 2, INT_MAX),
            ),
        ),
        ("rmem_max", wmem_max()),
        (
            "somaxconn",
            net_numbers(|n| get(&n.sysctl.somaxconn), |n, v| set(&n.sysctl.somaxconn, v, 0, INT_MAX)),
        ),
        (
            "wmem_default",
            net_numbers(
                |n| get(&n.sysctl.wmem_default),
                |n, v| set(&n.sysctl.wmem_default, v, SOCK_MIN_BUF, INT_MAX),
            ),
        ),
        ("wmem_max", wmem_max()),
    ])
}

/// One limit stands for both directions.
fn wmem_max() -> Node {
    net_numbers(|n| get(&n.sysctl.wmem_max), |n, v| set(&n.sysctl.wmem_max, v, SOCK_MIN_BUF, INT_MAX))
}

/// Linux: `ipv4_local_port_range`.
fn set_port_range(net: &NetNamespace, new: &[i128]) -> Result<(), Errno> {
    let port = |at: usize| new.get(at).and_then(|v| u16::try_from(*v).ok()).filter(|p| *p > 0).ok_or(EINVAL);
    let (low, high) = (port(0)?, port(1)?);
    let unprivileged = net.sysctl.ip_unprivileged_port_start.load(Ordering::Relaxed);
    if high < low || u32::from(low) < unprivileged {
        return Err(EINVAL);
    }
    net.sysctl.ip_local_port_range.store(u32::from(high) << 16 | u32::from(low), Ordering::Relaxed);
    Ok(())
}

/// Linux: `ipv4_privileged_ports`: it may not reach into the range of ephemeral ports.
fn set_unprivileged_start(net: &NetNamespace, new: &[i128]) -> Result<(), Errno> {
    let low = u32::from(*net.sysctl.local_port_range().start());
    set(&net.sysctl.ip_unprivileged_port_start, new, 0, low.min(65535))
}

fn ipv4() -> Node {
    let port_range = net_numbers(
        |n| {
            let range = n.sysctl.local_port_range();
            vec![(*range.start()).into(), (*range.end()).into()]
        },
        set_port_range,
    );
    let unprivileged = net_numbers(|n| get(&n.sysctl.ip_unprivileged_port_start), set_unprivileged_start);
    dir([
        ("conf", conf(&["all", "default", "lo"], ipv4_conf)),
        ("icmp_echo_ignore_all", net_kept(&[0])),
        ("icmp_echo_ignore_broadcasts", net_kept(&[1])),
        ("ip_default_ttl", net_kept(&[64])),
        ("ip_forward", net_kept(&[0])),
        ("ip_local_port_range", port_range),
        ("ip_local_reserved_ports", fixed("")),
        ("ip_no_pmtu_disc", net_kept(&[0])),
        ("ip_nonlocal_bind", net_kept(&[0])),
        ("ip_unprivileged_port_start", unprivileged),
        ("neigh", neigh()),
        ("ping_group_range", net_kept(&[1, 0])),
        ("tcp_abort_on_overflow", net_kept(&[0])),
        ("tcp_adv_win_scale", net_kept(&[1])),
        ("tcp_allowed_congestion_control", fixed("reno cubic")),
        ("tcp_available_congestion_control", fixed("reno cubic")),
        ("tcp_congestion_control", fixed("cubic")),
        ("tcp_dsack", net_kept(&[1])),
        ("tcp_ecn", net_kept(&[2])),
        ("tcp_fastopen", net_kept(&[1])),
        ("tcp_fin_timeout", net_kept(&[60])),
        ("tcp_keepalive_intvl", net_kept(&[75])),
        ("tcp_keepalive_probes", net_kept(&[9])),
        ("tcp_keepalive_time", net_kept(&[7200])),
        ("tcp_max_orphans", net_kept(&[131_072])),
        ("tcp_max_syn_backlog", net_kept(&[2048])),
        ("tcp_max_tw_buckets", net_kept(&[131_072])),
        ("tcp_mem", net_kept(&[287_901, 383_868, 575_802])),
        ("tcp_moderate_rcvbuf", net_kept(&[1])),
        ("tcp_mtu_probing", net_kept(&[0])),
        ("tcp_no_metrics_save", net_kept(&[0])),
        ("tcp_notsent_lowat", net_kept(&[u32::MAX.into()])),
        ("tcp_orphan_retries", net_kept(&[0])),
        ("tcp_retries1", net_kept(&[3])),
        ("tcp_retries2", net_kept(&[15])),
        ("tcp_rfc1337", net_kept(&[0])),
        ("tcp_rmem", net_kept(&[4096, 131_072, 6_291_456])),
        ("tcp_sack", net_kept(&[1])),
        ("tcp_slow_start_after_idle", net_kept(&[1])),
        ("tcp_syn_retries", net_kept(&[6])),
        ("tcp_synack_retries", net_kept(&[5])),
        ("tcp_syncookies", net_kept(&[1])),
        ("tcp_timestamps", net_kept(&[1])),
        ("tcp_tw_reuse", net_kept(&[2])),
        ("tcp_window_scaling", net_kept(&[1])),
        ("tcp_wmem", net_kept(&[4096, 16384, 4_194_304])),
        ("udp_mem", net_kept(&[575_802, 767_736, 1_151_604])),
        ("udp_rmem_min", net_kept(&[4096])),
        ("udp_wmem_min", net_kept(&[4096])),
    ])
}

/// `conf`: a directory for each interface.
fn conf(names: &[&str], values: fn() -> Node) -> Node {
    let dir = fs_kernfs::StaticDir::new(0o555);
    for name in names {
        dir.add(name, values());
    }
    dir.node()
}

fn ipv4_conf() -> Node {
    dir([
        ("accept_local", net_kept(&[0])),
        ("accept_redirects", net_kept(&[1])),
        ("accept_source_route", net_kept(&[0])),
        ("arp_announce", net_kept(&[0])),
        ("arp_ignore", net_kept(&[0])),
        ("forwarding", net_kept(&[0])),
        ("log_martians", net_kept(&[0])),
        ("proxy_arp", net_kept(&[0])),
        ("route_localnet", net_kept(&[0])),
        ("rp_filter", net_kept(&[0])),
        ("secure_redirects", net_kept(&[1])),
        ("send_redirects", net_kept(&[1])),
    ])
}

fn neigh() -> Node {
    conf(&["default", "lo"], || {
        dir([
            ("base_reachable_time_ms", net_kept(&[30000])),
            ("gc_stale_time", net_kept(&[60])),
            ("gc_thresh1", net_kept(&[128])),
            ("gc_thresh2", net_kept(&[512])),
            ("gc_thresh3", net_kept(&[1024])),
        ])
    })
}

fn ipv6() -> Node {
    let bindv6only = net_numbers(|n| get(&n.sysctl.bindv6only), |n, v| set(&n.sysctl.bindv6only, v, 0, 1));
    let values = || {
        dir([
            ("accept_ra", net_kept(&[1])),
            ("accept_redirects", net_kept(&[1])),
            ("autoconf", net_kept(&[1])),
            ("disable_ipv6", net_kept(&[0])),
            ("forwarding", net_kept(&[0])),
            ("hop_limit", net_kept(&[64])),
            ("mtu", net_kept(&[65536])),
            ("use_tempaddr", net_kept(&[0])),
        ])
    };
    dir([
        ("auto_flowlabels", net_kept(&[1])),
        ("bindv6only", bindv6only),
        ("conf", conf(&["all", "default", "lo"], values)),
        ("ip_nonlocal_bind", net_kept(&[0])),
    ])
}

pub(super) fn tree() -> Node {
    let max_dgram_qlen =
        net_numbers(|n| get(&n.sysctl.max_dgram_qlen), |n, v| set(&n.sysctl.max_dgram_qlen, v, 0, INT_MAX));
    dir([
        ("core", core()),
        ("ipv4", ipv4()),
        ("ipv6", ipv6()),
        ("unix", dir([("max_dgram_qlen", max_dgram_qlen)])),
    ])
}
