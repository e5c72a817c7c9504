//! Linux: ipc/msg.c, `ksys_msgctl`.

use super::msg::MsgQueue;
use super::util::{IpcPerm, PermUpdate, S_IRUGO};
use crate::pid::PidNumbers;
use crate::{CurrentTask, IpcNamespace, PidNamespace};
use fs_vfs::TaskContext;
use sentry_auth::CapSet;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EAGAIN, EINVAL, EPERM};
use sentry_uapi::msg::{MSG_INFO, MSG_STAT, MSG_STAT_ANY, MSGMNB, MSGMNI, Msginfo, Msqid64Ds};
use std::sync::Arc;

/// What `/proc/sysvipc/msg` shows of a queue.
#[derive(Clone, Debug)]
pub struct MsgStatus {
    /// Whose it is.
    pub perm: IpcPerm,
    /// Bytes in it.
    pub cbytes: u64,
    /// Messages in it.
    pub qnum: u64,
    /// Bytes it may have.
    pub qbytes: u64,
    /// Last sender.
    pub lspid: u32,
    /// Last receiver.
    pub lrpid: u32,
    /// Time of the last msgsnd(2).
    pub stime: i64,
    /// Time of the last msgrcv(2).
    pub rtime: i64,
    /// Time of the last change.
    pub ctime: i64,
}

impl MsgStatus {
    fn of(queue: &MsgQueue, pid_ns: &Arc<PidNamespace>) -> MsgStatus {
        let nr = |pid: &Option<Arc<PidNumbers>>| pid.as_ref().map_or(0, |pid| pid.nr_in(pid_ns));
        MsgStatus {
            perm: queue.perm.clone(),
            cbytes: queue.cbytes,
            qnum: u64::try_from(queue.messages.len()).unwrap_or(u64::MAX),
            qbytes: queue.qbytes,
            lspid: nr(&queue.lspid),
            lrpid: nr(&queue.lrpid),
            stime: queue.stime,
            rtime: queue.rtime,
            ctime: queue.ctime,
        }
    }
}

impl IpcNamespace {
    /// All message queues, by index, with process ids as `pid_ns` has them.
    pub fn msg_queues(&self, pid_ns: &Arc<PidNamespace>) -> Vec<MsgStatus> {
        self.msg.lock().ids.iter().map(|q| MsgStatus::of(q, pid_ns)).collect()
    }
}

impl CurrentTask {
    /// msgctl(IPC_STAT), msgctl(MSG_STAT), msgctl(MSG_STAT_ANY). Returns the id besides. Linux: `msgctl_stat`.
    ///
    /// # Errors
    /// `EINVAL`, `EACCES`.
    pub fn msgctl_stat(&self, msqid: i32, cmd: i32) -> Result<(Msqid64Ds, i32), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let pid_ns = self.pid_ns();
        let status = {
            let state = ns.msg.lock();
            let by_index = cmd == MSG_STAT || cmd == MSG_STAT_ANY;
            let queue = if by_index { state.ids.at(msqid)? } else { state.ids.get(msqid)? };
            if cmd != MSG_STAT_ANY && !queue.perm.permits(&cred, &ns.user_ns, S_IRUGO) {
                return Err(EACCES);
            }
            MsgStatus::of(queue, &pid_ns)
        };
        let out = Msqid64Ds {
            msg_perm: status.perm.to_user(&cred.user_ns),
            msg_stime: status.stime,
            msg_rtime: status.rtime,
            msg_ctime: status.ctime,
            msg_cbytes: status.cbytes,
            msg_qnum: status.qnum,
            msg_qbytes: status.qbytes,
            msg_lspid: i32::try_from(status.lspid).unwrap_or(0),
            msg_lrpid: i32::try_from(status.lrpid).unwrap_or(0),
            ..Msqid64Ds::default()
        };
        Ok((out, status.perm.id))
    }

    /// msgctl(IPC_INFO), msgctl(MSG_INFO). Returns the highest index in use besides. Linux: `msgctl_info`.
    pub fn msgctl_info(&self, cmd: i32) -> (Msginfo, u64) {
        const MSGSSZ: i32 = 16;
        const MSGSEG: u16 = 0xffff;
        let ns = self.ipc_ns();
        let state = ns.msg.lock();
        let mut info = Msginfo {
            msgpool: MSGMNI * (MSGMNB / 1024),
            msgmap: MSGMNB,
            msgmax: state.limits.max,
            msgmnb: state.limits.mnb,
            msgmni: state.limits.mni,
            msgssz: MSGSSZ,
            msgtql: MSGMNB,
            msgseg: MSGSEG,
            pad: 0,
        };
        if cmd == MSG_INFO {
            let messages: usize = state.ids.iter().map(|q| q.messages.len()).sum();
            let bytes: u64 = state.ids.iter().map(|q| q.cbytes).sum();
            info.msgpool = i32::try_from(state.ids.in_use()).unwrap_or(i32::MAX);
            info.msgmap = i32::try_from(messages).unwrap_or(i32::MAX);
            info.msgtql = i32::try_from(bytes).unwrap_or(i32::MAX);
        }
        (info, state.ids.max_idx())
    }

    /// msgctl(IPC_SET).
    ///
    /// # Errors
    /// `EINVAL`; `EPERM` for whoever does not own it, and for more bytes than the limit without CAP_SYS_RESOURCE.
    pub fn msgctl_set(&self, msqid: i32, update: &PermUpdate, qbytes: u64) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let now = self.real_seconds();
        // Linux passes the size on as an `int` and compares it as unsigned.
        let qbytes = qbytes & 0xffff_ffff;
        let mut state = ns.msg.lock();
        let mnb = u64::try_from(state.limits.mnb).unwrap_or(0);
        let queue = state.ids.get_owned(msqid, &cred, &ns.user_ns)?;
        if qbytes > mnb && !(cred.user_ns.parent().is_none() && cred.capable(CapSet::SYS_RESOURCE)) {
            return Err(EPERM);
        }
        queue.perm.update(update)?;
        queue.qbytes = qbytes;
        queue.ctime = now;
        queue.expunge_all(EAGAIN);
        queue.wake_senders();
        Ok(())
    }

    /// msgctl(IPC_RMID): whoever waits fails with `EIDRM`. Linux: `freeque`.
    ///
    /// # Errors
    /// `EINVAL`, `EPERM`.
    pub fn msgctl_rmid(&self, msqid: i32) -> Result<(), Errno> {
        let ns = self.ipc_ns();
        let cred = TaskContext::cred(self);
        let gone = {
            let mut state = ns.msg.lock();
            state.ids.get_owned(msqid, &cred, &ns.user_ns)?;
            let mut queue = state.ids.remove(msqid).ok_or(EINVAL)?;
            queue.destroyed();
            queue
        };
        drop(gone);
        Ok(())
    }
}
