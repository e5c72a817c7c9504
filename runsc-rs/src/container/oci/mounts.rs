//! The `root` and `mounts` sections.

use crate::config::Overlay;
use crate::container::mount_options::{MountOptions, flags};
use crate::container::{Mount, MountSource, Root};
use anyhow::{Result, bail};
use oci_spec::runtime as oci;
use std::path::Path;

pub(super) fn root(root: &oci::Root, bundle: &Path, overlay: Overlay) -> Result<Root> {
    let path = std::path::absolute(bundle.join(root.path()))?;
    if !path.is_dir() {
        bail!("root.path: expected a directory, found none at {}", path.display());
    }
    Ok(Root { path, readonly: root.readonly().unwrap_or(false), overlay: overlay == Overlay::Memory })
}

pub(super) fn mounts(mounts: &[oci::Mount], bundle: &Path) -> Result<Vec<Mount>> {
    mounts.iter().enumerate().map(|(at, mount)| convert(mount, at, bundle)).collect()
}

fn convert(mount: &oci::Mount, at: usize, bundle: &Path) -> Result<Mount> {
    if mount.uid_mappings().is_some() || mount.gid_mappings().is_some() {
        bail!("mounts[{at}].uidMappings: not supported by this version");
    }
    let mut options = MountOptions::parse(mount.options().as_deref().unwrap_or_default());
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let is_bind = fstype == "bind" || options.flags & flags::MS_BIND != 0;
    let source = if is_bind {
        let recursive = options.flags & flags::MS_REC != 0;
        options.flags &= !(flags::MS_BIND | flags::MS_REC);
        let Some(source) = mount.source().as_ref().filter(|source| !source.as_os_str().is_empty()) else {
            bail!("mounts[{at}].source: missing");
        };
        let path = std::path::absolute(bundle.join(source))?;
        if !path.exists() {
            bail!("mounts[{at}].source: expected a file or directory, found none at {}", path.display());
        }
        MountSource::Bind { path, recursive }
    } else {
        if fstype.is_empty() {
            bail!("mounts[{at}].type: missing");
        }
        let source = mount.source().as_ref().map(|source| source.to_string_lossy().into_owned());
        MountSource::Filesystem {
            fstype: fstype.to_owned(),
            source: source.unwrap_or_else(|| fstype.to_owned()),
        }
    };
    // A relative destination is an old custom; runc takes it from the root too.
    Ok(Mount { destination: Path::new("/").join(mount.destination()), source, options })
}
