//! The owners of host files that the sentry's own user namespace does not show.
//!
//! The sentry of an ordinary user runs in a namespace that maps one user and one group, so every other owner reads as the
//! overflow id there. The command is outside of it and can tell: it is sent the open file and answers with what
//! fstat(2) says.

use super::control::Channel;
use anyhow::{Context, Result};
use nix::sys::socket::MsgFlags;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

/// The ids that own a file, as the caller of the command numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The sentry's side.
#[derive(Debug)]
pub struct Owners {
    channel: Channel,
    busy: Mutex<()>,
}

impl Owners {
    /// Who owns an open file (`O_PATH` will do). To be asked only where stat(2) shows an overflow id, and once for an
    /// inode: it takes the command a wake-up.
    ///
    /// # Errors
    /// When the command is gone or the file cannot be looked at.
    pub fn owner(&self, file: BorrowedFd<'_>) -> Result<Owner> {
        let _one = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.channel.send_with(&(), Some(file))?;
        self.channel.recv()?.context("the command is gone")
    }
}

impl AsFd for Owners {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The command's side.
#[derive(Debug)]
pub(super) struct OwnersServer(Channel);

impl OwnersServer {
    pub(super) fn pair() -> Result<(OwnersServer, Owners)> {
        let (server, client) = Channel::pair()?;
        Ok((OwnersServer(server), Owners { channel: client, busy: Mutex::new(()) }))
    }

    /// Answers one request, which has arrived. Whether another may follow.
    pub(super) fn answer(&self) -> Result<bool> {
        let Some(((), file)) = self.0.recv_with(MsgFlags::MSG_DONTWAIT)? else { return Ok(false) };
        let stat = nix::sys::stat::fstat(file.context("no descriptor came with the request")?)?;
        self.0.send(&Owner { uid: stat.st_uid, gid: stat.st_gid })?;
        Ok(true)
    }
}

impl AsFd for OwnersServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_an_open_file_is_told() {
        let (server, client) = OwnersServer::pair().unwrap();
        let asked = std::thread::spawn(move || {
            let file = std::fs::File::open("/etc/passwd").unwrap();
            client.owner(file.as_fd()).unwrap()
        });
        let mut ready = [nix::poll::PollFd::new(server.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut ready, nix::poll::PollTimeout::NONE).unwrap();
        assert!(server.answer().unwrap());
        assert_eq!(asked.join().unwrap(), Owner { uid: 0, gid: 0 });
    }
}
