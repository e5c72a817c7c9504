//! The owners of host files that the sentry's own user namespace does not show.
//!
//! The sentry of an ordinary user runs in a namespace that maps one user and one group, so every other owner reads as the
//! overflow id there. The command is outside of it and can tell: it is sent the open file, or an open directory and names
//! in it, and answers with what statx(2) says. A name is one component, which is not followed if it is a link, so nobody
//! learns of files that are not below a directory they have.

use super::control::Channel;
use anyhow::{Context, Result};
use fs_hostfs::{HostOwners, NamedOwner};
use nix::sys::socket::MsgFlags;
use platform_host::fs;
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

/// What is told of a file: its device and number, so that the one who asks knows which it is, and its ids.
type Told = (u64, u64, u32, u32);

/// Most names asked for at once, and most of their bytes; a message holds no more even if they are written as numbers.
const MAX_NAMES: usize = 200;
const MAX_NAME_BYTES: usize = 3000;

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
        let told = self.ask(file, &[])?;
        let (_, _, uid, gid) = told.first().copied().flatten().context("nothing is told of the file")?;
        Ok(Owner { uid, gid })
    }

    /// Asks about an open file, or about names in it.
    fn ask(&self, file: BorrowedFd<'_>, names: &[&[u8]]) -> Result<Vec<Option<Told>>> {
        let _one = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.channel.send_with(&names, Some(file))?;
        self.channel.recv()?.context("the command is gone")
    }
}

/// As many of the names as are asked for at once: at least one.
fn batch(names: &[&[u8]]) -> usize {
    let mut bytes = 0_usize;
    let fits = names.iter().take(MAX_NAMES).take_while(|name| {
        bytes = bytes.saturating_add(name.len());
        bytes <= MAX_NAME_BYTES
    });
    fits.count().max(1)
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

    fn owners_in(&self, dir: BorrowedFd<'_>, names: &[&[u8]]) -> Vec<NamedOwner> {
        let mut owners = Vec::new();
        let mut rest = names;
        while let Some((now, later)) = rest.split_at_checked(batch(rest)) {
            match self.ask(dir, now) {
                Ok(told) => owners.extend(
                    told.into_iter()
                        .flatten()
                        .map(|(dev, ino, uid, gid)| NamedOwner { file: (dev, ino), ids: (uid, gid) }),
                ),
                Err(error) => {
                    tracing::debug!("the owners of host files are not known: {error:#}");
                    break;
                }
            }
            rest = later;
        }
        owners
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
        let received = self.0.recv_with::<Vec<Vec<u8>>>(MsgFlags::MSG_DONTWAIT)?;
        let Some((names, file)) = received else { return Ok(false) };
        let file = file.context("no descriptor came with the request")?;
        let told = |stat: fs::HostStat| (stat.dev, stat.ino, stat.uid, stat.gid);
        let answer: Vec<Option<Told>> = match names.as_slice() {
            [] => vec![fs::stat(file.as_fd()).ok().map(told)],
            names => {
                let names = names.iter().take(MAX_NAMES);
                names.map(|name| fs::stat_at(file.as_fd(), name).ok().map(told)).collect()
            }
        };
        self.0.send(&answer)?;
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
    use std::os::unix::fs::MetadataExt;

    /// Has the command's side answer until `ask` is done.
    fn served<T: Send + 'static>(ask: impl FnOnce(Owners) -> T + Send + 'static) -> T {
        let (server, client) = OwnersServer::pair().unwrap();
        let asked = std::thread::spawn(move || ask(client));
        loop {
            let mut ready = [nix::poll::PollFd::new(server.as_fd(), nix::poll::PollFlags::POLLIN)];
            nix::poll::poll(&mut ready, nix::poll::PollTimeout::NONE).unwrap();
            if !server.answer().unwrap_or(false) {
                return asked.join().unwrap();
            }
        }
    }

    #[test]
    fn the_owner_of_an_open_file_is_told() {
        let owner =
            served(|client| client.owner(std::fs::File::open("/etc/passwd").unwrap().as_fd()).unwrap());
        assert_eq!(owner, Owner { uid: 0, gid: 0 });
    }

    #[test]
    fn owners_of_names_are_told_but_of_no_paths() {
        let (asked, owners) = served(|client| {
            let dir = std::fs::File::open("/etc").unwrap();
            let asked: Vec<_> = std::fs::read_dir("/etc").unwrap().map(|entry| entry.unwrap()).collect();
            let names: Vec<Vec<u8>> =
                asked.iter().map(|entry| entry.file_name().into_encoded_bytes()).collect();
            let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            for bad in [b"..".as_slice(), b".", b"../etc", b"/etc/passwd", b"", b"none", b"a\0b"] {
                assert!(client.owners_in(dir.as_fd(), &[bad]).is_empty());
            }
            (asked, client.owners_in(dir.as_fd(), &names))
        });
        assert_eq!(asked.len(), owners.len());
        for (entry, owner) in asked.iter().zip(&owners) {
            let stat = entry.metadata().unwrap();
            assert_eq!((stat.ino(), (stat.uid(), stat.gid())), (owner.file.1, owner.ids), "{entry:?}");
        }
    }

    #[test]
    fn names_are_asked_for_in_messages_that_are_not_too_long() {
        let long = [b'x'; 255];
        let names = vec![long.as_slice(); 1000];
        assert_eq!(batch(&names), 11);
        assert_eq!(batch(&vec![b"a".as_slice(); 1000]), MAX_NAMES);
        assert_eq!(batch(&names[..1]), 1);
    }
}
