//! Linux: fs/fsopen.c: a filesystem is configured step by step, then mounted. Differs: options are flags and strings
//! without commas; the context has no messages to read; a mounted filesystem is reconfigured by mount(2) only.

use super::mount::may_mount;
use super::user::{get_file, install};
use crate::arg::{Addr, Bits, Fd};
use fs_vfs::{Dentry, File, FileOps, FileSystemType, FsFlags, MountContext, Pseudo, TaskContext, do_fsmount};
use sentry_auth::{CapSet, ns_capable};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_mm::IoDst;
use sentry_sync::{Mutex, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, EINVAL, ENAMETOOLONG, ENODATA, ENODEV, EOPNOTSUPP, EPERM};
use sentry_uapi::fcntl::{AT_FDCWD, OpenFlags};
use std::any::Any;
use std::sync::Arc;

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
/// Longest key or string, with its terminating zero.
const MAX_STRING: usize = 256;
/// Longest name of a type of filesystems, with its terminating zero.
const MAX_NAME: usize = 4096;
/// Most bytes of options; as many as mount(2) takes.
const MAX_OPTIONS: usize = 4095;

const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_SET_BINARY: u32 = 2;
const FSCONFIG_SET_PATH: u32 = 3;
const FSCONFIG_SET_PATH_EMPTY: u32 = 4;
const FSCONFIG_SET_FD: u32 = 5;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;

/// How far a context is.
enum Phase {
    /// Takes options.
    Params,
    /// The filesystem is being made.
    Creating,
    /// It is there, not mounted.
    Created(Arc<Dentry>),
    /// It was mounted.
    Mounted,
    /// It could not be made.
    Failed,
}

/// `struct fs_context`.
struct FsContext {
    fs_type: Arc<dyn FileSystemType>,
    state: Mutex<State, { level::LEAF }>,
}

struct State {
    phase: Phase,
    source: Option<Vec<u8>>,
    options: String,
    read_only: bool,
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
        _dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        Err(ENODATA)
    }
}

impl FsContext {
    /// Linux: `vfs_parse_fs_param`.
    fn set(&self, key: &str, value: Option<&str>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Params) {
            return Err(EBUSY);
        }
        match (key, value) {
            ("source", Some(_)) if state.source.is_some() => return Err(EINVAL),
            ("source", Some(source)) => state.source = Some(source.as_bytes().to_vec()),
            ("ro" | "rw", None) => state.read_only = key == "ro",
            ("async" | "dirsync" | "lazytime" | "mand" | "nolazytime" | "nomand" | "sync", None) => {}
            _ => {
                let option = value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}"));
                if key.is_empty() || option.contains(',') || state.options.len() + option.len() >= MAX_OPTIONS
                {
                    return Err(EINVAL);
                }
                if !state.options.is_empty() {
                    state.options.push(',');
                }
                state.options.push_str(&option);
            }
        }
        Ok(())
    }

    /// Makes the filesystem. Linux: `vfs_cmd_create`.
    fn create(&self, task: &CurrentTask) -> Result<(), Errno> {
        let (source, options, read_only) = {
            let allowed = mount_capable(task, &*self.fs_type);
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Params) {
                return Err(EBUSY);
            }
            if !allowed {
                return Err(EPERM);
            }
            state.phase = Phase::Creating;
            (state.source.clone(), state.options.clone(), state.read_only)
        };
        let source = source.as_deref().unwrap_or(b"none");
        let user_ns = TaskContext::cred(task).user_ns.clone();
        let made = self.fs_type.mount(task, &MountContext { source, options: &options, user_ns });
        let (phase, result) = match made {
            Ok(root) => {
                if read_only {
                    root.sb().set_read_only(true);
                }
                (Phase::Created(root), Ok(()))
            }
            Err(e) => (Phase::Failed, Err(e)),
        };
        self.state.lock().phase = phase;
        result
    }

    /// The filesystem that was made, and its source, to be mounted once.
    fn take(&self) -> Result<(Arc<Dentry>, Vec<u8>), Errno> {
        let mut state = self.state.lock();
        let root = match &state.phase {
            Phase::Created(root) => root.clone(),
            Phase::Mounted => return Err(EBUSY),
            _ => return Err(EINVAL),
        };
        // The other reference is in `root`: nothing is torn down under the lock.
        state.phase = Phase::Mounted;
        Ok((root, state.source.clone().unwrap_or_else(|| b"none".to_vec())))
    }
}

