//! The `linux` section.
//!
//! Not applied: `resources` and `cgroupsPath` (the sentry stays in its caller's cgroup), `seccomp` (as gVisor by default:
//! the sandbox's own confinement does not depend on it), `mountLabel`, `intelRdt`, `personality`.

use crate::container::{Device, DeviceKind, IdMapping, UserNamespaceSpec, devices};
use anyhow::{Result, bail};
use oci_spec::runtime::{self as oci, LinuxDeviceType, LinuxNamespaceType};
use std::path::{Path, PathBuf};

/// The devices every container has, and then the section's own, which replace those of the same path.
pub(super) fn devices(linux: &oci::Linux) -> Result<Vec<Device>> {
    let mut all = devices::defaults();
    for (at, device) in linux.devices().iter().flatten().enumerate() {
        let device = convert_device(device, at)?;
        all.retain(|other| other.path != device.path);
        all.push(device);
    }
    Ok(all)
}

fn convert_device(device: &oci::LinuxDevice, at: usize) -> Result<Device> {
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Character,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => bail!("linux.devices[{at}].type: expected c, u, b or p, found \"a\""),
    };
    absolute(device.path(), || format!("linux.devices[{at}].path"))?;
    let number = |number: i64, name: &str| match u32::try_from(number) {
        Ok(number) => Ok(number),
        Err(_) => bail!("linux.devices[{at}].{name}: expected an unsigned 32-bit number, found {number}"),
    };
    let (major, minor) = match kind {
        DeviceKind::Fifo => (0, 0),
        _ => (number(device.major(), "major")?, number(device.minor(), "minor")?),
    };
    Ok(Device {
        path: device.path().clone(),
        kind,
        major,
        minor,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

/// A list of absolute paths.
pub(super) fn paths(paths: Option<&[String]>, place: &str) -> Result<Vec<PathBuf>> {
    let paths = paths.unwrap_or_default().iter().map(PathBuf::from).enumerate();
    paths
        .map(|(at, path)| {
            absolute(&path, || format!("{place}[{at}]"))?;
            Ok(path)
        })
        .collect()
}

fn absolute(path: &Path, place: impl Fn() -> String) -> Result<()> {
    if !path.is_absolute() {
        bail!("{}: expected an absolute path, found {:?}", place(), path.display().to_string());
    }
    Ok(())
}

/// Sorted, so that what happens does not depend on a hash.
pub(super) fn sysctl(linux: &oci::Linux) -> Vec<(String, String)> {
    let mut sysctl: Vec<_> = linux.sysctl().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    sysctl.sort();
    sysctl
}

/// Every container has namespaces of its own in the sandbox, so only the user namespace makes a difference.
pub(super) fn user_namespace(linux: &oci::Linux) -> Result<Option<UserNamespaceSpec>> {
    let mut wanted = false;
    for (at, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let kind = namespace.typ();
        // The sandbox has its own network stack, whatever namespace its process would have been put in.
        if namespace.path().is_some() && kind != LinuxNamespaceType::Network {
            bail!("linux.namespaces[{at}].path: joining a namespace is not supported by this version");
        }
        wanted |= kind == LinuxNamespaceType::User;
    }
    let uid_mappings = mappings(linux.uid_mappings().as_deref(), wanted, "linux.uidMappings")?;
    let gid_mappings = mappings(linux.gid_mappings().as_deref(), wanted, "linux.gidMappings")?;
    Ok(wanted.then_some(UserNamespaceSpec { uid_mappings, gid_mappings, setgroups_denied: false }))
}

fn mappings(mappings: Option<&[oci::LinuxIdMapping]>, wanted: bool, place: &str) -> Result<Vec<IdMapping>> {
    let mappings = mappings.unwrap_or_default();
    if wanted && mappings.is_empty() {
        bail!("{place}: expected at least one mapping, found none");
    }
    if !wanted && !mappings.is_empty() {
        bail!("{place}: expected a user namespace in linux.namespaces, found none");
    }
    let convert = |(at, mapping): (usize, &oci::LinuxIdMapping)| {
        let (container_id, host_id, size) = (mapping.container_id(), mapping.host_id(), mapping.size());
        if size == 0 || container_id.checked_add(size).is_none() || host_id.checked_add(size).is_none() {
            bail!("{place}[{at}]: expected a range of ids, found {size} from {container_id} and {host_id}");
        }
        Ok(IdMapping { container_id, host_id, size })
    };
    mappings.iter().enumerate().map(convert).collect()
}
