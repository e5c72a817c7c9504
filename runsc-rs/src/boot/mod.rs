//! The sentry's process, from clone(2) to the guest's first instruction.
//!
//! The process is a plain copy of the command in new namespaces: nothing is executed anew, so the configuration is
//! already in its memory and the cost of a dynamic program's start is paid once.

pub mod confine;
mod fds;
mod files;
pub mod filter;
mod host_mounts;
mod identity;
mod init;
pub mod kernel;
mod memory;
mod memory_file;
mod platform;
pub mod root;
mod terminal;
mod tracer;
mod violation;

use crate::config::{Network, PlatformKind};
use crate::container::ContainerSpec;
use crate::sandbox::ExitStatus;
use crate::sandbox::control::{Channel, ControlChannel, FailureKind, Request};
use crate::sandbox::id_maps::IdMaps;
use crate::sandbox::owners::Owners;
use crate::sandbox::strace::StraceLog;
use anyhow::{Context, Result, bail};
use confine::Confinement;
pub use memory::OomScore;
pub(crate) use memory::available as available_memory;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use platform_host::tty::WindowSize;
use platform_kvm::KvmDevice;
use root::HostTrees;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// What the sentry needs to know beside the container.
#[derive(Clone, Debug)]
pub struct Options {
    /// The back-end.
    pub platform: PlatformKind,
    /// The network.
    pub network: Network,
}

/// Where one of standard input, output and error leads.
#[derive(Debug)]
pub enum StdioFd {
    /// To an open file of the host: a regular file, a pipe, a socket, a terminal, a device. Its open file description
    /// is shared with the caller: its flags must stay as they are.
    Host(OwnedFd),
    /// To the container's terminal.
    Terminal,
}

/// The other side of the container's terminal: what is written to the pty goes to the stream, and what comes from the
/// stream is typed into the pty.
#[derive(Debug)]
pub struct Terminal {
    /// A connected stream socket. Its end means that the caller's terminal has hung up.
    pub stream: OwnedFd,
    /// The window size at the start.
    pub size: WindowSize,
}

/// The descriptors the kernel is given.
#[derive(Debug)]
pub struct Io {
    /// Standard input, output and error.
    pub stdio: [StdioFd; 3],
    /// The terminal, if there is one.
    pub terminal: Option<Terminal>,
    /// The host's directories.
    pub trees: HostTrees,
    /// The trace of system calls, if there is to be one.
    pub strace: Option<StraceLog>,
    /// Who really owns a host file, where the sentry's user namespace hides it.
    pub owners: Option<Owners>,
    /// The host's `/proc/cpuinfo`: the same processors run the guest.
    pub cpuinfo: Vec<u8>,
    /// Memory that guests may hope for, in bytes.
    pub memory: u64,
    /// Where the host's OOM killer is told whom to take first.
    pub oom_score: Option<OomScore>,
    /// An empty file with huge pages for them, if the host has some.
    pub huge: Option<OwnedFd>,
    /// The host's `/dev/kvm`, if that may be used.
    pub kvm: Option<KvmDevice>,
}

/// A guest program that cannot be started. To be found in the error of [`kernel::run`]; it decides the exit status of
/// the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// There is no such program.
    NotFound(String),
    /// The program cannot be executed, and why.
    CannotExecute(String, String),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::NotFound(program) if program.contains('/') => {
                write!(f, "exec: {program:?}: no such file or directory")
            }
            CommandError::NotFound(program) => {
                write!(f, "exec: {program:?}: executable file not found in $PATH")
            }
            CommandError::CannotExecute(program, why) => write!(f, "exec: {program:?}: {why}"),
        }
    }
}

impl std::error::Error for CommandError {}

/// What the sentry is started with.
#[derive(Debug)]
pub(crate) struct BootConfig {
    pub(crate) spec: ContainerSpec,
    pub(crate) options: Options,
    pub(crate) id_maps: IdMaps,
    /// Memory that guests may hope for, in bytes.
    pub(crate) memory: u64,
}

/// The descriptors the sentry is started with.
#[derive(Debug)]
pub(crate) struct BootFds {
    pub(crate) control: Channel,
    pub(crate) stdio: [StdioFd; 3],
    pub(crate) terminal: Option<Terminal>,
    pub(crate) strace: Option<StraceLog>,
    pub(crate) owners: Option<Owners>,
}

