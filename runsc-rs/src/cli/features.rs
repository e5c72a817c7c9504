//! `runsc-rs features`: what the runtime supports, as JSON. runtime-spec: features.md.

use crate::config::PlatformKind;
use crate::container::mount_options::MountOptions;
use crate::sandbox::ExitStatus;
use anyhow::Result;
use sentry_auth::CapSet;
use serde_json::json;
use std::io::Write;

/// Show what is supported, as JSON.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run() -> Result<ExitStatus> {
    let capabilities: Vec<String> =
        CapSet::all().iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": oci_spec::runtime::VERSION,
        "hooks": [],
        "mountOptions": MountOptions::names().collect::<Vec<_>>(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": {"v1": false, "v2": false, "systemd": false, "systemdUser": false},
            "seccomp": {"enabled": false},
            "apparmor": {"enabled": false},
            "selinux": {"enabled": false},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": false}},
        },
        "annotations": {"runsc-rs.platforms": PlatformKind::NAMES.join(",")},
        "potentiallyUnsafeConfigAnnotations": [],
    });
    writeln!(std::io::stdout(), "{features:#}")?;
    Ok(ExitStatus::Exited(0))
}
