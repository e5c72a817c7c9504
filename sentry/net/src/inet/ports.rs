//! Linux: net/ipv4/inet_connection_sock.c, inet_hashtables.c, udp.c: who has which port.
//!
//! A port lists the sockets bound to it and, apart from them, its connections, so that a listener with many connections is
//! still found at once.

use super::addr::Endpoint;
use sentry_auth::Kuid;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EADDRINUSE, EADDRNOTAVAIL};
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};

/// What decides whether two sockets may share a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharing {
    pub(crate) ip: IpAddr,
    /// An IPv6 wildcard that leaves IPv4 alone.
    pub(crate) v6only: bool,
    pub(crate) reuse: bool,
    pub(crate) reuseport: bool,
    /// Who owns the socket.
    pub(crate) uid: Kuid,
}

/// A socket bound to a port.
pub(crate) struct Bound<T> {
    pub(crate) sock: Weak<T>,
    pub(crate) sharing: Sharing,
    /// Accepts connections.
    pub(crate) listening: bool,
    /// Takes datagrams from there only.
    pub(crate) remote: Option<Endpoint>,
}

struct Connected {
    sharing: Sharing,
    /// The port was chosen for this connection, and may be chosen for others to elsewhere.
    chosen: bool,
}

struct Port<T> {
    bound: Vec<Bound<T>>,
    connected: HashMap<(IpAddr, Endpoint), Connected>,
}

struct Table<T> {
    ports: HashMap<u16, Port<T>>,
    next: u32,
}

/// The ports of one protocol in one namespace.
pub(crate) struct PortTable<T> {
    table: Mutex<Table<T>, { level::NET_TABLE }>,
}

impl<T> Default for Port<T> {
    fn default() -> Port<T> {
        Port { bound: Vec::new(), connected: HashMap::new() }
    }
}