/// Runs the sentry in the process that the command has just cloned, and ends that process.
pub(crate) fn boot(config: BootConfig, fds: BootFds) -> ! {
    let BootFds { control, stdio, terminal, strace, owners } = fds;
    let control = Arc::new(ControlChannel::new(control));
    end_on_panic(Arc::clone(&control));
    let cpuinfo = std::fs::read("/proc/cpuinfo").unwrap_or_default();
    let (memory, oom_score) = (config.memory, OomScore::open());
    let io = |trees, huge, kvm| Io {
        stdio,
        terminal,
        trees,
        strace,
        owners,
        cpuinfo,
        memory,
        huge,
        oom_score,
        kvm,
    };
    // When the command is gone, there is nobody left to tell.
    let _ = match run(config, io, &control) {
        Ok(status) => control.exited(status),
        Err(error) => control.failed(kind_of(&error), &format!("{error:#}")),
    };
    violation::exit_now(0)
}

/// Makes a panic, on whatever thread, the end of the sandbox: what the kernel knows can no longer be trusted.
fn end_on_panic(control: Arc<ControlChannel>) {
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let _ = control.failed(FailureKind::Runtime, &format!("the sentry panicked at {place}: {message}"));
        violation::exit_now(1)
    }));
}

fn kind_of(error: &anyhow::Error) -> FailureKind {
    match error.downcast_ref::<CommandError>() {
        Some(CommandError::NotFound(_)) => FailureKind::NotFound,
        Some(CommandError::CannotExecute(..)) => FailureKind::CannotExecute,
        None => FailureKind::Runtime,
    }
}

fn run(
    config: BootConfig,
    io: impl FnOnce(HostTrees, Option<OwnedFd>, Option<KvmDevice>) -> Io,
    control: &Arc<ControlChannel>,
) -> Result<ExitStatus> {
    let BootConfig { spec, options, id_maps, .. } = config;
    die_with_parent(control)?;
    nix::unistd::setsid().context("setsid")?;
    settle_ids(&id_maps, control)?;

    let kvm = platform::open_kvm(options.platform)?;
    root::make_private()?;
    let huge = memory_file::open_huge();
    let trees = root::open_trees(&spec)?;
    fds::redirect_standard_input_and_output()?;
    root::pivot_to_empty()?;
    let io = io(trees, huge, kvm);
    fds::close_others(&io, control)?;
    confine::raise_file_limit();

    confine::drop_rights(&spec, !matches!(id_maps, IdMaps::Single { .. }))?;
    tracing::debug!(args = ?spec.process.args, ?options, "set up; starting the kernel");
    let confinement = Confinement::new(&spec, &io, control);
    kernel::run(spec, io, control, &options, confinement)
}

/// Makes the host kill this process with its parent. Both are needed: the signal for a parent that dies later, the look
/// at the socket for one that was gone before.
fn die_with_parent(control: &ControlChannel) -> Result<()> {
    prctl::set_name(c"runsc-rs-boot").context("prctl")?;
    prctl::set_pdeathsig(Signal::SIGKILL).context("prctl(PR_SET_PDEATHSIG)")?;
    let mut peer = [0u8; 1];
    let flags = nix::sys::socket::MsgFlags::MSG_PEEK | nix::sys::socket::MsgFlags::MSG_DONTWAIT;
    match nix::sys::socket::recv(std::os::fd::AsFd::as_fd(control).as_raw_fd(), &mut peer, flags) {
        Ok(0) => bail!("the command is gone"),
        Ok(_) | Err(Errno::EAGAIN) => Ok(()),
        Err(e) => Err(e).context("control socket"),
    }
}

fn settle_ids(id_maps: &IdMaps, control: &ControlChannel) -> Result<()> {
    match *id_maps {
        IdMaps::NoNamespace => Ok(()),
        IdMaps::Single { uid, gid } => IdMaps::write_single(uid, gid),
        IdMaps::Identity | IdMaps::Ranges { .. } => match control.recv()? {
            Some(Request::IdsMapped) => Ok(()),
            _ => bail!("the command is gone"),
        },
    }
}
