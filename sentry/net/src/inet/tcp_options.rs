//! Linux: net/ipv4/tcp.c, `do_tcp_setsockopt` and `do_tcp_getsockopt`. Without segments there is nothing to tune: options are
//! checked, kept and read back.

use super::tcp::TcpSock;
use crate::sockopt::{clip, int_value};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOENT, ENOPROTOOPT, EPERM};
use sentry_uapi::tcp::*;
use std::collections::BTreeMap;

/// Largest segment on a loopback: its MTU less the headers with time stamps.
const LOOPBACK_MSS: u32 = 65483;
/// Largest segment assumed before a connection is made. Linux: `TCP_MSS_DEFAULT`.
const TCP_MSS_DEFAULT: i32 = 536;
/// Longest name of a congestion control. Linux: `TCP_CA_NAME_MAX`.
const TCP_CA_NAME_MAX: usize = 16;
const CONGESTION_CONTROLS: [&[u8]; 2] = [b"cubic", b"reno"];

/// Options of level SOL_TCP.
#[derive(Default)]
pub(super) struct TcpOptions {
    values: Mutex<BTreeMap<i32, i32>, { level::LEAF }>,
}

fn default(name: i32) -> i32 {
    match name {
        TCP_KEEPIDLE => 7200,
        TCP_KEEPINTVL => 75,
        TCP_KEEPCNT => 9,
        TCP_SYNCNT => 6,
        TCP_LINGER2 => 60,
        TCP_QUICKACK => 1,
        _ => 0,
    }
}

impl TcpOptions {
    pub(super) fn inherit(&self, from: &TcpOptions) {
        let values = from.values.lock().clone();
        *self.values.lock() = values;
    }

    pub(super) fn set(&self, name: i32, value: &[u8]) -> Result<(), Errno> {
        if name == TCP_CONGESTION || name == TCP_ULP {
            let text =
                value.get(..value.len().min(TCP_CA_NAME_MAX - 1)).filter(|t| !t.is_empty()).ok_or(EINVAL)?;
            let text = text.split(|b| *b == 0).next().unwrap_or_default();
            let known = CONGESTION_CONTROLS.iter().position(|n| *n == text);
            let index = known.filter(|_| name == TCP_CONGESTION).ok_or(ENOENT)?;
            self.values.lock().insert(name, i32::from(index != 0));
            return Ok(());
        }
        let val = int_value(value)?;
        let within = |low, high| if (low..=high).contains(&val) { Ok(val) } else { Err(EINVAL) };
        let stored = match name {
            TCP_NODELAY
            | TCP_CORK
            | TCP_QUICKACK
            | TCP_THIN_LINEAR_TIMEOUTS
            | TCP_THIN_DUPACK
            | TCP_FASTOPEN_NO_COOKIE => i32::from(val != 0),
            TCP_MAXSEG if val == 0 => 0,
            TCP_MAXSEG => within(88, 32767)?,
            TCP_KEEPIDLE | TCP_KEEPINTVL => within(1, 32767)?,
            TCP_KEEPCNT | TCP_SYNCNT => within(1, 127)?,
            TCP_LINGER2 => val.clamp(-1, 120),
            TCP_DEFER_ACCEPT | TCP_WINDOW_CLAMP | TCP_NOTSENT_LOWAT | TCP_TIMESTAMP => val,
            TCP_USER_TIMEOUT | TCP_FASTOPEN | TCP_TX_DELAY => within(0, i32::MAX)?,
            TCP_SAVE_SYN | TCP_INQ | TCP_FASTOPEN_CONNECT => within(0, 1)?,
            TCP_REPAIR => return Err(EPERM),
            _ => return Err(ENOPROTOOPT),
        };
        self.values.lock().insert(name, stored);
        Ok(())
    }

    pub(super) fn get(&self, sock: &TcpSock, name: i32, len: usize) -> Result<Vec<u8>, Errno> {
        let stored = self.values.lock().get(&name).copied();
        let value = match name {
            TCP_INFO => return Ok(clip(&tcp_info(sock), len)),
            TCP_CONGESTION => {
                let mut text = [0; TCP_CA_NAME_MAX];
                let known = CONGESTION_CONTROLS[usize::from(stored == Some(1))];
                text[..known.len()].copy_from_slice(known);
                return Ok(clip(&text, len));
            }
            TCP_ULP | TCP_SAVED_SYN | TCP_CC_INFO | TCP_FASTOPEN_KEY => return Ok(Vec::new()),
            TCP_MAXSEG if sock.tcp_state() == TCP_CLOSE => {
                stored.filter(|v| *v != 0).unwrap_or(TCP_MSS_DEFAULT)
            }
            TCP_MAXSEG => 32768,
            TCP_NODELAY
            | TCP_CORK
            | TCP_QUICKACK
            | TCP_THIN_LINEAR_TIMEOUTS
            | TCP_THIN_DUPACK
            | TCP_FASTOPEN_NO_COOKIE
            | TCP_KEEPIDLE
            | TCP_KEEPINTVL
            | TCP_KEEPCNT
            | TCP_SYNCNT
            | TCP_LINGER2
            | TCP_DEFER_ACCEPT
            | TCP_WINDOW_CLAMP
            | TCP_NOTSENT_LOWAT
            | TCP_TIMESTAMP
            | TCP_USER_TIMEOUT
            | TCP_FASTOPEN
            | TCP_TX_DELAY
            | TCP_SAVE_SYN
            | TCP_INQ
            | TCP_FASTOPEN_CONNECT
            | TCP_REPAIR => stored.unwrap_or_else(|| default(name)),
            _ => return Err(ENOPROTOOPT),
        };
        Ok(clip(&value, len))
    }
}

/// A connection over a perfect line. Linux: `tcp_get_info`.
fn tcp_info(sock: &TcpSock) -> TcpInfo {
    TcpInfo {
        tcpi_state: sock.tcp_state(),
        // Time stamps, selective acknowledgement, window scaling.
        tcpi_options: 7,
        tcpi_wscale: 0x77,
        tcpi_rto: 204_000,
        tcpi_ato: 40_000,
        tcpi_snd_mss: LOOPBACK_MSS,
        tcpi_rcv_mss: LOOPBACK_MSS,
        tcpi_pmtu: crate::netdev::LO_MTU,
        tcpi_rcv_ssthresh: 65483,
        tcpi_rtt: 20,
        tcpi_rttvar: 10,
        tcpi_snd_ssthresh: i32::MAX.unsigned_abs(),
        tcpi_snd_cwnd: 10,
        tcpi_advmss: LOOPBACK_MSS,
        tcpi_reordering: 3,
        tcpi_rcv_space: 65483,
        tcpi_pacing_rate: u64::MAX,
        tcpi_max_pacing_rate: u64::MAX,
        tcpi_min_rtt: 10,
        tcpi_snd_wnd: 65483,
        ..TcpInfo::default()
    }
}
