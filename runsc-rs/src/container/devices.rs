//! What every container finds in `/dev`. runtime-spec: config-linux.md, "Default Devices" and "Dev symbolic links".

use super::{Device, DeviceKind};
use std::path::PathBuf;

/// The device nodes.
pub fn defaults() -> Vec<Device> {
    // Numbers: Documentation/admin-guide/devices.txt.
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
        .into_iter()
        .map(|(name, major, minor)| Device {
            path: PathBuf::from("/dev").join(name),
            kind: DeviceKind::Character,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect()
}

/// The symbolic links: path and target.
pub fn default_symlinks() -> Vec<(PathBuf, PathBuf)> {
    [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ]
    .into_iter()
    .map(|(name, target)| (PathBuf::from("/dev").join(name), PathBuf::from(target)))
    .collect()
}
