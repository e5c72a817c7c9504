//! Linux: fs/nsfs.c. Namespaces as files: a descriptor or a bind mount of one keeps the namespace.

use crate::{
    Access, Attr, Dentry, File, FileOps, FileType, Inode, InodeOps, Mount, MountFlags, Path, StatFs,
    SuperBlock, SuperFlags, SuperOps, TaskContext, dentry_open,
};
use sentry_auth::{Cred, Kgid, Kuid, UserNamespace};
use sentry_sync::{Mutex, level};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOENT, ENOTTY, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::sched::CloneFlags;
use sentry_uapi::time::Timespec;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// `f_type` of statfs(2). Linux: include/uapi/linux/magic.h.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Operations of ioctl(2). Linux: include/uapi/linux/nsfs.h.
mod ioctl {
    pub(super) const NS_GET_USERNS: u32 = 0xb701;
    pub(super) const NS_GET_PARENT: u32 = 0xb702;
    pub(super) const NS_GET_NSTYPE: u32 = 0xb703;
    pub(super) const NS_GET_OWNER_UID: u32 = 0xb704;
}

/// What a namespace is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NsKind {
    Cgroup,
    Ipc,
    Mnt,
    Net,
    Pid,
    Time,
    User,
    Uts,
}

impl NsKind {
    /// As `/proc/[pid]/ns` names it.
    pub fn name(self) -> &'static str {
        match self {
            NsKind::Cgroup => "cgroup",
            NsKind::Ipc => "ipc",
            NsKind::Mnt => "mnt",
            NsKind::Net => "net",
            NsKind::Pid => "pid",
            NsKind::Time => "time",
            NsKind::User => "user",
            NsKind::Uts => "uts",
        }
    }

    /// The flag that makes a new one.
    pub fn clone_flag(self) -> CloneFlags {
        match self {
            NsKind::Cgroup => CloneFlags::NEWCGROUP,
            NsKind::Ipc => CloneFlags::NEWIPC,
            NsKind::Mnt => CloneFlags::NEWNS,
            NsKind::Net => CloneFlags::NEWNET,
            NsKind::Pid => CloneFlags::NEWPID,
            NsKind::Time => CloneFlags::NEWTIME,
            NsKind::User => CloneFlags::NEWUSER,
            NsKind::Uts => CloneFlags::NEWUTS,
        }
    }
}

/// A namespace, of whatever kind. Linux: `struct ns_common`, `struct proc_ns_operations`.
pub trait Namespace: Any + Send + Sync {
    /// What it is of.
    fn kind(&self) -> NsKind;

    /// The number of its inode, which no other namespace of the kernel has.
    fn inum(&self) -> u64;

    /// The user namespace that owns it: of a user namespace its parent; the first one has none.
    fn owner(&self) -> Option<Arc<UserNamespace>>;

    /// The namespace it was made in, where its kind has a hierarchy.
    ///
    /// # Errors
    /// `EINVAL` where not; `EPERM` if the caller's namespace is none of its ancestors.
    fn parent(&self, ctx: &dyn TaskContext) -> Result<Arc<dyn Namespace>, Errno> {
        let _ = ctx;
        Err(EINVAL)
    }
}

/// `user:[4026531837]`, as readlink(2) shows it. Linux: `ns_get_name`.
pub fn ns_get_name(ns: &dyn Namespace) -> Vec<u8> {
    format!("{}:[{}]", ns.kind().name(), ns.inum()).into_bytes()
}

/// The owner of a namespace, if the caller can see it. Linux: kernel/user_namespace.c, `ns_get_owner`.
fn ns_get_owner(ns: &dyn Namespace, ctx: &dyn TaskContext) -> Result<Arc<dyn Namespace>, Errno> {
    let owner = ns.owner().ok_or(EPERM)?;
    if ctx.cred().user_ns.is_ancestor_or_self(&owner) { Ok(owner) } else { Err(EPERM) }
}

impl Namespace for UserNamespace {
    fn kind(&self) -> NsKind {
        NsKind::User
    }

    fn inum(&self) -> u64 {
        UserNamespace::inum(self)
    }

    fn owner(&self) -> Option<Arc<UserNamespace>> {
        UserNamespace::parent(self).cloned()
    }

    fn parent(&self, ctx: &dyn TaskContext) -> Result<Arc<dyn Namespace>, Errno> {
        ns_get_owner(self, ctx)
    }
}

/// The dentries of namespaces somebody holds open, by their numbers.
type Stashed = Arc<Mutex<HashMap<u64, Weak<Dentry>>, { level::LEAF }>>;

/// The filesystem of one kernel's namespaces, which only the kernel mounts.
pub(crate) struct Nsfs {
    mnt: Arc<Mount>,
    stashed: Stashed,
}

impl Nsfs {
    pub(crate) fn new(mount_id: u64, dev: u64, user_ns: &Arc<UserNamespace>, clocks: &Arc<Clocks>) -> Nsfs {
        let flags = SuperFlags::empty();
        let sb =
            SuperBlock::new("nsfs", dev, user_ns.clone(), clocks.clone(), flags, b"nsfs", Box::new(NsSuper));
        let root = Inode::new(sb, 1, FileType::Directory, 0, Box::new(NsRoot { made: clocks.realtime() }));
        let root = Dentry::new_root(root, b"");
        let mnt = Mount::new(mount_id, root, MountFlags::empty(), b"nsfs".as_slice().into());
        Nsfs { mnt, stashed: Stashed::default() }
    }

