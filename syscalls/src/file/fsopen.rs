//! Linux: fs/fsopen.c: a filesystem is configured step by step, then mounted. Differs: options are flags and strings.

use super::user::{at, done, getname, install};
use crate::arg::{Addr, Bits, DirFd, Fd, PathAddr};
use fs_vfs::{
    do_fsmount, do_fsopen, do_fspick, fsconfig_create, fsconfig_reconfigure, fsconfig_set,
    fspick as pick_flags, may_mount,
};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENAMETOOLONG, EOPNOTSUPP, EPERM};
use sentry_uapi::fcntl::AT_FDCWD;

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
/// Longest key or string, with its terminating zero.
const MAX_STRING: usize = 256;
/// Longest name of a type of filesystems, with its terminating zero.
const MAX_NAME: usize = 4096;

const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_SET_BINARY: u32 = 2;
const FSCONFIG_SET_PATH: u32 = 3;
const FSCONFIG_SET_PATH_EMPTY: u32 = 4;
const FSCONFIG_SET_FD: u32 = 5;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;

/// fsopen(2).
pub(crate) fn fsopen(task: &mut CurrentTask, name: Addr, flags: Bits) -> SyscallResult {
    if !may_mount(task) {
        return Err(EPERM.into());
    }
    if flags.0 & !FSOPEN_CLOEXEC != 0 {
        return Err(EINVAL.into());
    }
    let file = do_fsopen(task, &read_string(task, name, MAX_NAME)?)?;
    install(task, file, flags.0 & FSOPEN_CLOEXEC != 0)
}

/// fspick(2).
pub(crate) fn fspick(task: &mut CurrentTask, dfd: DirFd, path: PathAddr, flags: Bits) -> SyscallResult {
    let file = do_fspick(task, &at(dfd), &getname(task, path)?, flags.0)?;
    install(task, file, flags.0 & pick_flags::CLOEXEC != 0)
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
    done(match cmd {
        FSCONFIG_SET_FLAG => fsconfig_set(task, fd.0, &read_string(task, key, MAX_STRING)?, None),
        FSCONFIG_SET_STRING => {
            let key = read_string(task, key, MAX_STRING)?;
            fsconfig_set(task, fd.0, &key, Some(&read_string(task, value, MAX_STRING)?))
        }
        FSCONFIG_CMD_CREATE => fsconfig_create(task, fd.0),
        FSCONFIG_CMD_RECONFIGURE => fsconfig_reconfigure(task, fd.0),
        _ => Err(EINVAL),
    })
}

/// fsmount(2).
pub(crate) fn fsmount(task: &mut CurrentTask, fd: Fd, flags: Bits, attrs: Bits) -> SyscallResult {
    if !may_mount(task) {
        return Err(EPERM.into());
    }
    if flags.0 & !FSMOUNT_CLOEXEC != 0 {
        return Err(EINVAL.into());
    }
    let mount = do_fsmount(task, fd.0, u64::from(attrs.0))?;
    install(task, mount, flags.0 & FSMOUNT_CLOEXEC != 0)
}

/// A string from guest memory. Linux: `strndup_user`.
fn read_string(task: &CurrentTask, addr: Addr, max: usize) -> Result<Vec<u8>, Errno> {
    let text = task.user()?.read_cstring(addr.0, max);
    text.map_err(|e| if e == ENAMETOOLONG { EINVAL } else { e })
}
