//! Linux: kernel/fork.c, `ksys_unshare`; kernel/nsproxy.c.

use crate::arg::CFlags;
use fs_vfs::TaskContext;
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::errno::EINVAL;
use sentry_uapi::sched::CloneFlags;
use std::sync::Arc;

/// unshare(2).
pub(crate) fn unshare(task: &mut CurrentTask, flags: CFlags) -> SyscallResult {
    let mut flags = CloneFlags::from_bits_retain(flags.0);
    let allowed = CloneFlags::THREAD
        | CloneFlags::FS
        | CloneFlags::NEWNS
        | CloneFlags::SIGHAND
        | CloneFlags::VM
        | CloneFlags::FILES
        | CloneFlags::SYSVSEM
        | CloneFlags::NEWUTS
        | CloneFlags::NEWIPC
        | CloneFlags::NEWNET
        | CloneFlags::NEWUSER
        | CloneFlags::NEWPID
        | CloneFlags::NEWCGROUP
        | CloneFlags::NEWTIME;
    if flags.contains(CloneFlags::NEWUSER) {
        flags |= CloneFlags::THREAD | CloneFlags::FS;
    }
    if flags.contains(CloneFlags::VM) {
        flags |= CloneFlags::SIGHAND;
    }
    if flags.contains(CloneFlags::SIGHAND) {
        flags |= CloneFlags::THREAD;
    }
    if flags.contains(CloneFlags::NEWNS) {
        flags |= CloneFlags::FS;
    }
    if !allowed.contains(flags) {
        return Err(EINVAL.into());
    }
    let alone = task.group.threads().len() <= 1;
    if flags.intersects(CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM) && !alone {
        return Err(EINVAL.into());
    }
    let cred = if flags.contains(CloneFlags::NEWUSER) {
        Some(task.creds_in_new_user_ns((*task.cred()).clone())?)
    } else {
        None
    };
    let new_cred = cred.clone().unwrap_or_else(|| (*task.cred()).clone());
    if flags.contains(CloneFlags::FS) {
        task.unshare_fs();
    }
    let fs = task.task().fs();
    let ns = task.copy_namespaces(flags, &new_cred, Some(&fs))?;
    if flags.contains(CloneFlags::FILES) {
        task.unshare_files();
    }
    task.set_ns(Arc::new(ns));
    if let Some(cred) = cred {
        task.commit_creds(cred);
    }
    Ok(0)
}
