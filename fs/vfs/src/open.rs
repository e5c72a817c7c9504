//! Linux: fs/open.c and the part of fs/namei.c about open(2).

use crate::namei::{At, LastType, LookupFlags, Nameidata, lookup_dentry};
use crate::notify::{NotifyMask, fsnotify_name, fsnotify_open};
use crate::write_access::FileWriter;
use crate::{Access, Dentry, File, FileOps, FileType, Inode, NodeKind, Path, SetAttr, SetTime, TaskContext};
use crate::{namei_ops, notify_change, open_fifo, protected};
use bitflags::bitflags;
use sentry_auth::inode_owner_or_capable;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EAGAIN, EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, EOPNOTSUPP, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::Arc;

bitflags! {
    /// Rules of openat2(2) for the walk. Linux: include/uapi/linux/openat2.h.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Resolve: u64 {
        /// Do not cross mounts.
        const NO_XDEV = 0x1;
        /// Fail where a jumping link must be followed.
        const NO_MAGICLINKS = 0x2;
        /// Fail where any link must be followed.
        const NO_SYMLINKS = 0x4;
        /// Fail where the path leaves its start.
        const BENEATH = 0x8;
        /// The start is the root.
        const IN_ROOT = 0x10;
        /// Fail where the cache does not have the answer.
        const CACHED = 0x20;
    }
}

/// What open(2) and openat2(2) are asked for, as given. Linux: `struct open_how`.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenHow {
    /// `O_*`.
    pub flags: u64,
    /// Permission bits of a new file.
    pub mode: u64,
    /// `RESOLVE_*`.
    pub resolve: u64,
}

/// A request to open a file that makes sense. Linux: `struct open_flags`.
#[derive(Clone, Copy, Debug)]
pub struct OpenOp {
    flags: OpenFlags,
    mode: u32,
    access: Access,
    lookup: LookupFlags,
}

/// Bit that O_TMPFILE has beyond O_DIRECTORY. Linux: `__O_TMPFILE`.
const TMPFILE_BIT: u32 = 0o20_000_000;
/// Bit that O_SYNC has beyond O_DSYNC. Linux: `__O_SYNC`.
const SYNC_BIT: u32 = 0o4_000_000;
/// Linux: `S_IALLUGO`.
const MODE_MASK: u32 = 0o7777;
/// Linux: include/linux/fcntl.h, `VALID_OPEN_FLAGS`.
const VALID_OPEN_FLAGS: u32 = 0o3
    | OpenFlags::CREAT.bits()
    | OpenFlags::EXCL.bits()
    | OpenFlags::NOCTTY.bits()
    | OpenFlags::TRUNC.bits()
    | OpenFlags::APPEND.bits()
    | OpenFlags::NONBLOCK.bits()
    | OpenFlags::SYNC.bits()
    | OpenFlags::DSYNC.bits()
    | OpenFlags::ASYNC.bits()
    | OpenFlags::DIRECT.bits()
    | OpenFlags::LARGEFILE.bits()
    | OpenFlags::DIRECTORY.bits()
    | OpenFlags::NOFOLLOW.bits()
    | OpenFlags::NOATIME.bits()
    | OpenFlags::CLOEXEC.bits()
    | OpenFlags::PATH.bits()
    | TMPFILE_BIT;
/// Flags that mean something along with O_PATH. Linux: `O_PATH_FLAGS`.
const PATH_FLAGS: u32 = OpenFlags::DIRECTORY.bits()
    | OpenFlags::NOFOLLOW.bits()
    | OpenFlags::PATH.bits()
    | OpenFlags::CLOEXEC.bits();

fn will_create(flags: u32) -> bool {
    flags & (OpenFlags::CREAT.bits() | TMPFILE_BIT) != 0
}

