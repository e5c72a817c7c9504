//! Sockets.

use super::{Guest, zeroed};
use crate::sys::Ret;
use test_syscalls_macros::sys;

/// The loopback address of IPv4 with `port`.
#[must_use]
pub fn inet(port: u16) -> libc::sockaddr_in {
    let mut address: libc::sockaddr_in = zeroed();
    address.sin_family = libc::AF_INET as u16;
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    address
}

/// The loopback address of IPv6 with `port`.
#[must_use]
pub fn inet6(port: u16) -> libc::sockaddr_in6 {
    let mut address: libc::sockaddr_in6 = zeroed();
    address.sin6_family = libc::AF_INET6 as u16;
    address.sin6_port = port.to_be();
    address.sin6_addr.s6_addr[15] = 1;
    address
}

/// The Unix address of `path` and its length; a path that starts with NUL is an abstract name.
#[must_use]
pub fn unix(path: &str) -> (libc::sockaddr_un, u32) {
    let mut address: libc::sockaddr_un = zeroed();
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.as_bytes()) {
        *to = *from as libc::c_char;
    }
    let terminator = u32::from(!path.starts_with('\0'));
    (address, 2 + path.len() as u32 + terminator)
}

impl Guest {
    /// A new socket.
    #[track_caller]
    pub fn socket(&self, family: i32, kind: i32) -> i32 {
        sys!(socket(family, kind, 0)).fd()
    }

    /// Two connected Unix sockets.
    #[track_caller]
    pub fn socketpair(&self, kind: i32) -> (i32, i32) {
        let mut ends = [0_i32; 2];
        sys!(socketpair(libc::AF_UNIX, kind, 0, &mut ends)).ok();
        (ends[0], ends[1])
    }

    /// Binds `fd` to an address structure.
    pub fn bind<T>(&self, fd: i32, address: &T) -> Ret {
        sys!(bind(fd, &raw const *address, size_of::<T>()))
    }

    /// Connects `fd` to an address structure.
    pub fn connect<T>(&self, fd: i32, address: &T) -> Ret {
        sys!(connect(fd, &raw const *address, size_of::<T>()))
    }

    /// Binds `fd` to a Unix name.
    pub fn bind_unix(&self, fd: i32, path: &str) -> Ret {
        let (address, length) = unix(path);
        sys!(bind(fd, &raw const address, length))
    }

    /// Connects `fd` to a Unix name.
    pub fn connect_unix(&self, fd: i32, path: &str) -> Ret {
        let (address, length) = unix(path);
        sys!(connect(fd, &raw const address, length))
    }

    /// The port to which an IPv4 or IPv6 socket is bound.
    #[track_caller]
    pub fn port(&self, fd: i32) -> u16 {
        let mut address: libc::sockaddr_in6 = zeroed();
        let mut length = size_of_val(&address) as u32;
        sys!(getsockname(fd, &raw mut address, &raw mut length)).ok();
        u16::from_be(address.sin6_port)
    }

    /// A TCP socket that listens on a free port of 127.0.0.1, and the port.
    #[track_caller]
    pub fn tcp_listener(&self) -> (i32, u16) {
        let fd = self.socket(libc::AF_INET, libc::SOCK_STREAM);
        self.bind(fd, &inet(0)).ok();
        sys!(listen(fd, 8)).ok();
        (fd, self.port(fd))
    }

    /// The two ends of a TCP connection over loopback: who connected, who accepted.
    #[track_caller]
    pub fn tcp_pair(&self) -> (i32, i32) {
        let (listener, port) = self.tcp_listener();
        let client = self.socket(libc::AF_INET, libc::SOCK_STREAM);
        self.connect(client, &inet(port)).ok();
        let server = sys!(accept4(listener, 0, 0, 0)).fd();
        sys!(close(listener)).ok();
        (client, server)
    }

    /// An integer socket option.
    #[track_caller]
    pub fn option(&self, fd: i32, level: i32, name: i32) -> i32 {
        let (mut value, mut length) = (0_i32, 4_u32);
        sys!(getsockopt(fd, level, name, &raw mut value, &raw mut length)).ok();
        value
    }

    /// Sets an integer socket option.
    pub fn set_option(&self, fd: i32, level: i32, name: i32, value: i32) -> Ret {
        sys!(setsockopt(fd, level, name, &raw const value, 4))
    }

    /// `poll` of one descriptor: the events that hold within `timeout` milliseconds (-1: until one does).
    #[track_caller]
    pub fn poll(&self, fd: i32, events: i16, timeout: i32) -> i16 {
        let mut poll = libc::pollfd { fd, events, revents: 0 };
        sys!(poll(&raw mut poll, 1, timeout)).ok();
        poll.revents
    }
}
