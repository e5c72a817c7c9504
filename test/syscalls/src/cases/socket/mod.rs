//! Sockets.

mod address;
mod ancillary;
mod device;
mod inet6;
mod message;
mod options;
mod tcp;
mod tcp_nonblock;
mod udp;
mod unix_datagram;
mod unix_stream;
