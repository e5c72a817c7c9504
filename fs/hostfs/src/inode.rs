//! Inodes of host files, and how to get a descriptor for one.

use crate::attr::{self, host_time};
use crate::dir::Listing;
use crate::fd_cache::FdSlot;
use crate::owners::{ChildOwners, Owner};
use crate::pages::HostPages;
use crate::super_block::{HostShared, Key, key};
use crate::xattr::{self, KnownAcls};
use crate::{names, open};
use fs_vfs::{
    AclType, Attr, FileOps, FileType, Inode, InodeOps, LinkTarget, MountFlags, NewNode, PosixAcl, Rename,
    SetAttr, SuperBlock, TaskContext, XattrFlags,
};
use platform_host::fs::{self, HostStat};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EIO, ENOENT, EROFS, ESTALE};
use sentry_uapi::fcntl::OpenFlags;
use smallvec::SmallVec;
use std::any::Any;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Where a file is found.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) dir: Arc<Inode>,
    pub(crate) name: Arc<[u8]>,
}

/// Most names kept of a file with several links. Should all of these go, and others be left, it cannot be opened anew
/// until it is looked up again.
const MAX_PLACES: usize = 64;

impl Place {
    fn same(&self, other: &Place) -> bool {
        Arc::ptr_eq(&self.dir, &other.dir) && self.name == other.name
    }
}

/// A host file.
pub(crate) struct HostInode {
    pub(crate) fs: Arc<HostShared>,
    pub(crate) key: Key,
    pub(crate) is_dir: bool,
    /// The names it is known by, the one learnt last at the end. None for the root and for what has been removed; both
    /// are pinned.
    places: Mutex<SmallVec<[Place; 1]>, { level::LEAF }>,
    /// An `O_PATH` descriptor; one for reading, a directory too; one for reading and writing.
    path: FdSlot,
    pub(crate) read: FdSlot,
    pub(crate) write: FdSlot,
    pinned: OnceLock<Arc<OwnedFd>>,
    /// Attributes, where nobody else changes them.
    attr: Mutex<Option<HostStat>, { level::LEAF }>,
    /// The owner that the host's stat(2) hides.
    pub(crate) owner: Mutex<Option<Owner>, { level::LEAF }>,
    /// Those of a directory's files; made when one is asked for.
    pub(crate) child_owners: OnceLock<Box<ChildOwners>>,
    target: OnceLock<Box<[u8]>>,
    /// Entries of a directory, where nobody changes them.
    pub(crate) listing: Mutex<Option<Arc<Listing>>, { level::LEAF }>,
    /// Contents that were mapped.
    pages: OnceLock<Arc<HostPages>>,
    /// File capabilities, asked for at every exec; the outer `None`: not known.
    pub(crate) capability: Mutex<Option<Option<Vec<u8>>>, { level::LEAF }>,
    /// What a mount forbids that the file was ever found through. Who can choose by which of several it is looked up
    /// must not gain by that.
    mount_flags: AtomicU32,
    /// Access control lists.
    pub(crate) acls: Mutex<KnownAcls, { level::LEAF }>,
}

/// The filesystem's part of an inode.
pub(crate) fn host_inode(inode: &Inode) -> Result<&HostInode, Errno> {
    inode.downcast().ok_or(EIO)
}

impl HostShared {
    /// The inode of a host file. Linux: `iget`.
    pub(crate) fn iget(
        self: &Arc<Self>,
        sb: &Arc<SuperBlock>,
        stat: &HostStat,
        place: Option<Place>,
    ) -> Arc<Inode> {
        let file_type = attr::file_type(stat);
        let key = key(stat);
        // With another type the host has given the number to another file.
        let same = |old: &Inode| old.file_type() == file_type;
        let inode = self.inodes.get_or_make(key, same, || {
            let ops = HostInode {
                fs: self.clone(),
                key,
                is_dir: file_type == FileType::Directory,
                places: Mutex::new(SmallVec::new()),
                path: FdSlot::default(),
                read: FdSlot::default(),
                write: FdSlot::default(),
                pinned: OnceLock::new(),
                attr: Mutex::new(None),
                owner: Mutex::new(None),
                child_owners: OnceLock::new(),
                target: OnceLock::new(),
                listing: Mutex::new(None),
                pages: OnceLock::new(),
                capability: Mutex::new(None),
                mount_flags: AtomicU32::new(0),
                acls: Mutex::default(),
            };
            Inode::new(sb.clone(), stat.ino, file_type, attr::rdev(stat), Box::new(ops))
        });
        if let Ok(node) = host_inode(&inode) {
            node.mount_flags.fetch_or(self.mount_flags(stat).bits(), Ordering::Relaxed);
            if let Some(place) = place {
                node.add_place(place, stat.nlink);
            }
            if self.exclusive() {
                *node.attr.lock() = Some(*stat);
            }
        }
        inode
    }
}