impl OpenHow {
    /// What open(2) and openat(2) make of their arguments: they ignore what they do not know. Linux: `build_open_how`.
    pub fn for_open(flags: u32, mode: u32) -> OpenHow {
        let mut flags = flags & VALID_OPEN_FLAGS;
        if flags & OpenFlags::PATH.bits() != 0 {
            flags &= PATH_FLAGS;
        }
        let mode = if will_create(flags) { mode & MODE_MASK } else { 0 };
        OpenHow { flags: u64::from(flags), mode: u64::from(mode), resolve: 0 }
    }
}

/// Checks a request. Linux: `build_open_flags`.
///
/// # Errors
/// `EINVAL` for flags, mode or rules that are unknown or do not go together; `EAGAIN` for `RESOLVE_CACHED` with a request
/// the cache can never answer.
pub fn build_open_flags(how: &OpenHow) -> Result<OpenOp, Errno> {
    let mut flags = u32::try_from(how.flags).map_err(|_| EINVAL)?;
    let mut access = match flags & 3 {
        0 => Access::READ,
        1 => Access::WRITE,
        _ => Access::READ | Access::WRITE,
    };
    if flags & !VALID_OPEN_FLAGS != 0 {
        return Err(EINVAL);
    }
    let resolve = Resolve::from_bits(how.resolve).ok_or(EINVAL)?;
    if resolve.contains(Resolve::BENEATH | Resolve::IN_ROOT) {
        return Err(EINVAL);
    }
    let mode = u32::try_from(how.mode).map_err(|_| EINVAL)?;
    if mode & !(if will_create(flags) { MODE_MASK } else { 0 }) != 0 {
        return Err(EINVAL);
    }
    let open = OpenFlags::from_bits_retain(flags);
    if open.contains(OpenFlags::DIRECTORY | OpenFlags::CREAT) {
        return Err(EINVAL);
    }
    if flags & TMPFILE_BIT != 0 && (!open.contains(OpenFlags::DIRECTORY) || !access.contains(Access::WRITE)) {
        return Err(EINVAL);
    }
    if open.contains(OpenFlags::PATH) {
        if flags & !PATH_FLAGS != 0 {
            return Err(EINVAL);
        }
        access = Access::empty();
    }
    if flags & SYNC_BIT != 0 {
        flags |= OpenFlags::DSYNC.bits();
    }
    if open.contains(OpenFlags::TRUNC) {
        access |= Access::WRITE;
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::DIRECTORY, open.contains(OpenFlags::DIRECTORY));
    let nofollow = open.contains(OpenFlags::NOFOLLOW) || open.contains(OpenFlags::CREAT | OpenFlags::EXCL);
    lookup.set(LookupFlags::FOLLOW, !nofollow);
    lookup.set(LookupFlags::NO_XDEV, resolve.contains(Resolve::NO_XDEV));
    lookup.set(LookupFlags::NO_MAGICLINKS, resolve.contains(Resolve::NO_MAGICLINKS));
    lookup.set(LookupFlags::NO_SYMLINKS, resolve.contains(Resolve::NO_SYMLINKS));
    lookup.set(LookupFlags::BENEATH, resolve.contains(Resolve::BENEATH));
    lookup.set(LookupFlags::IN_ROOT, resolve.contains(Resolve::IN_ROOT));
    if resolve.contains(Resolve::CACHED) {
        if open.intersects(OpenFlags::TRUNC | OpenFlags::CREAT) || flags & TMPFILE_BIT != 0 {
            return Err(EAGAIN);
        }
        lookup |= LookupFlags::CACHED;
    }
    Ok(OpenOp { flags: OpenFlags::from_bits_retain(flags), mode, access, lookup })
}

impl OpenOp {
    /// To open a file in order to execute it; `lookup` may hold `FOLLOW` and `EMPTY`. Linux: `do_open_execat`.
    pub fn for_exec(lookup: LookupFlags) -> OpenOp {
        OpenOp { flags: OpenFlags::LARGEFILE, mode: 0, access: Access::EXEC, lookup }
    }

    /// Whether exec is to close the new descriptor.
    pub fn cloexec(&self) -> bool {
        self.flags.contains(OpenFlags::CLOEXEC)
    }
}

