//! The owners of host files that the sentry's own user namespace does not show.
//!
//! The sentry of an ordinary user runs in a namespace that maps one user and one group, so every other owner reads as the
//! overflow id there. The command is outside of it and can tell: it is sent the open file and answers with what
//! fstat(2) says.

use super::control::Channel;
use anyhow::{Context, Result};
use fs_hostfs::HostOwners;
use nix::sys::socket::MsgFlags;
use sentry_auth::OVERFLOW_ID;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
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
    /// What the host shows for an id that the sentry's namespace does not map.
    overflow: Owner,
}

impl Owners {
    /// Who owns an open file (`O_PATH` will do). It takes the command a wake-up.
    ///
    /// # Errors
    /// When the command is gone or the file cannot be looked at.
    pub fn owner(&self, file: BorrowedFd<'_>) -> Result<Owner> {
        let _one = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.channel.send_with(&(), Some(file))?;
        self.channel.recv()?.context("the command is gone")
    }
}

impl HostOwners for Owners {
    fn hides(&self, uid: u32, gid: u32) -> bool {
        uid == self.overflow.uid || gid == self.overflow.gid
    }

    fn owner(&self, file: BorrowedFd<'_>) -> Option<(u32, u32)> {
        match Owners::owner(self, file) {
            Ok(owner) => Some((owner.uid, owner.gid)),
            Err(error) => {
                tracing::debug!("the owner of a host file is not known: {error:#}");
                None
            }
        }
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
        let overflow = Owner { uid: overflow("overflowuid"), gid: overflow("overflowgid") };
        Ok((OwnersServer(server), Owners { channel: client, busy: Mutex::new(()), overflow }))
    }

    /// Answers one request, which has arrived. Whether another may follow.
    pub(super) fn answer(&self) -> Result<bool> {
        let Some(((), file)) = self.0.recv_with(MsgFlags::MSG_DONTWAIT)? else { return Ok(false) };
        let stat = nix::sys::stat::fstat(file.context("no descriptor came with the request")?)?;
        self.0.send(&Owner { uid: stat.st_uid, gid: stat.st_gid })?;
        Ok(true)
    }
}

/// A number of `/proc/sys/kernel`, or its default.
fn overflow(name: &str) -> u32 {
    let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).unwrap_or_default();
    text.trim().parse().unwrap_or(OVERFLOW_ID)
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
