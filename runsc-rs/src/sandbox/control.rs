//! The protocol between the command and the sentry: JSON messages over a pair of `SOCK_SEQPACKET` sockets.

use super::ExitStatus;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Longest message.
const MAX_MESSAGE: usize = 16 * 1024;

/// What the command tells the sentry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The id maps of the sentry's user namespace have been written; go on.
    IdsMapped,
    /// Send a signal to the container's first process.
    Signal {
        /// Signal number.
        signo: i32,
        /// To its whole process group: the signal came from the caller's terminal.
        to_group: bool,
    },
    /// The caller's terminal has this size now.
    WindowSize {
        /// Rows.
        rows: u16,
        /// Columns.
        cols: u16,
    },
}

/// What the sentry tells the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The first process is about to run its first instruction.
    Started,
    /// The first process has ended, and everything with it.
    Exited(ExitStatus),
    /// The container could not be started, or the sentry had to give up.
    Failed {
        /// One line.
        message: String,
        /// What kind of failure.
        kind: FailureKind,
    },
}

/// Kinds of failure, told apart by the exit status of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The runtime's own.
    Runtime,
    /// The program was found and cannot be executed.
    CannotExecute,
    /// There is no such program.
    NotFound,
}

/// One end of a pair of sockets that keep message boundaries.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Two connected ends.
    ///
    /// # Errors
    /// As socketpair(2).
    pub fn pair() -> Result<(Channel, Channel)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .context("socketpair")?;
        Ok((Channel(a), Channel(b)))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn send(&self, message: &impl Serialize) -> Result<()> {
        self.send_with(message, None)
    }

    /// Sends a message with a descriptor.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn send_with(&self, message: &impl Serialize, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let text = serde_json::to_vec(message)?;
        if text.len() > MAX_MESSAGE {
            bail!("message of {} bytes", text.len());
        }
        let fds: Vec<i32> = fd.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        let parts = [IoSlice::new(&text)];
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e).context("control socket"),
            }
        }
    }

    /// Waits for the next message. `None` once the other end is gone.
    ///
    /// # Errors
    /// For a malformed message.
    pub fn recv<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        Ok(self.recv_with(MsgFlags::empty())?.map(|(message, _)| message))
    }

    /// The next message with its descriptor, waiting as `flags` say.
    ///
    /// # Errors
    /// For a malformed message, and with `MSG_DONTWAIT` when there is none.
    pub fn recv_with<T: DeserializeOwned>(&self, flags: MsgFlags) -> Result<Option<(T, Option<OwnedFd>)>> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut space = nix::cmsg_space!([i32; 1]);
        let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
        let (len, fd) = loop {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                Ok(message) => break (message.bytes, first_descriptor(&message)?),
                // The other end was closed with messages unread. It is told once, and what was sent to us is still there.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(e) => return Err(e).context("control socket"),
            }
        };
        if len == 0 {
            return Ok(None);
        }
        let text = buffer.get(..len).unwrap_or_default();
        let message = serde_json::from_slice(text).context("malformed message on the control socket")?;
        Ok(Some((message, fd)))
    }
}

fn first_descriptor(message: &nix::sys::socket::RecvMsg<'_, '_, ()>) -> Result<Option<OwnedFd>> {
    let mut first = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            for fd in fds {
                // SAFETY: the kernel has just installed the descriptor for us; nobody else knows it.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                first.get_or_insert(fd);
            }
        }
    }
    Ok(first)
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The sentry's end of the control protocol.
#[derive(Debug)]
pub struct ControlChannel(Channel);

impl ControlChannel {
    /// The sentry's end of `channel`.
    pub fn new(channel: Channel) -> ControlChannel {
        ControlChannel(channel)
    }

    /// Tells the command that the first process is about to run.
    ///
    /// # Errors
    /// When the command is gone.
    pub fn started(&self) -> Result<()> {
        self.0.send(&Event::Started)
    }

    /// Tells the command how the first process ended.
    ///
    /// # Errors
    /// When the command is gone.
    pub fn exited(&self, status: ExitStatus) -> Result<()> {
        self.0.send(&Event::Exited(status))
    }

    /// Tells the command why nothing runs (any more). Of a message with several lines only the first is sent.
    ///
    /// # Errors
    /// When the command is gone.
    pub fn failed(&self, kind: FailureKind, message: &str) -> Result<()> {
        let line = message.lines().next().unwrap_or_default();
        let message = line.chars().take(MAX_MESSAGE / 16).collect();
        self.0.send(&Event::Failed { message, kind })
    }

    /// Waits for the next request; may be called while other threads send. `None` once the command is gone: the
    /// sandbox must then end.
    ///
    /// # Errors
    /// For a malformed message.
    pub fn recv(&self) -> Result<Option<Request>> {
        self.0.recv()
    }
}

impl AsFd for ControlChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_boundaries_and_descriptors() {
        let (a, b) = Channel::pair().unwrap();
        a.send(&Request::Signal { signo: 15, to_group: false }).unwrap();
        a.send_with(&Request::IdsMapped, Some(a.as_fd())).unwrap();
        assert_eq!(b.recv::<Request>().unwrap(), Some(Request::Signal { signo: 15, to_group: false }));
        let (message, fd) = b.recv_with::<Request>(MsgFlags::empty()).unwrap().unwrap();
        assert_eq!(message, Request::IdsMapped);
        assert!(fd.is_some());
        drop(a);
        drop(fd);
        assert_eq!(b.recv::<Request>().unwrap(), None);
    }

    #[test]
    fn a_failure_is_one_line() {
        let (a, b) = Channel::pair().unwrap();
        ControlChannel::new(a).failed(FailureKind::NotFound, "first\nsecond").unwrap();
        let expected = Event::Failed { message: "first".to_owned(), kind: FailureKind::NotFound };
        assert_eq!(b.recv::<Event>().unwrap(), Some(expected));
    }

    #[test]
    fn the_last_words_of_an_end_that_did_not_listen_are_heard() {
        let (a, b) = Channel::pair().unwrap();
        b.send(&Request::IdsMapped).unwrap();
        a.send(&Event::Started).unwrap();
        drop(a);
        assert_eq!(b.recv::<Event>().unwrap(), Some(Event::Started));
        assert_eq!(b.recv::<Event>().unwrap(), None);
    }

    #[test]
    fn a_malformed_message_is_an_error() {
        let (a, b) = Channel::pair().unwrap();
        a.send(&"nonsense").unwrap();
        assert!(b.recv::<Request>().is_err());
    }
}
