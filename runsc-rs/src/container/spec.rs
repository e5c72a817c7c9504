//! The specification of a container, in the sentry's own terms. `do` builds one from its caller, `run` from a bundle's
//! `config.json`; what boots it need not know which.

use platform_host::tty::WindowSize;
use sentry_auth::CapSet;
use std::ffi::CString;
use std::path::PathBuf;

use super::mount_options::MountOptions;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Its first process.
    pub process: Process,
    /// Its root directory.
    pub root: Root,
    /// `uname -n` in it.
    pub hostname: String,
    /// NIS domain name in it.
    pub domainname: String,
    /// What is mounted over the root, in this order.
    pub mounts: Vec<Mount>,
    /// Device nodes to be made once all is mounted, where there is none of that name yet.
    pub devices: Vec<Device>,
    /// Symbolic links to be made with them: path and target.
    pub symlinks: Vec<(PathBuf, PathBuf)>,
    /// Paths that are hidden: a file by `/dev/null`, a directory by an empty read-only tmpfs.
    pub masked_paths: Vec<PathBuf>,
    /// Paths that are read-only.
    pub readonly_paths: Vec<PathBuf>,
    /// Values below `/proc/sys`, by names with dots.
    pub sysctl: Vec<(String, String)>,
    /// The user namespace of the container; none means the sandbox's first.
    pub user_namespace: Option<UserNamespaceSpec>,
}

/// A process that a container starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The argument vector, not empty. A first argument without a slash is looked for in the `PATH` of `env`.
    pub args: Vec<CString>,
    /// The environment, as `NAME=value`.
    pub env: Vec<CString>,
    /// Absolute path of the working directory.
    pub cwd: PathBuf,
    /// Whom it runs as.
    pub user: User,
    /// Its capability sets.
    pub capabilities: Capabilities,
    /// Resource limits that differ from the sandbox's defaults.
    pub rlimits: Vec<Rlimit>,
    /// `prctl(PR_SET_NO_NEW_PRIVS)`.
    pub no_new_privileges: bool,
    /// `/proc/PID/oom_score_adj`, if not the default.
    pub oom_score_adj: Option<i32>,
    /// Signals ignored from the start; bit *n - 1* is signal *n*.
    pub ignored_signals: u64,
    /// Which of standard input, output and error are a terminal of the container's own. The others are the caller's.
    pub terminal: [bool; 3],
    /// Window size of the terminal, where the caller's does not decide.
    pub console_size: Option<WindowSize>,
}

/// User and group ids, as the container's user namespace numbers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
}

/// The five capability sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Limit on what exec may grant.
    pub bounding: CapSet,
    /// In force.
    pub effective: CapSet,
    /// Kept across exec of a file that has them inheritable.
    pub inheritable: CapSet,
    /// May be put in force.
    pub permitted: CapSet,
    /// Kept across exec of an ordinary file.
    pub ambient: CapSet,
}

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*`. Linux: include/uapi/asm-generic/resource.h.
    pub resource: u32,
    /// The limit in force; `u64::MAX` is none.
    pub soft: u64,
    /// How far it may be raised; `u64::MAX` is any.
    pub hard: u64,
}

/// The root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The directory on the host.
    pub path: PathBuf,
    /// Whether the guest sees it read-only.
    pub readonly: bool,
    /// Whether writes go to memory of the sandbox instead of the host's directory.
    pub overlay: bool,
}

impl Root {
    /// Whether anything is ever written to the host's directory.
    pub fn writes_to_host(&self) -> bool {
        !self.readonly && !self.overlay
    }
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A directory or file of the host, with the mounts below it if `recursive`.
    Bind {
        /// The path on the host, absolute.
        path: PathBuf,
        /// `rbind` rather than `bind`.
        recursive: bool,
    },
    /// A filesystem of the sentry's.
    Filesystem {
        /// `proc`, `tmpfs`, …, as mount(2) takes it.
        fstype: String,
        /// The device, as mount(2) takes it; only shown.
        source: String,
    },
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the container.
    pub destination: PathBuf,
    /// What is mounted there.
    pub source: MountSource,
    /// How.
    pub options: MountOptions,
}

/// What kind of device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `c` or `u`.
    Character,
    /// `b`.
    Block,
    /// `p`: a FIFO.
    Fifo,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Absolute path in the container.
    pub path: PathBuf,
    /// Kind.
    pub kind: DeviceKind,
    /// Major number; 0 for a FIFO.
    pub major: u32,
    /// Minor number; 0 for a FIFO.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One line of an id map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapping {
    /// First id in the namespace.
    pub container_id: u32,
    /// The id of the host that it stands for, as the caller's own namespace numbers it.
    pub host_id: u32,
    /// How many follow each other.
    pub size: u32,
}

/// A user namespace for a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserNamespaceSpec {
    /// `uid_map`.
    pub uid_mappings: Vec<IdMapping>,
    /// `gid_map`.
    pub gid_mappings: Vec<IdMapping>,
    /// `setgroups` is `deny`, as it must be on the host where nobody privileged has written the maps.
    pub setgroups_denied: bool,
}