impl HostInode {
    /// A name it is found by.
    pub(crate) fn place(&self) -> Option<Place> {
        self.places.lock().last().cloned()
    }

    /// Learns a name. Of a directory, or a file with one link, any other it was known by is gone.
    pub(crate) fn add_place(&self, place: Place, nlink: u32) {
        let mut places = self.places.lock();
        let mut old = SmallVec::new();
        if nlink <= 1 || self.is_dir {
            old = std::mem::take(&mut *places);
        }
        if let Some(at) = places.iter().position(|p| p.same(&place)) {
            old.push(places.swap_remove(at));
        }
        if places.len() >= MAX_PLACES {
            old.push(places.remove(0));
        }
        places.push(place);
        drop(places);
        drop(old);
    }

    /// Forgets a name.
    pub(crate) fn remove_place(&self, place: &Place) {
        let mut places = self.places.lock();
        let found = places.iter().position(|p| p.same(place));
        let old = found.map(|at| places.remove(at));
        drop(places);
        drop(old);
    }

    /// Keeps a descriptor as long as the inode lives.
    pub(crate) fn pin(&self, fd: Arc<OwnedFd>) {
        // Somebody else having pinned one before is as good.
        let _ = self.pinned.set(fd);
    }

    pub(crate) fn open_fd(&self) -> Option<Arc<OwnedFd>> {
        let pinned = self.pinned.get().cloned();
        pinned.or_else(|| self.path.get()).or_else(|| self.read.get()).or_else(|| self.write.get())
    }

    /// A descriptor that at least names the file, `O_PATH` perhaps. Directories above it are opened as needed.
    pub(crate) fn path_fd(&self) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(fd) = self.open_fd() {
            return Ok(fd);
        }
        let _names = self.fs.names.read();
        self.path_fd_locked()
    }

    /// As [`HostInode::path_fd`], with the names locked by the caller.
    pub(crate) fn path_fd_locked(&self) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(fd) = self.open_fd() {
            return Ok(fd);
        }
        // Walk up to the first directory that is open, then down again; not by recursion, since a guest with a writable
        // tree decides how deep it is.
        let mut closed: Vec<Place> = Vec::new();
        let mut place = self.place().ok_or(ESTALE)?;
        let mut fd = loop {
            let dir = place.dir.clone();
            closed.push(place);
            let node = host_inode(&dir)?;
            if let Some(fd) = node.open_fd() {
                break fd;
            }
            place = node.place().ok_or(ESTALE)?;
        };
        while let Some(place) = closed.pop() {
            let found = Arc::new(fs::open_beneath(fd.as_fd(), &place.name, host_flags::O_PATH, 0)?);
            let node = match closed.last() {
                Some(below) => host_inode(&below.dir)?,
                None => self,
            };
            if !self.fs.exclusive() && key(&fs::stat(found.as_fd())?) != node.key {
                return Err(ESTALE);
            }
            self.fs.fds.store(&node.path, found.clone());
            fd = found;
        }
        Ok(fd)
    }

    /// Asks the host about the file: through a descriptor where one is open, else by its name.
    fn by_name<T>(
        &self,
        by_fd: impl FnOnce(BorrowedFd<'_>) -> Result<T, Errno>,
        by_name: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if let Some(fd) = self.open_fd() {
            return by_fd(fd.as_fd());
        }
        let _names = self.fs.names.read();
        // A file that has lost its name meanwhile has got a descriptor for that.
        if let Some(fd) = self.open_fd() {
            return by_fd(fd.as_fd());
        }
        let place = self.place().ok_or(ESTALE)?;
        by_name(host_inode(&place.dir)?.path_fd_locked()?.as_fd(), &place.name)
    }

    /// The attributes as the host has them now.
    pub(crate) fn stat_now(&self) -> Result<HostStat, Errno> {
        let stat = self.by_name(fs::stat, fs::stat_at)?;
        if key(&stat) == self.key { Ok(stat) } else { Err(ESTALE) }
    }

    /// The attributes.
    pub(crate) fn stat(&self) -> Result<HostStat, Errno> {
        if !self.fs.exclusive() {
            return self.stat_now();
        }
        if let Some(stat) = *self.attr.lock() {
            return Ok(stat);
        }
        let stat = self.stat_now()?;
        *self.attr.lock() = Some(stat);
        Ok(stat)
    }

    /// What is known of the file no longer holds.
    pub(crate) fn changed(&self) {
        *self.attr.lock() = None;
        *self.owner.lock() = None;
        let old = self.listing.lock().take();
        drop(old);
    }

    /// The contents that were mapped, if any were.
    pub(crate) fn pages(&self) -> Option<&Arc<HostPages>> {
        self.pages.get()
    }

    /// The cache for mapped contents.
    pub(crate) fn pages_or_make(&self) -> &Arc<HostPages> {
        self.pages.get_or_init(|| HostPages::new(self.fs.clone()))
    }

    /// `EROFS` where nothing may be changed.
    pub(crate) fn check_writable(&self) -> Result<(), Errno> {
        if self.fs.writable { Ok(()) } else { Err(EROFS) }
    }

    fn set_size(&self, size: u64) -> Result<(), Errno> {
        let fd = self.io_fd(true)?;
        fs::truncate(fd.as_fd(), size)?;
        if let Some(pages) = self.pages() {
            pages.truncated(size)?;
        }
        Ok(())
    }
}