/// What a file opened with O_PATH does: nothing. Linux: `empty_fops`.
struct EmptyFileOps;

impl FileOps for EmptyFileOps {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn poll(&self, _file: &File, _table: &mut crate::PollTable) -> u32 {
        sentry_uapi::poll::POLLNVAL
    }

    fn pollable(&self) -> bool {
        false
    }
}

/// Opens a file. Linux: `do_filp_open`, `path_openat`; then `fsnotify_open`, as all its callers do.
///
/// # Errors
/// Those of open(2) and openat2(2), in Linux's order.
pub fn do_filp_open(ctx: &dyn TaskContext, at: &At, name: &[u8], op: &OpenOp) -> Result<Arc<File>, Errno> {
    let mut nd = Nameidata::new(ctx, at, name, op.lookup)?;
    let file = if op.flags.bits() & TMPFILE_BIT != 0 {
        nd.flags |= LookupFlags::DIRECTORY;
        do_tmpfile(ctx, &nd.path_lookupat()?, op)?
    } else if op.flags.contains(OpenFlags::PATH) {
        let path = nd.path_lookupat()?;
        let inode = path.inode().ok_or(ENOENT)?.clone();
        return Ok(File::new(path, inode, Box::new(EmptyFileOps), op.flags, ctx.cred()));
    } else {
        loop {
            nd.link_path_walk()?;
            match open_last_lookups(&mut nd, op)? {
                Step::Link => {}
                Step::Found => break finish_open(nd, op, false)?,
                Step::Created => break finish_open(nd, op, true)?,
            }
        }
    };
    fsnotify_open(&file);
    Ok(file)
}

/// open(2), openat(2), openat2(2), creat(2): opens a file and gives it a descriptor. Linux: `do_sys_openat2`.
///
/// # Errors
/// `EMFILE` before anything is looked at; then those of [`do_filp_open`].
pub fn do_sys_open(ctx: &dyn TaskContext, at: &At, name: &[u8], op: &OpenOp) -> Result<i32, Errno> {
    if name.is_empty() {
        return Err(ENOENT);
    }
    let files = ctx.files();
    let fd = files.get_unused_fd(ctx, op.cloexec())?;
    match do_filp_open(ctx, at, name, op) {
        Ok(file) => {
            files.fd_install(fd, file);
            Ok(fd)
        }
        Err(e) => {
            files.put_unused_fd(fd);
            Err(e)
        }
    }
}

enum Step {
    /// A symbolic link to follow.
    Link,
    Found,
    /// The walk stands on a file just made.
    Created,
}

/// Linux: `open_last_lookups`.
fn open_last_lookups(nd: &mut Nameidata<'_, '_>, op: &OpenOp) -> Result<Step, Errno> {
    if nd.last().kind != LastType::Norm {
        nd.handle_last_dots()?;
        return Ok(Step::Found);
    }
    let create = op.flags.contains(OpenFlags::CREAT);
    if nd.last().trailing_slash {
        if create {
            return Err(EISDIR);
        }
        nd.flags |= LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    }
    let dir = nd.path.clone();
    if !create {
        let cached_only = nd.flags.contains(LookupFlags::CACHED);
        let dentry = lookup_dentry(nd.ctx, &dir.dentry, nd.last().name(), cached_only)?;
        return Ok(if nd.step_into_last(dentry)? { Step::Link } else { Step::Found });
    }
    let write_access = dir.mnt.want_write();
    loop {
        let dentry = lookup_dentry(nd.ctx, &dir.dentry, nd.last().name(), false)?;
        if !dentry.is_negative() {
            return Ok(if nd.step_into_last(dentry)? { Step::Link } else { Step::Found });
        }
        // The file is missing: only now does it matter whether it may be made.
        if let Err(e) = &write_access {
            return Err(*e);
        }
        if !create_file(nd, &dir, &dentry, op.mode)? {
            continue;
        }
        if let (Some(dir_inode), Some(inode)) = (dir.inode(), dentry.inode_ref()) {
            fsnotify_name(dir_inode, nd.last().name(), inode, NotifyMask::CREATE, 0);
        }
        nd.path.dentry = dentry;
        return Ok(Step::Created);
    }
}

