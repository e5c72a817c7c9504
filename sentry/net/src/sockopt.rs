//! Linux: net/core/sock.c, `sk_setsockopt` and `sk_getsockopt`: options of level SOL_SOCKET.
//!
//! Most options steer hardware that is not there: they are checked and read back as on Linux, and do nothing. Filters
//! (SO_ATTACH_FILTER, SO_ATTACH_BPF) are refused with `ENOPROTOOPT`.

use crate::NetNamespace;
use crate::netdev::LO_IFINDEX;
use crate::sock::{Direction, OUT_EVENTS, Sock};
use sentry_auth::{CapSet, Cred, ns_capable};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EDOM, EINVAL, ENODEV, ENOPROTOOPT, EOPNOTSUPP, EPERM};
use sentry_uapi::if_::IFNAMSIZ;
use sentry_uapi::socket::*;
use sentry_uapi::time::Timeval;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, Ordering};
use zerocopy::{FromBytes, IntoBytes};

/// Least send buffer. Linux: `SOCK_MIN_SNDBUF`.
const SOCK_MIN_SNDBUF: u32 = 4608;
/// Least receive buffer. Linux: `SOCK_MIN_RCVBUF`.
const SOCK_MIN_RCVBUF: u32 = 2304;
/// No time-out.
const FOREVER: i64 = -1;

/// Options of level SOL_SOCKET that the socket itself looks at, and the rest as they were set.
pub struct SockOpts {
    sndbuf: AtomicU32,
    rcvbuf: AtomicU32,
    rcvlowat: AtomicU32,
    /// Nanoseconds; [`FOREVER`] for none.
    rcvtimeo: AtomicI64,
    sndtimeo: AtomicI64,
    reuse: AtomicU32,
    reuseport: AtomicU32,
    pass_cred: AtomicU32,
    pass_pidfd: AtomicU32,
    oob_inline: AtomicU32,
    broadcast: AtomicU32,
    /// 0, or `SO_TIMESTAMP*`.
    timestamp: AtomicI32,
    bound_dev: AtomicI32,
    /// Offset of MSG_PEEK, -1 for none.
    pub(crate) peek_off: AtomicI32,
    /// Linger time in seconds, -1 when off.
    linger: AtomicI64,
    stored: Mutex<BTreeMap<i32, i32>, { level::LEAF }>,
}

/// Why getsockopt(2) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetOptError {
    /// The error.
    pub errno: Errno,
    /// Length to leave in `optlen` all the same (SO_PEERGROUPS with too small a buffer).
    pub len: Option<usize>,
}

impl From<Errno> for GetOptError {
    fn from(errno: Errno) -> GetOptError {
        GetOptError { errno, len: None }
    }
}

/// What SO_PEERCRED tells without a peer.
pub(crate) const NO_PEER: Ucred = Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };

/// The `int` an option's value begins with.
///
/// # Errors
/// `EINVAL` if the value is shorter.
pub(crate) fn int_value(val: &[u8]) -> Result<i32, Errno> {
    i32::read_from_prefix(val).map(|(v, _)| v).map_err(|_| EINVAL)
}

/// An option's value cut to the length of the caller's buffer.
pub(crate) fn clip<T: IntoBytes + zerocopy::Immutable + ?Sized>(value: &T, len: usize) -> Vec<u8> {
    let bytes = value.as_bytes();
    bytes[..bytes.len().min(len)].to_vec()
}

