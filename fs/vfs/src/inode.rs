//! Linux: include/linux/fs.h, `struct inode` and `struct inode_operations`.

use crate::{
    Access, AclType, Attr, FileOps, FileType, MountFlags, NewAcls, Path, PosixAcl, SetAttr, SuperBlock,
    TaskContext,
};
use bitflags::bitflags;
use sentry_auth::{CapSet, Cred, Kgid, Kuid, capable_wrt_inode_uidgid};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, ENODATA, ENOTDIR, ENXIO, EOPNOTSUPP, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::stat::S_IXUGO;
use sentry_uapi::time::Timespec;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32};

/// Permission bits of the group.
const S_IRWXG: u32 = 0o070;

/// A file, whatever names it has. What every file has, of any filesystem, stands here; the rest is in [`Inode::ops`].
///
/// A filesystem makes one per file and keeps handing out the same one (by a table of its own) as long as it is in use,
/// so that identity of inodes is identity of `Arc`s.
pub struct Inode {
    ino: u64,
    file_type: FileType,
    rdev: u64,
    sb: Arc<SuperBlock>,
    ops: Box<dyn InodeOps>,
    /// What other parts of the kernel hang on an inode: the pipe behind a FIFO, the socket bound to a name, file locks,
    /// notification marks, counts of writers. Made on first use.
    attached: Mutex<Vec<Arc<dyn Any + Send + Sync>>, { level::LEAF }>,
    /// Writers, or with a negative sign those who deny writing. Linux: `i_writecount`.
    pub(crate) writecount: AtomicI32,
    /// Known to have no set-ID bits and no file capabilities for a write to take off. Linux: `S_NOSEC`.
    pub(crate) nosec: AtomicBool,
}

bitflags! {
    /// renameat2(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RenameFlags: u32 {
        /// Fail if the new name exists.
        const NOREPLACE = 1;
        /// Swap the two.
        const EXCHANGE = 2;
        /// Leave a whiteout behind.
        const WHITEOUT = 4;
    }

    /// setxattr(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct XattrFlags: u32 {
        /// Fail if it exists.
        const CREATE = 1;
        /// Fail if it does not.
        const REPLACE = 2;
    }
}

/// What kind of node to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link with its target.
    Symlink(Vec<u8>),
    /// FIFO.
    Fifo,
    /// Socket.
    Socket,
    /// Character device.
    CharDevice(u64),
    /// Block device.
    BlockDevice(u64),
}

impl NodeKind {
    /// The type of the file it makes.
    pub fn file_type(&self) -> FileType {
        match self {
            NodeKind::Regular => FileType::Regular,
            NodeKind::Directory => FileType::Directory,
            NodeKind::Symlink(_) => FileType::Symlink,
            NodeKind::Fifo => FileType::Fifo,
            NodeKind::Socket => FileType::Socket,
            NodeKind::CharDevice(_) => FileType::CharDevice,
            NodeKind::BlockDevice(_) => FileType::BlockDevice,
        }
    }
}

/// A node to make. Umask, set-group-ID inheritance and ownership have been worked out by the VFS
/// (Linux: `inode_init_owner`, `mode_strip_sgid`).
#[derive(Clone, Debug)]
pub struct NewNode {
    /// What to make.
    pub kind: NodeKind,
    /// Permission bits.
    pub perm: u32,
    /// Owner.
    pub uid: Kuid,
    /// Group.
    pub gid: Kgid,
    /// Access control lists; none where the filesystem has none.
    pub acls: NewAcls,
}

impl NewNode {
    /// A node without access control lists.
    pub fn new(kind: NodeKind, perm: u32, uid: Kuid, gid: Kgid) -> NewNode {
        NewNode { kind, perm, uid, gid, acls: NewAcls::default() }
    }
}

/// Where a symbolic link leads.
pub enum LinkTarget {
    /// A path to walk from the link's directory.
    Path(Vec<u8>),
    /// A place to jump to, as `/proc/[pid]/fd/N` does. Linux: `nd_jump_link`.
    Jump(Path),
}