/// Makes the file behind a negative dentry. False if somebody else did something with the name first. Linux:
/// `lookup_open`, `may_o_create`.
fn create_file(nd: &Nameidata<'_, '_>, dir: &Path, dentry: &Arc<Dentry>, mode: u32) -> Result<bool, Errno> {
    namei_ops::may_create(nd.ctx, &dir.dentry)?;
    let node = namei_ops::new_node(nd.ctx, &dir.dentry, NodeKind::Regular, mode)?;
    let name = nd.last().name();
    match namei_ops::create_locked(nd.ctx, &dir.dentry, dentry, name, node) {
        Ok(()) => Ok(true),
        Err(EEXIST) => Ok(false),
        // A directory in which nothing can be made at all. Linux: no `create` operation.
        Err(EPERM) => Err(EACCES),
        Err(e) => Err(e),
    }
}

/// Opens what the walk has come to. Linux: `do_open`.
fn finish_open(mut nd: Nameidata<'_, '_>, op: &OpenOp, created: bool) -> Result<Arc<File>, Errno> {
    if !created {
        nd.complete_walk()?;
    }
    let ctx = nd.ctx;
    let path = nd.path.clone();
    let inode = path.inode().ok_or(ENOENT)?.clone();
    if op.flags.contains(OpenFlags::CREAT) {
        if op.flags.contains(OpenFlags::EXCL) && !created {
            return Err(EEXIST);
        }
        if inode.is_dir() {
            return Err(EISDIR);
        }
        if !created {
            protected::may_create_in_sticky(ctx, &path.dentry, &inode)?;
        }
    }
    if nd.flags.contains(LookupFlags::DIRECTORY) && !inode.is_dir() {
        return Err(ENOTDIR);
    }
    let truncate = !created && op.flags.contains(OpenFlags::TRUNC) && inode.file_type() == FileType::Regular;
    let _write = if truncate { Some(path.mnt.want_write()?) } else { None };
    let access = if created { Access::empty() } else { op.access };
    may_open(ctx, &path, &inode, access, op)?;
    let file = vfs_open(ctx, path, op)?;
    if truncate {
        handle_truncate(ctx, &file)?;
    }
    Ok(file)
}

/// Linux: `may_open`.
fn may_open(
    ctx: &dyn TaskContext,
    path: &Path,
    inode: &Arc<Inode>,
    access: Access,
    op: &OpenOp,
) -> Result<(), Errno> {
    let exec = access.contains(Access::EXEC);
    match inode.file_type() {
        FileType::Symlink => return Err(ELOOP),
        FileType::Directory if access.contains(Access::WRITE) => return Err(EISDIR),
        FileType::CharDevice | FileType::BlockDevice if !path.may_open_dev() => return Err(EACCES),
        FileType::Regular if exec && path.is_noexec() => return Err(EACCES),
        FileType::Regular => {}
        _ if exec => return Err(EACCES),
        _ => {}
    }
    let cred = ctx.cred();
    inode.permission(&cred, access)?;
    if op.flags.contains(OpenFlags::NOATIME) && !inode_owner_or_capable(&cred, inode.getattr()?.uid) {
        return Err(EPERM);
    }
    Ok(())
}