impl InodeOps for HostInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, _inode: &Inode) -> Result<Attr, Errno> {
        let stat = self.stat()?;
        Ok(self.fs.attr(&stat, self.owner(&stat)))
    }

    fn setattr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        self.check_writable()?;
        self.changed();
        if let Some(size) = change.size {
            self.set_size(size)?;
        }
        if change.uid.is_some() || change.gid.is_some() {
            let uid = change.uid.map_or(u32::MAX, |id| self.fs.uid_to_host(id.to_global()));
            let gid = change.gid.map_or(u32::MAX, |id| self.fs.gid_to_host(id.to_global()));
            fs::chown(self.path_fd()?.as_fd(), uid, gid)?;
            *self.capability.lock() = None;
        }
        if let Some(perm) = change.perm {
            self.chmod(inode.file_type(), perm)?;
            self.acls.lock().forget();
        }
        if change.atime.is_some() || change.mtime.is_some() {
            let now = inode.sb().clocks.realtime();
            let (atime, mtime) = (host_time(change.atime, now), host_time(change.mtime, now));
            fs::set_times(self.path_fd()?.as_fd(), atime, mtime)?;
        }
        self.changed();
        Ok(())
    }

    fn lookup(&self, dir: &Arc<Inode>, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        let fd = self.path_fd()?;
        let _names = self.fs.names.read();
        let stat = fs::stat_at(fd.as_fd(), name)?;
        Ok(self.fs.iget(dir.sb(), &stat, Some(Place { dir: dir.clone(), name: name.into() })))
    }

    fn revalidate(
        &self,
        _dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        found: Option<&Arc<Inode>>,
    ) -> bool {
        let now = self.path_fd().and_then(|fd| fs::stat_at(fd.as_fd(), name));
        match (now, found) {
            (Ok(stat), Some(inode)) => {
                attr::file_type(&stat) == inode.file_type()
                    && host_inode(inode).is_ok_and(|node| node.key == key(&stat))
            }
            (Err(e), None) => e == ENOENT,
            _ => false,
        }
    }

    fn create(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        node: NewNode,
    ) -> Result<Arc<Inode>, Errno> {
        names::create(self, dir, name, &node)
    }

    fn tmpfile(&self, dir: &Arc<Inode>, _ctx: &dyn TaskContext, node: NewNode) -> Result<Arc<Inode>, Errno> {
        names::tmpfile(self, dir, &node)
    }

    fn link(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        names::link(self, dir, name, host_inode(target)?)
    }

    fn unlink(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        names::remove(self, dir, name, host_inode(target)?, false)
    }

    fn rmdir(
        &self,
        dir: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        names::remove(self, dir, name, host_inode(target)?, true)
    }

    fn rename(&self, rename: &Rename<'_>, _ctx: &dyn TaskContext) -> Result<(), Errno> {
        names::rename(rename)
    }

    fn readlink(&self, inode: &Arc<Inode>, _ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        if inode.file_type() != FileType::Symlink {
            return Err(EINVAL);
        }
        if let Some(target) = self.target.get() {
            return Ok(LinkTarget::Path(target.to_vec()));
        }
        let target = self.by_name(fs::readlink, fs::readlink_at)?;
        // A link never changes its target, but the number may pass to another file.
        if self.fs.exclusive() {
            let _ = self.target.set(target.clone().into());
        }
        Ok(LinkTarget::Path(target))
    }

    fn open(
        &self,
        inode: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        open::open(self, inode, flags)
    }

    fn getxattr(&self, inode: &Inode, name: &[u8]) -> Result<Vec<u8>, Errno> {
        xattr::get(self, inode.file_type(), name)
    }

    fn setxattr(&self, inode: &Inode, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
        xattr::set(self, inode.file_type(), name, value, flags)
    }

    fn listxattr(&self, inode: &Inode) -> Result<Vec<Vec<u8>>, Errno> {
        xattr::list(self, inode.file_type())
    }

    fn removexattr(&self, inode: &Inode, name: &[u8]) -> Result<(), Errno> {
        xattr::remove(self, inode.file_type(), name)
    }

    fn mount_flags(&self, _inode: &Inode) -> MountFlags {
        MountFlags::from_bits_truncate(self.mount_flags.load(Ordering::Relaxed))
    }

    fn get_acl(&self, inode: &Inode, kind: AclType) -> Result<Option<Arc<PosixAcl>>, Errno> {
        xattr::get_acl(self, inode.file_type(), kind)
    }

    /// With a list the host sets the permission bits, all that the list does not say included; without one they are set
    /// by themselves.
    fn set_acl(
        &self,
        inode: &Arc<Inode>,
        kind: AclType,
        acl: Option<Arc<PosixAcl>>,
        perm: Option<u32>,
    ) -> Result<(), Errno> {
        xattr::set_acl(self, inode.file_type(), kind, acl.as_deref())?;
        if let Some(perm) = perm {
            self.chmod(inode.file_type(), perm)?;
        }
        self.acls.lock().forget();
        self.changed();
        Ok(())
    }
}

