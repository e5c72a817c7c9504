//! The first stub, from which all others are forked.
//!
//! It begins as a fork of the sentry and is emptied from outside: the keeper thread, its tracer, makes it unmap and
//! undo, call by call, whatever it has inherited, then installs the filter. It never runs guest code.

use crate::control_file::{Call, ControlFile, QueueSlot};
use crate::filter::stub_filter;
use crate::fpu::layout_of_tracee;
use crate::stub_code::{
    Entry, FORK_FLAGS, PAGE, QUEUE_ADDR, STUB_BASE, STUB_END, TASK_SIZE_MAX, runsc_stub_park,
};
use crate::tracee::{self, ptrace_error};
use platform::PlatformError;
use platform_host::xstate::XstateLayout;
use platform_host::{process, ptrace, wait};
use sentry_uapi::errno::EPERM;
use std::sync::Arc;

/// The zygote, stopped and traced by the thread that made it.
pub(crate) struct Zygote {
    pid: i32,
    /// The sentry's process id as its children see it.
    parent: u64,
    entry: Entry,
    control: Arc<ControlFile>,
    queue: QueueSlot,
}

/// A stub process that is parked and traced by nobody.
pub(crate) struct FreshStub {
    /// Its process id.
    pub(crate) pid: i32,
    /// Its queue page.
    pub(crate) queue: QueueSlot,
}

fn nr(number: libc::c_long) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn bits(flags: libc::c_int) -> u64 {
    u64::try_from(flags).unwrap_or(0)
}

/// mmap of one page of the control file.
fn map_page(control: &ControlFile, addr: u64, prot: libc::c_int, offset: u64) -> Call {
    let flags = bits(libc::MAP_SHARED | libc::MAP_FIXED);
    [nr(libc::SYS_mmap), addr, PAGE, bits(prot), flags, control.raw_fd(), offset]
}

impl Zygote {
    /// Makes the zygote. The calling thread must live as long as the platform: when it ends, all stubs are killed.
    ///
    /// # Errors
    /// [`PlatformError::Unavailable`] when this host does not allow ptrace or seccomp filters.
    pub(crate) fn new(control: &Arc<ControlFile>) -> Result<(Zygote, XstateLayout), PlatformError> {
        let queue = control.allocate()?;
        // SAFETY: the parking loop is position-independent code without stack or library.
        let pid = unsafe { process::fork_into(runsc_stub_park) }.map_err(tracee::call_error("clone"))?;
        let mut zygote =
            Zygote { pid, parent: 0, entry: Entry::in_sentry(), control: control.clone(), queue };
        ptrace::seize(pid).map_err(|errno| match errno {
            EPERM => PlatformError::Unavailable(
                "ptrace is not permitted here: kernel.yama.ptrace_scope must be below 2, or the sandbox needs \
                 CAP_SYS_PTRACE; inside another container, its seccomp profile must allow ptrace"
                    .into(),
            ),
            errno => PlatformError::Unavailable(format!("ptrace does not work here: PTRACE_SEIZE: {errno}")),
        })?;
        ptrace::interrupt(pid).map_err(ptrace_error("PTRACE_INTERRUPT"))?;
        let status = wait::wait_tracee(pid).map_err(ptrace_error("wait4"))?;
        if status.is_end() {
            return Err(tracee::gone(status));
        }
        zygote.empty()?;
        zygote.undo_inherited_state()?;
        let layout = layout_of_tracee(pid)?;
        ptrace::set_xstate(pid, layout.initial()).map_err(ptrace_error("PTRACE_SETREGSET"))?;
        zygote.confine()?;
        Ok((zygote, layout))
    }

    fn call(&self, what: &'static str, call: Call) -> Result<u64, PlatformError> {
        tracee::call(self.pid, &self.entry, what, call)
    }

    /// Replaces the copy of the sentry's memory by the stub's two pages.
    fn empty(&mut self) -> Result<(), PlatformError> {
        let rx = libc::PROT_READ | libc::PROT_EXEC;
        self.unregister_rseq()?;
        self.call("munmap", [nr(libc::SYS_munmap), STUB_BASE, STUB_END - STUB_BASE, 0, 0, 0, 0])?;
        self.call("mmap", map_page(&self.control, STUB_BASE, rx, 0))?;
        self.call("mmap", map_page(&self.control, QUEUE_ADDR, libc::PROT_READ, self.queue.offset()))?;
        self.entry = Entry::in_stub();
        for (start, end) in [(0, STUB_BASE), (STUB_END, TASK_SIZE_MAX)] {
            let call = [nr(libc::SYS_munmap), start, end - start, 0, 0, 0, 0];
            self.call("munmap", call).map_err(|error| match error {
                PlatformError::Host { errno: EPERM, .. } => PlatformError::Unavailable(
                    "the host kernel seals system mappings (CONFIG_MSEAL_SYSTEM_MAPPINGS), so that a stub cannot be \
                     emptied; another platform must be used"
                        .into(),
                ),
                error => error,
            })?;
        }
        Ok(())
    }

