//! Linux: include/linux/socket.h, `CMSG_*`; net/core/scm.c, `__scm_send` and `put_cmsg`: the layout of control messages.

use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use sentry_uapi::socket::{Cmsghdr, MsgFlags};
use zerocopy::{FromBytes, IntoBytes};

const HEADER: usize = size_of::<Cmsghdr>();

/// One control message in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cmsg<'a> {
    /// `cmsg_level`.
    pub level: i32,
    /// `cmsg_type`.
    pub ty: i32,
    /// The bytes behind the header.
    pub data: &'a [u8],
}

/// The control messages in `buf`. A last header that does not fit is not looked at.
///
/// # Errors
/// The iterator gives `EINVAL`, and then ends, where a length is below a header's or beyond the end.
pub fn parse_cmsgs(buf: &[u8]) -> impl Iterator<Item = Result<Cmsg<'_>, Errno>> {
    let mut rest = Some(buf);
    std::iter::from_fn(move || {
        let here = rest.take()?;
        let (header, _) = Cmsghdr::read_from_prefix(here).ok()?;
        let len = usize::try_from(header.cmsg_len).unwrap_or(usize::MAX);
        let Some(data) = here.get(HEADER..len) else { return Some(Err(EINVAL)) };
        rest = here.get(len.next_multiple_of(size_of::<u64>())..);
        Some(Ok(Cmsg { level: header.cmsg_level, ty: header.cmsg_type, data }))
    })
}

/// Lays out control messages in a buffer of the length the caller gave.
pub struct CmsgWriter {
    out: Vec<u8>,
    capacity: usize,
    truncated: bool,
}

/// No control buffer that a guest may give is filled beyond this.
const MAX_CONTROL: usize = 1 << 16;

impl CmsgWriter {
    /// A writer for `capacity` bytes.
    pub fn new(capacity: usize) -> CmsgWriter {
        CmsgWriter { out: Vec::new(), capacity: capacity.min(MAX_CONTROL), truncated: false }
    }

    /// Bytes of data that a next message may have without being cut.
    pub fn room(&self) -> usize {
        (self.capacity - self.out.len()).saturating_sub(HEADER)
    }

    /// Adds a message, cut to what fits. Linux: `put_cmsg`.
    pub fn put(&mut self, level: i32, ty: i32, data: &[u8]) {
        let left = self.capacity - self.out.len();
        if left < HEADER {
            self.truncated = true;
            return;
        }
        let len = (HEADER + data.len()).min(left);
        self.truncated |= len < HEADER + data.len();
        let header = Cmsghdr { cmsg_len: len as u64, cmsg_level: level, cmsg_type: ty };
        self.out.extend_from_slice(header.as_bytes());
        self.out.extend_from_slice(&data[..len - HEADER]);
        let aligned = self.out.len().next_multiple_of(size_of::<u64>()).min(self.capacity);
        self.out.resize(aligned, 0);
    }

    /// Notes that something did not fit: files, for the caller cuts those itself.
    pub fn set_truncated(&mut self) {
        self.truncated = true;
    }

    /// The bytes to copy out, whose number is the new `msg_controllen`, and MSG_CTRUNC or nothing.
    pub fn finish(self) -> (Vec<u8>, MsgFlags) {
        (self.out, if self.truncated { MsgFlags::CTRUNC } else { MsgFlags::empty() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut w = CmsgWriter::new(64);
        w.put(1, 2, b"12345");
        assert_eq!(w.room(), 64 - 24 - 16);
        w.put(1, 1, &[7; 40]);
        let (bytes, flags) = w.finish();
        assert_eq!((bytes.len(), flags), (64, MsgFlags::CTRUNC));
        let all: Result<Vec<_>, _> = parse_cmsgs(&bytes).collect();
        let all = all.unwrap_or_default();
        assert_eq!(all[0], Cmsg { level: 1, ty: 2, data: b"12345" });
        assert_eq!(all[1], Cmsg { level: 1, ty: 1, data: &[7; 24] });
    }

    #[test]
    fn bad_lengths_are_refused() {
        let header = |len| Cmsghdr { cmsg_len: len, cmsg_level: 1, cmsg_type: 1 };
        for len in [0, 15, 17, u64::MAX] {
            assert_eq!(parse_cmsgs(header(len).as_bytes()).next(), Some(Err(EINVAL)));
        }
        assert_eq!(parse_cmsgs(&header(16).as_bytes()[..15]).next(), None);
        assert_eq!(parse_cmsgs(header(16).as_bytes()).count(), 1);
    }
}
