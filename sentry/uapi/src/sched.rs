//! Linux: include/uapi/linux/sched.h.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

bitflags! {
    /// Flags of clone(2), unshare(2) and setns(2). The low byte of clone's flags is the exit signal.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CloneFlags: u64 {
        /// Share the address space.
        const VM = 0x100;
        /// Share root, working directory and umask.
        const FS = 0x200;
        /// Share the descriptor table.
        const FILES = 0x400;
        /// Share signal handlers.
        const SIGHAND = 0x800;
        /// Return a pidfd.
        const PIDFD = 0x1000;
        /// Go on being traced.
        const PTRACE = 0x2000;
        /// The parent waits until the child lets go of its address space.
        const VFORK = 0x4000;
        /// The child's parent is the caller's parent.
        const PARENT = 0x8000;
        /// A thread of the same process.
        const THREAD = 0x1_0000;
        /// New mount namespace.
        const NEWNS = 0x2_0000;
        /// Share System V semaphore adjustments.
        const SYSVSEM = 0x4_0000;
        /// Set the thread area.
        const SETTLS = 0x8_0000;
        /// Store the child's id in the parent's memory.
        const PARENT_SETTID = 0x10_0000;
        /// Clear the child's id in its memory when it exits.
        const CHILD_CLEARTID = 0x20_0000;
        /// Ignored.
        const DETACHED = 0x40_0000;
        /// May not be traced against its will.
        const UNTRACED = 0x80_0000;
        /// Store the child's id in its own memory.
        const CHILD_SETTID = 0x100_0000;
        /// New cgroup namespace.
        const NEWCGROUP = 0x200_0000;
        /// New UTS namespace.
        const NEWUTS = 0x400_0000;
        /// New IPC namespace.
        const NEWIPC = 0x800_0000;
        /// New user namespace.
        const NEWUSER = 0x1000_0000;
        /// New pid namespace.
        const NEWPID = 0x2000_0000;
        /// New network namespace.
        const NEWNET = 0x4000_0000;
        /// Share I/O context.
        const IO = 0x8000_0000;
        /// Handlers return to default (clone3 only).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// Place the child in a cgroup (clone3 only).
        const INTO_CGROUP = 0x2_0000_0000;
        /// New time namespace (in the exit signal's byte: unshare and clone3 only).
        const NEWTIME = 0x80;
    }
}

/// `struct clone_args`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

const _: () = assert!(size_of::<CloneArgs>() == size_of::<linux_raw_sys::general::clone_args>());
