//! Linux: fs/signalfd.c. A signalfd has no state but a mask: what it shows are the signals of whoever looks.

use crate::{File, FileOps, PollTable, Pseudo, TaskContext};
use sentry_mm::IoDst;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EFAULT, EINVAL};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::POLLIN;
use sentry_uapi::signal::{
    SI_KERNEL, SI_TIMER, SI_USER, SIGBUS, SIGCHLD, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGSTOP, SIGSYS,
    SIGTRAP, SigInfo, SigSet,
};
use sentry_uapi::signalfd::{SFD_CLOEXEC, SFD_NONBLOCK, SignalfdSiginfo};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::IntoBytes;

struct SignalFd {
    mask: AtomicU64,
}

impl SignalFd {
    fn mask(&self) -> SigSet {
        SigSet(self.mask.load(Ordering::SeqCst))
    }

    fn set_mask(&self, mask: SigSet) {
        let never = SigSet::of(SIGKILL).union(SigSet::of(SIGSTOP));
        self.mask.store(mask.difference(never).0, Ordering::SeqCst);
    }
}

impl FileOps for SignalFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read(
        &self,
        _file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        const SIZE: usize = size_of::<SignalfdSiginfo>();
        if dst.remaining() < SIZE {
            return Err(EINVAL);
        }
        let mut total = 0;
        while dst.remaining() >= SIZE {
            let Some(info) = ctx.dequeue_signal(self.mask()) else { break };
            if dst.write(copyinfo(&info).as_bytes()) != Ok(SIZE) {
                return if total > 0 { Ok(total) } else { Err(EFAULT) };
            }
            total += SIZE;
        }
        if total > 0 { Ok(total) } else { Err(EAGAIN) }
    }

    fn seekable(&self) -> bool {
        false
    }

    /// Nobody's signals.
    fn poll(&self, _file: &File, _table: &mut PollTable) -> u32 {
        0
    }

    fn poll_for(&self, _file: &File, ctx: &dyn TaskContext, table: &mut PollTable) -> u32 {
        table.wait(&ctx.signal_queue());
        if ctx.pending_signals().intersection(self.mask()).is_empty() { 0 } else { POLLIN }
    }

    fn show_fdinfo(&self, _file: &File) -> String {
        format!("sigmask:\t{:016x}\n", self.mask().0)
    }
}

/// The members of a `siginfo_t`'s union that are in use. Linux: `enum siginfo_layout`.
enum Layout {
    Kill,
    Timer,
    Poll,
    Fault,
    FaultMceerr,
    Chld,
    Rt,
    Sys,
}

/// `si_code` of SIGIO sent for F_SETSIG. Linux: `SI_SIGIO`.
const SI_SIGIO: i32 = -5;
/// Highest code of SIGIO. Linux: `NSIGPOLL`.
const NSIGPOLL: i32 = 6;

/// Linux: `siginfo_layout`, with the numbers of codes of include/uapi/asm-generic/siginfo.h.
fn siginfo_layout(signo: i32, code: i32) -> Layout {
    if code <= SI_USER || code >= SI_KERNEL {
        return match code {
            SI_TIMER => Layout::Timer,
            SI_SIGIO => Layout::Poll,
            c if c < 0 => Layout::Rt,
            _ => Layout::Kill,
        };
    }
    match (signo, code) {
        (SIGBUS, 4..=5) => Layout::FaultMceerr,
        (SIGILL, ..=11) | (SIGFPE, ..=15) | (SIGSEGV, ..=9) | (SIGBUS, ..=5) | (SIGTRAP, ..=6) => {
            Layout::Fault
        }
        (SIGCHLD, ..=6) => Layout::Chld,
        (SIGSYS, ..=2) => Layout::Sys,
        (_, ..=NSIGPOLL) => Layout::Poll,
        _ => Layout::Kill,
    }
}

