//! The id maps of the sentry's own user namespace on the host.
//!
//! Linux: user_namespaces(7). A caller that may set any id gets every id it has mapped to itself, so that file owners
//! keep their meaning; any other gets its own two ids and nothing else.

use anyhow::{Context, Result, bail};
use std::fs;

/// Who maps what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdMaps {
    /// No user namespace: the host allows none, and the caller is root.
    NoNamespace,
    /// One id each, written by the sentry itself.
    Single {
        /// The caller's user id.
        uid: u32,
        /// The caller's group id.
        gid: u32,
    },
    /// Every id the caller's namespace has, written by the caller.
    Identity,
}

impl IdMaps {
    /// Writes the maps of process `pid`, as its parent must.
    pub(crate) fn write_from_outside(pid: i32) -> Result<()> {
        for name in ["uid_map", "gid_map"] {
            let own = format!("/proc/self/{name}");
            let identity = identity(&fs::read_to_string(&own).context(own)?)?;
            let path = format!("/proc/{pid}/{name}");
            fs::write(&path, identity).context(path)?;
        }
        Ok(())
    }

    /// Writes the maps of the calling process, which has just entered its namespace.
    pub(crate) fn write_single(uid: u32, gid: u32) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = format!("/proc/self/{name}");
            fs::write(&path, text).context(path)
        };
        // Without privilege in the parent namespace, a gid_map may be written only once setgroups is denied.
        write("setgroups", "deny".to_owned())?;
        write("uid_map", format!("{uid} {uid} 1"))?;
        write("gid_map", format!("{gid} {gid} 1"))
    }
}

/// The map that gives a child namespace the ids its parent has, by the parent's own numbers.
fn identity(own_map: &str) -> Result<String> {
    let mut identity = String::new();
    for line in own_map.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(first), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next()) else {
            bail!("malformed id map line {line:?}");
        };
        identity.push_str(&format!("{first} {first} {count}\n"));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_the_parent_maps_to_itself() {
        let own = "         0     100000      65536\n     70000          5          1\n";
        assert_eq!(identity(own).unwrap(), "0 0 65536\n70000 70000 1\n");
        assert!(identity("0 0").is_err());
    }
}
