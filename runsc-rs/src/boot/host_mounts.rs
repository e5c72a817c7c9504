//! What the host's mounts in a tree forbid. A tree is one filesystem to the sandbox, whatever is mounted in it; so what
//! `nosuid`, `nodev` and `noexec` of those mounts forbid is learnt before the sentry sets flags of its own on all.

use anyhow::{Context, Result, anyhow};
use fs_vfs::MountFlags;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use platform_host::fs::{open_beneath, stat};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// `O_PATH`
const O_PATH: i32 = 0o10_000_000;

/// Mount points of this mount namespace.
#[derive(Debug)]
pub(super) struct HostMounts {
    points: Vec<PathBuf>,
}

/// Flags of a tree's mounts, those at its root and those of all by their ids.
#[derive(Debug, Default)]
pub struct TreeFlags {
    /// Of the mount the tree's root is on.
    pub root: MountFlags,
    /// Of mounts that have any, by the id statx(2) gives.
    pub by_id: HashMap<u64, MountFlags>,
}

/// A path in mountinfo: blanks and backslashes are written as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn flags_of(file: &OwnedFd) -> Result<MountFlags> {
    let seen = fstatvfs(file)?.flags();
    let known = [
        (FsFlags::ST_NOSUID, MountFlags::NOSUID),
        (FsFlags::ST_NODEV, MountFlags::NODEV),
        (FsFlags::ST_NOEXEC, MountFlags::NOEXEC),
    ];
    Ok(known.into_iter().filter(|(host, _)| seen.contains(*host)).map(|(_, flag)| flag).collect())
}

impl HostMounts {
    /// Those there are now.
    pub(super) fn read() -> Result<HostMounts> {
        let text = std::fs::read("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let points =
            text.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
        Ok(HostMounts { points: points.map(unescape).collect() })
    }

    /// What the mounts of `tree`, a copy of what is at `path`, forbid.
    pub(super) fn flags_in(&self, tree: &OwnedFd, path: &Path) -> Result<TreeFlags> {
        let mut found = TreeFlags { root: flags_of(tree)?, by_id: HashMap::new() };
        let mut note = |file: &OwnedFd| -> Result<()> {
            let flags = flags_of(file)?;
            if !flags.is_empty() {
                found
                    .by_id
                    .insert(stat(file.as_fd()).map_err(|e| anyhow!("statx: {}", e.message()))?.mnt_id, flags);
            }
            Ok(())
        };
        note(tree)?;
        let real = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
        for point in &self.points {
            let Ok(below) = point.strip_prefix(&real) else { continue };
            // A mount that is hidden by another is not in the tree's reach.
            if let Some(file) = descend(tree, below) {
                note(&file)?;
            }
        }
        Ok(found)
    }
}

/// The file at `path` beneath `tree`, on whatever is mounted there; none for the tree itself.
fn descend(tree: &OwnedFd, path: &Path) -> Option<OwnedFd> {
    let mut file = None;
    for name in path {
        let from = file.as_ref().unwrap_or(tree);
        file = Some(open_beneath(from.as_fd(), name.as_bytes(), O_PATH, 0).ok()?);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_paths_are_read() {
        assert_eq!(unescape(b"/a\\040b\\134c"), Path::new("/a b\\c"));
        assert_eq!(unescape(b"/plain\\"), Path::new("/plain\\"));
        assert_eq!(unescape(b"/a\\999"), Path::new("/a\\999"));
    }
}
