//! Credentials: ids, groups, capabilities.

use super::{Child, Guest, cstr, zeroed};
use crate::sys::Ret;
use test_syscalls_macros::sys;

/// The capability sets that `capget` and `capset` carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// What is in force.
    pub effective: u64,
    /// What may be in force.
    pub permitted: u64,
    /// What a program with inheritable file capabilities keeps.
    pub inheritable: u64,
}

/// What a program sees of itself: real and effective ids, and whether the dynamic linker is to be careful.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExecIds {
    /// Real and effective user.
    pub uid: (u32, u32),
    /// Real and effective group.
    pub gid: (u32, u32),
    /// `AT_SECURE`
    pub secure: bool,
}

const VERSION_3: u32 = 0x2008_0522;

impl Guest {
    /// This thread's capabilities.
    #[track_caller]
    #[must_use]
    pub fn caps(&self) -> Caps {
        let (header, mut data) = ([VERSION_3, 0], [0_u32; 6]);
        sys!(capget(&header, &mut data)).ok();
        let [effective, permitted, inheritable] =
            [0, 1, 2].map(|set| u64::from(data[set]) | u64::from(data[set + 3]) << 32);
        Caps { effective, permitted, inheritable }
    }

    /// Sets this thread's capabilities.
    pub fn set_caps(&self, caps: Caps) -> Ret {
        let header = [VERSION_3, 0];
        let sets = [caps.effective, caps.permitted, caps.inheritable];
        let data = [sets.map(|set| set as u32), sets.map(|set| (set >> 32) as u32)].concat();
        sys!(capset(&header, &data))
    }

    /// Gives up one capability.
    #[track_caller]
    pub fn drop_cap(&self, cap: i32) {
        let caps = self.caps();
        let mask = !(1 << cap);
        self.set_caps(Caps {
            effective: caps.effective & mask,
            permitted: caps.permitted & mask,
            inheritable: caps.inheritable & mask,
        })
        .ok();
    }

    /// The set of all capabilities that the kernel knows.
    #[track_caller]
    #[must_use]
    pub fn all_caps(&self) -> u64 {
        let last: u32 = self.read("/proc/sys/kernel/cap_last_cap").ok().trim().parse().unwrap();
        (2 << last) - 1
    }

    /// A `Cap…` line of this process's status.
    #[track_caller]
    #[must_use]
    pub fn cap_line(&self, key: &str) -> u64 {
        hex(&self.field("/proc/self/status", key))
    }

    /// Real, effective and saved user id.
    #[track_caller]
    #[must_use]
    pub fn resuid(&self) -> [u32; 3] {
        let mut ids = [0_u32; 3];
        let at = ids.as_mut_ptr();
        sys!(getresuid(at, at.wrapping_add(1), at.wrapping_add(2))).ok();
        ids
    }

    /// Real, effective and saved group id.
    #[track_caller]
    #[must_use]
    pub fn resgid(&self) -> [u32; 3] {
        let mut ids = [0_u32; 3];
        let at = ids.as_mut_ptr();
        sys!(getresgid(at, at.wrapping_add(1), at.wrapping_add(2))).ok();
        ids
    }

    /// The supplementary groups.
    #[track_caller]
    #[must_use]
    pub fn groups(&self) -> Vec<u32> {
        let count = sys!(getgroups(0, 0)).size();
        let mut groups = vec![0_u32; count];
        sys!(getgroups(count, &mut groups)).is(count);
        groups
    }

    /// Becomes user and group `id` with no groups and no capabilities, dumpable as if logged in.
    #[track_caller]
    pub fn become_user(&self, id: u32) {
        sys!(setgroups(0, 0)).ok();
        sys!(setresgid(id, id, id)).ok();
        sys!(setresuid(id, id, id)).ok();
        sys!(prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0)).ok();
    }

    /// Runs `body` in a child that is user and group `id`.
    #[track_caller]
    pub fn fork_user(&self, id: u32, body: impl FnOnce()) -> Child {
        self.fork(|| {
            self.become_user(id);
            body();
        })
    }

    /// Copies the suite's program to `path`, with an owner and a mode. Skips the case where set-ID programs do nothing.
    #[track_caller]
    pub fn copy_program(&self, path: &str, owner: (u32, u32), mode: u32) {
        let path = cstr(path);
        let mut space: libc::statfs64 = zeroed();
        sys!(statfs(c".", &raw mut space)).ok();
        if space.f_flags as u64 & libc::ST_NOSUID != 0 {
            self.skip("set-ID programs do nothing in the case's directory");
        }
        std::fs::copy(self.program().to_str().unwrap(), path.to_str().unwrap()).unwrap();
        sys!(chown(&path, owner.0, owner.1)).ok();
        sys!(chmod(&path, mode)).ok();
    }

    /// What `path`, a copy of the suite's program, sees of itself when it is executed.
    #[track_caller]
    #[must_use]
    pub fn ids_after_exec(&self, path: &str) -> ExecIds {
        let (output, end) = self.output_of(|| {
            self.exec_copy(&cstr(path), "ids", &[], &[]).ok();
        });
        end.exited(0);
        let ids: Vec<u32> = output.split_whitespace().map(|id| id.parse().unwrap()).collect();
        ExecIds { uid: (ids[4], ids[5]), gid: (ids[6], ids[7]), secure: ids[8] != 0 }
    }

    /// A line of the status of `path`, a copy of the suite's program, when it is executed.
    #[track_caller]
    #[must_use]
    pub fn status_of(&self, path: &str, key: &str) -> String {
        let (output, end) = self.output_of(|| {
            self.exec_copy(&cstr(path), "file", &["/proc/self/status"], &[]).ok();
        });
        end.exited(0);
        status_line(&output, key)
    }

    /// Executes the suite's program in a child to print `/proc/self/status`; gives one of its lines.
    #[track_caller]
    #[must_use]
    pub fn status_after_exec(&self, key: &str) -> String {
        let (output, end) = self.helper("file", &["/proc/self/status"], &[]);
        end.exited(0);
        status_line(&output, key)
    }
}

/// The value of `key` in the text of a status file.
#[track_caller]
#[must_use]
pub fn status_line(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("expected a line {key:?}, got {text:?}")).trim().to_owned()
}

/// A capability set as status files print it.
#[track_caller]
#[must_use]
pub fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_else(|_| panic!("expected a set of capabilities, got {text:?}"))
}