impl Drop for HostInode {
    fn drop(&mut self) {
        // The chain of parents may be as long as a guest likes: it is taken apart from here, not by recursion.
        let mut places = std::mem::take(self.places.get_mut());
        while let Some(Place { dir, .. }) = places.pop() {
            if let Some(last) = Arc::into_inner(dir)
                && let Ok(node) = host_inode(&last)
            {
                let above = std::mem::take(&mut *node.places.lock());
                places.extend(above);
            }
        }
    }
}

/// Host open flags used here, which are the same as the guest's on every architecture we have.
pub(crate) mod host_flags {
    use sentry_uapi::fcntl::OpenFlags;

    const fn flag(flag: OpenFlags) -> i32 {
        flag.bits().cast_signed()
    }

    pub(crate) const O_PATH: i32 = flag(OpenFlags::PATH);
    pub(crate) const O_RDWR: i32 = flag(OpenFlags::RDWR);
    pub(crate) const O_WRONLY: i32 = flag(OpenFlags::WRONLY);
    pub(crate) const O_RDONLY: i32 = 0;
    pub(crate) const O_CREAT: i32 = flag(OpenFlags::CREAT);
    pub(crate) const O_EXCL: i32 = flag(OpenFlags::EXCL);
    pub(crate) const O_DIRECTORY: i32 = flag(OpenFlags::DIRECTORY);
    pub(crate) const O_TMPFILE: i32 = flag(OpenFlags::TMPFILE);
    /// Never wait, never become a controlling terminal: whatever the name has turned into meanwhile.
    pub(crate) const O_SAFE: i32 = flag(OpenFlags::NONBLOCK) | flag(OpenFlags::NOCTTY);
}
