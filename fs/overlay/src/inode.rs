//! Linux: fs/overlayfs/inode.c.

use crate::file::OvlFile;
use crate::readdir::{Merged, OvlDir};
use crate::super_block::OvlShared;
use crate::whiteout::is_private_xattr;
use crate::{names, rename};
use fs_vfs::{
    Access, AclType, Attr, FileOps, FileType, Inode, InodeOps, LinkTarget, MountFlags, NewNode, PosixAcl,
    Rename, SetAttr, SuperBlock, TaskContext, XattrFlags, inode_generic_permission,
};
use sentry_auth::Cred;
use sentry_sync::{Mutex, RwLock, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EIO, ENODATA, ENXIO, EOPNOTSUPP, EROFS};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::time::Timespec;
use smallvec::SmallVec;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Where a file is found.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) dir: Arc<Inode>,
    pub(crate) name: Arc<[u8]>,
}

/// Where a copied-up file came from. Kept on the upper inode. Linux: `trusted.overlay.origin`.
pub(crate) struct Origin {
    /// The number the file goes on to show.
    pub(crate) ino: u64,
    /// The lower file; its address is the key in the table of inodes.
    pub(crate) lower: Arc<Inode>,
}

/// What a mount below forbade for the file that an upper one was copied from, or for its directory. Kept on the upper
/// inode.
pub(crate) struct Inherited(MountFlags);

/// Has `upper` keep `flags`, if there are any.
pub(crate) fn inherit_mount_flags(upper: &Inode, flags: MountFlags) {
    if !flags.is_empty() {
        upper.attached_or(|| Inherited(flags));
    }
}

/// The lower files behind one of the overlay: mostly one, and several only for a directory.
pub(crate) type Lower = SmallVec<[Arc<Inode>; 1]>;

/// A file of the overlay.
pub(crate) struct OvlInode {
    pub(crate) fs: Arc<OvlShared>,
    upper: OnceLock<Arc<Inode>>,
    /// For a directory all those merged, the uppermost first; else at most one.
    pub(crate) lower: Lower,
    /// None for the root and for what was removed.
    place: Mutex<Option<Place>, { level::LEAF }>,
    /// Held while it is copied up.
    pub(crate) copying: Mutex<(), { level::OVERLAY }>,
    /// A directory's entries in its layers: written while they change, so that a lookup finds them whole.
    pub(crate) entries: RwLock<(), { level::OVERLAY }>,
    /// A removed directory.
    pub(crate) dead: AtomicBool,
    /// Counts changes of a directory's entries, for [`Merged`].
    version: AtomicU64,
    pub(crate) merged: Mutex<Option<Arc<Merged>>, { level::LEAF }>,
}

/// The overlay's part of an inode.
pub(crate) fn ovl_inode(inode: &Inode) -> Result<&OvlInode, Errno> {
    inode.downcast().ok_or(EIO)
}

impl OvlInode {
    /// The inode for what was found in the layers, at least in one of them.
    pub(crate) fn new_inode(
        fs: &Arc<OvlShared>,
        sb: &Arc<SuperBlock>,
        upper: Option<Arc<Inode>>,
        lower: Lower,
        place: Option<Place>,
    ) -> Arc<Inode> {
        let origin = upper.as_ref().and_then(|u| u.attached::<Origin>());
        // The lower file, where there is or was one, tells a file from others for good: copying up does not change it.
        let Some(key) = lower.first().or(origin.as_ref().map(|o| &o.lower)).or(upper.as_ref()).cloned()
        else {
            unreachable!("found in no layer")
        };
        // Names of one lower file may be copied up apart, so each has an inode of its own. Linux: `ovl_get_inode`.
        let shared = key.is_dir() || upper.is_some() || key.getattr().is_ok_and(|a| a.nlink <= 1);
        let make = {
            let upper = upper.clone();
            let key = key.clone();
            move || {
                let ops = OvlInode {
                    fs: fs.clone(),
                    upper: upper.map_or_else(OnceLock::new, OnceLock::from),
                    lower,
                    place: Mutex::new(place),
                    copying: Mutex::new(()),
                    entries: RwLock::new(()),
                    dead: AtomicBool::new(false),
                    version: AtomicU64::new(0),
                    merged: Mutex::new(None),
                };
                let ino = origin.map_or_else(|| fs.map_ino(key.sb(), key.ino()), |o| o.ino);
                Inode::new(sb.clone(), ino, key.file_type(), key.rdev(), Box::new(ops))
            }
        };
        if !shared {
            return make();
        }
        let inode = fs.inodes.get_or_make(Arc::as_ptr(&key).addr(), |_| true, make);
        if let (Ok(node), Some(upper)) = (ovl_inode(&inode), upper) {
            node.set_upper(upper);
        }
        inode
    }