/// What a read returns for a signal. Linux: `signalfd_copyinfo`.
fn copyinfo(info: &SigInfo) -> SignalfdSiginfo {
    let word = |at| info.word(at);
    let unsigned = |at| info.word(at).cast_unsigned();
    let long = |at| u64::from(unsigned(at)) | u64::from(unsigned(at + 4)) << 32;
    let mut new = SignalfdSiginfo {
        ssi_signo: info.si_signo.cast_unsigned(),
        ssi_errno: info.si_errno,
        ssi_code: info.si_code,
        ..SignalfdSiginfo::default()
    };
    match siginfo_layout(info.si_signo, info.si_code) {
        Layout::Kill => {
            new.ssi_pid = unsigned(0);
            new.ssi_uid = unsigned(4);
        }
        Layout::Timer => {
            new.ssi_tid = unsigned(0);
            new.ssi_overrun = unsigned(4);
            new.ssi_ptr = long(8);
            new.ssi_int = word(8);
        }
        Layout::Poll => {
            new.ssi_band = unsigned(0);
            new.ssi_fd = word(8);
        }
        Layout::Fault => new.ssi_addr = long(0),
        Layout::FaultMceerr => {
            new.ssi_addr = long(0);
            let [low, high, ..] = word(8).to_ne_bytes();
            new.ssi_addr_lsb = u16::from_ne_bytes([low, high]);
        }
        Layout::Chld => {
            new.ssi_pid = unsigned(0);
            new.ssi_uid = unsigned(4);
            new.ssi_status = word(8);
            new.ssi_utime = long(16);
            new.ssi_stime = long(24);
        }
        Layout::Rt => {
            new.ssi_pid = unsigned(0);
            new.ssi_uid = unsigned(4);
            new.ssi_ptr = long(8);
            new.ssi_int = word(8);
        }
        Layout::Sys => {
            new.ssi_call_addr = long(0);
            new.ssi_syscall = word(8);
            new.ssi_arch = unsigned(12);
        }
    }
    new
}

/// signalfd4(2) with a descriptor of -1: a new one. SFD_CLOEXEC is the caller's. `EINVAL` for unknown flags. Linux:
/// `do_signalfd4`.
pub fn do_signalfd(ctx: &dyn TaskContext, mask: SigSet, flags: u32) -> Result<Arc<File>, Errno> {
    if flags & !(SFD_CLOEXEC | SFD_NONBLOCK) != 0 {
        return Err(EINVAL);
    }
    let ops = Box::new(SignalFd { mask: AtomicU64::new(0) });
    ops.set_mask(mask);
    let mut open = OpenFlags::RDWR;
    open.set(OpenFlags::NONBLOCK, flags & SFD_NONBLOCK != 0);
    Ok(ctx.vfs().pseudo_file(Pseudo::Anon, "[signalfd]", ops, open, ctx.cred()))
}

/// signalfd4(2) with a descriptor: another mask. `EINVAL` for unknown flags and for a file that is no signalfd.
pub fn signalfd_set_mask(ctx: &dyn TaskContext, file: &File, mask: SigSet, flags: u32) -> Result<(), Errno> {
    if flags & !(SFD_CLOEXEC | SFD_NONBLOCK) != 0 {
        return Err(EINVAL);
    }
    file.downcast::<SignalFd>().ok_or(EINVAL)?.set_mask(mask);
    ctx.signal_queue().wake_all(POLLIN);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sentry_uapi::signal::{CLD_EXITED, SIGIO, SIGRTMIN, SIGTERM};

    #[test]
    fn every_layout_shows_its_members() {
        let info = SigInfo::from_process(SIGTERM, SI_USER, 12, 34);
        let new = copyinfo(&info);
        assert_eq!((new.ssi_signo, new.ssi_code, new.ssi_pid, new.ssi_uid), (15, 0, 12, 34));
        let new = copyinfo(&SigInfo::from_child(CLD_EXITED, 5, 6, 7, 8, 9));
        assert_eq!((new.ssi_pid, new.ssi_status, new.ssi_utime, new.ssi_stime), (5, 7, 8, 9));
        let new = copyinfo(&SigInfo::from_timer(SIGRTMIN, 3, 4, 1 << 40 | 5));
        assert_eq!((new.ssi_tid, new.ssi_overrun, new.ssi_ptr, new.ssi_int), (3, 4, 1 << 40 | 5, 5));
        let new = copyinfo(&SigInfo::from_fault(SIGSEGV, 1, 0xdead_beef_0000));
        assert_eq!(new.ssi_addr, 0xdead_beef_0000);
        let new = copyinfo(&SigInfo::from_poll(SIGIO, 1, 0x41, 9));
        assert_eq!((new.ssi_band, new.ssi_fd, new.ssi_pid), (0x41, 9, 0));
    }
}