/// What a filesystem does for an inode.
///
/// The VFS has checked permissions, name lengths and that names exist or do not, and holds the directory's lock
/// (level `DIRECTORY`) during `create` … `rename`. Names hold neither `/` nor a zero byte and are not `.` or `..`. Methods that take
/// another inode get one of the same superblock.
pub trait InodeOps: Any + Send + Sync {
    /// For a filesystem to get back at its own type.
    fn as_any(&self) -> &dyn Any;

    /// The present attributes. Linux: `getattr`.
    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno>;

    /// Changes attributes. Linux: `setattr`.
    fn setattr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<(), Errno> {
        let _ = (inode, change);
        Err(EPERM)
    }

    /// Whether `cred` may access the file so. Linux: `permission`; the default is `generic_permission`.
    fn permission(&self, inode: &Inode, cred: &Cred, access: Access) -> Result<(), Errno> {
        inode_generic_permission(inode, &self.getattr(inode)?, cred, access)
    }

    /// Finds a name in a directory: `ENOENT` where there is none.
    fn lookup(&self, dir: &Arc<Inode>, ctx: &dyn TaskContext, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        let _ = (dir, ctx, name);
        Err(ENOTDIR)
    }

    /// Whether what `lookup` answered before for `name` still holds. Only asked where
    /// [`SuperBlock::revalidates`] says so. Linux: `d_revalidate`.
    fn revalidate(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        found: Option<&Arc<Inode>>,
    ) -> bool {
        let _ = (dir, ctx, name, found);
        true
    }

    /// Makes a node. Linux: `create`, `mkdir`, `mknod`, `symlink`.
    fn create(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        node: NewNode,
    ) -> Result<Arc<Inode>, Errno> {
        let _ = (dir, ctx, name, node);
        Err(EPERM)
    }

    /// Makes a regular file without a name, which may get one by `link`. Linux: `tmpfile`.
    fn tmpfile(&self, dir: &Arc<Inode>, ctx: &dyn TaskContext, node: NewNode) -> Result<Arc<Inode>, Errno> {
        let _ = (dir, ctx, node);
        Err(EOPNOTSUPP)
    }

    /// Gives a file another name.
    fn link(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        let _ = (dir, ctx, name, target);
        Err(EPERM)
    }

    /// Removes a name of something that is no directory.
    fn unlink(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        let _ = (dir, ctx, name, target);
        Err(EPERM)
    }

    /// Removes an empty directory: `ENOTEMPTY` if it is not.
    fn rmdir(
        &self,
        dir: &Arc<Inode>,
        ctx: &dyn TaskContext,
        name: &[u8],
        target: &Arc<Inode>,
    ) -> Result<(), Errno> {
        let _ = (dir, ctx, name, target);
        Err(EPERM)
    }

    /// Renames. `replaced` is what the new name stood for (never with `NOREPLACE`; always with `EXCHANGE`).
    fn rename(&self, rename: &Rename<'_>, ctx: &dyn TaskContext) -> Result<(), Errno> {
        let _ = (rename, ctx);
        Err(EPERM)
    }

    /// Where a symbolic link leads. Linux: `get_link`.
    fn readlink(&self, inode: &Arc<Inode>, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        let _ = (inode, ctx);
        Err(EINVAL)
    }

    /// What readlink(2) prints, where it is not what following the link means (`/proc/[pid]/fd/N`).
    fn readlink_text(&self, inode: &Arc<Inode>, ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
        match self.readlink(inode, ctx)? {
            LinkTarget::Path(target) => Ok(target),
            LinkTarget::Jump(_) => Err(EINVAL),
        }
    }

    /// Whether this is a directory that never has an entry: a place made to be mounted on. Linux: `is_empty_dir_inode`.
    fn is_permanently_empty(&self) -> bool {
        false
    }

