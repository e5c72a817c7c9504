//! The files of `--strace-log`. The sentry has no directory to make them in, so it asks the command for each.

use super::control::Channel;
use anyhow::{Context, Result};
use nix::sys::socket::MsgFlags;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Most files one sandbox is given: each process that ever was in it takes one.
const MAX_FILES: usize = 4096;

/// Please make the file of a process.
#[derive(Debug, Serialize, Deserialize)]
struct Open {
    pid: u32,
}

/// The sentry's side: where the trace of each process goes.
#[derive(Debug)]
pub enum StraceLog {
    /// All to one open file of the host, shared with the caller.
    Stderr(OwnedFd),
    /// Each to a file of its own.
    Files(FilesClient),
}

/// Asks the command for files, one request at a time.
#[derive(Debug)]
pub struct FilesClient {
    channel: Channel,
    busy: Mutex<()>,
}

impl StraceLog {
    /// The file for process `pid`, as the container numbers it. Blocks for a moment; call it once a process.
    ///
    /// # Errors
    /// When the file cannot be made, or too many have been.
    pub fn open(&self, pid: u32) -> Result<File> {
        match self {
            StraceLog::Stderr(fd) => Ok(File::from(fd.try_clone()?)),
            StraceLog::Files(client) => {
                let _one = client.busy.lock().unwrap_or_else(PoisonError::into_inner);
                client.channel.send(&Open { pid })?;
                let reply = client.channel.recv_with::<Result<(), String>>(MsgFlags::empty())?;
                let (reply, fd) = reply.context("the command is gone")?;
                reply.map_err(anyhow::Error::msg)?;
                Ok(File::from(fd.context("no descriptor came with the reply")?))
            }
        }
    }
}

impl AsFd for StraceLog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            StraceLog::Stderr(fd) => fd.as_fd(),
            StraceLog::Files(client) => client.channel.as_fd(),
        }
    }
}

/// The command's side: makes the files.
#[derive(Debug)]
pub(super) struct FilesServer {
    channel: Channel,
    prefix: PathBuf,
    made: usize,
}

impl FilesServer {
    /// Both sides, for files `PREFIX.PID`.
    pub(super) fn pair(prefix: PathBuf) -> Result<(FilesServer, StraceLog)> {
        let (server, client) = Channel::pair()?;
        let client = FilesClient { channel: client, busy: Mutex::new(()) };
        Ok((FilesServer { channel: server, prefix, made: 0 }, StraceLog::Files(client)))
    }

    /// Answers one request, which has arrived. Whether another may follow.
    pub(super) fn answer(&mut self) -> Result<bool> {
        let Some((Open { pid }, _)) = self.channel.recv_with(MsgFlags::MSG_DONTWAIT)? else {
            return Ok(false);
        };
        let file = self.make(pid);
        let reply = file.as_ref().map(|_| ()).map_err(ToString::to_string);
        self.channel.send_with(&reply, file.as_ref().ok().map(AsFd::as_fd))?;
        Ok(true)
    }

    fn make(&mut self, pid: u32) -> Result<File> {
        anyhow::ensure!(self.made < MAX_FILES, "--strace-log: more than {MAX_FILES} files");
        self.made += 1;
        let mut name = self.prefix.clone().into_os_string();
        name.push(format!(".{pid}"));
        File::create(&name).with_context(|| format!("--strace-log: {}", name.display()))
    }
}

impl AsFd for FilesServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_process_gets_a_file_of_its_own() {
        let dir = std::env::temp_dir().join(format!("runsc-rs-strace-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let (mut server, client) = FilesServer::pair(dir.join("log")).unwrap();
        let asked = std::thread::spawn(move || client.open(7).unwrap().write_all(b"getpid() = 7\n").unwrap());
        let mut ready = [nix::poll::PollFd::new(server.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut ready, nix::poll::PollTimeout::NONE).unwrap();
        assert!(server.answer().unwrap());
        asked.join().unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("log.7")).unwrap(), "getpid() = 7\n");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
