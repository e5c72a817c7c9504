//! The owner of a file's signals. Linux: fs/fcntl.c, `struct fown_struct`.

use fs_vfs::File;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::EINVAL;

/// fcntl(2) commands about the owner.
pub(super) fn owner_fcntl(_task: &CurrentTask, _file: &File, _cmd: u32, _arg: u64) -> SyscallResult {
    Err(EINVAL.into())
}