    /// Sets the access time, and no other. Only called with [`crate::SuperFlags::ATIME`], when the mount's rule says so.
    /// Linux: `update_time`.
    fn update_atime(&self, inode: &Inode, now: Timespec) {
        let _ = (inode, now);
    }

    /// Opens a regular file or a directory (the VFS opens FIFOs and devices itself; sockets cannot be opened).
    /// `O_CREAT`, `O_EXCL` and `O_TRUNC` have been taken care of.
    fn open(
        &self,
        inode: &Arc<Inode>,
        ctx: &dyn TaskContext,
        flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        let _ = (inode, ctx, flags);
        Err(ENXIO)
    }

    /// Reads an extended attribute; the name has its prefix. `ENODATA` where it is missing.
    fn getxattr(&self, inode: &Inode, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let _ = (inode, name);
        Err(EOPNOTSUPP)
    }

    /// Sets an extended attribute.
    fn setxattr(&self, inode: &Inode, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<(), Errno> {
        let _ = (inode, name, value, flags);
        Err(EOPNOTSUPP)
    }

    /// Names of the extended attributes.
    fn listxattr(&self, inode: &Inode) -> Result<Vec<Vec<u8>>, Errno> {
        let _ = inode;
        Ok(Vec::new())
    }

    /// Removes an extended attribute.
    fn removexattr(&self, inode: &Inode, name: &[u8]) -> Result<(), Errno> {
        let _ = (inode, name);
        Err(ENODATA)
    }

    /// What the mount forbids that a filesystem has the file from, where the mount is none of this kernel's: `NOSUID`,
    /// `NODEV`, `NOEXEC`. Counts as flags of the mount it is seen through do.
    fn mount_flags(&self, inode: &Inode) -> MountFlags {
        let _ = inode;
        MountFlags::empty()
    }

    /// An access control list of the file. Only called with [`crate::SuperFlags::POSIXACL`], and never for symbolic
    /// links. Lists are no extended attributes to a filesystem, and not in its `listxattr`.
    fn get_acl(&self, inode: &Inode, kind: AclType) -> Result<Option<Arc<PosixAcl>>, Errno> {
        let _ = (inode, kind);
        Ok(None)
    }

    /// Sets a list, or removes it, and along with it the permission bits, if any are given. It has been checked.
    /// When `setattr` changes the permission bits the filesystem keeps the list in step ([`PosixAcl::chmod`]).
    fn set_acl(
        &self,
        inode: &Arc<Inode>,
        kind: AclType,
        acl: Option<Arc<PosixAcl>>,
        perm: Option<u32>,
    ) -> Result<(), Errno> {
        let _ = (inode, kind, acl, perm);
        Err(EOPNOTSUPP)
    }
}

/// A rename, with everything it touches.
pub struct Rename<'a> {
    /// Directory the old name is in.
    pub old_dir: &'a Arc<Inode>,
    /// The old name.
    pub old_name: &'a [u8],
    /// What it stands for.
    pub target: &'a Arc<Inode>,
    /// Directory of the new name; perhaps the same.
    pub new_dir: &'a Arc<Inode>,
    /// The new name.
    pub new_name: &'a [u8],
    /// What the new name stands for now.
    pub replaced: Option<&'a Arc<Inode>>,
    /// As given to renameat2(2).
    pub flags: RenameFlags,
}

impl Inode {
    /// A new inode. `rdev` is the device a special file stands for, else 0.
    pub fn new(
        sb: Arc<SuperBlock>,
        ino: u64,
        file_type: FileType,
        rdev: u64,
        ops: Box<dyn InodeOps>,
    ) -> Arc<Inode> {
        Arc::new(Inode {
            ino,
            file_type,
            rdev,
            sb,
            ops,
            attached: Mutex::new(Vec::new()),
            writecount: AtomicI32::new(0),
            nosec: AtomicBool::new(false),
        })
    }

    /// Inode number.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// Type of the file.
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// Device a special file stands for.
    pub fn rdev(&self) -> u64 {
        self.rdev
    }

