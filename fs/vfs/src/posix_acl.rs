//! Access control lists. Linux: fs/posix_acl.c. Differs in nothing visible.
//!
//! A list holds kernel ids; they are translated where it enters and leaves as an extended attribute
//! ([`crate::posix_acl_xattr`]).

use crate::{Access, Attr, FileType, Inode, SuperFlags};
use sentry_auth::{CapSet, Cred, Kgid, Kuid, UserNamespace, capable_wrt_inode_uidgid};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, EIO};
use sentry_uapi::stat::S_ISGID;
use std::sync::Arc;

/// The permission bits of owner, group and others.
const S_IRWXUGO: u32 = 0o777;
/// Those of the group.
const S_IRWXG: u32 = 0o070;

/// Which of a file's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclType {
    /// Controls access to the file. Linux: `ACL_TYPE_ACCESS`.
    Access,
    /// What is made in a directory begins with it. Linux: `ACL_TYPE_DEFAULT`.
    Default,
}

/// Whom an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclTag {
    /// The file's owner.
    UserObj,
    /// This user.
    User(Kuid),
    /// The file's group.
    GroupObj,
    /// This group.
    Group(Kgid),
    /// Nobody: the most that entries other than the owner's and others' give.
    Mask,
    /// Whom no other entry is for.
    Other,
}

/// An entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclEntry {
    /// Whom it is for.
    pub tag: AclTag,
    /// Read 4, write 2, execute 1, as in a mode; other bits make the list invalid.
    pub perm: u16,
}

impl AclEntry {
    fn bits(self) -> u32 {
        u32::from(self.perm) & 0o7
    }

    fn grants(self, want: Access) -> bool {
        want.bits() & !self.bits() == 0
    }
}

/// A list, in the order in which its entries are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PosixAcl {
    entries: Box<[AclEntry]>,
}

/// The lists a new file begins with.
#[derive(Clone, Debug, Default)]
pub struct NewAcls {
    /// Controls access to it.
    pub access: Option<Arc<PosixAcl>>,
    /// Of a directory: what is made in it begins with this.
    pub default: Option<Arc<PosixAcl>>,
}

impl PosixAcl {
    /// A list of these entries, whatever they are.
    pub fn new(entries: Vec<AclEntry>) -> PosixAcl {
        PosixAcl { entries: entries.into() }
    }

    /// The entries.
    pub fn entries(&self) -> &[AclEntry] {
        &self.entries
    }

