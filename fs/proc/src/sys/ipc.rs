//! Limits of the caller's IPC namespace, in `/proc/sys/kernel` and `/proc/sys/fs/mqueue`. Linux: ipc/{ipc_sysctl,mq_sysctl}.c.

use super::ctl::{Value, dir, ipc_ctl, parse_numbers};
use crate::procfs::current;
use crate::seq::put_tabbed;
use fs_kernfs::Node;
use fs_vfs::TaskContext;
use sentry_auth::Kuid;
use sentry_kernel::{IPCMNI, IpcNamespace};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EPERM, ERANGE, ESRCH};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Numbers of a namespace: how they are read and set, and what each may be.
struct IpcNumbers {
    get: fn(&IpcNamespace) -> Vec<i128>,
    set: fn(&IpcNamespace, &[i128]) -> Result<(), Errno>,
    range: RangeInclusive<i128>,
}

fn ipc_ns(ctx: &dyn TaskContext) -> Result<Arc<IpcNamespace>, Errno> {
    Ok(current(ctx).ok_or(ESRCH)?.ipc_ns())
}

impl Value for IpcNumbers {
    fn show(&self, ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        put_tabbed(out, &(self.get)(&*ipc_ns(ctx)?));
        Ok(())
    }

    fn store(&self, ctx: &dyn TaskContext, bytes: &[u8]) -> Result<(), Errno> {
        let ns = ipc_ns(ctx)?;
        // What was opened may be another namespace's by now.
        let root = Some(ns.user_ns.make_kuid(0)).filter(|uid| uid.is_valid()).unwrap_or(Kuid::GLOBAL_ROOT);
        if ctx.cred().euid != root {
            return Err(EPERM);
        }
        let mut values = (self.get)(&ns);
        for (old, new) in values.iter_mut().zip(parse_numbers(bytes, 4)?) {
            *old = new;
        }
        if !values.iter().all(|v| self.range.contains(v)) {
            return Err(EINVAL);
        }
        (self.set)(&ns, &values)
    }
}

fn small(value: i128) -> Result<i32, Errno> {
    i32::try_from(value).map_err(|_| EINVAL)
}

fn numbers(
    perm: u32,
    range: RangeInclusive<i128>,
    get: fn(&IpcNamespace) -> Vec<i128>,
    set: fn(&IpcNamespace, &[i128]) -> Result<(), Errno>,
) -> Node {
    ipc_ctl(perm, IpcNumbers { get, set, range })
}

/// A number of a kind's limits, from 0 to a most.
macro_rules! limit {
    ($ids:ident, $field:ident, $max:expr, $convert:expr) => {
        limit!($ids, $field, 0, $max, $convert)
    };
    ($ids:ident, $field:ident, $min:expr, $max:expr, $convert:expr) => {
        numbers(
            0o644,
            $min..=i128::from($max),
            |ns| vec![i128::from(ns.$ids.limits().$field)],
            |ns, new| {
                let mut limits = ns.$ids.limits();
                limits.$field = $convert(*new.first().ok_or(EINVAL)?)?;
                ns.$ids.set_limits(limits);
                Ok(())
            },
        )
    };
}

/// The id the next object of a kind is to get.
macro_rules! next_id {
    ($ids:ident) => {
        numbers(
            0o644,
            -1..=i128::from(i32::MAX),
            |ns| vec![i128::from(ns.$ids.next_id())],
            |ns, new| {
                ns.$ids.set_next_id(small(*new.first().ok_or(EINVAL)?)?);
                Ok(())
            },
        )
    };
}

fn wide(value: i128) -> Result<u64, Errno> {
    u64::try_from(value).map_err(|_| EINVAL)
}

fn boolean(value: i128) -> Result<bool, Errno> {
    Ok(value != 0)
}

fn sem() -> Node {
    numbers(
        0o644,
        i128::from(i32::MIN)..=i128::from(i32::MAX),
        |ns| {
            let l = ns.sem.limits();
            [l.msl, l.mns, l.opm, l.mni].map(i128::from).to_vec()
        },
        |ns, new| {
            let [msl, mns, opm, mni] = *new else { return Err(EINVAL) };
            if !(0..=i128::from(IPCMNI)).contains(&mni) {
                return Err(ERANGE);
            }
            let mut limits = ns.sem.limits();
            (limits.msl, limits.mns) = (small(msl)?, small(mns)?);
            (limits.opm, limits.mni) = (small(opm)?, small(mni)?);
            ns.sem.set_limits(limits);
            Ok(())
        },
    )
}

/// The files by name.
pub(super) fn entries() -> [(&'static str, Node); 11] {
    [
        ("msg_next_id", next_id!(msg)),
        ("msgmax", limit!(msg, max, i32::MAX, small)),
        ("msgmnb", limit!(msg, mnb, i32::MAX, small)),
        ("msgmni", limit!(msg, mni, IPCMNI, small)),
        ("sem", sem()),
        ("sem_next_id", next_id!(sem)),
        ("shm_next_id", next_id!(shm)),
        ("shm_rmid_forced", limit!(shm, rmid_forced, 1, boolean)),
        ("shmall", limit!(shm, all, u64::MAX, wide)),
        ("shmmax", limit!(shm, max, u64::MAX, wide)),
        ("shmmni", limit!(shm, mni, IPCMNI, small)),
    ]
}

/// `/proc/sys/fs/mqueue`.
pub(super) fn mqueue() -> Node {
    dir([
        ("msg_default", limit!(mq, msg_default, 1, 65536, small)),
        ("msg_max", limit!(mq, msg_max, 1, 65536, small)),
        ("msgsize_default", limit!(mq, msgsize_default, 128, 16 << 20, small)),
        ("msgsize_max", limit!(mq, msgsize_max, 128, 16 << 20, small)),
        ("queues_max", limit!(mq, queues_max, i32::MAX, small)),
    ])
}
