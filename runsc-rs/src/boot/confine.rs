//! What the sentry gives up for good before it runs guest code.
//!
//! Namespaces and the empty root come first, and belong to `boot`; here go capabilities, the right to gain any
//! (`no_new_privs`), and every system call the sentry does not need.

use super::{Io, filter, violation};
use crate::container::{ContainerSpec, MountSource};
use crate::sandbox::control::ControlChannel;
use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use platform_host::capability::drop_capabilities;
use sentry_auth::CapSet;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// The confinement a sentry is going to enter.
#[derive(Debug)]
#[must_use = "guest code may only run in confinement"]
pub struct Confinement {
    capabilities: CapSet,
    /// The sockets messages are exchanged on.
    sockets: Vec<RawFd>,
    control: RawFd,
    /// Whether host files may be created, changed and removed.
    writes_to_host: bool,
}

impl Confinement {
    /// The confinement for a container. `privileged` says whether the sentry has the capabilities of root over the
    /// host's files to begin with.
    pub(super) fn new(
        spec: &ContainerSpec,
        io: &Io,
        control: &ControlChannel,
        privileged: bool,
    ) -> Confinement {
        let writable_bind = |mount: &crate::container::Mount| {
            matches!(mount.source, MountSource::Bind { .. }) && !mount.options.readonly()
        };
        let writes_to_host = spec.root.writes_to_host() || spec.mounts.iter().any(writable_bind);
        let control = control.as_fd().as_raw_fd();
        let mut sockets = vec![control];
        sockets.extend(io.strace.iter().map(|strace| strace.as_fd().as_raw_fd()));
        Confinement {
            capabilities: kept_capabilities(privileged, writes_to_host),
            sockets,
            control,
            writes_to_host,
        }
    }

    /// Enters it, with all threads there are and will be. There is no way back.
    ///
    /// # Errors
    /// When the host refuses a part; the sentry must not go on then.
    pub fn enter(self) -> Result<()> {
        violation::install(self.control);
        drop_capabilities(self.capabilities.bits()).context("cannot drop capabilities")?;
        prctl::set_no_new_privs().context("prctl(PR_SET_NO_NEW_PRIVS)")?;
        // Dropping capabilities may have made the process undumpable, and its children untraceable with it.
        prctl::set_dumpable(true).context("prctl(PR_SET_DUMPABLE)")?;
        filter::install(&filter::Needs { sockets: &self.sockets, writes_to_host: self.writes_to_host })
            .context("cannot install the seccomp filter")
    }
}

/// The kernel checks file permissions itself, for ids of the guest. So it needs to get past the host's checks for its
/// own: to read whatever root may read and, only where the guest can write to the host, to do so in anybody's name.
fn kept_capabilities(privileged: bool, writes_to_host: bool) -> CapSet {
    match (privileged, writes_to_host) {
        (false, _) => CapSet::empty(),
        (true, false) => CapSet::DAC_READ_SEARCH,
        (true, true) => {
            CapSet::DAC_READ_SEARCH | CapSet::DAC_OVERRIDE | CapSet::CHOWN | CapSet::FOWNER | CapSet::FSETID
        }
    }
}

/// Raises the limit on descriptors as far as it goes: a guest's open host files and stubs all take some.
pub(super) fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Staying with less is no reason to stop.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
