//! The options of a mount, as `config.json` and mount(8) write them. runc: libcontainer/specconv, `parseMountOptions`.

/// `MS_*`. Linux: include/uapi/linux/mount.h.
pub mod flags {
    /// Read-only.
    pub const MS_RDONLY: u64 = 1;
    /// Set-ID bits have no effect.
    pub const MS_NOSUID: u64 = 2;
    /// Device nodes cannot be opened.
    pub const MS_NODEV: u64 = 4;
    /// Files cannot be executed.
    pub const MS_NOEXEC: u64 = 8;
    /// Writes are synchronous.
    pub const MS_SYNCHRONOUS: u64 = 16;
    /// Directory changes are synchronous.
    pub const MS_DIRSYNC: u64 = 128;
    /// Symbolic links are not followed.
    pub const MS_NOSYMFOLLOW: u64 = 256;
    /// Access times are not kept.
    pub const MS_NOATIME: u64 = 1024;
    /// Access times of directories are not kept.
    pub const MS_NODIRATIME: u64 = 2048;
    /// A bind mount.
    pub const MS_BIND: u64 = 4096;
    /// With the mounts below.
    pub const MS_REC: u64 = 16384;
    /// Quieter about errors.
    pub const MS_SILENT: u64 = 32768;
    /// Neither receives nor spreads mounts, and cannot be bound.
    pub const MS_UNBINDABLE: u64 = 1 << 17;
    /// Neither receives nor spreads mounts.
    pub const MS_PRIVATE: u64 = 1 << 18;
    /// Receives mounts, spreads none.
    pub const MS_SLAVE: u64 = 1 << 19;
    /// Receives and spreads mounts.
    pub const MS_SHARED: u64 = 1 << 20;
    /// Access times are kept as if it mattered little.
    pub const MS_RELATIME: u64 = 1 << 21;
    /// `i_version` is kept.
    pub const MS_I_VERSION: u64 = 1 << 23;
    /// Access times are kept strictly.
    pub const MS_STRICTATIME: u64 = 1 << 24;
    /// Times are kept in memory for a while.
    pub const MS_LAZYTIME: u64 = 1 << 25;
}

use flags::*;

/// Options, sorted by what they concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `MS_*`, without the propagation flags.
    pub flags: u64,
    /// Changes of propagation in order, each one of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, with
    /// `MS_REC` or without.
    pub propagation: Vec<u64>,
    /// `MS_*` that hold for the mounts below as well (`rro`, `rnosuid`, …).
    pub recursive_flags: u64,
    /// The filesystem's own options, joined by commas.
    pub data: String,
}

enum Effect {
    Set(u64),
    Clear(u64),
    Propagate(u64),
    Recursive(u64),
    Ignored,
}

