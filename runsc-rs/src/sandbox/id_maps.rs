//! The id maps of the sentry's own user namespace on the host. gVisor: runsc/specutils/namespace.go.
//!
//! Linux: user_namespaces(7). The numbers within are always those of the caller's namespace, so that file owners keep
//! their meaning; what a bundle maps them to is for the container's user namespace, in the sandbox, to say. A caller that
//! may set any id gets every id it has. Any other gets its own two ids, which the sentry maps itself, and what a bundle
//! asks for beyond them, for which there are newuidmap(1) and newgidmap(1).

use crate::container::{IdMapping, UserNamespaceSpec};
use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::{Uid, User};
use std::fs;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

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
    /// Ranges that others have allowed the caller to use, written by newuidmap(1) and newgidmap(1) for the caller.
    Ranges {
        /// User ids.
        uids: Vec<IdRange>,
        /// Group ids.
        gids: Vec<IdRange>,
    },
}

/// Consecutive ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdRange {
    first: u32,
    count: u32,
}

impl IdRange {
    fn holds(self, other: IdRange) -> bool {
        let end = |range: IdRange| u64::from(range.first) + u64::from(range.count);
        self.first <= other.first && end(other) <= end(self)
    }
}

impl IdMaps {
    /// What a caller with the ids `uid` and `gid`, and no privilege, needs for a container's user namespace.
    pub(crate) fn unprivileged(wanted: Option<&UserNamespaceSpec>, uid: u32, gid: u32) -> IdMaps {
        match wanted {
            Some(ns) if !can_use_unprivileged_mapping(ns, uid, gid) => {
                IdMaps::Ranges { uids: ranges(&ns.uid_mappings, uid), gids: ranges(&ns.gid_mappings, gid) }
            }
            _ => IdMaps::Single { uid, gid },
        }
    }

    /// Whether the sentry sees the owner of every file. It does not where its namespace lacks ids.
    pub(crate) fn show_all_owners(&self) -> bool {
        matches!(self, IdMaps::Identity | IdMaps::NoNamespace)
    }