fn saturated(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn flag(v: i32) -> u32 {
    u32::from(v != 0)
}

impl SockOpts {
    pub(crate) fn new(net: &NetNamespace) -> SockOpts {
        SockOpts {
            sndbuf: AtomicU32::new(net.sysctl.wmem_default.load(Ordering::Relaxed)),
            rcvbuf: AtomicU32::new(net.sysctl.rmem_default.load(Ordering::Relaxed)),
            rcvlowat: AtomicU32::new(1),
            rcvtimeo: AtomicI64::new(FOREVER),
            sndtimeo: AtomicI64::new(FOREVER),
            reuse: AtomicU32::new(0),
            reuseport: AtomicU32::new(0),
            pass_cred: AtomicU32::new(0),
            pass_pidfd: AtomicU32::new(0),
            oob_inline: AtomicU32::new(0),
            broadcast: AtomicU32::new(0),
            timestamp: AtomicI32::new(0),
            bound_dev: AtomicI32::new(0),
            peek_off: AtomicI32::new(-1),
            linger: AtomicI64::new(-1),
            stored: Mutex::new(BTreeMap::new()),
        }
    }

    /// What a connection takes over from the socket that listened. Linux: `sk_clone_lock`.
    pub(crate) fn inherit(&self, from: &SockOpts) {
        let copy =
            |to: &AtomicU32, from: &AtomicU32| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&self.sndbuf, &from.sndbuf);
        copy(&self.rcvbuf, &from.rcvbuf);
        copy(&self.rcvlowat, &from.rcvlowat);
        copy(&self.reuse, &from.reuse);
        copy(&self.reuseport, &from.reuseport);
        copy(&self.oob_inline, &from.oob_inline);
        self.rcvtimeo.store(from.rcvtimeo.load(Ordering::Relaxed), Ordering::Relaxed);
        self.sndtimeo.store(from.sndtimeo.load(Ordering::Relaxed), Ordering::Relaxed);
        self.linger.store(from.linger.load(Ordering::Relaxed), Ordering::Relaxed);
        self.bound_dev.store(from.bound_dev.load(Ordering::Relaxed), Ordering::Relaxed);
        let stored = from.stored.lock().clone();
        *self.stored.lock() = stored;
    }

    /// Bytes the socket may have sent that nobody has taken.
    pub fn sndbuf(&self) -> usize {
        self.sndbuf.load(Ordering::Relaxed) as usize
    }

    /// Bytes that may wait to be received.
    pub fn rcvbuf(&self) -> usize {
        self.rcvbuf.load(Ordering::Relaxed) as usize
    }

    /// Bytes a stream reader waits for.
    pub(crate) fn rcvlowat(&self) -> usize {
        self.rcvlowat.load(Ordering::Relaxed) as usize
    }

    /// Nanoseconds a call may wait; negative without a limit.
    pub(crate) fn timeout(&self, direction: Direction) -> i64 {
        match direction {
            Direction::Receive => self.rcvtimeo.load(Ordering::Relaxed),
            Direction::Send => self.sndtimeo.load(Ordering::Relaxed),
        }
    }

    /// Whether SO_SNDBUF was set, rather than left to the system.
    pub(crate) fn sndbuf_set(&self) -> bool {
        self.stored.lock().contains_key(&SO_SNDBUF)
    }

    /// As [`SockOpts::sndbuf_set`], of SO_RCVBUF.
    pub(crate) fn rcvbuf_set(&self) -> bool {
        self.stored.lock().contains_key(&SO_RCVBUF)
    }

    /// Sizes of a family that has defaults of its own.
    pub(crate) fn default_buffers(&self, sndbuf: u32, rcvbuf: u32) {
        self.sndbuf.store(sndbuf, Ordering::Relaxed);
        self.rcvbuf.store(rcvbuf, Ordering::Relaxed);
    }

    pub(crate) fn reuse(&self) -> bool {
        self.reuse.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn reuseport(&self) -> bool {
        self.reuseport.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn broadcast(&self) -> bool {
        self.broadcast.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn oob_inline(&self) -> bool {
        self.oob_inline.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn pass_cred(&self) -> bool {
        self.pass_cred.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn pass_pidfd(&self) -> bool {
        self.pass_pidfd.load(Ordering::Relaxed) != 0
    }

    /// Which of `SO_TIMESTAMP*` is on, 0 for none.
    pub(crate) fn timestamp(&self) -> i32 {
        self.timestamp.load(Ordering::Relaxed)
    }

    /// Seconds close(2) lingers; none when the option is off.
    pub(crate) fn linger(&self) -> Option<u64> {
        u64::try_from(self.linger.load(Ordering::Relaxed)).ok()
    }

    /// Whether packets of the loopback, and there are no others, are for a socket that may be bound to an interface.
    pub(crate) fn hears_loopback(&self) -> bool {
        matches!(self.bound_dev(), 0 | LO_IFINDEX)
    }

    /// Interface the socket is bound to, 0 for none.
    pub(crate) fn bound_dev(&self) -> i32 {
        self.bound_dev.load(Ordering::Relaxed)
    }
}

fn net_admin(sock: &Sock, cred: &Cred) -> bool {
    ns_capable(cred, &sock.net.user_ns, CapSet::NET_ADMIN)
}

/// Sets an option of level SOL_SOCKET.
///
/// # Errors
/// `ENOPROTOOPT` for an option that does not exist or cannot be set; the rest as socket(7) says.
pub(crate) fn sock_setsockopt(sock: &Sock, cred: &Cred, name: i32, value: &[u8]) -> Result<(), Errno> {
    let opts = &sock.opts;
    if name == SO_BINDTODEVICE {
        return bind_to_device(sock, cred, value);
    }
    let val = int_value(value)?;
    let on = flag(val);
    let store = |v: i32| {
        opts.stored.lock().insert(name, v);
        Ok(())
    };
    let raw_or_admin = || ns_capable(cred, &sock.net.user_ns, CapSet::NET_RAW) || net_admin(sock, cred);
    // The privileged variants want the capability in the first namespace, which no guest lives in by default.
    let global_admin = || cred.user_ns.level() == 0 && cred.capable(CapSet::NET_ADMIN);
    match name {
        SO_DEBUG if val != 0 && !global_admin() => Err(EACCES),
        SO_REUSEADDR => set(&opts.reuse, on),
        SO_REUSEPORT if val != 0 && !is_inet(sock) => Err(EOPNOTSUPP),
        SO_REUSEPORT => set(&opts.reuseport, on),
        SO_BROADCAST => set(&opts.broadcast, on),
        SO_OOBINLINE => set(&opts.oob_inline, on),
        SO_PASSCRED => set(&opts.pass_cred, on),
        SO_PASSPIDFD => set(&opts.pass_pidfd, on),
        SO_SNDBUFFORCE | SO_RCVBUFFORCE if !global_admin() => Err(EPERM),
        SO_SNDBUF | SO_SNDBUFFORCE => {
            set(&opts.sndbuf, buffer_size(sock, val, SOCK_MIN_SNDBUF))?;
            opts.stored.lock().insert(SO_SNDBUF, val);
            sock.wq.wake(OUT_EVENTS);
            Ok(())
        }
        SO_RCVBUF | SO_RCVBUFFORCE => {
            opts.stored.lock().insert(SO_RCVBUF, val);
            set(&opts.rcvbuf, buffer_size(sock, val, SOCK_MIN_RCVBUF))
        }
        SO_PRIORITY if !(0..=6).contains(&val) && !raw_or_admin() => Err(EPERM),
        SO_MARK if !raw_or_admin() => Err(EPERM),
        SO_PRIORITY | SO_MARK => store(val),
        SO_LINGER => {
            let linger = Linger::read_from_prefix(value).map_err(|_| EINVAL)?.0;
            // A negative time is a very long one, as on Linux.
            let secs = u32::from_ne_bytes(linger.l_linger.to_ne_bytes());
            opts.linger.store(if linger.l_onoff == 0 { -1 } else { i64::from(secs) }, Ordering::Relaxed);
            store(linger.l_linger)
        }
        SO_BSDCOMPAT => Ok(()),
        SO_TIMESTAMP_OLD | SO_TIMESTAMP_NEW | SO_TIMESTAMPNS_OLD | SO_TIMESTAMPNS_NEW => {
            opts.timestamp.store(if val == 0 { 0 } else { name }, Ordering::Relaxed);
            Ok(())
        }
        SO_RCVLOWAT => {
            let lowat = u32::try_from(val).unwrap_or(i32::MAX.unsigned_abs()).max(1);
            opts.rcvlowat.store(lowat, Ordering::Relaxed);
            sock.wq.wake(crate::sock::IN_EVENTS);
            Ok(())
        }
        SO_RCVTIMEO_OLD | SO_RCVTIMEO_NEW => set_timeout(&opts.rcvtimeo, value),
        SO_SNDTIMEO_OLD | SO_SNDTIMEO_NEW => set_timeout(&opts.sndtimeo, value),
        SO_LOCK_FILTER if val == 0 && opts.stored.lock().get(&name).is_some_and(|v| *v != 0) => Err(EPERM),
        SO_PEEK_OFF if sock.family == AF_UNIX => {
            opts.peek_off.store(val, Ordering::Relaxed);
            Ok(())
        }
        SO_PEEK_OFF => Err(EOPNOTSUPP),
        SO_BUSY_POLL | SO_PREFER_BUSY_POLL | SO_BUSY_POLL_BUDGET if val > 0 && !global_admin() => Err(EPERM),
        SO_BUSY_POLL if val < 0 => Err(EINVAL),
        SO_ZEROCOPY if !is_inet(sock) => Err(EOPNOTSUPP),
        SO_ZEROCOPY if !(0..=1).contains(&val) => Err(EINVAL),
        SO_BINDTOIFINDEX => bind_to_index(sock, val),
        SO_BUF_LOCK if val & !3 != 0 => Err(EINVAL),
        SO_TXREHASH if !(-1..=1).contains(&val) => Err(EINVAL),
        SO_DETACH_FILTER => Err(sentry_uapi::errno::ENOENT),
        SO_DEBUG | SO_DONTROUTE | SO_KEEPALIVE | SO_NO_CHECK | SO_PASSSEC | SO_RCVMARK | SO_RXQ_OVFL
        | SO_WIFI_STATUS | SO_NOFCS | SO_SELECT_ERR_QUEUE | SO_ZEROCOPY | SO_LOCK_FILTER => {
            store(i32::from(val != 0))
        }
        SO_TIMESTAMPING_OLD | SO_TIMESTAMPING_NEW | SO_BUSY_POLL | SO_PREFER_BUSY_POLL
        | SO_BUSY_POLL_BUDGET | SO_MAX_PACING_RATE | SO_INCOMING_CPU | SO_BUF_LOCK | SO_TXREHASH => {
            store(val)
        }
        _ => Err(ENOPROTOOPT),
    }
}

fn is_inet(sock: &Sock) -> bool {
    matches!(sock.family, AF_INET | AF_INET6)
}

fn set(to: &AtomicU32, value: u32) -> Result<(), Errno> {
    to.store(value, Ordering::Relaxed);
    Ok(())
}

/// The size kept for SO_SNDBUF and SO_RCVBUF: bounded by the sysctl, also for the privileged variants, and doubled.
fn buffer_size(sock: &Sock, val: i32, least: u32) -> u32 {
    // A negative size is a large one, as on Linux.
    let wanted = u32::from_ne_bytes(val.to_ne_bytes());
    wanted.min(sock.net.sysctl.wmem_max.load(Ordering::Relaxed)).saturating_mul(2).max(least)
}

/// Linux: `sock_set_timeout`.
fn set_timeout(to: &AtomicI64, value: &[u8]) -> Result<(), Errno> {
    let tv = Timeval::read_from_prefix(value).map_err(|_| EINVAL)?.0;
    if !(0..1_000_000).contains(&tv.tv_usec) {
        return Err(EDOM);
    }
    let nanos = match (tv.tv_sec, tv.tv_usec) {
        (0, 0) => FOREVER,
        (..0, _) => 0,
        (sec, usec) => {
            sec.checked_mul(1_000_000_000).and_then(|n| n.checked_add(usec * 1000)).unwrap_or(FOREVER)
        }
    };
    to.store(nanos, Ordering::Relaxed);
    Ok(())
}

/// Linux: `sock_setbindtodevice`.
fn bind_to_device(sock: &Sock, cred: &Cred, value: &[u8]) -> Result<(), Errno> {
    let name = &value[..value.len().min(IFNAMSIZ - 1)];
    let name = name.split(|b| *b == 0).next().unwrap_or_default();
    let index = match name {
        b"" => 0,
        name => sock.net.dev_get_by_name(name).ok_or(ENODEV)?.ifindex,
    };
    if sock.opts.bound_dev() != 0 && !ns_capable(cred, &sock.net.user_ns, CapSet::NET_RAW) {
        return Err(EPERM);
    }
    sock.opts.bound_dev.store(index, Ordering::Relaxed);
    Ok(())
}

fn bind_to_index(sock: &Sock, index: i32) -> Result<(), Errno> {
    if index < 0 {
        return Err(EINVAL);
    }
    if index != 0 && sock.net.dev_get_by_index(index).is_none() {
        return Err(ENODEV);
    }
    sock.opts.bound_dev.store(index, Ordering::Relaxed);
    Ok(())
}

fn timeout_value(nanos: i64) -> Timeval {
    if nanos < 0 {
        return Timeval::default();
    }
    Timeval { tv_sec: nanos / 1_000_000_000, tv_usec: nanos % 1_000_000_000 / 1000 }
}

/// Reads an option of level SOL_SOCKET that needs no more than the socket's common part. `listening` is what
/// SO_ACCEPTCONN tells. The value is at most `len` bytes.
pub(crate) fn sock_getsockopt(sock: &Sock, listening: bool, name: i32, len: usize) -> Result<Vec<u8>, Errno> {
    let opts = &sock.opts;
    let load = |v: &AtomicU32| i32::try_from(v.load(Ordering::Relaxed)).unwrap_or(i32::MAX);
    let timestamp = opts.timestamp();
    let value: i32 = match name {
        SO_REUSEADDR => load(&opts.reuse),
        SO_REUSEPORT => load(&opts.reuseport),
        SO_BROADCAST => load(&opts.broadcast),
        SO_OOBINLINE => load(&opts.oob_inline),
        SO_PASSCRED => load(&opts.pass_cred),
        SO_PASSPIDFD => load(&opts.pass_pidfd),
        SO_SNDBUF => load(&opts.sndbuf),
        SO_RCVBUF => load(&opts.rcvbuf),
        SO_RCVLOWAT => load(&opts.rcvlowat),
        SO_SNDLOWAT => 1,
        SO_TYPE => i32::try_from(sock.ty).unwrap_or(0),
        SO_PROTOCOL => sock.protocol,
        SO_DOMAIN => i32::from(sock.family),
        SO_ERROR => sock.take_error().map_or(0, Errno::raw),
        SO_ACCEPTCONN => i32::from(listening),
        SO_BINDTOIFINDEX => opts.bound_dev(),
        SO_TIMESTAMP_OLD | SO_TIMESTAMP_NEW | SO_TIMESTAMPNS_OLD | SO_TIMESTAMPNS_NEW => {
            i32::from(timestamp == name)
        }
        SO_PEEK_OFF if sock.family == AF_UNIX => opts.peek_off.load(Ordering::Relaxed),
        SO_PEEK_OFF => return Err(EOPNOTSUPP),
        SO_BSDCOMPAT | SO_RESERVE_MEM => 0,
        SO_BPF_EXTENSIONS => 64,
        SO_LINGER => {
            let l_linger = opts.stored.lock().get(&SO_LINGER).copied().unwrap_or(0);
            return Ok(clip(&Linger { l_onoff: i32::from(opts.linger().is_some()), l_linger }, len));
        }
        SO_RCVTIMEO_OLD | SO_RCVTIMEO_NEW => {
            return Ok(clip(&timeout_value(opts.timeout(Direction::Receive)), len));
        }
        SO_SNDTIMEO_OLD | SO_SNDTIMEO_NEW => {
            return Ok(clip(&timeout_value(opts.timeout(Direction::Send)), len));
        }
        SO_TIMESTAMPING_OLD | SO_TIMESTAMPING_NEW => {
            let flags = opts.stored.lock().get(&name).copied().unwrap_or(0);
            return Ok(clip(&[flags, 0], len));
        }
        SO_COOKIE | SO_NETNS_COOKIE => {
            if len < 8 || (name == SO_NETNS_COOKIE && len != 8) {
                return Err(EINVAL);
            }
            return Ok(clip(&if name == SO_COOKIE { sock.cookie() } else { sock.net.cookie }, len));
        }
        // There is no filter to read.
        SO_ATTACH_FILTER => return Ok(Vec::new()),
        SO_TXTIME => return Ok(clip(&[0i32; 2], len)),
        SO_BINDTODEVICE => {
            let Some(dev) = sock.net.dev_get_by_index(opts.bound_dev()) else { return Ok(Vec::new()) };
            if len < IFNAMSIZ {
                return Err(EINVAL);
            }
            let mut name = dev.name.as_bytes().to_vec();
            name.push(0);
            return Ok(name);
        }
        SO_MEMINFO => {
            let wmem = saturated(sock.wmem.load(Ordering::Relaxed));
            let values = [0, load(&opts.rcvbuf), wmem, load(&opts.sndbuf), 0, wmem, 0, 0, 0];
            return Ok(clip(&values, len));
        }
        SO_MAX_PACING_RATE => {
            let rate = opts.stored.lock().get(&name).copied().unwrap_or(-1);
            if len < 8 {
                return Ok(clip(&rate, len));
            }
            let wide = if rate == -1 { u64::MAX } else { u64::from(u32::from_ne_bytes(rate.to_ne_bytes())) };
            return Ok(clip(&wide, len));
        }
        SO_INCOMING_CPU => opts.stored.lock().get(&name).copied().unwrap_or(-1),
        SO_TXREHASH => opts.stored.lock().get(&name).copied().unwrap_or(1),
        SO_DEBUG | SO_DONTROUTE | SO_KEEPALIVE | SO_NO_CHECK | SO_PASSSEC | SO_RCVMARK | SO_RXQ_OVFL
        | SO_WIFI_STATUS | SO_NOFCS | SO_SELECT_ERR_QUEUE | SO_ZEROCOPY | SO_LOCK_FILTER | SO_PRIORITY
        | SO_MARK | SO_BUSY_POLL | SO_PREFER_BUSY_POLL | SO_BUF_LOCK | SO_INCOMING_NAPI_ID => {
            opts.stored.lock().get(&name).copied().unwrap_or(0)
        }
        _ => return Err(ENOPROTOOPT),
    };
    Ok(clip(&value, len))
}

impl Sock {
    /// A number of the socket's own for as long as its kernel lives. Linux: `sock_gen_cookie`.
    fn cookie(&self) -> u64 {
        *self.cookie.get_or_init(|| self.net.next_cookie())
    }
}
