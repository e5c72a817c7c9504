//! User namespaces and processes in them.

use super::{Child, Guest, cstr, iov, zeroed};
use crate::sys::Ret;
use test_syscalls_macros::sys;

/// The number of the first user namespace. Linux: `PROC_USER_INIT_INO`.
const FIRST_USERNS: &str = "user:[4026531837]";

impl Child {
    /// Kills it and waits for its end.
    #[track_caller]
    pub fn end(self) {
        self.kill(libc::SIGKILL);
        self.wait().killed(libc::SIGKILL);
    }
}

impl Guest {
    /// Runs `body` in a child in a user namespace of its own, in which nothing is mapped. Skips the case where the
    /// machine gives this user none.
    #[track_caller]
    pub fn userns(&self, flags: i32, body: impl FnOnce()) -> Child {
        const REASON: &str = "this user may not make user namespaces";
        let flags = flags | libc::CLONE_NEWUSER | libc::SIGCHLD;
        let made = sys!(clone(flags, 0, 0, 0, 0)).or_skip(libc::EPERM, REASON).or_skip(libc::ENOSPC, REASON);
        if made.raw() == 0 {
            body();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        Child { pid: made.fd() }
    }

    /// As `userns`, with this process's user and group as the only ones, which are 0 inside. `setgroups` is denied.
    #[track_caller]
    pub fn ns_root(&self, flags: i32, body: impl FnOnce()) -> Child {
        let (uid, gid) = (self.uid(), sys!(getegid()).ok());
        self.userns(flags, || {
            self.map_root(uid, gid);
            body();
        })
    }

    /// Maps 0 to `uid` and `gid` in this process's namespace, from inside.
    #[track_caller]
    pub fn map_root(&self, uid: u32, gid: i64) {
        self.write("/proc/self/setgroups", "deny").ok();
        self.write("/proc/self/uid_map", format!("0 {uid} 1")).ok();
        self.write("/proc/self/gid_map", format!("0 {gid} 1")).ok();
    }

    /// As `userns`, with maps that this process, which must be allowed to, writes before `body` runs. An empty one is
    /// not written.
    #[track_caller]
    pub fn mapped(&self, flags: i32, uids: &str, gids: &str, body: impl FnOnce()) -> Child {
        let go = self.pipe();
        let child = self.userns(flags, || {
            go.wait();
            body();
        });
        self.write_maps(child.pid, uids, gids);
        go.signal();
        child
    }

    /// Writes the maps of `pid`'s namespace but for empty ones.
    #[track_caller]
    pub fn write_maps(&self, pid: i32, uids: &str, gids: &str) {
        if !uids.is_empty() {
            self.write(&format!("/proc/{pid}/uid_map"), uids).ok();
        }
        if !gids.is_empty() {
            self.write(&format!("/proc/{pid}/gid_map"), gids).ok();
        }
    }

    /// A child as of `ns_root` that waits to be killed; its maps are written.
    #[track_caller]
    pub fn ns_holder(&self, flags: i32) -> Child {
        self.ns_holder_after(flags, || ())
    }

    /// As `ns_holder`; `body` has run in it.
    #[track_caller]
    pub fn ns_holder_after(&self, flags: i32, body: impl FnOnce()) -> Child {
        let ready = self.pipe();
        let child = self.ns_root(flags, || {
            body();
            ready.signal();
            loop {
                let _ = sys!(pause());
            }
        });
        ready.wait();
        child
    }

    /// A child as of `userns` that waits to be killed.
    #[track_caller]
    pub fn unmapped_holder(&self, flags: i32) -> Child {
        self.userns(flags, || {
            loop {
                let _ = sys!(pause());
            }
        })
    }

    /// Runs `body` in a child that has made user namespace of its own by `unshare`.
    #[track_caller]
    pub fn unshared(&self, flags: i32, body: impl FnOnce()) -> Child {
        self.fork(|| {
            self.unshare_user(flags);
            body();
        })
    }

    /// Moves this process into a new user namespace.
    #[track_caller]
    pub fn unshare_user(&self, flags: i32) {
        sys!(unshare(libc::CLONE_NEWUSER | flags))
            .or_skip(libc::EPERM, "this user may not make user namespaces")
            .ok();
    }

    /// An open namespace file of process `pid`.
    #[track_caller]
    pub fn ns(&self, pid: i32, name: &str) -> i32 {
        self.open(&format!("/proc/{pid}/ns/{name}"), libc::O_RDONLY | libc::O_CLOEXEC)
    }

    /// An open namespace file of this process.
    #[track_caller]
    pub fn own_ns(&self, name: &str) -> i32 {
        self.open(&format!("/proc/self/ns/{name}"), libc::O_RDONLY | libc::O_CLOEXEC)
    }

    /// What the namespace link `name` of `who`, a process id or `self`, reads as.
    #[track_caller]
    #[must_use]
    pub fn ns_link(&self, who: impl std::fmt::Display, name: &str) -> String {
        self.read_link(&format!("/proc/{who}/ns/{name}"))
    }

    /// The text of a symbolic link.
    #[track_caller]
    #[must_use]
    pub fn read_link(&self, path: &str) -> String {
        let mut text = [0_u8; 4096];
        let length = self.try_read_link(path, &mut text).size();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    /// `readlink` of `path` into `text`.
    pub fn try_read_link(&self, path: &str, text: &mut [u8]) -> Ret {
        let length = text.len();
        sys!(readlink(&cstr(path), text, length))
    }

    /// Skips the case unless it runs in the first user namespace.
    #[track_caller]
    pub fn needs_first_userns(&self) {
        if self.ns_link("self", "user") != FIRST_USERNS {
            self.skip("this is not the first user namespace");
        }
    }

    /// The id that stands for users without a mapping.
    #[track_caller]
    #[must_use]
    pub fn overflow_uid(&self) -> u32 {
        self.read("/proc/sys/kernel/overflowuid").ok().trim().parse().unwrap()
    }

    /// The id that stands for groups without a mapping.
    #[track_caller]
    #[must_use]
    pub fn overflow_gid(&self) -> u32 {
        self.read("/proc/sys/kernel/overflowgid").ok().trim().parse().unwrap()
    }

    /// Passes descriptor `fd` through socket `to`.
    #[track_caller]
    pub fn pass_fd(&self, to: i32, fd: i32) {
        // `cmsghdr`: length, level and type, then the data.
        let mut control = [20, libc::SOL_SOCKET as u64 | (libc::SCM_RIGHTS as u64) << 32, fd as u64];
        let mut part = iov(b"x");
        let message = with_control(&mut part, &mut control);
        sys!(sendmsg(to, &raw const message, 0)).is(1);
    }

    /// Takes the descriptor that `pass_fd` sent.
    #[track_caller]
    pub fn take_fd(&self, from: i32) -> i32 {
        let [length, _, fd, _] = self.control(from);
        assert!(length == 20, "a message with one descriptor: expected 20 bytes of control, got {length}");
        fd as i32
    }

    /// Receives one byte from a socket with `SO_PASSCRED`; gives its sender's process, user and group.
    #[track_caller]
    #[must_use]
    pub fn sender(&self, from: i32) -> (i32, u32, u32) {
        let [length, _, first, group] = self.control(from);
        assert!(length == 28, "a message with credentials: expected 28 bytes of control, got {length}");
        (first as i32, (first >> 32) as u32, group as u32)
    }

    /// Receives one byte; gives its control data.
    #[track_caller]
    fn control(&self, from: i32) -> [u64; 4] {
        let (mut byte, mut control) = ([0_u8; 1], [0_u64; 4]);
        let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
        let mut message = with_control(&mut part, &mut control);
        sys!(recvmsg(from, &raw mut message, 0)).is(1);
        control
    }
}

/// A message of one part with room for control data.
fn with_control(part: &mut libc::iovec, control: &mut [u64]) -> libc::msghdr {
    let mut message: libc::msghdr = zeroed();
    message.msg_iov = &raw mut *part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control);
    message
}
