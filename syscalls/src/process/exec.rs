//! Linux: fs/exec.c, the system calls.

use crate::arg::{Bits, DirFd, PathAddr, Strings};
use fs_vfs::{At, File, LookupFlags, do_open_execat};
use sentry_kernel::{CurrentTask, SyscallExit, SyscallResult};
use sentry_loader::Arguments;
use sentry_uapi::Errno;
use sentry_uapi::errno::{E2BIG, EFAULT, EINVAL};
use sentry_uapi::fcntl::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, PATH_MAX};
use sentry_uapi::resource::RLIMIT_STACK;
use std::sync::Arc;

/// Longest argument. Linux: `MAX_ARG_STRLEN`.
const MAX_ARG_STRLEN: usize = 32 * 4096;

/// Addresses of the strings of an array, up to its terminating zero; at most as many as the limit on arguments allows.
fn read_pointers(task: &CurrentTask, array: Strings, max: usize) -> Result<Vec<u64>, Errno> {
    let mm = task.user()?;
    let mut pointers = Vec::new();
    if array.0 == 0 {
        return Ok(pointers);
    }
    let mut at = array.0;
    loop {
        let pointer: u64 = mm.read_obj(at)?;
        if pointer == 0 {
            return Ok(pointers);
        }
        if pointers.len() >= max {
            return Err(E2BIG);
        }
        pointers.push(pointer);
        at = at.checked_add(8).ok_or(EFAULT)?;
    }
}

fn read_string(task: &CurrentTask, addr: u64) -> Result<Vec<u8>, Errno> {
    task.user()?.read_cstring(addr, MAX_ARG_STRLEN).map_err(|e| if e == EFAULT { EFAULT } else { E2BIG })
}

fn do_execve(
    task: &mut CurrentTask,
    dir: i32,
    path: &[u8],
    argv: Strings,
    envp: Strings,
    flags: u32,
) -> SyscallResult {
    task.check_nproc_exceeded()?;
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(EINVAL.into());
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
    lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
    let (file, deny) = do_open_execat(task, &At::from(dir), path, lookup)?;
    let limit = task.group.rlimit(RLIMIT_STACK).cur;
    let max = usize::try_from(sentry_loader::stack_limit(limit) / 8).unwrap_or(usize::MAX);
    let argv = read_pointers(task, argv, max)?;
    let envp = read_pointers(task, envp, max)?;
    // What an interpreter opens to get at the script, and AT_EXECFN.
    let (name, inaccessible) = if dir == AT_FDCWD || path.starts_with(b"/") {
        (path.to_vec(), false)
    } else {
        let cloexec = task.task().files()?.cloexec(dir).unwrap_or(false);
        let mut name = format!("/dev/fd/{dir}").into_bytes();
        if !path.is_empty() {
            name.push(b'/');
            name.extend_from_slice(path);
        }
        (name, cloexec)
    };
    let mut args = Arguments::new(&name, argv.len(), envp.len(), limit)?;
    for addr in envp {
        args.push_envp(&read_string(task, addr)?)?;
    }
    for addr in argv {
        args.push_argv(&read_string(task, addr)?)?;
    }
    args.finish()?;
    let mut open = |task: &CurrentTask, path: &[u8]| -> Result<Arc<File>, Errno> {
        Ok(do_open_execat(task, &At::Cwd, path, LookupFlags::FOLLOW)?.0)
    };
    task.execve(file, Arc::new(deny), args, &name, inaccessible, &mut open)?;
    Err(SyscallExit::NoReturn)
}

/// execve(2).
pub(crate) fn execve(task: &mut CurrentTask, path: PathAddr, argv: Strings, envp: Strings) -> SyscallResult {
    let path = task.user()?.read_cstring(path.0, PATH_MAX)?;
    do_execve(task, AT_FDCWD, &path, argv, envp, 0)
}

/// execveat(2).
pub(crate) fn execveat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: PathAddr,
    argv: Strings,
    envp: Strings,
    flags: Bits,
) -> SyscallResult {
    let path = task.user()?.read_cstring(path.0, PATH_MAX)?;
    do_execve(task, dir.0, &path, argv, envp, flags.0)
}
