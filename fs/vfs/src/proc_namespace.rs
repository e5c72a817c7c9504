//! Linux: fs/proc_namespace.c. A line each of `/proc/[pid]/mountinfo`, `mounts` and `mountstats`.

use crate::d_path::{d_absolute_below, dentry_path};
use crate::{Mount, MountFlags, Path};
use sentry_uapi::stat::{major, minor};
use std::io::Write;
use std::sync::Arc;

/// Appends `bytes` with those of `special`, and backslash, as octal escapes. Linux: `mangle_path`.
fn mangle(out: &mut Vec<u8>, bytes: &[u8], special: &[u8]) {
    for byte in bytes {
        if special.contains(byte) || *byte == b'\\' {
            out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
        } else {
            out.push(*byte);
        }
    }
}

const PATH_SPECIAL: &[u8] = b" \t\n";
const NAME_SPECIAL: &[u8] = b" \t\n#";

/// Linux: `show_mnt_opts`.
fn mount_options(mnt: &Mount) -> String {
    let flags = mnt.flags();
    let names = [
        (MountFlags::NOSUID, ",nosuid"),
        (MountFlags::NODEV, ",nodev"),
        (MountFlags::NOEXEC, ",noexec"),
        (MountFlags::NOATIME, ",noatime"),
        (MountFlags::NODIRATIME, ",nodiratime"),
        (MountFlags::RELATIME, ",relatime"),
        (MountFlags::NOSYMFOLLOW, ",nosymfollow"),
    ];
    names.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect()
}

fn ro_rw(read_only: bool) -> &'static str {
    if read_only { "ro" } else { "rw" }
}

fn mountpoint_below(mnt: &Arc<Mount>, root: &Path) -> Option<Vec<u8>> {
    d_absolute_below(&Path { mnt: mnt.clone(), dentry: mnt.root.clone() }, root)
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector does not fail.
    let _ = out.write_fmt(text);
}

/// The group nearest to `mnt` among those it receives from that has a member below `root`. Linux: `get_dominating_id`.
fn dominating_id(mnt: &Mount, root: &Path) -> Option<u64> {
    let mut master = mnt.master();
    while let Some(group) = master {
        let reachable = |m: &Arc<Mount>| Path { mnt: m.clone(), dentry: m.root.clone() }.is_under(root);
        if group.peers().iter().any(reachable) {
            return Some(group.id);
        }
        master = group.master();
    }
    None
}

/// A line of mountinfo, for a task with this root; none for a mount it cannot reach. Linux: `show_mountinfo`.
pub fn show_mountinfo(mnt: &Arc<Mount>, root: &Path) -> Option<Vec<u8>> {
    let mountpoint = mountpoint_below(mnt, root)?;
    let sb = &mnt.sb;
    let parent = mnt.parent().map_or(mnt.id, |(p, _)| p.id);
    let mut out = Vec::new();
    append(&mut out, format_args!("{} {parent} {}:{} ", mnt.id, major(sb.dev), minor(sb.dev)));
    mangle(&mut out, &dentry_path(&mnt.root), PATH_SPECIAL);
    out.push(b' ');
    mangle(&mut out, &mountpoint, PATH_SPECIAL);
    let read_only = mnt.flags().contains(MountFlags::READONLY);
    append(&mut out, format_args!(" {}{}", ro_rw(read_only), mount_options(mnt)));
    if let Some(group) = mnt.group() {
        append(&mut out, format_args!(" shared:{}", group.id));
    }
    if let Some(master) = mnt.master() {
        append(&mut out, format_args!(" master:{}", master.id));
        if let Some(from) = dominating_id(mnt, root).filter(|from| *from != master.id) {
            append(&mut out, format_args!(" propagate_from:{from}"));
        }
    }
    if mnt.flags().contains(MountFlags::UNBINDABLE) {
        out.extend_from_slice(b" unbindable");
    }
    out.extend_from_slice(b" - ");
    mangle(&mut out, sb.fs_type.as_bytes(), NAME_SPECIAL);
    out.push(b' ');
    mangle(&mut out, &mnt.source, NAME_SPECIAL);
    append(&mut out, format_args!(" {}{}\n", ro_rw(sb.is_read_only()), sb.ops.show_options()));
    Some(out)
}

/// A line of mounts. Linux: `show_vfsmnt`.
pub fn show_vfsmnt(mnt: &Arc<Mount>, root: &Path) -> Option<Vec<u8>> {
    let mountpoint = mountpoint_below(mnt, root)?;
    let mut out = Vec::new();
    mangle(&mut out, &mnt.source, NAME_SPECIAL);
    out.push(b' ');
    mangle(&mut out, &mountpoint, PATH_SPECIAL);
    out.push(b' ');
    mangle(&mut out, mnt.sb.fs_type.as_bytes(), NAME_SPECIAL);
    let options = mnt.sb.ops.show_options();
    append(&mut out, format_args!(" {}{}{options} 0 0\n", ro_rw(mnt.is_read_only()), mount_options(mnt)));
    Some(out)
}

/// A line of mountstats. Linux: `show_vfsstat`.
pub fn show_vfsstat(mnt: &Arc<Mount>, root: &Path) -> Option<Vec<u8>> {
    let mountpoint = mountpoint_below(mnt, root)?;
    let mut out = b"device ".to_vec();
    mangle(&mut out, &mnt.source, NAME_SPECIAL);
    out.extend_from_slice(b" mounted on ");
    mangle(&mut out, &mountpoint, PATH_SPECIAL);
    out.extend_from_slice(b" with fstype ");
    mangle(&mut out, mnt.sb.fs_type.as_bytes(), NAME_SPECIAL);
    out.push(b'\n');
    Some(out)
}
