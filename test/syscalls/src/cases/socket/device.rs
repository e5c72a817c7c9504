//! Network interfaces, which show in four places. Linux: net/core/dev_ioctl.c, net-procfs.c, net-sysfs.c, rtnetlink.c.

use crate::prelude::*;
use libc::*;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;

/// Names in `/proc/net/dev`.
fn names(t: &Guest) -> Vec<String> {
    let text = t.read("/proc/net/dev").ok();
    text.lines().skip(2).map(|line| line.split(':').next().unwrap().trim().to_owned()).collect()
}

fn request(name: &str) -> [u8; 40] {
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    request
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes(bytes[..4].try_into().unwrap())
}

/// Asks about an interface; gives the union.
#[track_caller]
fn ask(t: &Guest, command: c_ulong, name: &str) -> [u8; 24] {
    let (fd, mut request) = (t.socket(AF_INET, SOCK_DGRAM), request(name));
    sys!(ioctl(fd, command, &mut request)).ok();
    request[16..].try_into().unwrap()
}

#[case(as_root, as_user)]
fn the_loopback_is_the_first(t: &mut Guest) {
    expect_eq!(names(t)[0], "lo");
    expect_eq!(number(&ask(t, SIOCGIFINDEX, "lo")), 1);
    let (fd, mut none) = (t.socket(AF_INET, SOCK_DGRAM), request("nosuchdevice"));
    sys!(ioctl(fd, SIOCGIFINDEX, &mut none)).fails(ENODEV);
}

#[case(as_root, as_user)]
fn ioctls_and_sysfs_agree(t: &mut Guest) {
    for name in names(t) {
        let attribute = |what: &str| t.read(&format!("/sys/class/net/{name}/{what}")).ok().trim().to_owned();
        expect_eq!(number(&ask(t, SIOCGIFINDEX, &name)).to_string(), attribute("ifindex"));
        expect_eq!(number(&ask(t, SIOCGIFMTU, &name)).to_string(), attribute("mtu"));
        expect_eq!(number(&ask(t, SIOCGIFTXQLEN, &name)).to_string(), attribute("tx_queue_len"));
        let hardware = ask(t, SIOCGIFHWADDR, &name);
        expect_eq!(u16::from_ne_bytes([hardware[0], hardware[1]]).to_string(), attribute("type"));
        if attribute("addr_len") == "6" {
            let address: Vec<_> = hardware[2..8].iter().map(|byte| format!("{byte:02x}")).collect();
            expect_eq!(address.join(":"), attribute("address"));
        }
        // IFF_RUNNING is not set by anybody, and so not in sysfs.
        let flags = ask(t, SIOCGIFFLAGS, &name);
        let flags = u32::from(u16::from_ne_bytes([flags[0], flags[1]]));
        let set = u32::from_str_radix(attribute("flags").trim_start_matches("0x"), 16).unwrap();
        expect_eq!(flags & !(IFF_RUNNING as u32), set & 0xffff);
        let mut by_index = [0_u8; 40];
        by_index[16..20].copy_from_slice(&ask(t, SIOCGIFINDEX, &name)[..4]);
        sys!(ioctl(t.socket(AF_INET, SOCK_DGRAM), SIOCGIFNAME, &mut by_index)).ok();
        expect_eq!(by_index[..16].split(|byte| *byte == 0).next().unwrap(), name.as_bytes());
    }
}

/// An interface that is up and does not run has nothing at its other end.
#[case(as_root, as_user)]
fn the_carrier_is_what_running_says(t: &mut Guest) {
    for name in names(t) {
        let flags = ask(t, SIOCGIFFLAGS, &name);
        let flags = i32::from(u16::from_ne_bytes([flags[0], flags[1]]));
        let path = format!("/sys/class/net/{name}/carrier");
        let state = t.read(&format!("/sys/class/net/{name}/operstate")).ok();
        if flags & IFF_UP == 0 {
            t.read(&path).fails(EINVAL);
            expect_eq!(state, "down\n");
        } else {
            t.read(&path).is(if flags & IFF_RUNNING != 0 { "1\n" } else { "0\n" });
            check!((flags & IFF_RUNNING == 0) == (state == "down\n"), "{name}: {state}");
        }
    }
}

#[case(as_root, as_user)]
fn links_are_dumped_by_number(t: &mut Guest) {
    let fd = sys!(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)).fd();
    // Length, type, flags, sequence, port, then a `struct ifinfomsg`.
    let ask: [u32; 8] = [32, u32::from(RTM_GETLINK) | 0x301 << 16, 1, 0, 0, 0, 0, 0];
    sys!(sendto(fd, &ask, 32, 0, 0, 0)).is(32);
    let mut found = Vec::new();
    'dump: loop {
        let mut answer = [0_u8; 32768];
        let length = sys!(recvfrom(fd, &mut answer, 32768, 0, 0, 0)).size();
        let mut rest = &answer[..length];
        while rest.len() >= 16 {
            let size = number(rest) as usize;
            match u16::from_ne_bytes([rest[4], rest[5]]) {
                RTM_NEWLINK => found.push(link(&rest[16..size])),
                _ => break 'dump,
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
    expect_eq!(found.len(), names(t).len());
    for (index, name) in found {
        check!(names(t).contains(&name), "{name}");
        t.read(&format!("/sys/class/net/{name}/ifindex")).is(&format!("{index}\n"));
    }
}

/// Number and name of a `struct ifinfomsg` with its attributes.
fn link(message: &[u8]) -> (u32, String) {
    let mut rest = &message[16..];
    while rest.len() >= 4 {
        let (size, kind) =
            (u16::from_ne_bytes([rest[0], rest[1]]).into(), u16::from_ne_bytes([rest[2], rest[3]]));
        if kind == IFLA_IFNAME {
            return (number(&message[4..]), String::from_utf8(rest[4..size - 1].to_vec()).unwrap());
        }
        rest = &rest[usize::next_multiple_of(size, 4).min(rest.len())..];
    }
    panic!("expected a name in {message:?}");
}

#[case(as_root, as_user)]
fn a_new_namespace_has_a_loopback_alone_which_is_down(t: &mut Guest) {
    t.ns_root(CLONE_NEWNET | CLONE_NEWNS, || {
        expect_eq!(names(t), ["lo"]);
        let flags = ask(t, SIOCGIFFLAGS, "lo");
        expect_eq!(i32::from(u16::from_ne_bytes([flags[0], flags[1]])), IFF_LOOPBACK);
        t.dir("sys");
        sys!(mount(c"none", c"sys", c"sysfs", 0, 0)).or_skip(EPERM, "no sysfs for this user").ok();
        expect_eq!(t.names("sys/class/net"), [".", "..", "lo"]);
        t.read("sys/class/net/lo/operstate").is("down\n");
        t.read("sys/class/net/lo/flags").is("0x8\n");
    })
    .done();
}

#[case(as_root, as_user)]
fn sockets_are_bound_to_interfaces_that_are_there(t: &mut Guest) {
    for name in names(t) {
        let fd = t.socket(AF_INET, SOCK_DGRAM);
        sys!(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.as_bytes(), name.len())).ok();
        let (mut bound, mut length) = ([0_u8; 16], 16_u32);
        sys!(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, &mut bound, &raw mut length)).ok();
        expect_eq!(&bound[..name.len() + 1], format!("{name}\0").as_bytes());
    }
    let fd = t.socket(AF_INET, SOCK_DGRAM);
    sys!(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, c"none7", 5)).fails(ENODEV);
}
