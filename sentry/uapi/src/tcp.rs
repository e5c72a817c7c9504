//! Linux: include/uapi/linux/tcp.h and include/net/tcp_states.h.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Option level of TCP.
pub const SOL_TCP: i32 = 6;
/// Option level of UDP.
pub const SOL_UDP: i32 = 17;
/// UDP_CORK, of linux/udp.h.
pub const UDP_CORK: i32 = 1;
/// UDP_SEGMENT, of linux/udp.h.
pub const UDP_SEGMENT: i32 = 103;
/// UDP_GRO, of linux/udp.h.
pub const UDP_GRO: i32 = 104;

macro_rules! options {
    ($($name:ident = $value:literal;)*) => {
        $(#[doc = concat!("SOL_TCP option ", stringify!($value), ".")] pub const $name: i32 = $value;)*
    };
}

options! {
    TCP_NODELAY = 1; TCP_MAXSEG = 2; TCP_CORK = 3; TCP_KEEPIDLE = 4; TCP_KEEPINTVL = 5; TCP_KEEPCNT = 6; TCP_SYNCNT = 7;
    TCP_LINGER2 = 8; TCP_DEFER_ACCEPT = 9; TCP_WINDOW_CLAMP = 10; TCP_INFO = 11; TCP_QUICKACK = 12; TCP_CONGESTION = 13;
    TCP_THIN_LINEAR_TIMEOUTS = 16; TCP_THIN_DUPACK = 17; TCP_USER_TIMEOUT = 18; TCP_REPAIR = 19; TCP_FASTOPEN = 23;
    TCP_TIMESTAMP = 24; TCP_NOTSENT_LOWAT = 25; TCP_CC_INFO = 26; TCP_SAVE_SYN = 27; TCP_SAVED_SYN = 28; TCP_ULP = 31;
    TCP_FASTOPEN_CONNECT = 30; TCP_FASTOPEN_KEY = 33; TCP_FASTOPEN_NO_COOKIE = 34; TCP_INQ = 36; TCP_TX_DELAY = 37;
}

/// `tcpi_state`: connected.
pub const TCP_ESTABLISHED: u8 = 1;
/// `tcpi_state`: asked for a connection.
pub const TCP_SYN_SENT: u8 = 2;
/// `tcpi_state`: closed here, the peer still sends.
pub const TCP_FIN_WAIT2: u8 = 5;
/// `tcpi_state`: not connected.
pub const TCP_CLOSE: u8 = 7;
/// `tcpi_state`: the peer has closed.
pub const TCP_CLOSE_WAIT: u8 = 8;
/// `tcpi_state`: listening.
pub const TCP_LISTEN: u8 = 10;

/// `struct tcp_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct TcpInfo {
    pub tcpi_state: u8,
    pub tcpi_ca_state: u8,
    pub tcpi_retransmits: u8,
    pub tcpi_probes: u8,
    pub tcpi_backoff: u8,
    pub tcpi_options: u8,
    pub tcpi_wscale: u8,
    pub tcpi_delivery_flags: u8,
    pub tcpi_rto: u32,
    pub tcpi_ato: u32,
    pub tcpi_snd_mss: u32,
    pub tcpi_rcv_mss: u32,
    pub tcpi_unacked: u32,
    pub tcpi_sacked: u32,
    pub tcpi_lost: u32,
    pub tcpi_retrans: u32,
    pub tcpi_fackets: u32,
    pub tcpi_last_data_sent: u32,
    pub tcpi_last_ack_sent: u32,
    pub tcpi_last_data_recv: u32,
    pub tcpi_last_ack_recv: u32,
    pub tcpi_pmtu: u32,
    pub tcpi_rcv_ssthresh: u32,
    pub tcpi_rtt: u32,
    pub tcpi_rttvar: u32,
    pub tcpi_snd_ssthresh: u32,
    pub tcpi_snd_cwnd: u32,
    pub tcpi_advmss: u32,
    pub tcpi_reordering: u32,
    pub tcpi_rcv_rtt: u32,
    pub tcpi_rcv_space: u32,
    pub tcpi_total_retrans: u32,
    pub tcpi_pacing_rate: u64,
    pub tcpi_max_pacing_rate: u64,
    pub tcpi_bytes_acked: u64,
    pub tcpi_bytes_received: u64,
    pub tcpi_segs_out: u32,
    pub tcpi_segs_in: u32,
    pub tcpi_notsent_bytes: u32,
    pub tcpi_min_rtt: u32,
    pub tcpi_data_segs_in: u32,
    pub tcpi_data_segs_out: u32,
    pub tcpi_delivery_rate: u64,
    pub tcpi_busy_time: u64,
    pub tcpi_rwnd_limited: u64,
    pub tcpi_sndbuf_limited: u64,
    pub tcpi_delivered: u32,
    pub tcpi_delivered_ce: u32,
    pub tcpi_bytes_sent: u64,
    pub tcpi_bytes_retrans: u64,
    pub tcpi_dsack_dups: u32,
    pub tcpi_reord_seen: u32,
    pub tcpi_rcv_ooopack: u32,
    pub tcpi_snd_wnd: u32,
}

// As of Linux 6.1; later kernels append fields.
const _: () =
    assert!(size_of::<TcpInfo>() == core::mem::offset_of!(linux_raw_sys::net::tcp_info, tcpi_rcv_wnd));
