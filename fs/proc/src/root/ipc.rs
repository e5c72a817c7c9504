//! `/proc/sysvipc`. Linux: ipc/{msg,sem,shm}.c, `sysvipc_*_proc_show`; ipc/util.c, `sysvipc_proc_ops`.

use crate::procfs::current;
use crate::seq::put;
use fs_kernfs::simple::seq;
use fs_kernfs::{Node, StaticDir};
use fs_vfs::TaskContext;
use sentry_kernel::{CurrentTask, IpcPerm};
use sentry_uapi::Errno;
use sentry_uapi::errno::ESRCH;
use sentry_uapi::ipc::Ipc64Perm;

const MSG: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      \
                   stime      rtime      ctime\n";
const SEM: &str = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
const SHM: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
                   atime      dtime      ctime                   rss                  swap\n";

fn task(ctx: &dyn TaskContext) -> Result<&CurrentTask, Errno> {
    current(ctx).ok_or(ESRCH)
}

/// Key, id and mode, with which each line begins; ids of users as the reader sees them.
fn begin(ctx: &dyn TaskContext, perm: &IpcPerm, out: &mut Vec<u8>) -> Ipc64Perm {
    put(out, format_args!("{:10} {:10}  {:4o} ", perm.key, perm.id, perm.mode));
    perm.to_user(&ctx.cred().user_ns)
}

fn show_msg(ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.extend_from_slice(MSG.as_bytes());
    let task = task(ctx)?;
    for q in task.ipc_ns().msg_queues(&task.pid_ns()) {
        let p = begin(ctx, &q.perm, out);
        put(
            out,
            format_args!(
                " {:10} {:10} {:5} {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10}\n",
                q.cbytes, q.qnum, q.lspid, q.lrpid, p.uid, p.gid, p.cuid, p.cgid, q.stime, q.rtime, q.ctime,
            ),
        );
    }
    Ok(())
}

fn show_sem(ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.extend_from_slice(SEM.as_bytes());
    for s in task(ctx)?.ipc_ns().sem_sets() {
        let p = begin(ctx, &s.perm, out);
        put(
            out,
            format_args!(
                "{:10} {:5} {:5} {:5} {:5} {:10} {:10}\n",
                s.nsems, p.uid, p.gid, p.cuid, p.cgid, s.otime, s.ctime,
            ),
        );
    }
    Ok(())
}

fn show_shm(ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
    out.extend_from_slice(SHM.as_bytes());
    let task = task(ctx)?;
    for s in task.ipc_ns().shm_segments(&task.pid_ns()) {
        let p = begin(ctx, &s.perm, out);
        put(
            out,
            format_args!(
                "{:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {:21} {:21}\n",
                s.size,
                s.cpid,
                s.lpid,
                s.nattch,
                p.uid,
                p.gid,
                p.cuid,
                p.cgid,
                s.atime,
                s.dtime,
                s.ctime,
                s.resident(),
                0,
            ),
        );
    }
    Ok(())
}

pub(super) fn dir() -> Node {
    StaticDir::new(0o555)
        .with("msg", seq(0o444, show_msg))
        .with("sem", seq(0o444, show_sem))
        .with("shm", seq(0o444, show_shm))
        .node()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_the_native_kernels() {
        for (name, ours) in [("msg", MSG), ("sem", SEM), ("shm", SHM)] {
            let native = std::fs::read_to_string(format!("/proc/sysvipc/{name}")).unwrap_or_default();
            assert_eq!(native.lines().next(), ours.lines().next());
        }
    }
}
