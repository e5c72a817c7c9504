//! The `process` section.

use crate::container::{Capabilities, Process, Rlimit, User};
use anyhow::{Result, bail};
use nix::sys::resource::Resource;
use oci_spec::runtime::{self as oci, PosixRlimitType};
use platform_host::tty::WindowSize;
use sentry_auth::CapSet;
use std::collections::HashSet;
use std::ffi::CString;

/// Mask of a process whose specification names none.
const DEFAULT_UMASK: u32 = 0o022;

pub(super) fn process(process: &oci::Process) -> Result<Process> {
    let args = strings(process.args().as_deref(), "process.args")?;
    if args.is_empty() {
        bail!("process.args: expected at least one argument, found none");
    }
    let env = strings(process.env().as_deref(), "process.env")?;
    if let Some((at, variable)) =
        env.iter().enumerate().find(|(_, variable)| !variable.as_bytes().contains(&b'='))
    {
        bail!("process.env[{at}]: expected NAME=value, found {:?}", variable.to_string_lossy());
    }
    let cwd = process.cwd().clone();
    if !cwd.is_absolute() {
        bail!("process.cwd: expected an absolute path, found {:?}", cwd.display().to_string());
    }
    let user = process.user();
    Ok(Process {
        args,
        env,
        cwd,
        user: User {
            uid: user.uid(),
            gid: user.gid(),
            additional_gids: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask().unwrap_or(DEFAULT_UMASK) & 0o777,
        },
        capabilities: process.capabilities().as_ref().map(capabilities).unwrap_or_default(),
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default())?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: process.oom_score_adj(),
        ignored_signals: 0,
        terminal: [process.terminal().unwrap_or(false); 3],
        console_size: console_size(process)?,
    })
}

fn strings(strings: Option<&[String]>, path: &str) -> Result<Vec<CString>> {
    let strings = strings.unwrap_or_default().iter().enumerate();
    strings
        .map(|(at, text)| match CString::new(text.as_str()) {
            Ok(text) => Ok(text),
            Err(_) => bail!("{path}[{at}]: expected a string without NUL, found {text:?}"),
        })
        .collect()
}

fn console_size(process: &oci::Process) -> Result<Option<WindowSize>> {
    let Some(size) = process.console_size() else { return Ok(None) };
    match (u16::try_from(size.height()), u16::try_from(size.width())) {
        (Ok(rows), Ok(cols)) => Ok(Some(WindowSize { rows, cols })),
        _ => bail!("process.consoleSize: expected at most 65535, found {}x{}", size.height(), size.width()),
    }
}

fn capabilities(sets: &oci::LinuxCapabilities) -> Capabilities {
    let set = |set: &Option<HashSet<oci::Capability>>| set.as_ref().map(cap_set).unwrap_or_default();
    Capabilities {
        bounding: set(sets.bounding()),
        effective: set(sets.effective()),
        inheritable: set(sets.inheritable()),
        permitted: set(sets.permitted()),
        ambient: set(sets.ambient()),
    }
}

fn cap_set(set: &HashSet<oci::Capability>) -> CapSet {
    // Both sides use Linux's names, without the prefix.
    set.iter().filter_map(|cap| CapSet::from_name(&cap.to_string())).collect()
}

fn rlimits(rlimits: &[oci::PosixRlimit]) -> Result<Vec<Rlimit>> {
    let mut seen = HashSet::new();
    let mut converted = Vec::with_capacity(rlimits.len());
    for (at, rlimit) in rlimits.iter().enumerate() {
        let (soft, hard) = (rlimit.soft(), rlimit.hard());
        if soft > hard {
            bail!("process.rlimits[{at}]: expected soft at most hard, found {soft} and {hard}");
        }
        let resource = resource(rlimit.typ()) as u32;
        if !seen.insert(resource) {
            bail!("process.rlimits[{at}].type: {} is there twice", rlimit.typ());
        }
        converted.push(Rlimit { resource, soft, hard });
    }
    Ok(converted)
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => Resource::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => Resource::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => Resource::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => Resource::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => Resource::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => Resource::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => Resource::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => Resource::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => Resource::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => Resource::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_its_namesake() {
        for (name, flag) in CapSet::all().iter_names() {
            let cap: oci::Capability = serde_json::from_value(format!("CAP_{name}").into()).unwrap();
            assert_eq!(cap_set(&[cap].into()), flag, "{name}");
        }
    }
}