    /// The C library registers every thread with rseq(2); the kernel would go on writing to that area.
    fn unregister_rseq(&self) -> Result<(), PlatformError> {
        const RSEQ_FLAG_UNREGISTER: u64 = 1;
        // Without the request (before Linux 5.13) there is no C library that registers.
        let Ok(conf) = ptrace::get_rseq_configuration(self.pid) else { return Ok(()) };
        if conf.pointer == 0 {
            return Ok(());
        }
        let (size, signature) = (u64::from(conf.size), u64::from(conf.signature));
        let call = [nr(libc::SYS_rseq), conf.pointer, size, RSEQ_FLAG_UNREGISTER, signature, 0, 0];
        self.call("rseq", call).map(drop)
    }

    /// Signal handlers, the alternate stack, the session, the name and the core limit are inherited by fork.
    fn undo_inherited_state(&mut self) -> Result<(), PlatformError> {
        /// Linux: include/uapi/linux/signal.h, `SS_DISABLE`, as the second word of `stack_t`.
        const NO_ALT_STACK: [u64; 3] = [0, 2, 0];
        const ZEROS: usize = 2048;
        const ALT_STACK: usize = ZEROS + 64;
        const NAME: usize = ALT_STACK + 64;
        let at = |offset: usize| QUEUE_ADDR + u64::try_from(offset).unwrap_or(0);
        let write = |offset: usize, words: &[u64]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            self.queue.write(offset, &bytes).map_err(ptrace_error("queue page"))
        };
        self.queue.write(NAME, b"runsc-stub\0").map_err(ptrace_error("queue page"))?;
        self.call("prctl", [nr(libc::SYS_prctl), bits(libc::PR_SET_NAME), at(NAME), 0, 0, 0, 0])?;
        // An all-zero sigaction is SIG_DFL, an all-zero rlimit no core file.
        write(ZEROS, &[0; 8])?;
        write(ALT_STACK, &NO_ALT_STACK)?;
        for signo in (1..=64).filter(|signo| ![libc::SIGKILL, libc::SIGSTOP].contains(signo)) {
            self.call("rt_sigaction", [nr(libc::SYS_rt_sigaction), bits(signo), at(ZEROS), 0, 8, 0, 0])?;
        }
        self.call("sigaltstack", [nr(libc::SYS_sigaltstack), at(ALT_STACK), 0, 0, 0, 0, 0])?;
        // Keys typed at the sentry's terminal must not signal stubs that nobody traces at the moment.
        self.call("setsid", [nr(libc::SYS_setsid), 0, 0, 0, 0, 0, 0])?;
        let core = u64::from(libc::RLIMIT_CORE);
        self.call("setrlimit", [nr(libc::SYS_setrlimit), core, at(ZEROS), 0, 0, 0, 0])?;
        let (pdeathsig, sigkill) = (bits(libc::PR_SET_PDEATHSIG), bits(libc::SIGKILL));
        self.call("prctl", [nr(libc::SYS_prctl), pdeathsig, sigkill, 0, 0, 0, 0])?;
        self.parent = self.call("getppid", [nr(libc::SYS_getppid), 0, 0, 0, 0, 0, 0])?;
        ptrace::set_sigmask(self.pid, 0).map_err(ptrace_error("PTRACE_SETSIGMASK"))
    }

    /// Installs the filter that all stubs inherit.
    fn confine(&self) -> Result<(), PlatformError> {
        const PROGRAM: usize = 1024;
        const FILTER: usize = 1040;
        let write =
            |offset: usize, bytes: &[u8]| self.queue.write(offset, bytes).map_err(ptrace_error("queue page"));
        let filter = stub_filter();
        let mut code = Vec::new();
        for op in &filter {
            code.extend_from_slice(&op.code.to_ne_bytes());
            code.extend_from_slice(&[op.jt, op.jf]);
            code.extend_from_slice(&op.k.to_ne_bytes());
        }
        let at = |offset: usize| QUEUE_ADDR + u64::try_from(offset).unwrap_or(0);
        // struct sock_fprog: the length in a word of its own, then the pointer.
        let mut program = u64::try_from(filter.len()).unwrap_or(0).to_ne_bytes().to_vec();
        program.extend_from_slice(&at(FILTER).to_ne_bytes());
        write(PROGRAM, &program)?;
        write(FILTER, &code)?;
        self.call("prctl", [nr(libc::SYS_prctl), bits(libc::PR_SET_NO_NEW_PRIVS), 1, 0, 0, 0, 0])?;
        // Guest code is as any other program; without the flag, kernels before 5.16 turn off store bypassing for it.
        let (mode, flags) = (u64::from(libc::SECCOMP_SET_MODE_FILTER), libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
        self.call("seccomp", [nr(libc::SYS_seccomp), mode, flags, at(PROGRAM), 0, 0, 0]).map_err(
            |error| {
                PlatformError::Unavailable(format!("the host kernel must allow seccomp filters: {error}"))
            },
        )?;
        Ok(())
    }

    /// Forks a stub. It asks to be killed when the sentry ends, and parks.
    pub(crate) fn fork(&self) -> Result<FreshStub, PlatformError> {
        let queue = self.control.allocate()?;
        // The child gets its own queue page by inheriting it.
        self.call("mmap", map_page(&self.control, QUEUE_ADDR, libc::PROT_READ, queue.offset()))?;
        let pid = tracee::clone(self.pid, self.entry.fork, FORK_FLAGS, self.parent)?;
        Ok(FreshStub { pid, queue })
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        process::kill_process(self.pid);
        // The only failure is that it was reaped when its end was noticed.
        let _ = wait::reap(self.pid);
    }
}
