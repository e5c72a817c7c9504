//! How much memory of the host guests may use, and who goes first when the host has none left.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// What the sentry itself needs of a control group's memory, in bytes.
const RESERVE: u64 = 16 << 20;

/// The process's own `/proc/self/oom_score_adj`, opened while there is a `/proc`.
#[derive(Debug)]
pub struct OomScore(File);

impl OomScore {
    pub(super) fn open() -> Option<OomScore> {
        File::options().read(true).write(true).open("/proc/self/oom_score_adj").ok().map(OomScore)
    }

    /// Makes stubs in `make`, such that the host's OOM killer takes any of them before the sentry: the guest process
    /// behind it is then killed, and its memory freed.
    pub(super) fn of_stubs<T>(&mut self, make: impl FnOnce() -> T) -> T {
        let mut own = String::new();
        if self.0.read_to_string(&mut own).is_err() || self.write("1000").is_err() {
            return make();
        }
        let made = make();
        if let Err(error) = self.write(own.trim()) {
            tracing::debug!("oom_score_adj: {error}");
        }
        made
    }

    fn write(&mut self, value: &str) -> std::io::Result<()> {
        self.0.rewind()?;
        self.0.write_all(value.as_bytes())
    }
}

impl AsFd for OomScore {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Memory in bytes that guests may hope for: the host's, or what the control groups of this process leave of it. Looks
/// at `/proc` and `/sys/fs/cgroup`: to be called before namespaces are entered.
pub(crate) fn available() -> u64 {
    let host = nix::sys::sysinfo::sysinfo().map_or(u64::MAX, |info| info.ram_total());
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = limit_of_groups(&groups, Path::new("/sys/fs/cgroup"));
    limit.map_or(host, |limit| host.min(limit.saturating_sub(RESERVE).max(RESERVE)))
}

/// The smallest limit of the groups that `/proc/self/cgroup` names and of those above them, both versions.
fn limit_of_groups(groups: &str, mount: &Path) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = if controllers.is_empty() {
            (mount.to_path_buf(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (mount.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // In a container the path may lead outside of what is mounted; its own group is then the mount itself.
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            let text = fs::read_to_string(root.join(group).join(file)).unwrap_or_default();
            if let Ok(limit) = text.trim().parse::<u64>() {
                least = Some(least.map_or(limit, |least: u64| least.min(limit)));
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/memory.max", "300\n");
        write("a/b/memory.max", "max\n");
        write("memory/x/memory.limit_in_bytes", "200\n");
        let limit = |groups| limit_of_groups(groups, dir.path());
        assert_eq!(limit("0::/a/b\n"), Some(300));
        assert_eq!(limit("0::/\n"), None);
        assert_eq!(limit("0::/a\n7:cpu,memory:/x\n1:name=systemd:/a\n"), Some(200));
        assert_eq!(limit("nonsense\n::\n"), None);
    }
}