/// Linux: fs/super.c, `mount_capable`.
fn mount_capable(task: &CurrentTask, fs_type: &dyn FileSystemType) -> bool {
    let cred = TaskContext::cred(task);
    if fs_type.flags().contains(FsFlags::USERNS_MOUNT) {
        ns_capable(&cred, &cred.user_ns, CapSet::SYS_ADMIN)
    } else {
        task.vfs().capable(&cred, CapSet::SYS_ADMIN)
    }
}

/// fsopen(2).
pub(crate) fn fsopen(task: &mut CurrentTask, name: Addr, flags: Bits) -> SyscallResult {
    if !may_mount(task) {
        return Err(EPERM.into());
    }
    if flags.0 & !FSOPEN_CLOEXEC != 0 {
        return Err(EINVAL.into());
    }
    let name = read_string(task, name, MAX_NAME)?;
    let fs_type = task.vfs().filesystems().get(name.as_bytes()).ok_or(ENODEV)?;
    let state = State { phase: Phase::Params, source: None, options: String::new(), read_only: false };
    let ops = Box::new(FsContext { fs_type, state: Mutex::new(state) });
    let cred = TaskContext::cred(task);
    let file = task.vfs().pseudo_file(Pseudo::Anon, "[fscontext]", ops, OpenFlags::RDWR, cred);
    install(task, file, flags.0 & FSOPEN_CLOEXEC != 0)
}

/// fsconfig(2).
pub(crate) fn fsconfig(
    task: &mut CurrentTask,
    fd: Fd,
    cmd: u32,
    key: Addr,
    value: Addr,
    aux: i32,
) -> SyscallResult {
    let (has_key, has_value) = (key.0 != 0, value.0 != 0);
    let valid = match cmd {
        FSCONFIG_SET_FLAG => has_key && !has_value && aux == 0,
        FSCONFIG_SET_STRING => has_key && has_value && aux == 0,
        FSCONFIG_SET_BINARY => has_key && has_value && (1..=1 << 20).contains(&aux),
        FSCONFIG_SET_PATH | FSCONFIG_SET_PATH_EMPTY => has_key && has_value && (aux == AT_FDCWD || aux >= 0),
        FSCONFIG_SET_FD => has_key && !has_value && aux >= 0,
        FSCONFIG_CMD_CREATE | FSCONFIG_CMD_RECONFIGURE => !has_key && !has_value && aux == 0,
        _ => return Err(EOPNOTSUPP.into()),
    };
    if fd.0 < 0 || !valid {
        return Err(EINVAL.into());
    }
    let file = get_file(task, fd)?;
    let context = file.downcast::<FsContext>().ok_or(EINVAL)?;
    match cmd {
        FSCONFIG_SET_FLAG => context.set(&read_string(task, key, MAX_STRING)?, None)?,
        FSCONFIG_SET_STRING => {
            let key = read_string(task, key, MAX_STRING)?;
            context.set(&key, Some(&read_string(task, value, MAX_STRING)?))?;
        }
        FSCONFIG_CMD_CREATE => context.create(task)?,
        // A context made by fsopen(2) is never ready for it.
        FSCONFIG_CMD_RECONFIGURE => return Err(EBUSY.into()),
        _ => return Err(EINVAL.into()),
    }
    Ok(0)
}

/// fsmount(2).
pub(crate) fn fsmount(task: &mut CurrentTask, fd: Fd, flags: Bits, attrs: Bits) -> SyscallResult {
    if !may_mount(task) {
        return Err(EPERM.into());
    }
    if flags.0 & !FSMOUNT_CLOEXEC != 0 {
        return Err(EINVAL.into());
    }
    let file = get_file(task, fd)?;
    let context = file.downcast::<FsContext>().ok_or(EINVAL)?;
    let (root, source) = context.take()?;
    let mount = do_fsmount(task, root, &source, u64::from(attrs.0))?;
    install(task, mount, flags.0 & FSMOUNT_CLOEXEC != 0)
}

/// A string from guest memory. Linux: `strndup_user`.
fn read_string(task: &CurrentTask, addr: Addr, max: usize) -> Result<String, Errno> {
    let text = task.user()?.read_cstring(addr.0, max);
    let text = text.map_err(|e| if e == ENAMETOOLONG { EINVAL } else { e })?;
    String::from_utf8(text).map_err(|_| EINVAL)
}