    /// The upper file, if there is one.
    pub(crate) fn upper(&self) -> Option<&Arc<Inode>> {
        self.upper.get()
    }

    /// The file has been copied up; only the first call counts.
    pub(crate) fn set_upper(&self, upper: Arc<Inode>) {
        let _ = self.upper.set(upper);
    }

    /// The file that is shown. Linux: `ovl_inode_real`.
    pub(crate) fn real(&self) -> Result<&Arc<Inode>, Errno> {
        self.upper.get().or(self.lower.first()).ok_or(EIO)
    }

    pub(crate) fn place(&self) -> Option<Place> {
        self.place.lock().clone()
    }

    pub(crate) fn set_place(&self, place: Option<Place>) {
        let old = std::mem::replace(&mut *self.place.lock(), place);
        drop(old);
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// An entry came or went. Linux: `ovl_dir_modified`.
    pub(crate) fn dir_modified(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
        let old = self.merged.lock().take();
        drop(old);
    }
}

impl InodeOps for OvlInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    /// Linux: `ovl_getattr`.
    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        let mut attr = self.real()?.getattr()?;
        attr.ino = inode.ino();
        if inode.is_dir() && self.upper().is_some() && !self.lower.is_empty() {
            // Nobody counts the directories of a merged one.
            attr.nlink = 1;
        }
        Ok(attr)
    }

    /// Both the task and whoever mounted the overlay must be allowed to. A lower file is not written but read, to be
    /// copied. Linux: `ovl_permission`.
    fn permission(&self, inode: &Inode, cred: &Cred, access: Access) -> Result<(), Errno> {
        inode_generic_permission(inode, &self.getattr(inode)?, cred, access)?;
        if self.fs.mounter.privileged {
            return Ok(());
        }
        let mut access = access;
        if self.upper().is_none() && access.contains(Access::WRITE) {
            access = (access - Access::WRITE) | Access::READ;
        }
        self.real()?.permission(&self.fs.mounter.cred(), access)
    }

    fn setattr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        let upper = match change.size {
            Some(size) => self.copy_up_to(inode, size)?,
            None => self.copy_up(inode)?,
        };
        upper.ops().setattr(&upper, change)
    }

    fn lookup(&self, dir: &Arc<Inode>, ctx: &dyn TaskContext, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        let _entries = self.entries.read();
        self.lookup_layers(dir, ctx, name)
    }

    fn revalidate(
        &self,
        _dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        found: Option<&Arc<Inode>>,
    ) -> bool {
        self.revalidate_layers(ctx, name, found)
    }

    fn create(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        node: NewNode,
    ) -> Result<Arc<Inode>, Errno> {
        names::create(self, dir, ctx, name, node)
    }

    fn tmpfile(&self, dir: &Arc<Inode>, ctx: &dyn TaskContext, node: NewNode) -> Result<Arc<Inode>, Errno> {
        let upper_dir = self.copy_up(dir)?;
        let upper = upper_dir.ops().tmpfile(&upper_dir, ctx, node)?;
        inherit_mount_flags(&upper, self.mount_flags(dir));
        Ok(OvlInode::new_inode(&self.fs, dir.sb(), Some(upper), Lower::new(), None))
    }

    fn link(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        names::link(self, dir, ctx, name, target)
    }

    fn unlink(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        names::remove(self, dir, ctx, name, target)
    }

    fn rmdir(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        names::remove(self, dir, ctx, name, target)
    }

    fn rename(&self, rename: &Rename<'_>, ctx: &dyn TaskContext) -> Result<(), Errno> {
        rename::rename(rename, ctx)
    }

    fn readlink(&self, _inode: &Arc<Inode>, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        let real = self.real()?;
        real.ops().readlink(real, ctx)
    }

    /// Reading copies nothing up: the times of lower files stay. Linux: `ovl_update_time`.
    fn update_atime(&self, _inode: &Inode, now: Timespec) {
        if let Some(upper) = self.upper() {
            upper.ops().update_atime(upper, now);
        }
    }

    fn open(
        &self,
        inode: &Arc<Inode>,
        ctx: &dyn TaskContext,
        flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        match inode.file_type() {
            FileType::Directory => Ok(Box::new(OvlDir::new())),
            FileType::Regular => {
                if flags.writable() {
                    self.copy_up(inode)?;
                }
                let real = self.fs.open_real(ctx, self.real()?, flags)?;
                Ok(Box::new(OvlFile::new(real)))
            }
            _ => Err(ENXIO),
        }
    }

    fn getxattr(&self, _inode: &Inode, name: &[u8]) -> Result<Vec<u8>, Errno> {
        if is_private_xattr(name) {
            return Err(ENODATA);
        }
        let real = self.real()?;
        real.ops().getxattr(real, name)
    }

    fn setxattr(&self, inode: &Inode, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
        if is_private_xattr(name) {
            return Err(EOPNOTSUPP);
        }
        let upper = self.copy_up(inode)?;
        upper.ops().setxattr(&upper, name, value, flags)
    }

    fn listxattr(&self, _inode: &Inode) -> Result<Vec<Vec<u8>>, Errno> {
        let real = self.real()?;
        let mut names = real.ops().listxattr(real)?;
        names.retain(|name| !is_private_xattr(name));
        Ok(names)
    }

    fn removexattr(&self, inode: &Inode, name: &[u8]) -> Result<(), Errno> {
        if is_private_xattr(name) {
            return Err(EOPNOTSUPP);
        }
        // What is not there must not be copied up to say so.
        if self.upper().is_none() {
            let real = self.real()?;
            real.ops().getxattr(real, name)?;
        }
        let upper = self.copy_up(inode)?;
        upper.ops().removexattr(&upper, name)
    }

    /// A copy, and what is made in a directory, keeps what the mount below forbade.
    fn mount_flags(&self, _inode: &Inode) -> MountFlags {
        let inherited = self.upper().and_then(|upper| upper.attached::<Inherited>());
        let lower = self.lower.first().map(|lower| lower.ops().mount_flags(lower));
        inherited.map_or(MountFlags::empty(), |i| i.0) | lower.unwrap_or(MountFlags::empty())
    }

    fn get_acl(&self, _inode: &Inode, kind: AclType) -> Result<Option<Arc<PosixAcl>>, Errno> {
        self.real()?.get_acl(kind)
    }

    /// Linux: `ovl_posix_acl_xattr_set`.
    fn set_acl(
        &self,
        inode: &Arc<Inode>,
        kind: AclType,
        acl: Option<Arc<PosixAcl>>,
        perm: Option<u32>,
    ) -> Result<(), Errno> {
        let upper = self.copy_up(inode)?;
        upper.ops().set_acl(&upper, kind, acl, perm)
    }
}

impl Drop for OvlInode {
    fn drop(&mut self) {
        // The chain of parents may be as long as a guest likes: it is taken apart from here, not by recursion.
        let mut place = self.place.get_mut().take();
        while let Some(Place { dir, .. }) = place.take() {
            if let Some(last) = Arc::into_inner(dir)
                && let Ok(node) = ovl_inode(&last)
            {
                place = node.place.lock().take();
            }
        }
    }
}

/// `EROFS` without an upper layer.
pub(crate) fn need_upper<T>(found: Option<T>) -> Result<T, Errno> {
    found.ok_or(EROFS)
}
