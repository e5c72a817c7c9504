//! What a program's file says of its credentials, and who may look into it. Linux: fs/exec.c, `check_unsafe_exec`,
//! `bprm_fill_uid`, `would_dump`; security/commoncap.c, `get_file_caps`.

use crate::CurrentTask;
use fs_vfs::{Access, File, FileType, TaskContext};
use sentry_auth::{BprmCreds, BprmFile, BprmUnsafe, Cred, UserNamespace, bprm_creds_from_file, get_vfs_caps};
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENODATA, EOPNOTSUPP};
use sentry_uapi::stat::{S_ISGID, S_ISUID};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The attribute that holds file capabilities.
const XATTR_NAME_CAPS: &[u8] = b"security.capability";
/// Both set-group-ID and executable by the group; without the latter, the former marks mandatory locking.
const SET_GID: u32 = S_ISGID | 0o010;

impl CurrentTask {
    /// The credentials of the new program. Linux: `bprm_creds_from_file`.
    ///
    /// # Errors
    /// `EPERM` for a program that would lack capabilities it needs; `EINVAL` for malformed file capabilities.
    pub(crate) fn bprm_creds(&self, file: &File) -> Result<BprmCreds, Errno> {
        let old = self.task().cred();
        let found = if file.path().may_suid(&self.mnt_ns(), &old) {
            BprmFile { caps: self.file_caps(file, &old)?, ..self.bprm_fill_uid(file, &old)? }
        } else {
            BprmFile::default()
        };
        bprm_creds_from_file(&old, &found, self.check_unsafe_exec())
    }

    fn bprm_fill_uid(&self, file: &File, old: &Cred) -> Result<BprmFile, Errno> {
        let mut found = BprmFile::default();
        if self.no_new_privs.load(Ordering::Relaxed) || file.inode().file_type() != FileType::Regular {
            return Ok(found);
        }
        let attr = file.inode().getattr()?;
        let ns = &old.user_ns;
        if ns.from_kuid(attr.uid).is_none() || ns.from_kgid(attr.gid).is_none() {
            return Ok(found);
        }
        found.set_uid = (attr.perm & S_ISUID != 0).then_some(attr.uid);
        found.set_gid = (attr.perm & SET_GID == SET_GID).then_some(attr.gid);
        Ok(found)
    }

    fn file_caps(&self, file: &File, old: &Cred) -> Result<Option<sentry_auth::VfsCaps>, Errno> {
        let inode = file.inode();
        match inode.ops().getxattr(inode, XATTR_NAME_CAPS) {
            Ok(value) => get_vfs_caps(&value, &old.user_ns, &inode.sb().user_ns),
            Err(ENODATA | EOPNOTSUPP) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn check_unsafe_exec(&self) -> BprmUnsafe {
        let mut reasons = BprmUnsafe::empty();
        reasons.set(BprmUnsafe::NO_NEW_PRIVS, self.no_new_privs.load(Ordering::Relaxed));
        reasons.set(BprmUnsafe::SHARE, self.shares_fs_with_others());
        reasons
    }

    /// Whether a task of another process has this one's root and working directory, and may so lead a privileged program
    /// astray.
    fn shares_fs_with_others(&self) -> bool {
        let fs = self.fs();
        // Its own threads', this one's included, and the reference just taken: the common case, decided without a search.
        if Arc::strong_count(&fs) <= 2 {
            return false;
        }
        let others: Vec<_> = {
            let tree = self.kernel().tree.lock();
            let tasks = tree.tasks.values();
            tasks.filter(|t| !Arc::ptr_eq(&t.group, &self.group)).cloned().collect()
        };
        others.iter().any(|t| Arc::ptr_eq(&t.fs(), &fs))
    }

    /// Whether the caller may not read `file`, and so not look into a process that runs it; and the namespace whose
    /// privileged users still may: the nearest that has the file's owner. Linux: `would_dump`.
    pub(crate) fn would_dump(&self, file: &File, user_ns: &Arc<UserNamespace>) -> Option<Arc<UserNamespace>> {
        let inode = file.inode();
        if inode.permission(&self.task().cred(), Access::READ).is_ok() {
            return None;
        }
        let mut ns = user_ns;
        if let Ok(attr) = inode.getattr() {
            while let Some(parent) = ns.parent() {
                if ns.from_kuid(attr.uid).is_some() && ns.from_kgid(attr.gid).is_some() {
                    break;
                }
                ns = parent;
            }
        }
        Some(ns.clone())
    }
}
