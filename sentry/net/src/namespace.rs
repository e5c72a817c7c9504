//! Linux: net/core/net_namespace.c.

use crate::inet::ports::PortTable;
use crate::inet::tcp::TcpSock;
use crate::inet::udp::UdpSock;
use crate::netdev::NetDevice;
use crate::netlink::NetlinkPorts;
use crate::sysctl::Sysctl;
use crate::unix::{Inflight, UnixNames};
use fs_vfs::{Namespace, NsKind};
use sentry_auth::{Kuid, Ucount, UcountType, UserNamespace, inc_ucount};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::errno::ENOSPC;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the network namespaces of one kernel share.
pub(crate) struct Kernelwide {
    pub(crate) inflight: Inflight,
    pub(crate) clocks: Arc<Clocks>,
    next_cookie: AtomicU64,
}

/// A network namespace: interfaces, ports, abstract names.
///
/// Packets go nowhere but over its own loopback. A destination elsewhere is unreachable (`ENETUNREACH`).
pub struct NetNamespace {
    /// The namespace that owns it: whose capabilities count for it.
    pub user_ns: Arc<UserNamespace>,
    /// `/proc/sys/net` of it.
    pub sysctl: Sysctl,
    /// Its loopback interface.
    pub lo: NetDevice,
    /// An Ethernet interface, which nothing is connected to: only the first namespace has one.
    pub eth0: Option<NetDevice>,
    /// A number of its own, as SO_NETNS_COOKIE tells it.
    pub cookie: u64,
    pub(crate) unix: UnixNames,
    pub(crate) tcp: PortTable<TcpSock>,
    pub(crate) udp: PortTable<UdpSock>,
    pub(crate) netlink: NetlinkPorts,
    pub(crate) kernelwide: Arc<Kernelwide>,
    inum: u64,
    _ucount: Option<Ucount>,
}

impl NetNamespace {
    /// The first one of a kernel, with its loopback up: 127.0.0.0/8 and ::1 answer. With a hardware address it has an
    /// Ethernet interface.
    pub fn new_initial(
        user_ns: Arc<UserNamespace>,
        clocks: Arc<Clocks>,
        ethernet: Option<[u8; 6]>,
    ) -> Arc<NetNamespace> {
        let kernelwide =
            Arc::new(Kernelwide { inflight: Inflight::default(), clocks, next_cookie: AtomicU64::new(1) });
        NetNamespace::new(user_ns, NetDevice::loopback(true), ethernet, kernelwide, None)
    }

    /// A new one of the same kernel, as unshare(CLONE_NEWNET) makes it for `creator`: its loopback is down. Linux:
    /// `copy_net_ns`.
    ///
    /// # Errors
    /// `ENOSPC` when the creator has too many.
    pub fn copy_net_ns(
        &self,
        user_ns: &Arc<UserNamespace>,
        creator: Kuid,
    ) -> Result<Arc<NetNamespace>, Errno> {
        let ucount = inc_ucount(user_ns, creator, UcountType::NetNamespaces).ok_or(ENOSPC)?;
        let lo = NetDevice::loopback(false);
        Ok(NetNamespace::new(user_ns.clone(), lo, None, self.kernelwide.clone(), Some(ucount)))
    }

    fn new(
        user_ns: Arc<UserNamespace>,
        lo: NetDevice,
        ethernet: Option<[u8; 6]>,
        kernelwide: Arc<Kernelwide>,
        _ucount: Option<Ucount>,
    ) -> Arc<NetNamespace> {
        let seed = kernelwide.clocks.realtime_nanos().unsigned_abs();
        Arc::new(NetNamespace {
            inum: user_ns.alloc_inum(),
            _ucount,
            user_ns,
            sysctl: Sysctl::default(),
            lo,
            eth0: ethernet.map(NetDevice::ethernet),
            cookie: kernelwide.next_cookie(),
            unix: UnixNames::new(seed),
            tcp: PortTable::new(seed),
            udp: PortTable::new(seed.rotate_left(17)),
            netlink: NetlinkPorts::default(),
            kernelwide,
        })
    }

    /// Its interfaces, by number.
    pub fn devices(&self) -> impl Iterator<Item = &NetDevice> {
        std::iter::once(&self.lo).chain(&self.eth0)
    }

    /// Linux: `__dev_get_by_name`.
    pub(crate) fn dev_get_by_name(&self, name: &[u8]) -> Option<&NetDevice> {
        self.devices().find(|dev| dev.name.as_bytes() == name)
    }

    /// Linux: `__dev_get_by_index`.
    pub(crate) fn dev_get_by_index(&self, ifindex: i32) -> Option<&NetDevice> {
        self.devices().find(|dev| dev.ifindex == ifindex)
    }

    pub(crate) fn next_cookie(&self) -> u64 {
        self.kernelwide.next_cookie()
    }

    pub(crate) fn clocks(&self) -> &Clocks {
        &self.kernelwide.clocks
    }
}

impl Namespace for NetNamespace {
    fn kind(&self) -> NsKind {
        NsKind::Net
    }

    fn inum(&self) -> u64 {
        self.inum
    }

    fn owner(&self) -> Option<Arc<UserNamespace>> {
        Some(self.user_ns.clone())
    }
}

impl Kernelwide {
    fn next_cookie(&self) -> u64 {
        self.next_cookie.fetch_add(1, Ordering::Relaxed)
    }
}
