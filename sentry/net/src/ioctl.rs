//! Linux: net/socket.c, `sock_ioctl`; net/core/dev_ioctl.c, of which interfaces have the reading half and SIOCSIFFLAGS.

use crate::proto_ops::ProtoOps;
use crate::{NetDevice, NetNamespace, SockAddr};
use fs_vfs::{TaskContext, open_related_ns};
use sentry_auth::{CapSet, ns_capable};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EADDRNOTAVAIL, EFAULT, EINVAL, ENODEV, ENOTTY, EOPNOTSUPP, EPERM};
use sentry_uapi::if_::*;
use sentry_uapi::in_::SockaddrIn;
use sentry_uapi::socket::AF_INET;
use zerocopy::IntoBytes;

/// ioctl(2) on a socket.
pub(crate) fn sock_ioctl(
    ops: &dyn ProtoOps,
    ctx: &dyn TaskContext,
    cmd: u32,
    arg: u64,
) -> Result<i64, Errno> {
    let number = match cmd {
        FIONREAD => Some(ops.inq()?),
        SIOCOUTQ | SIOCOUTQNSD => Some(ops.outq()?),
        SIOCATMARK => Some(usize::from(ops.at_mark()?)),
        _ => None,
    };
    if let Some(number) = number {
        ctx.mm()?.write_obj(arg, &i32::try_from(number).unwrap_or(i32::MAX))?;
        return Ok(0);
    }
    match cmd {
        SIOCGIFCONF => ifconf(&ops.sock().net, ctx, arg).map(|()| 0),
        SIOCGSKNS => {
            let net = &ops.sock().net;
            if !ns_capable(&ctx.cred(), &net.user_ns, CapSet::NET_ADMIN) {
                return Err(EPERM);
            }
            open_related_ns(ctx, net.clone())
        }
        SIOCGIFNAME..=SIOCGIFMAP => {
            let mm = ctx.mm()?;
            let request: Ifreq = mm.read_obj(arg)?;
            if let Some(answer) = dev_ioctl(&ops.sock().net, ctx, cmd, request)? {
                mm.write_obj(arg, &answer)?;
            }
            Ok(0)
        }
        _ => Err(ENOTTY),
    }
}

fn loopback_addr() -> SockAddr {
    SockAddr::from_struct(&SockaddrIn {
        sin_family: AF_INET,
        sin_addr: [127, 0, 0, 1],
        ..SockaddrIn::default()
    })
}

fn with(mut request: Ifreq, value: &[u8]) -> Ifreq {
    request.ifr_ifru = [0; 24];
    request.ifr_ifru[..value.len()].copy_from_slice(value);
    request
}