    /// Writes the maps of process `pid`, if its parent must. Whether it did.
    ///
    /// # Errors
    /// When the host, or the programs that are asked, refuse.
    pub(crate) fn write_from_outside(&self, pid: i32) -> Result<bool> {
        match self {
            IdMaps::NoNamespace | IdMaps::Single { .. } => return Ok(false),
            IdMaps::Identity => {
                for name in ["uid_map", "gid_map"] {
                    let own = format!("/proc/self/{name}");
                    let identity = identity(&fs::read_to_string(&own).context(own)?)?;
                    let path = format!("/proc/{pid}/{name}");
                    fs::write(&path, identity).context(path)?;
                }
            }
            IdMaps::Ranges { uids, gids } => {
                UIDS.write(pid, uids)?;
                GIDS.write(pid, gids)?;
            }
        }
        Ok(true)
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

/// Whether the host lets anybody write these maps: they hold the caller's own two ids and nothing else. Linux:
/// `new_idmap_permitted`.
fn can_use_unprivileged_mapping(ns: &UserNamespaceSpec, uid: u32, gid: u32) -> bool {
    let own = |mappings: &[IdMapping], id| matches!(mappings, [only] if only.host_id == id && only.size == 1);
    own(&ns.uid_mappings, uid) && own(&ns.gid_mappings, gid)
}

/// The host ids of the mappings, and the caller's own, since its files are the container's. What overlaps is one range.
fn ranges(mappings: &[IdMapping], own: u32) -> Vec<IdRange> {
    let mut all: Vec<_> = mappings.iter().map(|m| IdRange { first: m.host_id, count: m.size }).collect();
    all.push(IdRange { first: own, count: 1 });
    all.sort_unstable();
    let mut merged: Vec<IdRange> = Vec::new();
    for range in all {
        match merged.last_mut() {
            Some(last) if u64::from(range.first) < u64::from(last.first) + u64::from(last.count) => {
                let end = (range.first + range.count).max(last.first + last.count);
                last.count = end - last.first;
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// A set-ID program that maps ids for whom `/etc/subuid` or `/etc/subgid` allows them. shadow: newuidmap(1).
struct Helper {
    program: &'static str,
    /// The file that says who may use which ids.
    table: &'static str,
    /// What config.json calls the ids.
    place: &'static str,
    own: fn() -> u32,
}

const UIDS: Helper = Helper {
    program: "newuidmap",
    table: "/etc/subuid",
    place: "linux.uidMappings",
    own: || Uid::current().as_raw(),
};

const GIDS: Helper = Helper {
    program: "newgidmap",
    table: "/etc/subgid",
    place: "linux.gidMappings",
    own: || nix::unistd::Gid::current().as_raw(),
};

impl Helper {
    /// Has the program write the map of process `pid`, which maps each range to itself.
    fn write(&self, pid: i32, ranges: &[IdRange]) -> Result<()> {
        let mut command = Command::new(self.program);
        command.arg(pid.to_string()).stdin(Stdio::null());
        for range in ranges {
            command.args([range.first, range.first, range.count].map(|number| number.to_string()));
        }
        let output = command.output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!(
                "{}: ids other than the caller's own need {}, which is not installed (Debian: the package uidmap)",
                self.place,
                self.program
            ),
            _ => anyhow!("{}: {error}", self.program),
        })?;
        if output.status.success() {
            return Ok(());
        }
        let uid = Uid::current();
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let table = fs::read_to_string(self.table).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(anyhow!(self.explain(ranges, &name, uid.as_raw(), &table, &said)))
    }

    /// Why the program refused, and what to do about it, in one line.
    fn explain(&self, ranges: &[IdRange], name: &str, uid: u32, table: &str, said: &str) -> String {
        let allowed = subordinate(table, name, uid);
        let own = IdRange { first: (self.own)(), count: 1 };
        let missing = ranges.iter().find(|r| !own.holds(**r) && !allowed.iter().any(|a| a.holds(**r)));
        match missing {
            Some(IdRange { first, count }) => format!(
                "{}: {name} may not use ids {first} to {}; a line \"{name}:{first}:{count}\" in {} would allow it",
                self.place,
                u64::from(*first) + u64::from(*count) - 1,
                self.table
            ),
            None => format!(
                "{}: {}; is it set-user-ID root, on a file system without nosuid?",
                self.place,
                said.lines().next().map_or_else(|| format!("{} failed", self.program), str::to_owned)
            ),
        }
    }
}

/// What a table of subordinate ids gives a user. shadow: subuid(5).
fn subordinate(table: &str, name: &str, uid: u32) -> Vec<IdRange> {
    let uid = uid.to_string();
    let line = |line: &str| {
        let mut fields = line.split(':');
        let whose = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        (whose == name || whose == uid).then_some(IdRange { first, count })
    };
    table.lines().filter_map(line).collect()
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

    fn mapping(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    fn spec(uid: &[IdMapping], gid: &[IdMapping]) -> UserNamespaceSpec {
        UserNamespaceSpec { uid_mappings: uid.to_vec(), gid_mappings: gid.to_vec(), ..Default::default() }
    }

    #[test]
    fn ones_own_ids_alone_are_mapped_without_help() {
        let own = IdMaps::Single { uid: 1000, gid: 100 };
        let simple = spec(&[mapping(0, 1000, 1)], &[mapping(7, 100, 1)]);
        assert_eq!(IdMaps::unprivileged(Some(&simple), 1000, 100), own);
        assert_eq!(IdMaps::unprivileged(None, 1000, 100), own);
        let uid = mapping(0, 1000, 1);
        let complex = [
            spec(&[uid], &[mapping(0, 101, 1)]),
            spec(&[mapping(0, 1000, 2)], &[mapping(0, 100, 1)]),
            spec(&[uid, mapping(1, 100_000, 1)], &[mapping(0, 100, 1)]),
        ];
        for spec in &complex {
            let maps = IdMaps::unprivileged(Some(spec), 1000, 100);
            assert!(matches!(maps, IdMaps::Ranges { .. }), "{spec:?}");
        }
    }

    #[test]
    fn ranges_hold_the_callers_own_id() {
        let r = |first, count| IdRange { first, count };
        assert_eq!(ranges(&[mapping(0, 100_000, 65536)], 1000), [r(1000, 1), r(100_000, 65536)]);
        assert_eq!(ranges(&[mapping(0, 1000, 1), mapping(1, 1001, 9)], 1000), [r(1000, 1), r(1001, 9)]);
        assert_eq!(ranges(&[mapping(0, 990, 100)], 1000), [r(990, 100)]);
    }

    #[test]
    fn a_refusal_names_the_missing_line() {
        let ranges = [IdRange { first: (UIDS.own)(), count: 1 }, IdRange { first: 100_000, count: 65536 }];
        let said = "newuidmap: uid range [100000-165536) -> [100000-165536) not allowed\n";
        let explain = |table: &str| UIDS.explain(&ranges, "ann", 1000, table, said);
        let missing = "linux.uidMappings: ann may not use ids 100000 to 165535; \
                       a line \"ann:100000:65536\" in /etc/subuid would allow it";
        assert_eq!(explain(""), missing);
        assert_eq!(explain("bob:100000:65536\nann:100000:65535\n"), missing);
        let other = "linux.uidMappings: newuidmap: uid range [100000-165536) -> [100000-165536) not allowed; \
                     is it set-user-ID root, on a file system without nosuid?";
        assert_eq!(explain("ann:100000:65536\n"), other);
        assert_eq!(explain("1000:100000:70000\n"), other);
    }

    #[test]
    fn every_id_of_the_parent_maps_to_itself() {
        let own = "         0     100000      65536\n     70000          5          1\n";
        assert_eq!(identity(own).unwrap(), "0 0 65536\n70000 70000 1\n");
        assert!(identity("0 0").is_err());
    }
}