    /// The place of a namespace: the same one as long as somebody holds it. Linux: `__ns_get_path`.
    pub(crate) fn path(&self, ns: Arc<dyn Namespace>) -> Path {
        let inum = ns.inum();
        let found = self.stashed.lock().get(&inum).and_then(Weak::upgrade);
        let dentry = found.unwrap_or_else(|| {
            let name = ns_get_name(&*ns);
            let sb = self.mnt.sb.clone();
            let ops = NsInode { ns, made: sb.clocks.realtime(), stashed: self.stashed.clone() };
            let inode = Inode::new(sb, inum, FileType::Regular, 0, Box::new(ops));
            let new = Dentry::new_root(inode, &name);
            let mut stashed = self.stashed.lock();
            match stashed.get(&inum).and_then(Weak::upgrade) {
                Some(other) => other,
                None => {
                    stashed.insert(inum, Arc::downgrade(&new));
                    new
                }
            }
        });
        Path { mnt: self.mnt.clone(), dentry }
    }
}

struct NsSuper;

impl SuperOps for NsSuper {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn statfs(&self) -> StatFs {
        StatFs { magic: NSFS_MAGIC, block_size: 4096, ..StatFs::default() }
    }
}

fn attr(inode: &Inode, perm: u32, made: Timespec) -> Attr {
    Attr {
        ino: inode.ino(),
        perm,
        nlink: 1,
        uid: Kuid::GLOBAL_ROOT,
        gid: Kgid::GLOBAL_ROOT,
        rdev: 0,
        size: 0,
        blksize: 4096,
        blocks: 0,
        atime: made,
        mtime: made,
        ctime: made,
        btime: None,
    }
}

/// The root nobody sees.
struct NsRoot {
    made: Timespec,
}

impl InodeOps for NsRoot {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        Ok(attr(inode, 0o555, self.made))
    }

    fn lookup(&self, _dir: &Arc<Inode>, _ctx: &dyn TaskContext, _name: &[u8]) -> Result<Arc<Inode>, Errno> {
        Err(ENOENT)
    }
}

/// The inode of a namespace.
struct NsInode {
    ns: Arc<dyn Namespace>,
    made: Timespec,
    stashed: Stashed,
}

impl Drop for NsInode {
    fn drop(&mut self) {
        let mut stashed = self.stashed.lock();
        let inum = self.ns.inum();
        // Somebody may have made another one meanwhile.
        if stashed.get(&inum).is_some_and(|d| d.strong_count() == 0) {
            stashed.remove(&inum);
        }
    }
}

impl InodeOps for NsInode {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, inode: &Inode) -> Result<Attr, Errno> {
        Ok(attr(inode, 0o444, self.made))
    }

    /// Immutable.
    fn permission(&self, _inode: &Inode, _cred: &Cred, access: Access) -> Result<(), Errno> {
        if access.contains(Access::WRITE) {
            return Err(EPERM);
        }
        if access.contains(Access::EXEC) { Err(sentry_uapi::errno::EACCES) } else { Ok(()) }
    }

    fn lookup(&self, _dir: &Arc<Inode>, _ctx: &dyn TaskContext, _name: &[u8]) -> Result<Arc<Inode>, Errno> {
        Err(ENOENT)
    }

    fn open(
        &self,
        _inode: &Arc<Inode>,
        _ctx: &dyn TaskContext,
        _flags: OpenFlags,
    ) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(NsFile { ns: self.ns.clone() }))
    }
}

/// The namespace behind an inode.
pub(crate) fn namespace_of(inode: &Inode) -> Option<&Arc<dyn Namespace>> {
    inode.downcast::<NsInode>().map(|i| &i.ns)
}

/// A namespace, open. Linux: `proc_ns_file`.
pub struct NsFile {
    ns: Arc<dyn Namespace>,
}

impl NsFile {
    /// The namespace.
    pub fn namespace(&self) -> &Arc<dyn Namespace> {
        &self.ns
    }
}

/// A descriptor for a namespace.
///
/// # Errors
/// `EMFILE`.
pub fn open_related_ns(ctx: &dyn TaskContext, ns: Arc<dyn Namespace>) -> Result<i64, Errno> {
    let file = dentry_open(ctx, ctx.vfs().ns_get_path(ns), OpenFlags::empty())?;
    ctx.files().install(ctx, file, true).map(i64::from)
}

impl FileOps for NsFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn seekable(&self) -> bool {
        false
    }

    /// Linux: `ns_ioctl`.
    fn ioctl(&self, _file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        match cmd {
            ioctl::NS_GET_USERNS => open_related_ns(ctx, ns_get_owner(&*self.ns, ctx)?),
            ioctl::NS_GET_PARENT => open_related_ns(ctx, self.ns.parent(ctx)?),
            ioctl::NS_GET_NSTYPE => i64::try_from(self.ns.kind().clone_flag().bits()).map_err(|_| EINVAL),
            ioctl::NS_GET_OWNER_UID => {
                let ns: &dyn Any = &*self.ns;
                let ns = ns.downcast_ref::<UserNamespace>().ok_or(EINVAL)?;
                let uid = ctx.cred().user_ns.from_kuid_munged(ns.owner());
                ctx.mm()?.write_obj(arg, &uid)?;
                Ok(0)
            }
            _ => Err(ENOTTY),
        }
    }
}
