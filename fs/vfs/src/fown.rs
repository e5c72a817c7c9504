//! Linux: include/linux/fs.h, `struct fown_struct`: who gets the signals of an open file.

use sentry_auth::Kuid;

/// What the number of an owner names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerKind {
    /// A thread.
    Thread,
    /// A process.
    #[default]
    Process,
    /// A process group.
    Group,
}

/// The owner of an open file, as fcntl(F_SETOWN) and fcntl(F_SETSIG) set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// What `pid` names.
    pub kind: OwnerKind,
    /// Its number in the first pid namespace; 0 for nobody.
    pub pid: u32,
    /// User id of whoever set it.
    pub uid: Kuid,
    /// Effective user id of whoever set it.
    pub euid: Kuid,
    /// The signal; 0 for SIGIO.
    pub signum: i32,
}

impl FileOwner {
    /// Nobody.
    pub const NOBODY: FileOwner = FileOwner {
        kind: OwnerKind::Process,
        pid: 0,
        uid: Kuid::GLOBAL_ROOT,
        euid: Kuid::GLOBAL_ROOT,
        signum: 0,
    };
}
