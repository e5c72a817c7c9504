//! epoll(7) of the host: one thread that tells when a host descriptor becomes ready.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use sentry_uapi::Errno;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// Called with the poll(2) events that have come up.
pub type OnReady = Box<dyn Fn(u32) + Send + Sync>;

/// Watches host descriptors, edge-triggered.
pub struct HostPoller {
    epoll: Arc<Epoll>,
    watched: Arc<Mutex<HashMap<u64, OnReady>>>,
}

fn errno(e: nix::errno::Errno) -> Errno {
    Errno::from_raw(e as i32)
}

impl HostPoller {
    /// A poller and its thread, which lives as long as the process.
    pub fn new() -> Result<HostPoller, Errno> {
        let epoll = Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(errno)?);
        let watched: Arc<Mutex<HashMap<u64, OnReady>>> = Arc::default();
        let (e, w) = (epoll.clone(), watched.clone());
        std::thread::Builder::new()
            .name("host-poller".into())
            .stack_size(128 << 10)
            .spawn(move || run(&e, &w))
            .map_err(|_| sentry_uapi::errno::EAGAIN)?;
        Ok(HostPoller { epoll, watched })
    }

    /// Calls `ready` whenever something changes on `fd`, which must stay open until the process ends.
    ///
    /// # Errors
    /// `EPERM` for what is always ready: regular files and directories.
    pub fn watch(&self, fd: BorrowedFd<'_>, ready: OnReady) -> Result<(), Errno> {
        let id = u64::try_from(fd.as_raw_fd()).map_err(|_| sentry_uapi::errno::EBADF)?;
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(id, ready);
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        self.epoll.add(fd, EpollEvent::new(flags, id)).map_err(|e| {
            self.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            errno(e)
        })
    }
}

fn run(epoll: &Epoll, watched: &Mutex<HashMap<u64, OnReady>>) {
    let mut events = [EpollEvent::empty(); 16];
    loop {
        let Ok(n) = epoll.wait(&mut events, EpollTimeout::NONE) else { continue };
        for event in events.iter().take(n) {
            let watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(ready) = watched.get(&event.data()) {
                ready(event.events().bits().cast_unsigned());
            }
        }
    }
}

/// The poll(2) events of a descriptor now.
pub fn poll_now(fd: BorrowedFd<'_>) -> u32 {
    let all = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
    let mut pollfd = libc::pollfd { fd: fd.as_raw_fd(), events: all, revents: 0 };
    // SAFETY: one valid structure, and no waiting.
    unsafe { libc::poll(&raw mut pollfd, 1, 0) };
    u32::from(pollfd.revents.cast_unsigned())
}

/// ioctl(FIONREAD): bytes that can be read.
pub fn readable_bytes(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    let mut n = 0;
    // SAFETY: FIONREAD writes one int.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut n) };
    if ret < 0 { Err(errno(nix::errno::Errno::last())) } else { Ok(n) }
}
