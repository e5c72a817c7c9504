//! Sockets: AF_UNIX, AF_INET and AF_INET6 over the loopback of a namespace, and as much of AF_NETLINK as tells of it.
//!
//! Linux: net/. A [`Socket`] is a [`fs_vfs::FileOps`]; the functions here are the system calls on its file, with guest memory,
//! descriptors and paths left to the caller. No operation of a socket sleeps; the functions do, on the socket's queue.
#![forbid(unsafe_code)]

mod calls;
mod cmsg;
mod control;
mod inet;
mod ioctl;
mod namespace;
mod netdev;
mod netlink;
mod proto_ops;
mod ring;
mod scm;
mod sock;
mod sockaddr;
mod socket;
mod sockopt;
mod sysctl;
mod unix;

pub use calls::{
    accept4, bind, bind_inode, connect, connect_inode, getpeername, getsockname, getsockopt, listen, recvmsg,
    sendmsg, setsockopt, shutdown,
};
pub use cmsg::{Cmsg, CmsgWriter, parse_cmsgs};
pub use namespace::NetNamespace;
pub use netdev::{NetDevice, OperState};
pub use netlink::NetlinkSink;
pub use proto_ops::{Received, SendMsg};
pub use scm::{ControlMsg, ScmCreds, SendControl};
pub use sock::Sock;
pub use sockaddr::SockAddr;
pub use socket::{Socket, socket, socketpair};
pub use sockopt::{GetOptError, SockOpts};
pub use sysctl::Sysctl;
pub use unix::unix_path;
