//! The layout of netlink messages. Linux: include/net/netlink.h.

use sentry_uapi::netlink::{NLMSG_DONE, NLMSG_ERROR, Nlmsghdr};
use sentry_uapi::rtnetlink::Rtattr;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const ALIGN: usize = 4;

/// Builds one message behind others.
pub(super) struct MessageBuilder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> MessageBuilder<'a> {
    /// Begins a message with its fixed part. The length is filled in at the end.
    pub(super) fn new<T: IntoBytes + Immutable>(out: &'a mut Vec<u8>, header: Nlmsghdr, body: &T) -> Self {
        let start = out.len();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(body.as_bytes());
        MessageBuilder { out, start }
    }

    /// Adds an attribute. Linux: `nla_put`.
    pub(super) fn attr(self, rta_type: u16, data: &[u8]) -> Self {
        let len = size_of::<Rtattr>() + data.len();
        let rta_len = u16::try_from(len).unwrap_or(u16::MAX);
        self.out.extend_from_slice(Rtattr { rta_len, rta_type }.as_bytes());
        self.out.extend_from_slice(data);
        self.raw(&[])
    }

    /// Adds bytes as they are, and pads.
    pub(super) fn raw(self, data: &[u8]) -> Self {
        self.out.extend_from_slice(data);
        let padded = self.start + (self.out.len() - self.start).next_multiple_of(ALIGN);
        self.out.resize(padded, 0);
        self
    }

    /// Fills in the length.
    pub(super) fn finish(self) {
        let len = u32::try_from(self.out.len() - self.start).unwrap_or(u32::MAX);
        if let Some(field) = self.out.get_mut(self.start..self.start + 4) {
            field.copy_from_slice(&len.to_ne_bytes());
        }
    }
}

/// The end of a dump. Linux: `netlink_dump_done`.
pub(super) fn done(request: &Nlmsghdr, port: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let header = reply(request, port, NLMSG_DONE, sentry_uapi::netlink::NLM_F_MULTI);
    MessageBuilder::new(&mut out, header, &0i32).finish();
    out
}

/// An error, or with 0 an acknowledgement; `echo` is what of the request goes back besides its header. Linux:
/// `netlink_ack`.
pub(super) fn ack(request: &Nlmsghdr, port: u32, error: i32, echo: &[u8], flags: u16) -> Vec<u8> {
    let mut out = Vec::new();
    MessageBuilder::new(&mut out, reply(request, port, NLMSG_ERROR, flags), &-error)
        .raw(request.as_bytes())
        .raw(echo)
        .finish();
    out
}

/// The header of an answer.
pub(super) fn reply(request: &Nlmsghdr, port: u32, nlmsg_type: u16, nlmsg_flags: u16) -> Nlmsghdr {
    Nlmsghdr { nlmsg_len: 0, nlmsg_type, nlmsg_flags, nlmsg_seq: request.nlmsg_seq, nlmsg_pid: port }
}

/// The messages in a datagram: headers and what follows them. Ends where a length is wrong. Linux: `netlink_rcv_skb`.
pub(super) fn messages(buf: &[u8]) -> impl Iterator<Item = (Nlmsghdr, &[u8])> {
    let mut rest = buf;
    std::iter::from_fn(move || {
        let (header, _) = Nlmsghdr::read_from_prefix(rest).ok()?;
        let len = usize::try_from(header.nlmsg_len).ok()?;
        let payload = rest.get(size_of::<Nlmsghdr>()..len)?;
        rest = rest.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((header, payload))
    })
}

/// The data of an attribute, the last one of its type. Linux: `nla_parse`.
pub(super) fn find_attr(mut rest: &[u8], rta_type: u16) -> Option<&[u8]> {
    let mut found = None;
    while let Ok((attr, _)) = Rtattr::read_from_prefix(rest) {
        let len = usize::from(attr.rta_len);
        let Some(data) = rest.get(size_of::<Rtattr>()..len) else { break };
        if attr.rta_type == rta_type {
            found = Some(data);
        }
        rest = rest.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    found
}
