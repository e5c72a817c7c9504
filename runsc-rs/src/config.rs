//! What the global flags come to. gVisor: runsc/config.

use anyhow::{Result, bail};
use std::path::PathBuf;
use std::str::FromStr;

/// The back-end that runs guest code (`--platform`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlatformKind {
    /// The fastest that works on this host.
    Auto,
    /// A virtual machine.
    Kvm,
    /// Stub processes under ptrace(2).
    Ptrace,
    /// Stub processes whose system calls raise signals, handed over through shared memory.
    Systrap,
}

impl PlatformKind {
    /// The names of the back-ends there are, in the order in which `auto` tries them.
    pub const NAMES: [&str; 3] = ["kvm", "systrap", "ptrace"];
}

impl FromStr for PlatformKind {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<PlatformKind> {
        match name {
            "auto" => Ok(PlatformKind::Auto),
            "ptrace" => Ok(PlatformKind::Ptrace),
            "systrap" => Ok(PlatformKind::Systrap),
            "kvm" => Ok(PlatformKind::Kvm),
            _ => bail!("--platform={name}: expected auto, ptrace, systrap or kvm"),
        }
    }
}

/// What the guest sees of a network (`--network`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A loopback interface only.
    None,
    /// The sandbox's own network stack: a loopback interface, and an Ethernet interface that nothing is connected to as yet.
    Sandbox,
}

impl FromStr for Network {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Network> {
        match name {
            "none" => Ok(Network::None),
            "sandbox" => Ok(Network::Sandbox),
            "host" => {
                bail!("--network=host: not built into this version; use --network=none or --network=sandbox")
            }
            _ => bail!("--network={name}: expected none, sandbox or host"),
        }
    }
}

/// Where writes to a container's root go (`--overlay2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// To the root itself.
    None,
    /// To memory of the sandbox, laid over the root.
    Memory,
}

impl FromStr for Overlay {
    type Err = anyhow::Error;

    fn from_str(value: &str) -> Result<Overlay> {
        match value {
            "none" => Ok(Overlay::None),
            "root:memory" | "all:memory" | "root:self" => Ok(Overlay::Memory),
            _ => bail!("--overlay2={value}: expected none or root:memory"),
        }
    }
}

/// Where the trace of system calls goes (`--strace`, `--strace-log`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StraceSink {
    /// All processes to standard error.
    Stderr,
    /// Each process to a file of its own, whose name is this and `.PID`.
    Files(PathBuf),
}

/// The global flags, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The back-end.
    pub platform: PlatformKind,
    /// The network.
    pub network: Network,
    /// The overlay of a bundle's root.
    pub overlay: Overlay,
    /// The trace of system calls, if there is to be one.
    pub strace: Option<StraceSink>,
    /// Directory with a directory per container.
    pub root: PathBuf,
    /// Use no privilege on the host, even if the caller has some.
    pub rootless: bool,
}