fn ifr_name(dev: &NetDevice) -> [u8; IFNAMSIZ] {
    let mut name = [0; IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(dev.name.bytes()) {
        *to = from;
    }
    name
}

/// A hardware address as a `struct sockaddr`.
fn hw_addr(dev: &NetDevice) -> [u8; 8] {
    let [low, high] = dev.hw_type.to_ne_bytes();
    let [a, b, c, d, e, f] = dev.address;
    [low, high, a, b, c, d, e, f]
}

/// Linux: `dev_ifconf`: the interfaces that have an IPv4 address.
fn ifconf(net: &NetNamespace, ctx: &dyn TaskContext, arg: u64) -> Result<(), Errno> {
    let mm = ctx.mm()?;
    let mut conf: Ifconf = mm.read_obj(arg)?;
    let size = size_of::<Ifreq>();
    let entry = with(Ifreq { ifr_name: ifr_name(&net.lo), ifr_ifru: [0; 24] }, loopback_addr().as_bytes());
    let room = usize::try_from(conf.ifc_len).map_err(|_| EINVAL)?;
    let there = net.lo.is_up() && (conf.ifc_buf == 0 || room >= size);
    if there && conf.ifc_buf != 0 {
        mm.write_obj(conf.ifc_buf, &entry)?;
    }
    conf.ifc_len = if there { i32::try_from(size).map_err(|_| EFAULT)? } else { 0 };
    mm.write_obj(arg, &conf)
}

/// The answer to a request about an interface; none where nothing is written back.
///
/// # Errors
/// `ENODEV` for an interface that is not there; `EADDRNOTAVAIL` for the address of one without; `EPERM` without CAP_NET_ADMIN for what changes it.
fn dev_ioctl(
    net: &NetNamespace,
    ctx: &dyn TaskContext,
    cmd: u32,
    request: Ifreq,
) -> Result<Option<Ifreq>, Errno> {
    if cmd == SIOCGIFNAME {
        let index = i32::from_ne_bytes(*request.ifr_ifru.first_chunk().ok_or(EINVAL)?);
        let dev = net.dev_get_by_index(index).ok_or(ENODEV)?;
        return Ok(Some(Ifreq { ifr_name: ifr_name(dev), ..request }));
    }
    let name = request.ifr_name.split(|b| *b == 0).next().unwrap_or_default();
    let dev = net.dev_get_by_name(name).ok_or(ENODEV)?;
    let answer = match cmd {
        SIOCGIFFLAGS => with(request, dev.flags().as_bytes()),
        SIOCGIFADDR | SIOCGIFDSTADDR | SIOCGIFBRDADDR | SIOCGIFNETMASK if !dev.is_loopback() => {
            return Err(EADDRNOTAVAIL);
        }
        SIOCGIFADDR | SIOCGIFDSTADDR => with(request, loopback_addr().as_bytes()),
        SIOCGIFBRDADDR => {
            with(request, SockaddrIn { sin_family: AF_INET, ..SockaddrIn::default() }.as_bytes())
        }
        SIOCGIFNETMASK => {
            let mask = SockaddrIn { sin_family: AF_INET, sin_addr: [255, 0, 0, 0], ..SockaddrIn::default() };
            with(request, mask.as_bytes())
        }
        SIOCGIFMETRIC => with(request, &[0; 4]),
        SIOCGIFMTU => with(request, dev.mtu.as_bytes()),
        SIOCGIFTXQLEN => with(request, dev.tx_queue_len.as_bytes()),
        SIOCGIFHWADDR => with(request, &hw_addr(dev)),
        SIOCGIFINDEX => with(request, dev.ifindex.as_bytes()),
        SIOCGIFMAP => with(request, &[]),
        SIOCSIFFLAGS => {
            if !ns_capable(&ctx.cred(), &net.user_ns, CapSet::NET_ADMIN) {
                return Err(EPERM);
            }
            let flags = u16::from_ne_bytes(*request.ifr_ifru.first_chunk().ok_or(EINVAL)?);
            dev.set_up(flags & IFF_UP != 0);
            return Ok(None);
        }
        SIOCETHTOOL => return Err(EOPNOTSUPP),
        SIOCSIFADDR => return Err(EPERM),
        _ => return Err(ENOTTY),
    };
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_vfs::TestContext;

    fn named(name: &[u8]) -> Ifreq {
        let mut ifr_name = [0; IFNAMSIZ];
        ifr_name[..name.len()].copy_from_slice(name);
        Ifreq { ifr_name, ifr_ifru: [0; 24] }
    }

    #[test]
    fn interfaces_answer() -> Result<(), Errno> {
        let ctx = TestContext::new();
        let net = NetNamespace::new_initial(
            ctx.cred.user_ns.clone(),
            ctx.vfs.clocks.clone(),
            Some([2, 0, 0, 0, 0, 7]),
        );
        let ask = |cmd, request| dev_ioctl(&net, &ctx, cmd, request);
        let first = |cmd| {
            ask(cmd, named(b"lo"))
                .map(|a| a.map_or([0; 4], |a| [a.ifr_ifru[0], a.ifr_ifru[1], a.ifr_ifru[2], a.ifr_ifru[3]]))
        };
        assert_eq!(first(SIOCGIFINDEX)?, 1i32.to_ne_bytes());
        assert_eq!(first(SIOCGIFFLAGS)?[..2], 0x49u16.to_ne_bytes());
        assert_eq!(first(SIOCGIFMTU)?, 65536i32.to_ne_bytes());
        assert_eq!(first(SIOCGIFHWADDR)?[..2], ARPHRD_LOOPBACK.to_ne_bytes());
        assert_eq!(ask(SIOCGIFFLAGS, named(b"eth1")).err(), Some(ENODEV));
        let ethernet = |cmd| ask(cmd, named(b"eth0")).map(|a| a.map_or([0; 24], |a| a.ifr_ifru));
        assert_eq!(ethernet(SIOCGIFFLAGS)?[..2], 0x1003u16.to_ne_bytes());
        assert_eq!(ethernet(SIOCGIFHWADDR)?[..8], [1, 0, 2, 0, 0, 0, 0, 7]);
        assert_eq!(ethernet(SIOCGIFADDR).err(), Some(EADDRNOTAVAIL));
        let index = Ifreq { ifr_ifru: with(named(b""), 1i32.as_bytes()).ifr_ifru, ..named(b"") };
        assert_eq!(ask(SIOCGIFNAME, index)?.map(|a| a.ifr_name), Some(named(b"lo").ifr_name));
        assert!(ask(SIOCSIFFLAGS, named(b"lo"))?.is_none());
        assert!(!net.lo.is_up());
        Ok(())
    }
}
