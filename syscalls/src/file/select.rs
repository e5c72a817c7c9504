//! Linux: fs/select.c.

use super::timeout::{TimeLeft, Timeout, set_user_sigmask};
use crate::arg::{Addr, SigSetAddr, TimespecAddr};
use fs_vfs::{PollEntry, PollTarget, Resource, SelectEntry, TaskContext, do_poll, do_select};
use sentry_kernel::{CurrentTask, SyscallResult};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EFAULT, EINVAL, ERESTARTNOHAND};
use sentry_uapi::poll::Pollfd;
use zerocopy::IntoBytes;

/// poll(2).
pub(crate) fn poll(task: &mut CurrentTask, fds: Addr, nfds: u32, timeout: i32) -> SyscallResult {
    poll_until(task, fds, nfds, Timeout::from_millis(timeout))
}

/// Goes on, after a signal without a handler, for what is left of the time. Linux: `do_restart_poll`.
fn poll_until(task: &mut CurrentTask, fds: Addr, nfds: u32, timeout: Timeout) -> SyscallResult {
    match do_sys_poll(task, fds, nfds, timeout) {
        Err(ERESTARTNOHAND) => {
            Err(task.set_restart(Box::new(move |task| poll_until(task, fds, nfds, timeout))))
        }
        result => Ok(result? as u64),
    }
}

/// ppoll(2).
pub(crate) fn ppoll(
    task: &mut CurrentTask,
    fds: Addr,
    nfds: u32,
    timeout: TimespecAddr,
    mask: SigSetAddr,
    mask_size: usize,
) -> SyscallResult {
    let until = Timeout::read_timespec(task, timeout)?;
    set_user_sigmask(task, mask, mask_size)?;
    let result = do_sys_poll(task, fds, nfds, until);
    Ok(until.finish(task, result, &TimeLeft::Timespec(timeout))? as u64)
}

fn do_sys_poll(task: &CurrentTask, fds: Addr, nfds: u32, timeout: Timeout) -> Result<usize, Errno> {
    if u64::from(nfds) > task.rlimit(Resource::Nofile) {
        return Err(EINVAL);
    }
    let mm = task.user()?;
    let mut polled = mm.read_array::<Pollfd>(fds.0, usize::try_from(nfds).map_err(|_| EINVAL)?)?;
    let files = TaskContext::files(task);
    let target = |fd| match (fd, files.get(fd)) {
        (..0, _) => PollTarget::Ignored,
        (_, Ok(file)) => PollTarget::File(file),
        (_, Err(_)) => PollTarget::Closed,
    };
    let mut entries: Vec<PollEntry> = polled
        .iter()
        .map(|p| PollEntry { target: target(p.fd), events: u32::from(p.events), revents: 0 })
        .collect();
    let result = do_poll(task, &mut entries, timeout.deadline);
    // Only the results are stored: the guest may have changed the rest meanwhile.
    for (at, (p, entry)) in polled.iter_mut().zip(&entries).enumerate() {
        p.revents = u16::try_from(entry.revents & 0xffff).unwrap_or(0);
        let offset = (at * size_of::<Pollfd>() + std::mem::offset_of!(Pollfd, revents)) as u64;
        mm.write_obj(fds.0.wrapping_add(offset), &p.revents)?;
    }
    result
}

/// select(2).
pub(crate) fn select(
    task: &mut CurrentTask,
    n: i32,
    readfds: Addr,
    writefds: Addr,
    exceptfds: Addr,
    timeout: Addr,
) -> SyscallResult {
    let until = Timeout::read_timeval(task, timeout)?;
    let result = core_sys_select(task, n, [readfds, writefds, exceptfds], until);
    Ok(until.finish(task, result, &TimeLeft::Timeval(timeout))? as u64)
}

/// pselect6(2): the last argument points to the address and the size of a mask.
pub(crate) fn pselect6(
    task: &mut CurrentTask,
    n: i32,
    readfds: Addr,
    writefds: Addr,
    exceptfds: Addr,
    timeout: TimespecAddr,
    sig: Addr,
) -> SyscallResult {
    let [mask, size] = if sig.0 == 0 { [0; 2] } else { task.user()?.read_obj::<[u64; 2]>(sig.0)? };
    let until = Timeout::read_timespec(task, timeout)?;
    set_user_sigmask(task, SigSetAddr(mask), usize::try_from(size).unwrap_or(usize::MAX))?;
    let result = core_sys_select(task, n, [readfds, writefds, exceptfds], until);
    Ok(until.finish(task, result, &TimeLeft::Timespec(timeout))? as u64)
}

/// The sets of a call: words of 64 bits; none where the caller gave a null address.
type Sets = [Option<Vec<u64>>; 3];

/// Linux: `core_sys_select`.
fn core_sys_select(task: &CurrentTask, n: i32, addrs: [Addr; 3], timeout: Timeout) -> Result<usize, Errno> {
    let files = TaskContext::files(task);
    let n = usize::try_from(n).map_err(|_| EINVAL)?.min(files.size());
    let words = n.div_ceil(64);
    let mut sets: Sets = [None, None, None];
    for (set, addr) in sets.iter_mut().zip(addrs) {
        if addr.0 != 0 {
            *set = Some(task.user()?.read_array::<u64>(addr.0, words)?);
        }
    }
    let in_set = |set: &Option<Vec<u64>>, fd: usize| {
        let word = set.as_ref().and_then(|s| s.get(fd / 64)).copied().unwrap_or(0);
        word >> (fd % 64) & 1 != 0
    };
    let mut numbers = Vec::new();
    let mut entries = Vec::new();
    for fd in 0..n {
        let [read, write, except] = std::array::from_fn(|i| sets.get(i).is_some_and(|s| in_set(s, fd)));
        if !(read || write || except) {
            continue;
        }
        let file = files.get(i32::try_from(fd).map_err(|_| EBADF)?)?;
        numbers.push(fd);
        entries.push(SelectEntry { file, read, write, except });
    }
    let found = do_select(task, &mut entries, timeout.deadline)?;
    let mut left = [vec![0_u64; words], vec![0; words], vec![0; words]];
    for (fd, entry) in numbers.iter().zip(&entries) {
        for (set, on) in left.iter_mut().zip([entry.read, entry.write, entry.except]) {
            if on && let Some(word) = set.get_mut(fd / 64) {
                *word |= 1 << (fd % 64);
            }
        }
    }
    for (set, addr) in left.iter().zip(addrs) {
        if addr.0 != 0 {
            task.user()?.copy_to_user(addr.0, set.as_bytes()).map_err(|_| EFAULT)?;
        }
    }
    Ok(found)
}
