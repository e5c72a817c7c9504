//! Linux: include/uapi/linux/capability.h.

use bitflags::bitflags;

bitflags! {
    /// A set of capabilities; bit *n* is capability number *n*.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CapSet: u64 {
        /// Make arbitrary changes to file owners.
        const CHOWN = 1 << 0;
        /// Bypass file read, write and execute checks.
        const DAC_OVERRIDE = 1 << 1;
        /// Bypass file read checks and directory search checks.
        const DAC_READ_SEARCH = 1 << 2;
        /// Bypass checks that want the file's owner.
        const FOWNER = 1 << 3;
        /// Keep set-ID bits when a file is modified.
        const FSETID = 1 << 4;
        /// Bypass checks for sending signals.
        const KILL = 1 << 5;
        /// Manipulate group ids.
        const SETGID = 1 << 6;
        /// Manipulate user ids.
        const SETUID = 1 << 7;
        /// Change capability sets.
        const SETPCAP = 1 << 8;
        /// Set immutable and append-only flags.
        const LINUX_IMMUTABLE = 1 << 9;
        /// Bind to ports below 1024.
        const NET_BIND_SERVICE = 1 << 10;
        /// Broadcast and multicast.
        const NET_BROADCAST = 1 << 11;
        /// Network administration.
        const NET_ADMIN = 1 << 12;
        /// Raw sockets.
        const NET_RAW = 1 << 13;
        /// Lock memory.
        const IPC_LOCK = 1 << 14;
        /// Bypass System V IPC checks.
        const IPC_OWNER = 1 << 15;
        /// Load kernel modules.
        const SYS_MODULE = 1 << 16;
        /// Raw I/O.
        const SYS_RAWIO = 1 << 17;
        /// Use chroot(2).
        const SYS_CHROOT = 1 << 18;
        /// Trace any process.
        const SYS_PTRACE = 1 << 19;
        /// Process accounting.
        const SYS_PACCT = 1 << 20;
        /// Many administrative operations.
        const SYS_ADMIN = 1 << 21;
        /// Reboot.
        const SYS_BOOT = 1 << 22;
        /// Raise priorities, set affinities.
        const SYS_NICE = 1 << 23;
        /// Override resource limits.
        const SYS_RESOURCE = 1 << 24;
        /// Set clocks.
        const SYS_TIME = 1 << 25;
        /// vhangup(2) and terminal configuration.
        const SYS_TTY_CONFIG = 1 << 26;
        /// Make device nodes.
        const MKNOD = 1 << 27;
        /// Take leases on any file.
        const LEASE = 1 << 28;
        /// Write to the audit log.
        const AUDIT_WRITE = 1 << 29;
        /// Configure auditing.
        const AUDIT_CONTROL = 1 << 30;
        /// Set file capabilities.
        const SETFCAP = 1 << 31;
        /// Override mandatory access control.
        const MAC_OVERRIDE = 1 << 32;
        /// Configure mandatory access control.
        const MAC_ADMIN = 1 << 33;
        /// Privileged syslog(2).
        const SYSLOG = 1 << 34;
        /// Wake-up timers.
        const WAKE_ALARM = 1 << 35;
        /// Block suspension.
        const BLOCK_SUSPEND = 1 << 36;
        /// Read the audit log.
        const AUDIT_READ = 1 << 37;
        /// Performance monitoring.
        const PERFMON = 1 << 38;
        /// Privileged bpf(2).
        const BPF = 1 << 39;
        /// Checkpoint and restore.
        const CHECKPOINT_RESTORE = 1 << 40;
    }
}

/// Highest capability number: `/proc/sys/kernel/cap_last_cap`.
pub const CAP_LAST_CAP: u32 = 40;

impl CapSet {
    /// What `CAP_FS_SET` holds: the capabilities that follow the filesystem uid.
    pub const FS_SET: CapSet = CapSet::CHOWN
        .union(CapSet::DAC_OVERRIDE)
        .union(CapSet::DAC_READ_SEARCH)
        .union(CapSet::FOWNER)
        .union(CapSet::FSETID)
        .union(CapSet::LINUX_IMMUTABLE)
        .union(CapSet::MKNOD)
        .union(CapSet::MAC_OVERRIDE);

    /// The set holding capability number `cap` alone; empty when there is no such capability.
    pub fn from_number(cap: u32) -> CapSet {
        if cap <= CAP_LAST_CAP { CapSet::from_bits_truncate(1 << cap) } else { CapSet::empty() }
    }
}
