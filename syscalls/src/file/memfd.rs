//! Linux: mm/memfd.c. There are no huge pages.

use super::user::install;
use crate::arg::{Addr, Bits};
use fs_tmpfs::MFD_NAME_MAX;
use fs_vfs::TaskContext;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::{EINVAL, ENAMETOOLONG, ENOSYS};
use sentry_uapi::memfd::{MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_HUGETLB, MFD_NOEXEC_SEAL};

/// memfd_create(2).
pub(crate) fn memfd_create(task: &mut CurrentTask, name: Addr, flags: Bits) -> SyscallResult {
    const KNOWN: u32 = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC;
    const BOTH: u32 = MFD_NOEXEC_SEAL | MFD_EXEC;
    if flags.0 & MFD_HUGETLB != 0 {
        return Err(ENOSYS.into());
    }
    if flags.0 & !KNOWN != 0 || flags.0 & BOTH == BOTH {
        return Err(EINVAL.into());
    }
    let name = task.user()?.read_cstring(name.0, MFD_NAME_MAX + 1);
    let name = name.map_err(|e| if e == ENAMETOOLONG { EINVAL } else { e })?;
    let noexec = flags.0 & MFD_NOEXEC_SEAL != 0;
    let shmem = task.kernel().shmem()?;
    let file = shmem.new_memfd(
        &String::from_utf8_lossy(&name),
        flags.0 & MFD_ALLOW_SEALING != 0,
        noexec,
        TaskContext::cred(task),
    )?;
    install(task, file, flags.0 & MFD_CLOEXEC != 0)
}
