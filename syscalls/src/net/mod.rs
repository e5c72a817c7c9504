//! Sockets.

mod addr;
mod cmsg;
mod msg;
mod multi;
mod socket;
mod sockopt;

pub(crate) use msg::*;
pub(crate) use multi::*;
pub(crate) use socket::*;
pub(crate) use sockopt::*;
