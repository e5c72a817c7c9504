//! Control messages that sockets of every family attach. Linux: net/socket.c, `__sock_recv_timestamp`.

use crate::{ControlMsg, Sock};
use sentry_uapi::socket::{
    SO_TIMESTAMP_NEW, SO_TIMESTAMP_OLD, SO_TIMESTAMPNS_NEW, SO_TIMESTAMPNS_OLD, SOL_SOCKET,
};
use sentry_uapi::time::{Timespec, Timeval};
use zerocopy::IntoBytes;

/// The time a message was sent, if the receiver asked for it.
pub(crate) fn timestamp(sock: &Sock, nanos: i64) -> Option<ControlMsg> {
    let ty = sock.opts.timestamp();
    let t = Timespec::from_nanos(nanos);
    let data = match ty {
        SO_TIMESTAMP_OLD | SO_TIMESTAMP_NEW => {
            Timeval { tv_sec: t.tv_sec, tv_usec: t.tv_nsec / 1000 }.as_bytes().to_vec()
        }
        SO_TIMESTAMPNS_OLD | SO_TIMESTAMPNS_NEW => t.as_bytes().to_vec(),
        _ => return None,
    };
    Some(ControlMsg::Other { level: SOL_SOCKET, ty, data })
}
