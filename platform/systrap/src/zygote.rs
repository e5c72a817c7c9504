//! The first stub, from which all others are forked.
//!
//! It begins as a fork of the sentry ([`crate::spawn_code`]) and replaces, call by call, whatever it has inherited. It
//! never runs guest code, so it alone may write to its queue page.

use crate::control_file::{ControlFile, HANDLED};
use crate::layout::{
    CONSTANTS, PAGE, QUEUE, SLOTS, STUB_BASE, TASK_SIZE_MAX, ZYGOTE_QUEUE, constants, kind, queue,
};
use crate::mapper::{Call, Mapper, call_error, plain, sealed_or};
use crate::spawn_code;
use crate::stub_code::FORK_FLAGS;
use crate::thread::{self, StubThread};
use platform::PlatformError;
use platform_host::process::{self, BlockedSignals};
use platform_host::wait;
use sentry_uapi::Errno;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The zygote.
pub(crate) struct Zygote {
    mapper: Mapper,
    control: Arc<ControlFile>,
}

/// A stub process in which nothing is mapped but its own pages.
pub(crate) struct FreshStub {
    /// Its process id and mapper.
    pub(crate) mapper: Mapper,
    /// Its guest threads, which wait: one, or more of one that does not serve again.
    pub(crate) threads: Vec<Arc<StubThread>>,
}

fn bits(flags: libc::c_int) -> u64 {
    u64::try_from(flags).unwrap_or(0)
}

/// A process id from a host call's result.
fn checked_pid(result: i64) -> Result<i32, PlatformError> {
    match i32::try_from(result) {
        Ok(pid @ 1..) => Ok(pid),
        Ok(error) => Err(call_error("clone")(Errno::from_raw(error.saturating_neg()))),
        Err(_) => Err(PlatformError::Gone("clone gave no process id".into())),
    }
}

impl Zygote {
    /// Makes the zygote. The calling thread must live as long as the platform: when it ends, all stubs are killed.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] when this host does not allow what a stub needs.
    pub(crate) fn new(control: &Arc<ControlFile>) -> Result<Zygote, PlatformError> {
        let mut mapper = Mapper::new(0, control.allocate_queue()?)?;
        let blocked = BlockedSignals::new();
        let (helper, pid) = spawn_code::spawn(control.raw_fd(), mapper.page().offset());
        drop(blocked);
        // It has exited; if it could not be made, the zygote's id is missing too.
        let helper = checked_pid(helper)?;
        let _ = wait::reap(helper);
        mapper.set_pid(checked_pid(pid)?);
        let mut zygote = Zygote { mapper, control: control.clone() };
        zygote.empty()?;
        zygote.confine()?;
        Ok(zygote)
    }

    fn run(&mut self, what: &'static str, calls: &[Call]) -> Result<(), PlatformError> {
        self.mapper.run(calls)?.map_err(|errno| {
            PlatformError::Unavailable(format!("stubs cannot be made here: {what}: {errno}"))
        })
    }

    /// Unmaps the copy of the sentry's memory.
    fn empty(&mut self) -> Result<(), PlatformError> {
        let behind = ZYGOTE_QUEUE + PAGE;
        let ranges = [(0, STUB_BASE), (QUEUE, ZYGOTE_QUEUE), (behind, TASK_SIZE_MAX)];
        let calls = ranges.map(|(start, end)| plain(libc::SYS_munmap, [start, end - start, 0, 0, 0, 0]));
        self.mapper.run(&calls)?.map_err(sealed_or("munmap"))
    }

    /// Takes handlers, session, name and limits of its own, and the filter that all stubs inherit.
    fn confine(&mut self) -> Result<(), PlatformError> {
        let at = |offset: u64| CONSTANTS + offset;
        let prctl =
            |option: libc::c_int, value: u64| plain(libc::SYS_prctl, [bits(option), value, 0, 0, 0, 0]);
        let handler = at(constants::SIGACTION);
        let mut calls: Vec<Call> = HANDLED
            .iter()
            .map(|signo| plain(libc::SYS_rt_sigaction, [bits(*signo), handler, 0, 8, 0, 0]))
            .collect();
        calls.extend([
            prctl(libc::PR_SET_NAME, at(constants::NAME)),
            // Those of the C library, too, which the sentry could not block.
            plain(
                libc::SYS_rt_sigprocmask,
                [bits(libc::SIG_SETMASK), at(constants::ALL_SIGNALS), 0, 8, 0, 0],
            ),
            // Keys typed at the sentry's terminal must not signal stubs.
            plain(libc::SYS_setsid, [0; 6]),
            plain(libc::SYS_setrlimit, [u64::from(libc::RLIMIT_CORE), at(constants::ZEROS), 0, 0, 0, 0]),
            prctl(libc::PR_SET_PDEATHSIG, bits(libc::SIGKILL)),
        ]);
        self.run("signal handlers", &calls)?;
        let (mode, flags) = (u64::from(libc::SECCOMP_SET_MODE_FILTER), libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
        let filter = [
            prctl(libc::PR_SET_NO_NEW_PRIVS, 1),
            // Guest code is as any other program; without the flag, kernels before 5.16 turn off store bypassing for it.
            plain(libc::SYS_seccomp, [mode, flags, at(constants::MAPPER_PROGRAM), 0, 0, 0]),
        ];
        self.run("seccomp", &filter)
    }

    /// Forks a stub and starts its first guest thread.
    pub(crate) fn fork(&mut self) -> Result<FreshStub, PlatformError> {
        let mut mapper = Mapper::new(0, self.control.allocate_queue()?)?;
        let slot = self.control.allocate_slot()?;
        let (prot, flags) = (bits(libc::PROT_READ), bits(libc::MAP_SHARED | libc::MAP_FIXED));
        let control = u64::try_from(self.control.raw_fd()).unwrap_or(u64::MAX);
        let nr = u64::try_from(libc::SYS_clone).unwrap_or(u64::MAX);
        let calls = [
            // The child gets its own queue page by inheriting it.
            plain(libc::SYS_mmap, [QUEUE, PAGE, prot, flags, control, mapper.page().offset()]),
            [nr, FORK_FLAGS, 0, ZYGOTE_QUEUE + queue::CHILD, 0, 0, 0, kind::FORK],
        ];
        self.mapper.run(&calls)?.map_err(call_error("clone"))?;
        let child = self.mapper.page().word(queue::CHILD).load(Ordering::SeqCst);
        mapper.set_pid(i32::try_from(child).map_err(|_| PlatformError::Gone("no process id".into()))?);
        match thread::start(&mut mapper, self.control.raw_fd(), SLOTS, slot) {
            Ok(thread) => Ok(FreshStub { mapper, threads: vec![Arc::new(thread)] }),
            Err(error) => {
                process::kill_process(mapper.pid());
                let _ = wait::reap(mapper.pid());
                Err(error)
            }
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        let pid = self.mapper.pid();
        process::kill_process(pid);
        // The only failure is that there is nobody to reap.
        let _ = wait::reap(pid);
    }
}
