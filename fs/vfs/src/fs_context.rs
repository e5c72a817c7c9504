//! Linux: fs/fsopen.c and fs/fs_context.c: fsopen(2), fsconfig(2), fsmount(2), fspick(2).
//!
//! Differs in that parameters are handed to the filesystem all at once, as one string of options, when the instance is
//! made; so one it does not know fails that step, not the one that set it.

use crate::do_mount::may_mount;
use crate::filesystem::{FileSystemType, MountContext, mount_capable};
use crate::namei::{At, LookupFlags, user_path_at};
use crate::{Dentry, File, FileOps, Pseudo, TaskContext};
use sentry_auth::{CapSet, UserNamespace, ns_capable};
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{E2BIG, EBUSY, EINVAL, ENODEV, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::Arc;

/// Flags of fspick(2). Linux: include/uapi/linux/mount.h.
#[allow(missing_docs)]
pub mod fspick {
    pub const CLOEXEC: u32 = 1;
    pub const SYMLINK_NOFOLLOW: u32 = 2;
    pub const NO_AUTOMOUNT: u32 = 4;
    pub const EMPTY_PATH: u32 = 8;
}

/// Most bytes of options, as mount(2) takes them.
const OPTIONS_MAX: usize = 4096;

/// How far a context has come. Linux: `enum fs_context_phase`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    CreateParams,
    AwaitingMount,
    ReconfParams,
    Failed,
}

/// A filesystem being configured. Linux: `struct fs_context`.
struct FsContext {
    fs_type: Option<Arc<dyn FileSystemType>>,
    user_ns: Arc<UserNamespace>,
    state: Mutex<State, { level::LEAF }>,
}

struct State {
    phase: Phase,
    source: Option<Vec<u8>>,
    options: String,
    read_only: bool,
    root: Option<Arc<Dentry>>,
}

impl FileOps for FsContext {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn seekable(&self) -> bool {
        false
    }

    fn read(
        &self,
        _file: &File,
        _ctx: &dyn TaskContext,
        _dst: &mut sentry_mm::IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        // No messages.
        Err(sentry_uapi::errno::ENODATA)
    }
}

impl FsContext {
    fn file(self, ctx: &dyn TaskContext) -> Arc<File> {
        let flags = OpenFlags::RDWR;
        ctx.vfs().pseudo_file(Pseudo::Anon, "[fscontext]", Box::new(self), flags, ctx.cred())
    }
}

fn state(phase: Phase, read_only: bool, root: Option<Arc<Dentry>>) -> Mutex<State, { level::LEAF }> {
    Mutex::new(State { phase, source: None, options: String::new(), read_only, root })
}

/// fsopen(2), its flags checked by the caller.
///
/// # Errors
/// `EPERM`; `ENODEV` for an unknown type.
pub fn do_fsopen(ctx: &dyn TaskContext, name: &[u8]) -> Result<Arc<File>, Errno> {
    if !may_mount(ctx) {
        return Err(EPERM);
    }
    let fs_type = ctx.vfs().filesystems().get(name).ok_or(ENODEV)?;
    let user_ns = fs_type.user_ns(ctx);
    let context =
        FsContext { fs_type: Some(fs_type), user_ns, state: state(Phase::CreateParams, false, None) };
    Ok(context.file(ctx))
}

/// fspick(2).
///
/// # Errors
/// `EPERM`; `EINVAL` for flags or what is not the top of a mount; those of the walk.
pub fn do_fspick(ctx: &dyn TaskContext, at: &At, name: &[u8], flags: u32) -> Result<Arc<File>, Errno> {
    if !may_mount(ctx) {
        return Err(EPERM);
    }
    let known = fspick::CLOEXEC | fspick::SYMLINK_NOFOLLOW | fspick::NO_AUTOMOUNT | fspick::EMPTY_PATH;
    if flags & !known != 0 {
        return Err(EINVAL);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, flags & fspick::SYMLINK_NOFOLLOW == 0);
    lookup.set(LookupFlags::EMPTY, flags & fspick::EMPTY_PATH != 0);
    let path = user_path_at(ctx, at, name, lookup)?;
    if !path.is_mount_root() {
        return Err(EINVAL);
    }
    let sb = &path.mnt.sb;
    let state = state(Phase::ReconfParams, sb.is_read_only(), Some(path.dentry.clone()));
    Ok(FsContext { fs_type: None, user_ns: sb.user_ns.clone(), state }.file(ctx))
}

fn context(ctx: &dyn TaskContext, fd: i32) -> Result<Arc<File>, Errno> {
    let file = ctx.files().get(fd)?;
    if file.downcast::<FsContext>().is_none() { Err(EINVAL) } else { Ok(file) }
}

