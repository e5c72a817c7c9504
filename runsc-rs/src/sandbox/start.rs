//! Starts the sentry's process.

use super::control::{Channel, Request};
use super::id_maps::IdMaps;
use super::owners::OwnersServer;
use super::process::Sandbox;
use super::signals::Signals;
use super::strace::{FilesServer, StraceLog};
use super::terminal::TerminalProxy;
use crate::boot::{self, BootConfig, BootFds, Options, StdioFd};
use crate::config::{Config, StraceSink};
use crate::container::ContainerSpec;
use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::CloneFlags;
use nix::unistd::{getegid, geteuid};
use platform_host::capability::effective_capabilities;
use platform_host::clone::{Cloned, clone_process};
use sentry_auth::CapSet;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// Starts a sandbox with one container. The caller's standard input, output and error become the container's.
///
/// The calling process has a single thread.
///
/// # Errors
/// When the host allows no namespaces, or the terminal that the specification asks for is missing.
pub fn start(mut spec: ContainerSpec, config: &Config) -> Result<Sandbox> {
    let (control, sentry_control) = Channel::pair()?;
    let (terminal, sentry_terminal, stdio) = stdio(&spec)?;
    let (strace, sentry_strace) = strace(config.strace.as_ref())?;
    let signals = Signals::hold()?;
    let options = Options { platform: config.platform, network: config.network };

    let wanted = wanted_id_maps(&spec, config.rootless);
    if let Some(user_namespace) = &mut spec.user_namespace {
        user_namespace.setgroups_denied = matches!(wanted, IdMaps::Single { .. });
    }
    let (owners, sentry_owners) = if wanted.show_all_owners() {
        (None, None)
    } else {
        OwnersServer::pair().map(|(server, client)| (Some(server), Some(client)))?
    };
    let memory = boot::available_memory();
    let (cloned, id_maps) = clone(wanted)?;
    match cloned {
        Cloned::Child => {
            signals.release();
            crate::log::reopen("boot");
            let fds = BootFds {
                control: sentry_control,
                stdio,
                terminal: sentry_terminal,
                strace: sentry_strace,
                owners: sentry_owners,
            };
            boot::boot(BootConfig { spec, options, id_maps, memory }, fds)
        }
        Cloned::Parent { pid, pidfd } => {
            tracing::debug!(%pid, ?id_maps, "the sentry's process has started");
            // The other ends are the sentry's alone from now on, so that its death is seen on ours.
            drop((sentry_control, sentry_terminal, stdio, sentry_strace, sentry_owners));
            let mut sandbox = Sandbox::new(pid, pidfd, control, signals, strace, owners);
            if id_maps.write_from_outside(pid.as_raw())? {
                sandbox.request(&Request::IdsMapped)?;
            }
            if let Some(terminal) = terminal {
                sandbox.connect_terminal(terminal)?;
            }
            Ok(sandbox)
        }
    }
}

/// The ids the sentry is to have, before the host has been asked.
fn wanted_id_maps(spec: &ContainerSpec, rootless: bool) -> IdMaps {
    // What the host asks of whoever maps ids that are not its own, 0 among them. Linux: `new_idmap_permitted` and
    // `verify_root_map` (6.1).
    let needed = CapSet::SETUID | CapSet::SETGID | CapSet::SETFCAP;
    let held = CapSet::from_bits_truncate(effective_capabilities().unwrap_or(0));
    if held.contains(needed) && !rootless {
        IdMaps::Identity
    } else {
        IdMaps::unprivileged(spec.user_namespace.as_ref(), geteuid().as_raw(), getegid().as_raw())
    }
}

fn clone(wanted: IdMaps) -> Result<(Cloned, IdMaps)> {
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    // SAFETY: the command is single-threaded, which `start` asks of its caller.
    match unsafe { clone_process(namespaces | CloneFlags::CLONE_NEWUSER) } {
        Ok(cloned) => Ok((cloned, wanted)),
        Err(Errno::EPERM | Errno::ENOSPC | Errno::EUSERS | Errno::EINVAL) if geteuid().is_root() => {
            tracing::debug!("no user namespace to be had; root needs none");
            // SAFETY: as above.
            let cloned = unsafe { clone_process(namespaces) }.map_err(no_namespaces)?;
            Ok((cloned, IdMaps::NoNamespace))
        }
        Err(e) => Err(no_namespaces(e)),
    }
}

fn no_namespaces(errno: Errno) -> anyhow::Error {
    anyhow!(
        "the host does not let this user make namespaces ({}); see user.max_user_namespaces, \
         kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns in sysctl(8)",
        errno.desc()
    )
}

type Stdio = (Option<TerminalProxy>, Option<boot::Terminal>, [StdioFd; 3]);

fn stdio(spec: &ContainerSpec) -> Result<Stdio> {
    let [stdin, stdout, stderr] = spec.process.terminal;
    let one = |on_terminal: bool, fd: BorrowedFd<'_>| {
        if on_terminal { Ok(StdioFd::Terminal) } else { duplicate(fd).map(StdioFd::Host) }
    };
    let fds = [
        one(stdin, std::io::stdin().as_fd())?,
        one(stdout, std::io::stdout().as_fd())?,
        one(stderr, std::io::stderr().as_fd())?,
    ];
    if !spec.process.terminal.contains(&true) {
        return Ok((None, None, fds));
    }
    let (proxy, terminal) = TerminalProxy::open(spec.process.console_size)?;
    Ok((Some(proxy), Some(terminal), fds))
}

/// A duplicate outside the range of the standard descriptors, which the sentry puts to other uses.
fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    let fd = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(3)).context("fcntl(F_DUPFD_CLOEXEC)")?;
    // SAFETY: the descriptor has just been made; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn strace(sink: Option<&StraceSink>) -> Result<(Option<FilesServer>, Option<StraceLog>)> {
    Ok(match sink {
        None => (None, None),
        Some(StraceSink::Stderr) => (None, Some(StraceLog::Stderr(duplicate(std::io::stderr().as_fd())?))),
        Some(StraceSink::Files(prefix)) => {
            let (server, log) = FilesServer::pair(prefix.clone())?;
            (Some(server), Some(log))
        }
    })
}
