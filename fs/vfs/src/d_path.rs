//! Linux: fs/d_path.c.

use crate::{Path, TaskContext};
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENAMETOOLONG, ENOENT};
use sentry_uapi::fcntl::PATH_MAX;
use std::sync::Arc;

/// How far the way up from a path led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// To the root asked for.
    Root,
    /// To the top of a mount namespace, past the root asked for. Linux: `prepend_path` giving 1.
    Absolute,
    /// To the top of a tree that is in no namespace. Linux: 2.
    Detached,
}

/// The names from `root` down to `path`, with `/` before each. Linux: `prepend_path`.
fn path_names(path: &Path, root: &Path) -> (Vec<u8>, Reached) {
    let mut names: Vec<Arc<[u8]>> = Vec::new();
    let mut here = path.clone();
    let reached = loop {
        if here.same(root) {
            break Reached::Root;
        }
        if here.is_mount_root() {
            if let Some((parent, mountpoint)) = here.mnt.parent() {
                here = Path { mnt: parent, dentry: mountpoint };
                continue;
            }
            break if here.mnt.ns().is_some() { Reached::Absolute } else { Reached::Detached };
        }
        let (parent, name) = here.dentry.parent_and_name();
        let Some(parent) = parent else { break Reached::Detached };
        names.push(name);
        here.dentry = parent;
    };
    let mut out = Vec::new();
    for name in names.iter().rev() {
        out.push(b'/');
        out.extend_from_slice(name);
    }
    (out, reached)
}

/// The name of what has no path: a pipe, a socket, an anonymous file, a memfd. Linux: `d_dname`, `simple_dname`.
fn d_dname(path: &Path) -> Option<Vec<u8>> {
    if path.is_mount_root() {
        // A namespace bound to a place has a path.
        return None;
    }
    let (parent, name) = path.dentry.parent_and_name();
    if parent.is_some() || name.is_empty() {
        return None;
    }
    Some(if path.dentry.is_unhashed() { [b"/", &*name, b" (deleted)"].concat() } else { name.to_vec() })
}

/// A path as `/proc/[pid]/fd/N` and `maps` show it, seen from `root`: ` (deleted)` behind a removed name; from the top
/// of its namespace if `root` is not above it. Linux: `d_path`.
pub fn d_path(path: &Path, root: &Path) -> Vec<u8> {
    if let Some(name) = d_dname(path) {
        return name;
    }
    let (mut out, _) = path_names(path, root);
    if out.is_empty() {
        out.push(b'/');
    }
    if path.dentry.is_unhashed() {
        out.extend_from_slice(b" (deleted)");
    }
    out
}

/// A path seen from `root`; none if `root` is not above it: for mountinfo, which leaves out what cannot be reached. Linux:
/// `seq_path_root`.
pub fn d_absolute_below(path: &Path, root: &Path) -> Option<Vec<u8>> {
    let (mut out, reached) = path_names(path, root);
    if reached != Reached::Root {
        return None;
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Some(out)
}

/// A path from the root of its filesystem, for the fourth field of mountinfo; of a namespace its name. Linux:
/// `dentry_path`, `show_path`.
pub fn dentry_path(dentry: &Arc<crate::Dentry>) -> Vec<u8> {
    let mut names: Vec<Arc<[u8]>> = Vec::new();
    let mut here = dentry.clone();
    loop {
        let (parent, name) = here.parent_and_name();
        let Some(parent) = parent else {
            if names.is_empty() && !name.is_empty() {
                return name.to_vec();
            }
            break;
        };
        names.push(name);
        here = parent;
    }
    let mut out = Vec::new();
    for name in names.iter().rev() {
        out.push(b'/');
        out.extend_from_slice(name);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    if dentry.is_unhashed() {
        out.extend_from_slice(b"//deleted");
    }
    out
}

/// getcwd(2), without the terminating zero; `(unreachable)` before it if the root is not above. Linux: fs/d_path.c.
///
/// # Errors
/// `ENOENT` if the directory has been removed; `ENAMETOOLONG`.
pub fn getcwd(ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
    let (root, pwd) = ctx.fs().root_and_pwd();
    if pwd.dentry.is_unhashed() {
        return Err(ENOENT);
    }
    let (names, reached) = path_names(&pwd, &root);
    let mut out = Vec::new();
    if reached != Reached::Root {
        out.extend_from_slice(b"(unreachable)");
    }
    out.extend_from_slice(if names.is_empty() { b"/" } else { &names });
    if out.len() >= PATH_MAX { Err(ENAMETOOLONG) } else { Ok(out) }
}
