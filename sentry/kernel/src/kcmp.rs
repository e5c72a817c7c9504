//! Linux: kernel/kcmp.c.

use crate::{CurrentTask, Kernel, Task, ptrace_may_access};
use fs_vfs::{File, epoll_target};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EINVAL, EPERM, ESRCH};
use std::cmp::Ordering;
use std::sync::Arc;

const KCMP_FILE: i32 = 0;
const KCMP_VM: i32 = 1;
const KCMP_FILES: i32 = 2;
const KCMP_FS: i32 = 3;
const KCMP_SIGHAND: i32 = 4;
const KCMP_IO: i32 = 5;
const KCMP_SYSVSEM: i32 = 6;
const KCMP_EPOLL_TFD: i32 = 7;

/// Where an object is; 0 for none.
fn place<T: ?Sized>(object: Option<&Arc<T>>) -> usize {
    object.map_or(0, |object| Arc::as_ptr(object).cast::<()>().addr())
}

fn file(task: &Task, fd: u64) -> Result<Arc<File>, Errno> {
    let fd = i32::try_from(fd & 0xffff_ffff).map_err(|_| EBADF)?;
    task.files().map_err(|_| EBADF)?.get_raw(fd).ok_or(EBADF)
}

/// The file an epoll instance watches; `struct kcmp_epoll_slot` says which. Linux: `kcmp_epoll_target`.
fn epoll_slot(task: &Task, [efd, tfd, toff]: [u32; 3]) -> Result<Arc<File>, Errno> {
    let epoll = file(task, efd.into())?;
    epoll_target(&epoll, tfd.cast_signed(), usize::try_from(toff).unwrap_or(usize::MAX))
}

impl Kernel {
    /// An order of objects that says nothing of where they are. Linux: `kptr_obfuscate`.
    fn kptr_obfuscate(&self, place: usize) -> u64 {
        let [mix, factor] = self.kcmp_cookies;
        (u64::try_from(place).unwrap_or(0) ^ mix).wrapping_mul(factor | 1)
    }
}

impl CurrentTask {
    /// kcmp(2): 0 for the same object, 1 and 2 for one before or behind the other.
    ///
    /// # Errors
    /// `ESRCH`, `EPERM`, `EBADF`; `EINVAL` for a kind, and for what is no epoll instance; `ENOENT` for what it does not
    /// watch.
    pub fn kcmp(&self, pids: [i32; 2], kind: i32, fds: [u64; 2]) -> Result<u64, Errno> {
        let kernel = self.kernel();
        let find = |pid: i32| {
            let nr = u32::try_from(pid).map_err(|_| ESRCH)?;
            kernel.find_task(&self.pid_ns(), nr).ok_or(ESRCH)
        };
        let (a, b) = (find(pids[0])?, find(pids[1])?);
        if !ptrace_may_access(self, &a, true) || !ptrace_may_access(self, &b, true) {
            return Err(EPERM);
        }
        let [x, y] = match kind {
            KCMP_FILE => {
                let files = [file(&a, fds[0])?, file(&b, fds[1])?];
                [place(Some(&files[0])), place(Some(&files[1]))]
            }
            KCMP_VM => [&a, &b].map(|t| place(t.mm().ok().as_ref())),
            KCMP_FILES => [&a, &b].map(|t| place(t.files().ok().as_ref())),
            KCMP_FS => [&a, &b].map(|t| place(Some(&t.fs()))),
            KCMP_SIGHAND => [&a, &b].map(|t| place(Some(&t.group.sighand()))),
            // Nobody has an I/O context: the host schedules.
            KCMP_IO => [0, 0],
            KCMP_SYSVSEM => [&a, &b].map(|t| place(t.sem_undo.lock().as_ref())),
            KCMP_EPOLL_TFD => {
                let slot: [u32; 3] = self.user()?.read_obj(fds[1])?;
                let files = [file(&a, fds[0])?, epoll_slot(&b, slot)?];
                [place(Some(&files[0])), place(Some(&files[1]))]
            }
            _ => return Err(EINVAL),
        };
        Ok(match kernel.kptr_obfuscate(x).cmp(&kernel.kptr_obfuscate(y)) {
            Ordering::Equal => 0,
            Ordering::Less => 1,
            Ordering::Greater => 2,
        })
    }
}