impl Sharing {
    /// Whether packets for one could be packets for the other. Linux: `inet_rcv_saddr_equal`.
    fn overlaps(&self, other: &Sharing) -> bool {
        match (self.ip, other.ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            (IpAddr::V6(a), IpAddr::V6(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
            (IpAddr::V4(_), IpAddr::V6(b)) => b.is_unspecified() && !other.v6only,
            (IpAddr::V6(a), IpAddr::V4(_)) => a.is_unspecified() && !self.v6only,
        }
    }

    /// Whether the two cannot both have a port. Linux: `inet_csk_bind_conflict`, `inet_rcv_saddr_equal` in `udp_lib_lport_inuse`.
    fn conflicts(&self, other: &Sharing, other_listens: bool) -> bool {
        let reuse = self.reuse && other.reuse && !other_listens;
        let reuseport = self.reuseport && other.reuseport && self.uid == other.uid;
        !reuse && !reuseport && self.overlaps(other)
    }

    /// How well a bound address fits a destination; none if it does not. Linux: `compute_score`.
    fn score(&self, dst: IpAddr) -> Option<u32> {
        match (self.ip, dst) {
            (ip, dst) if ip == dst => Some(8),
            (IpAddr::V4(ip), IpAddr::V4(_)) if ip.is_unspecified() => Some(2),
            (IpAddr::V6(ip), IpAddr::V6(_)) if ip.is_unspecified() => Some(2),
            (IpAddr::V6(ip), IpAddr::V4(_)) if ip.is_unspecified() && !self.v6only => Some(1),
            _ => None,
        }
    }
}

impl<T> Port<T> {
    /// Whether a socket, other than `except`, is in the way of one that wants the port.
    fn in_use(&self, want: &Sharing, except: Option<&Weak<T>>) -> bool {
        let mut bound = self.bound.iter().filter(|b| !except.is_some_and(|e| e.ptr_eq(&b.sock)));
        bound.any(|b| want.conflicts(&b.sharing, b.listening))
            || self.connected.values().any(|c| want.conflicts(&c.sharing, false))
    }

    fn is_empty(&self) -> bool {
        self.bound.is_empty() && self.connected.is_empty()
    }
}

impl<T> Table<T> {
    /// Ports of the range, each once, beginning behind where the last search began.
    fn candidates(&mut self, range: &RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<T> {
        // Any step that is prime to the length of the range would do; a large one spreads the ports.
        self.next = self.next.wrapping_mul(1_103_515_245).wrapping_add(12345);
        let (low, high) = (u32::from(*range.start()), u32::from(*range.end()));
        let len = high.saturating_sub(low) + 1;
        let start = self.next >> 8;
        (0..len).filter_map(move |i| u16::try_from(low + (start.wrapping_add(i)) % len).ok())
    }
}

impl<T> PortTable<T> {
    pub(crate) fn new(seed: u64) -> PortTable<T> {
        let next = u32::try_from(seed >> 16 & 0xffff_ffff).unwrap_or(1);
        PortTable { table: Mutex::new(Table { ports: HashMap::new(), next }) }
    }

    /// Binds a socket to `port`, or to any free one of `range` for 0; returns which. Linux: `inet_csk_get_port`.
    ///
    /// # Errors
    /// `EADDRINUSE`.
    pub(crate) fn bind(&self, port: u16, range: &RangeInclusive<u16>, bound: Bound<T>) -> Result<u16, Errno> {
        let mut table = self.table.lock();
        let free = |table: &Table<T>, port: u16| {
            table.ports.get(&port).is_none_or(|p| !p.in_use(&bound.sharing, None))
        };
        let port = if port != 0 {
            Some(port).filter(|p| free(&table, *p))
        } else {
            let mut all = table.candidates(range);
            let unused = all.find(|p| !table.ports.contains_key(p));
            unused.or_else(|| table.candidates(range).find(|p| free(&table, *p)))
        };
        let port = port.ok_or(EADDRINUSE)?;
        table.ports.entry(port).or_default().bound.push(bound);
        Ok(port)
    }

    /// Changes what the table knows of a bound socket.
    pub(crate) fn update(&self, port: u16, sock: &Weak<T>, change: impl FnOnce(&mut Bound<T>)) {
        let mut table = self.table.lock();
        let port = table.ports.get_mut(&port);
        if let Some(bound) = port.and_then(|p| p.bound.iter_mut().find(|b| b.sock.ptr_eq(sock))) {
            change(bound);
        }
    }

    /// Marks a bound socket as listening. Linux: the second `get_port` of `inet_csk_listen_start`.
    ///
    /// # Errors
    /// `EADDRINUSE` if another one listens, with which it shared the port so far.
    pub(crate) fn listen(&self, port: u16, sock: &Weak<T>) -> Result<(), Errno> {
        let mut table = self.table.lock();
        let entry = table.ports.get_mut(&port).ok_or(EADDRINUSE)?;
        let at = entry.bound.iter().position(|b| b.sock.ptr_eq(sock)).ok_or(EADDRINUSE)?;
        let sharing = entry.bound.get(at).map(|b| b.sharing).ok_or(EADDRINUSE)?;
        let mut others = entry.bound.iter().filter(|b| !b.sock.ptr_eq(sock) && b.listening);
        if others.any(|b| sharing.conflicts(&b.sharing, true)) {
            return Err(EADDRINUSE);
        }
        if let Some(bound) = entry.bound.get_mut(at) {
            bound.listening = true;
        }
        Ok(())
    }

    /// Enters a connection from `port`, or from any port of `range` for 0; returns which. Linux: `__inet_hash_connect`.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` if there is the same connection already, or no port left.
    pub(crate) fn connect(
        &self,
        port: u16,
        range: &RangeInclusive<u16>,
        sharing: Sharing,
        remote: Endpoint,
    ) -> Result<u16, Errno> {
        let mut table = self.table.lock();
        let key = (sharing.ip, remote);
        let chosen = port == 0;
        let port = if chosen {
            table.candidates(range).find(|p| {
                table.ports.get(p).is_none_or(|p| {
                    p.bound.is_empty()
                        && !p.connected.contains_key(&key)
                        && p.connected.values().all(|c| c.chosen)
                })
            })
        } else {
            Some(port).filter(|p| table.ports.get(p).is_none_or(|p| !p.connected.contains_key(&key)))
        };
        let port = port.ok_or(EADDRNOTAVAIL)?;
        table.ports.entry(port).or_default().connected.insert(key, Connected { sharing, chosen });
        Ok(port)
    }

    /// Removes a connection.
    pub(crate) fn disconnect(&self, port: u16, local: IpAddr, remote: Endpoint) {
        let mut table = self.table.lock();
        if let Some(entry) = table.ports.get_mut(&port) {
            entry.connected.remove(&(local, remote));
            if entry.is_empty() {
                table.ports.remove(&port);
            }
        }
    }

    /// Removes a bound socket.
    pub(crate) fn unbind(&self, port: u16, sock: &Weak<T>) {
        let mut table = self.table.lock();
        if let Some(entry) = table.ports.get_mut(&port) {
            entry.bound.retain(|b| !b.sock.ptr_eq(sock));
            if entry.is_empty() {
                table.ports.remove(&port);
            }
        }
    }

    /// The socket a packet from `src` to `dst` is for: of those that fit best the latest bound, or with SO_REUSEPORT one by
    /// a hash of the source. Linux: `__inet_lookup_listener`, `__udp4_lib_lookup`.
    pub(crate) fn lookup(&self, dst: Endpoint, src: Endpoint, listeners: bool) -> Option<Arc<T>> {
        let table = self.table.lock();
        let mut best: Vec<&Bound<T>> = Vec::new();
        let mut best_score = 0;
        for bound in table.ports.get(&dst.port)?.bound.iter().rev().filter(|b| b.listening == listeners) {
            let Some(mut score) = bound.sharing.score(dst.ip) else { continue };
            match bound.remote {
                Some(remote) if remote == src => score += 4,
                Some(_) => continue,
                None => {}
            }
            if score > best_score {
                best.clear();
                best_score = score;
            }
            if score == best_score {
                best.push(bound);
            }
        }
        let group = best.iter().filter(|b| b.sharing.reuseport).count();
        let index = if group == best.len() && group > 0 { usize::from(src.port) % group } else { 0 };
        best.get(index)?.sock.upgrade()
    }

    /// Every bound socket that would take a packet to a multicast or broadcast address.
    pub(crate) fn lookup_all(&self, port: u16, fits: impl Fn(&Sharing) -> bool) -> Vec<Arc<T>> {
        let table = self.table.lock();
        let Some(entry) = table.ports.get(&port) else { return Vec::new() };
        entry.bound.iter().filter(|b| fits(&b.sharing)).filter_map(|b| b.sock.upgrade()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const RANGE: RangeInclusive<u16> = 40000..=40001;

    fn sharing(ip: impl Into<IpAddr>, reuse: bool, reuseport: bool) -> Sharing {
        Sharing { ip: ip.into(), v6only: false, reuse, reuseport, uid: Kuid::GLOBAL_ROOT }
    }

    fn bound(sock: &Arc<u8>, sharing: Sharing) -> Bound<u8> {
        Bound { sock: Arc::downgrade(sock), sharing, listening: false, remote: None }
    }

    #[test]
    fn addresses_conflict_as_on_linux() {
        let table = PortTable::new(1);
        let socks: Vec<Arc<u8>> = (0..8).map(Arc::new).collect();
        let bind = |i: usize, s| table.bind(80, &RANGE, bound(&socks[i], s));
        assert_eq!(bind(0, sharing(Ipv4Addr::LOCALHOST, false, false)), Ok(80));
        assert_eq!(bind(1, sharing(Ipv4Addr::UNSPECIFIED, false, false)), Err(EADDRINUSE));
        assert_eq!(bind(1, sharing(Ipv4Addr::new(127, 0, 0, 2), false, false)), Ok(80));
        assert_eq!(bind(2, sharing(Ipv6Addr::UNSPECIFIED, false, false)), Err(EADDRINUSE));
        let only6 = Sharing { v6only: true, ..sharing(Ipv6Addr::UNSPECIFIED, false, false) };
        assert_eq!(bind(2, only6), Ok(80));
    }

    #[test]
    fn reuse_shares_a_port_until_one_listens() {
        let table = PortTable::new(1);
        let socks: Vec<Arc<u8>> = (0..3).map(Arc::new).collect();
        let any = sharing(Ipv4Addr::UNSPECIFIED, true, false);
        assert_eq!(table.bind(80, &RANGE, bound(&socks[0], any)), Ok(80));
        assert_eq!(table.bind(80, &RANGE, bound(&socks[1], any)), Ok(80));
        assert_eq!(table.listen(80, &Arc::downgrade(&socks[0])), Ok(()));
        assert_eq!(table.listen(80, &Arc::downgrade(&socks[1])), Err(EADDRINUSE));
        assert_eq!(table.bind(80, &RANGE, bound(&socks[2], any)), Err(EADDRINUSE));
    }

    #[test]
    fn a_chosen_port_serves_one_connection_to_each_destination() {
        let table: PortTable<u8> = PortTable::new(1);
        let local = sharing(Ipv4Addr::LOCALHOST, false, false);
        let to = |port| Endpoint::new(Ipv4Addr::LOCALHOST.into(), port);
        let mut got: Vec<_> = (0..2).map(|_| table.connect(0, &RANGE, local, to(1))).collect();
        got.sort_by_key(|r| r.unwrap_or(0));
        assert_eq!(got, [Ok(40000), Ok(40001)]);
        assert_eq!(table.connect(0, &RANGE, local, to(1)), Err(EADDRNOTAVAIL));
        assert!(table.connect(0, &RANGE, local, to(2)).is_ok());
        table.disconnect(40000, local.ip, to(1));
        assert_eq!(table.connect(0, &RANGE, local, to(1)), Ok(40000));
    }
}
