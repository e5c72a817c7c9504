//! Sockets.

mod unix_stream;