/// fsconfig(2) with `FSCONFIG_SET_FLAG` (no value) and `FSCONFIG_SET_STRING`. Linux: `vfs_parse_fs_param`.
///
/// # Errors
/// `EBADF`; `EINVAL` for what is no context or a second source; `EBUSY` when it is too late; `E2BIG`.
pub fn fsconfig_set(ctx: &dyn TaskContext, fd: i32, key: &[u8], value: Option<&[u8]>) -> Result<(), Errno> {
    let file = context(ctx, fd)?;
    let fc = file.downcast::<FsContext>().ok_or(EINVAL)?;
    let mut state = fc.state.lock();
    if !matches!(state.phase, Phase::CreateParams | Phase::ReconfParams) {
        return Err(EBUSY);
    }
    match (key, value) {
        (b"ro", None) => state.read_only = true,
        (b"rw", None) => state.read_only = false,
        (b"source", Some(source)) => {
            if state.source.is_some() {
                return Err(EINVAL);
            }
            state.source = Some(source.to_vec());
        }
        (b"source", None) => return Err(EINVAL),
        (key, value) => {
            if state.options.len() + key.len() + value.map_or(0, <[u8]>::len) + 2 > OPTIONS_MAX {
                return Err(E2BIG);
            }
            if !state.options.is_empty() {
                state.options.push(',');
            }
            state.options.push_str(&String::from_utf8_lossy(key));
            if let Some(value) = value {
                state.options.push('=');
                state.options.push_str(&String::from_utf8_lossy(value));
            }
        }
    }
    Ok(())
}

/// fsconfig(2) with `FSCONFIG_CMD_CREATE`: makes the instance.
///
/// # Errors
/// `EBADF`, `EINVAL`, `EBUSY`, `EPERM`; the filesystem's.
pub fn fsconfig_create(ctx: &dyn TaskContext, fd: i32) -> Result<(), Errno> {
    let file = context(ctx, fd)?;
    let fc = file.downcast::<FsContext>().ok_or(EINVAL)?;
    let fs_type = fc.fs_type.as_ref().ok_or(EBUSY)?;
    let allowed = mount_capable(ctx, &**fs_type, &fc.user_ns);
    let (source, options, read_only) = {
        let mut state = fc.state.lock();
        if state.phase != Phase::CreateParams {
            return Err(EBUSY);
        }
        if !allowed {
            return Err(EPERM);
        }
        // Until it is made, or for good.
        state.phase = Phase::Failed;
        (state.source.clone(), state.options.clone(), state.read_only)
    };
    let fs_type = fc.fs_type.as_ref().ok_or(EBUSY)?;
    let source = source.as_deref().unwrap_or(b"none");
    let mount = MountContext { source, options: &options, user_ns: fc.user_ns.clone() };
    let root = fs_type.mount(ctx, &mount)?;
    if read_only && !root.sb().is_mounted() {
        root.sb().set_read_only(true);
    }
    let mut state = fc.state.lock();
    state.root = Some(root);
    state.phase = Phase::AwaitingMount;
    Ok(())
}

/// fsconfig(2) with `FSCONFIG_CMD_RECONFIGURE`.
///
/// # Errors
/// `EBADF`, `EINVAL`, `EBUSY`, `EPERM`; the filesystem's.
pub fn fsconfig_reconfigure(ctx: &dyn TaskContext, fd: i32) -> Result<(), Errno> {
    let file = context(ctx, fd)?;
    let fc = file.downcast::<FsContext>().ok_or(EINVAL)?;
    let (root, options, read_only) = {
        let state = fc.state.lock();
        if state.phase != Phase::ReconfParams {
            return Err(EBUSY);
        }
        (state.root.clone().ok_or(EBUSY)?, state.options.clone(), state.read_only)
    };
    let sb = root.sb();
    if !ns_capable(&ctx.cred(), &sb.user_ns, CapSet::SYS_ADMIN) {
        return Err(EPERM);
    }
    sb.reconfigure(read_only, &options)?;
    fc.state.lock().options.clear();
    Ok(())
}

/// fsmount(2), its flags checked by the caller: a descriptor for a mount, nowhere yet, of the instance made.
///
/// # Errors
/// `EPERM`; `EINVAL` for attributes; `EBADF`; `EINVAL` for what is no context, or one without an instance; `EBUSY` if it
/// is mounted already.
pub fn do_fsmount(ctx: &dyn TaskContext, fd: i32, attrs: u64) -> Result<Arc<File>, Errno> {
    if !may_mount(ctx) {
        return Err(EPERM);
    }
    let flags = crate::mount_api::fsmount_flags(attrs)?;
    let file = context(ctx, fd)?;
    let fc = file.downcast::<FsContext>().ok_or(EINVAL)?;
    let (root, source) = {
        let mut state = fc.state.lock();
        let root = state.root.clone().ok_or(EINVAL)?;
        if state.phase != Phase::AwaitingMount {
            return Err(EBUSY);
        }
        state.phase = Phase::ReconfParams;
        state.options.clear();
        (root, state.source.take())
    };
    crate::mount_api::detached_mount(ctx, root, source.as_deref().unwrap_or(b"none"), flags)
}