/// Opens a file whose permissions have been checked. Linux: `vfs_open`, `do_dentry_open`.
fn vfs_open(ctx: &dyn TaskContext, path: Path, op: &OpenOp) -> Result<Arc<File>, Errno> {
    let inode = path.inode().ok_or(ENOENT)?.clone();
    path.mnt.clear_expiry();
    let on_disk = matches!(inode.file_type(), FileType::Regular | FileType::Directory | FileType::Symlink);
    let writes = op.flags.bits() & 3 != 0;
    let writer = if writes && on_disk { Some(FileWriter::new(&inode, &path.mnt)?) } else { None };
    let flags = op.flags - OpenFlags::CLOEXEC;
    let ops = match inode.file_type() {
        FileType::CharDevice | FileType::BlockDevice => ctx.vfs().devices().open(&inode, ctx, flags)?,
        FileType::Fifo => open_fifo(&inode, ctx, flags)?,
        _ => inode.ops().open(&inode, ctx, flags)?,
    };
    let file = File::new(path, inode, ops, flags, ctx.cred());
    if let Some(writer) = writer {
        file.set_writer(writer);
    }
    Ok(file)
}

/// Opens a place already found, without a walk: `open_tree` style users and the kernel's own. Linux: `dentry_open`.
///
/// # Errors
/// Those of opening the file; permissions are not checked.
pub fn dentry_open(ctx: &dyn TaskContext, path: Path, flags: OpenFlags) -> Result<Arc<File>, Errno> {
    let op = OpenOp { flags, mode: 0, access: Access::empty(), lookup: LookupFlags::empty() };
    if flags.contains(OpenFlags::PATH) {
        let inode = path.inode().ok_or(ENOENT)?.clone();
        return Ok(File::new(path, inode, Box::new(EmptyFileOps), flags, ctx.cred()));
    }
    vfs_open(ctx, path, &op)
}

/// Linux: `handle_truncate`.
fn handle_truncate(ctx: &dyn TaskContext, file: &Arc<File>) -> Result<(), Errno> {
    let inode = file.inode();
    let _writer = crate::write_access::InodeWriter::new(inode)?;
    let change = SetAttr { size: Some(0), mtime: Some(SetTime::Now), ..SetAttr::default() };
    notify_change::truncate_checked(ctx, &file.path().dentry, inode, change)
}

/// Linux: `do_tmpfile`, `vfs_tmpfile`.
fn do_tmpfile(ctx: &dyn TaskContext, dir: &Path, op: &OpenOp) -> Result<Arc<File>, Errno> {
    let _write = dir.mnt.want_write()?;
    let dir_inode = dir.inode().ok_or(ENOENT)?;
    dir_inode.permission(&ctx.cred(), Access::WRITE | Access::EXEC)?;
    let node = namei_ops::new_node(ctx, &dir.dentry, NodeKind::Regular, op.mode)?;
    if dir.dentry.is_dead() {
        return Err(ENOENT);
    }
    let inode = match dir_inode.ops().tmpfile(dir_inode, ctx, node) {
        Err(EOPNOTSUPP) => return Err(EOPNOTSUPP),
        made => made?,
    };
    if !op.flags.contains(OpenFlags::EXCL) {
        namei_ops::mark_linkable(&inode);
    }
    let path = Path { mnt: dir.mnt.clone(), dentry: dir.dentry.new_tmpfile(inode.clone()) };
    may_open(ctx, &path, &inode, Access::empty(), op)?;
    vfs_open(ctx, path, op)
}

/// Opens a file to execute it. The file cannot be opened for writing while the guard lives. Linux: `do_open_execat`.
///
/// # Errors
/// Those of the walk; `EACCES` for what is no regular file, may not be executed, or lies on a noexec mount; `ETXTBSY`
/// while somebody has it open for writing; `ELOOP` for a symbolic link that is not to be followed.
pub fn do_open_execat(
    ctx: &dyn TaskContext,
    at: &At,
    name: &[u8],
    lookup: LookupFlags,
) -> Result<(Arc<File>, crate::DenyWrite), Errno> {
    let op = OpenOp::for_exec(lookup);
    let file = do_filp_open(ctx, at, name, &op)?;
    if file.inode().file_type() != FileType::Regular || file.path().is_noexec() {
        return Err(EACCES);
    }
    let deny = crate::DenyWrite::new(file.inode())?;
    Ok((file, deny))
}