    /// `EINVAL` for a list that is not in order, lacks an entry, or names an id that `user_ns`, the filesystem's, does
    /// not map. Linux: `posix_acl_valid`.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn valid(&self, user_ns: &UserNamespace) -> Result<(), Errno> {
        #[derive(PartialEq)]
        enum Next {
            UserObj,
            User,
            Group,
            Other,
            End,
        }
        let mut next = Next::UserObj;
        let mut needs_mask = false;
        for entry in &self.entries {
            if entry.perm & !0o7 != 0 {
                return Err(EINVAL);
            }
            next = match (entry.tag, next) {
                (AclTag::UserObj, Next::UserObj) => Next::User,
                (AclTag::User(uid), Next::User) if user_ns.from_kuid(uid).is_some() => {
                    needs_mask = true;
                    Next::User
                }
                (AclTag::GroupObj, Next::User) => Next::Group,
                (AclTag::Group(gid), Next::Group) if user_ns.from_kgid(gid).is_some() => {
                    needs_mask = true;
                    Next::Group
                }
                (AclTag::Mask, Next::Group) => Next::Other,
                (AclTag::Other, Next::Other) => Next::End,
                (AclTag::Other, Next::Group) if !needs_mask => Next::End,
                _ => return Err(EINVAL),
            };
        }
        if next == Next::End { Ok(()) } else { Err(EINVAL) }
    }

    /// The permission bits that show this list, and whether they say all that it does. Linux: `posix_acl_equiv_mode`.
    pub fn equiv_mode(&self) -> (u32, bool) {
        let (mut mode, mut equivalent) = (0, true);
        for entry in &self.entries {
            match entry.tag {
                AclTag::UserObj => mode |= entry.bits() << 6,
                AclTag::GroupObj => mode |= entry.bits() << 3,
                AclTag::Other => mode |= entry.bits(),
                AclTag::Mask => {
                    mode = (mode & !S_IRWXG) | (entry.bits() << 3);
                    equivalent = false;
                }
                AclTag::User(_) | AclTag::Group(_) => equivalent = false,
            }
        }
        (mode, equivalent)
    }

    /// Whether the list allows the access: the first entry that fits decides, but any one of the groups' may allow it.
    /// Linux: `posix_acl_permission`.
    ///
    /// # Errors
    /// `EACCES`; `EIO` for a list that is not whole.
    pub fn permission(&self, attr: &Attr, cred: &Cred, want: Access) -> Result<(), Errno> {
        let decide = |granted: bool| if granted { Ok(()) } else { Err(EACCES) };
        let mut in_a_group = false;
        for (at, entry) in self.entries.iter().enumerate() {
            let masked = || {
                let mask = self.entries.iter().skip(at).find(|e| e.tag == AclTag::Mask);
                decide(entry.grants(want) && mask.is_none_or(|m| m.grants(want)))
            };
            match entry.tag {
                AclTag::UserObj if cred.fsuid == attr.uid => return decide(entry.grants(want)),
                AclTag::User(uid) if cred.fsuid == uid => return masked(),
                AclTag::GroupObj if cred.in_group_p(attr.gid) => {
                    in_a_group = true;
                    if entry.grants(want) {
                        return masked();
                    }
                }
                AclTag::Group(gid) if cred.in_group_p(gid) => {
                    in_a_group = true;
                    if entry.grants(want) {
                        return masked();
                    }
                }
                AclTag::Other => return decide(!in_a_group && entry.grants(want)),
                _ => {}
            }
        }
        Err(EIO)
    }

    /// The entry that the group's bits of a mode stand for: the mask, where there is one.
    fn group_class(&self) -> Option<usize> {
        let at = |tag| self.entries.iter().position(|e| e.tag == tag);
        at(AclTag::Mask).or_else(|| at(AclTag::GroupObj))
    }

    /// The list with the permissions of owner, group class and others made by `change` of theirs and those of `mode`.
    fn with_mode(&self, mode: u32, change: impl Fn(u32, u32) -> u32) -> PosixAcl {
        let group_class = self.group_class();
        let entries = self.entries.iter().enumerate().map(|(at, entry)| {
            let bits = match entry.tag {
                AclTag::UserObj => mode >> 6,
                AclTag::Other => mode,
                _ if Some(at) == group_class => mode >> 3,
                _ => return *entry,
            };
            let perm = change(entry.bits(), bits & 0o7);
            AclEntry { tag: entry.tag, perm: u16::try_from(perm).unwrap_or(0) }
        });
        PosixAcl { entries: entries.collect() }
    }

    /// The list after chmod(2) to `mode`. Linux: `__posix_acl_chmod_masq`.
    #[must_use]
    pub fn chmod(&self, mode: u32) -> PosixAcl {
        self.with_mode(mode, |_, new| new)
    }

    /// The list for a file made with `mode`, this being the directory's default. Linux: `posix_acl_create_masq`.
    fn create_masq(&self, mode: u32) -> PosixAcl {
        self.with_mode(mode, |old, asked| old & asked)
    }
}

impl Inode {
    /// Whether the file's filesystem keeps lists. Linux: `IS_POSIXACL`.
    pub(crate) fn has_acls(&self) -> bool {
        self.sb().flags.contains(SuperFlags::POSIXACL) && self.file_type() != FileType::Symlink
    }

    /// A list of the file. Linux: `get_acl`.
    ///
    /// # Errors
    /// The filesystem's.
    pub fn get_acl(&self, kind: AclType) -> Result<Option<Arc<PosixAcl>>, Errno> {
        if self.has_acls() { self.ops().get_acl(self, kind) } else { Ok(None) }
    }
}

/// The permission bits and lists of a file about to be made in `dir` with `mode`: by the default list of `dir`, or else by
/// `umask`. Linux: `posix_acl_create`.
///
/// # Errors
/// The filesystem's.
pub(crate) fn posix_acl_create(
    dir: &Inode,
    mode: u32,
    umask: u32,
    is_dir: bool,
) -> Result<(u32, NewAcls), Errno> {
    let Some(default) = dir.get_acl(AclType::Default)? else {
        return Ok((mode & !umask, NewAcls::default()));
    };
    let acl = default.create_masq(mode);
    let (bits, equivalent) = acl.equiv_mode();
    let acls = NewAcls { access: (!equivalent).then(|| Arc::new(acl)), default: is_dir.then_some(default) };
    Ok(((mode & !S_IRWXUGO) | bits, acls))
}

/// What setting list `acl` makes of the permission bits, and the list if it says more than they do. Linux:
/// `posix_acl_update_mode`.
pub(crate) fn posix_acl_update_mode(attr: &Attr, cred: &Cred, acl: PosixAcl) -> (u32, Option<Arc<PosixAcl>>) {
    let (bits, equivalent) = acl.equiv_mode();
    let mut perm = (attr.perm & !S_IRWXUGO) | bits;
    let keeps_sgid =
        cred.in_group_p(attr.gid) || capable_wrt_inode_uidgid(cred, attr.uid, attr.gid, CapSet::FSETID);
    if !keeps_sgid {
        perm &= !S_ISGID;
    }
    (perm, (!equivalent).then(|| Arc::new(acl)))
}
