//! Linux: fs/fs_struct.c.

use crate::namei::{LookupFlags, may_chdir, user_path_at};
use crate::{At, File, Path, TaskContext};
use sentry_auth::{CapSet, ns_capable};
use sentry_sync::{RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, ENOTDIR, EPERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Root, working directory and umask of a task; tasks made with CLONE_FS share one.
pub struct FsStruct {
    places: RwLock<Places, { level::FS_STRUCT }>,
    umask: AtomicU32,
}

#[derive(Clone)]
struct Places {
    root: Path,
    pwd: Path,
}

impl FsStruct {
    /// With `root` as root and working directory, and umask 022.
    pub fn new(root: &Path) -> Arc<FsStruct> {
        Arc::new(FsStruct {
            places: RwLock::new(Places { root: root.clone(), pwd: root.clone() }),
            umask: AtomicU32::new(0o022),
        })
    }

    /// A copy of its own, for fork without CLONE_FS. Linux: `copy_fs_struct`.
    pub fn copy(&self) -> Arc<FsStruct> {
        Arc::new(FsStruct {
            places: RwLock::new(self.places.read().clone()),
            umask: AtomicU32::new(self.umask()),
        })
    }

    /// The root directory.
    pub fn root(&self) -> Path {
        self.places.read().root.clone()
    }

    /// The working directory.
    pub fn pwd(&self) -> Path {
        self.places.read().pwd.clone()
    }

    /// Root and working directory as they stand together.
    pub fn root_and_pwd(&self) -> (Path, Path) {
        let places = self.places.read();
        (places.root.clone(), places.pwd.clone())
    }

    /// Linux: `set_fs_root`.
    pub fn set_root(&self, root: Path) {
        let old = std::mem::replace(&mut self.places.write().root, root);
        drop(old);
    }

    /// Linux: `set_fs_pwd`.
    pub fn set_pwd(&self, pwd: Path) {
        let old = std::mem::replace(&mut self.places.write().pwd, pwd);
        drop(old);
    }

    /// Moves root and working directory to `new` where they stand on `old`: after pivot_root(2), for every task. Linux:
    /// `chroot_fs_refs`.
    pub fn chroot_refs(&self, old: &Path, new: &Path) {
        self.replace(|path| path.same(old).then(|| new.clone()));
    }

    /// Changes both at once, each by `f`.
    pub(crate) fn replace(&self, f: impl Fn(&Path) -> Option<Path>) {
        let old = {
            let mut places = self.places.write();
            let old = places.clone();
            if let Some(root) = f(&places.root) {
                places.root = root;
            }
            if let Some(pwd) = f(&places.pwd) {
                places.pwd = pwd;
            }
            old
        };
        drop(old);
    }

    /// Permission bits taken off new files.
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }

    /// umask(2): sets it, and gives the old one.
    pub fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }
}

/// chdir(2). Linux: fs/open.c.
///
/// # Errors
/// Those of the lookup; `ENOTDIR`; `EACCES` without search permission.
pub fn chdir(ctx: &dyn TaskContext, name: &[u8]) -> Result<(), Errno> {
    let path = user_path_at(ctx, &At::Cwd, name, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    may_chdir(ctx, &path)?;
    ctx.fs().set_pwd(path);
    Ok(())
}

/// fchdir(2). Linux: fs/open.c.
///
/// # Errors
/// `EBADF`, `ENOTDIR`, `EACCES`.
pub fn fchdir(ctx: &dyn TaskContext, fd: i32) -> Result<(), Errno> {
    let file: Arc<File> = ctx.files().get_raw(fd).ok_or(EBADF)?;
    if !file.inode().is_dir() {
        return Err(ENOTDIR);
    }
    may_chdir(ctx, file.path())?;
    ctx.fs().set_pwd(file.path().clone());
    Ok(())
}

/// chroot(2). Linux: fs/open.c.
///
/// # Errors
/// Those of the lookup; `ENOTDIR`; `EACCES`; `EPERM` without CAP_SYS_CHROOT in the caller's user namespace.
pub fn chroot(ctx: &dyn TaskContext, name: &[u8]) -> Result<(), Errno> {
    let path = user_path_at(ctx, &At::Cwd, name, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    may_chdir(ctx, &path)?;
    let cred = ctx.cred();
    if !ns_capable(&cred, &cred.user_ns, CapSet::SYS_CHROOT) {
        return Err(EPERM);
    }
    ctx.fs().set_root(path);
    Ok(())
}