/// Every option known here: name and effect. What is not in it belongs to the filesystem.
const OPTIONS: &[(&str, Effect)] = &[
    ("async", Effect::Clear(MS_SYNCHRONOUS)),
    ("atime", Effect::Clear(MS_NOATIME)),
    ("bind", Effect::Set(MS_BIND)),
    ("defaults", Effect::Ignored),
    ("dev", Effect::Clear(MS_NODEV)),
    ("diratime", Effect::Clear(MS_NODIRATIME)),
    ("dirsync", Effect::Set(MS_DIRSYNC)),
    ("exec", Effect::Clear(MS_NOEXEC)),
    ("iversion", Effect::Set(MS_I_VERSION)),
    ("lazytime", Effect::Set(MS_LAZYTIME)),
    ("loud", Effect::Clear(MS_SILENT)),
    ("noatime", Effect::Set(MS_NOATIME)),
    ("nodev", Effect::Set(MS_NODEV)),
    ("nodiratime", Effect::Set(MS_NODIRATIME)),
    ("noexec", Effect::Set(MS_NOEXEC)),
    ("noiversion", Effect::Clear(MS_I_VERSION)),
    ("nolazytime", Effect::Clear(MS_LAZYTIME)),
    ("norelatime", Effect::Clear(MS_RELATIME)),
    ("nostrictatime", Effect::Clear(MS_STRICTATIME)),
    ("nosuid", Effect::Set(MS_NOSUID)),
    ("nosymfollow", Effect::Set(MS_NOSYMFOLLOW)),
    ("private", Effect::Propagate(MS_PRIVATE)),
    ("rbind", Effect::Set(MS_BIND | MS_REC)),
    ("relatime", Effect::Set(MS_RELATIME)),
    ("rnodev", Effect::Recursive(MS_NODEV)),
    ("rnoexec", Effect::Recursive(MS_NOEXEC)),
    ("rnosuid", Effect::Recursive(MS_NOSUID)),
    ("ro", Effect::Set(MS_RDONLY)),
    ("rprivate", Effect::Propagate(MS_PRIVATE | MS_REC)),
    ("rro", Effect::Recursive(MS_RDONLY)),
    ("rshared", Effect::Propagate(MS_SHARED | MS_REC)),
    ("rslave", Effect::Propagate(MS_SLAVE | MS_REC)),
    ("runbindable", Effect::Propagate(MS_UNBINDABLE | MS_REC)),
    ("rw", Effect::Clear(MS_RDONLY)),
    ("shared", Effect::Propagate(MS_SHARED)),
    ("silent", Effect::Set(MS_SILENT)),
    ("slave", Effect::Propagate(MS_SLAVE)),
    ("strictatime", Effect::Set(MS_STRICTATIME)),
    ("suid", Effect::Clear(MS_NOSUID)),
    ("symfollow", Effect::Clear(MS_NOSYMFOLLOW)),
    ("sync", Effect::Set(MS_SYNCHRONOUS)),
    ("unbindable", Effect::Propagate(MS_UNBINDABLE)),
];

impl MountOptions {
    /// Sorts options out. A later one wins over an earlier one.
    pub fn parse<S: AsRef<str>>(options: impl IntoIterator<Item = S>) -> MountOptions {
        let mut parsed = MountOptions::default();
        for option in options {
            let option = option.as_ref();
            match OPTIONS.iter().find(|(name, _)| *name == option).map(|(_, effect)| effect) {
                Some(Effect::Set(flags)) => parsed.flags |= flags,
                Some(Effect::Clear(flags)) => parsed.flags &= !flags,
                Some(Effect::Propagate(change)) => parsed.propagation.push(*change),
                Some(Effect::Recursive(flags)) => {
                    parsed.flags |= flags;
                    parsed.recursive_flags |= flags;
                }
                Some(Effect::Ignored) => {}
                None => {
                    if !parsed.data.is_empty() {
                        parsed.data.push(',');
                    }
                    parsed.data.push_str(option);
                }
            }
        }
        parsed
    }

    /// Whether the mount is read-only.
    pub fn readonly(&self) -> bool {
        self.flags & MS_RDONLY != 0
    }

    /// The names of all options known here, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        OPTIONS.iter().map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_data_and_propagation_are_told_apart() {
        let parsed = MountOptions::parse(["nosuid", "noexec", "mode=755", "rprivate", "size=64k", "rro"]);
        assert_eq!(parsed.flags, MS_NOSUID | MS_NOEXEC | MS_RDONLY);
        assert_eq!(parsed.recursive_flags, MS_RDONLY);
        assert_eq!(parsed.propagation, [MS_PRIVATE | MS_REC]);
        assert_eq!(parsed.data, "mode=755,size=64k");
    }

    #[test]
    fn the_last_of_two_opposites_wins() {
        assert!(!MountOptions::parse(["ro", "rw"]).readonly());
        assert!(MountOptions::parse(["rw", "ro"]).readonly());
        assert_eq!(MountOptions::parse(["defaults"]), MountOptions::default());
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(MountOptions::names().is_sorted());
    }
}