    /// The filesystem it belongs to.
    pub fn sb(&self) -> &Arc<SuperBlock> {
        &self.sb
    }

    /// The filesystem's part.
    pub fn ops(&self) -> &dyn InodeOps {
        &*self.ops
    }

    /// The filesystem's part, if it is of type `T`.
    pub fn downcast<T: InodeOps>(&self) -> Option<&T> {
        self.ops.as_any().downcast_ref()
    }

    /// The present attributes.
    pub fn getattr(&self) -> Result<Attr, Errno> {
        self.ops.getattr(self)
    }

    /// Whether `cred` may access the file so, mounts left aside. Linux: `inode_permission`.
    pub fn permission(&self, cred: &Cred, access: Access) -> Result<(), Errno> {
        if access.contains(Access::WRITE) {
            self.sb.may_write(self.file_type)?;
        }
        self.ops.permission(self, cred, access)
    }

    /// Something another part of the kernel has attached, by its type; made by `make` if it is not there yet.
    pub fn attached_or<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(found) = self.attached::<T>() {
            return found;
        }
        let new = Arc::new(make());
        let mut attached = self.attached.lock();
        for a in attached.iter() {
            if let Ok(found) = a.clone().downcast::<T>() {
                return found;
            }
        }
        attached.push(new.clone());
        new
    }

    /// Something another part of the kernel has attached, by its type.
    pub fn attached<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.attached.lock().iter().find_map(|a| a.clone().downcast::<T>().ok())
    }
}

/// The classic permission check on mode bits, for files without access control lists. Linux: fs/namei.c,
/// `generic_permission`.
pub fn generic_permission(
    attr: &Attr,
    file_type: FileType,
    cred: &Cred,
    access: Access,
) -> Result<(), Errno> {
    if mode_permits(attr, cred, access) { Ok(()) } else { capable_access(attr, file_type, cred, access) }
}

/// The permission check on mode bits and access control list; `attr` are the file's attributes. Linux: fs/namei.c,
/// `generic_permission`, `acl_permission_check`.
///
/// # Errors
/// `EACCES`; what reading the list says.
pub fn inode_generic_permission(
    inode: &Inode,
    attr: &Attr,
    cred: &Cred,
    access: Access,
) -> Result<(), Errno> {
    // An empty mask turns the list off; and it never is the owner's business.
    if inode.has_acls()
        && attr.perm & S_IRWXG != 0
        && cred.fsuid != attr.uid
        && let Some(acl) = inode.get_acl(AclType::Access)?
    {
        return match acl.permission(attr, cred, access) {
            Err(EACCES) => capable_access(attr, inode.file_type(), cred, access),
            decided => decided,
        };
    }
    generic_permission(attr, inode.file_type(), cred, access)
}

fn mode_permits(attr: &Attr, cred: &Cred, access: Access) -> bool {
    let bits = if cred.fsuid == attr.uid {
        attr.perm >> 6
    } else if cred.in_group_p(attr.gid) {
        attr.perm >> 3
    } else {
        attr.perm
    };
    access.bits() & !bits == 0
}

/// Whether capabilities permit what the mode does not.
fn capable_access(attr: &Attr, file_type: FileType, cred: &Cred, access: Access) -> Result<(), Errno> {
    let capable = |cap| capable_wrt_inode_uidgid(cred, attr.uid, attr.gid, cap);
    if file_type == FileType::Directory {
        if !access.contains(Access::WRITE) && capable(CapSet::DAC_READ_SEARCH) {
            return Ok(());
        }
        return if capable(CapSet::DAC_OVERRIDE) { Ok(()) } else { Err(EACCES) };
    }
    if access == Access::READ && capable(CapSet::DAC_READ_SEARCH) {
        return Ok(());
    }
    // Nobody may execute a file without a single execute bit.
    if (!access.contains(Access::EXEC) || attr.perm & S_IXUGO != 0) && capable(CapSet::DAC_OVERRIDE) {
        return Ok(());
    }
    Err(EACCES)
}
