//! Child processes and threads.

use super::{Guest, zeroed};
use crate::sys::Ret;
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::{fs, ptr};
use test_syscalls_macros::sys;

/// A child process of the case.
#[derive(Clone, Copy)]
pub struct Child {
    /// Its process id.
    pub pid: i32,
}

/// How a child ended or changed, as `wait4` reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Status(pub i32);

impl Status {
    /// It must have ended by `exit(code)`.
    #[track_caller]
    pub fn exited(self, code: i32) {
        let seen = libc::WIFEXITED(self.0).then(|| libc::WEXITSTATUS(self.0));
        assert!(seen == Some(code), "the child's end: expected exit {code}, got {}", self.seen());
    }

    /// It must have been killed by `signal`.
    #[track_caller]
    pub fn killed(self, signal: i32) {
        let seen = libc::WIFSIGNALED(self.0).then(|| libc::WTERMSIG(self.0));
        assert!(seen == Some(signal), "the child's end: expected signal {signal}, got {}", self.seen());
    }

    /// It must have stopped by `signal`.
    #[track_caller]
    pub fn stopped(self, signal: i32) {
        let seen = libc::WIFSTOPPED(self.0).then(|| libc::WSTOPSIG(self.0));
        assert!(seen == Some(signal), "the child's state: expected stopped by {signal}, got {}", self.seen());
    }

    /// It must have been continued.
    #[track_caller]
    pub fn continued(self) {
        assert!(libc::WIFCONTINUED(self.0), "the child's state: expected continued, got {}", self.seen());
    }

    fn seen(self) -> String {
        if libc::WIFEXITED(self.0) {
            format!("exit {}", libc::WEXITSTATUS(self.0))
        } else if libc::WIFSIGNALED(self.0) {
            format!("killed by signal {}", libc::WTERMSIG(self.0))
        } else {
            format!("status {:#x}", self.0)
        }
    }
}

impl Child {
    /// Waits for its end.
    #[track_caller]
    pub fn wait(self) -> Status {
        self.wait_for(0)
    }

    /// `wait4` with options such as `WUNTRACED`.
    #[track_caller]
    pub fn wait_for(self, options: i32) -> Status {
        let mut status = 0_i32;
        sys!(wait4(self.pid, &raw mut status, options, 0)).is(self.pid);
        Status(status)
    }

    /// Waits for its end, which must be `exit(0)`: its own asserts held.
    #[track_caller]
    pub fn done(self) {
        self.wait().exited(0);
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn kill(self, signal: i32) {
        sys!(kill(self.pid, signal)).ok();
    }
}

/// A second thread of the case.
pub struct Thread {
    /// Its thread id.
    pub tid: i32,
    handle: JoinHandle<()>,
}

impl Thread {
    /// Waits for its end.
    pub fn join(self) {
        self.handle.join().expect("a failing thread ends the case itself");
    }
}

impl Guest {
    /// Forks; the child runs `body` and exits with 0.
    #[track_caller]
    pub fn fork(&self, body: impl FnOnce()) -> Child {
        self.fork_exit(|| {
            body();
            0
        })
    }

    /// Forks; the child runs `body` and exits with its value.
    #[track_caller]
    pub fn fork_exit(&self, body: impl FnOnce() -> i32) -> Child {
        // SAFETY: cases fork while they have one thread, or else make only raw calls in the child.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let code = body();
            // SAFETY: ends the child.
            unsafe { libc::_exit(code) }
        }
        self.child_of(Ret::new("fork()", pid as isize))
    }

    /// Forks with `clone(flags | SIGCHLD)`, no new stack; the child runs `body` and exits with 0.
    ///
    /// For namespaces. The flags must not share memory.
    #[track_caller]
    pub fn clone(&self, flags: i32, body: impl FnOnce()) -> Child {
        let pid = sys!(clone(flags | libc::SIGCHLD, 0, 0, 0, 0));
        if pid.raw() == 0 {
            body();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        self.child_of(pid)
    }

    #[track_caller]
    fn child_of(&self, pid: Ret) -> Child {
        Child { pid: pid.fd() }
    }

    /// A child that waits to be killed.
    #[track_caller]
    pub fn sleeper(&self) -> Child {
        self.fork(|| {
            loop {
                let _ = sys!(pause());
            }
        })
    }

    /// Starts a thread that runs `body`; its thread id is known on return.
    pub fn thread(&self, body: impl FnOnce() + Send + 'static) -> Thread {
        let tid = Arc::new(AtomicI32::new(0));
        let told = Arc::clone(&tid);
        let handle = std::thread::spawn(move || {
            told.store(sys!(gettid()).fd(), SeqCst);
            body();
        });
        self.until(|| tid.load(SeqCst) != 0);
        Thread { tid: tid.load(SeqCst), handle }
    }

    /// Waits until thread or process `id` sleeps in the kernel.
    pub fn until_asleep(&self, id: i32) {
        self.until_state(id, "S");
    }

    /// Waits until the state letter of `id` in `/proc` is one of `states`.
    pub fn until_state(&self, id: i32, states: &str) {
        self.until(|| self.state(id).is_some_and(|state| states.contains(state)));
    }

    /// The state letter of process or thread `id`; none if there is no such process.
    #[must_use]
    pub fn state(&self, id: i32) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// Counters that this process shares with the children it will fork.
    #[must_use]
    pub fn shared(&self) -> &'static [AtomicU32; 64] {
        let map =
            self.map(super::PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a page of zeroes that stays mapped; atomics may be shared.
        unsafe { &*ptr::with_exposed_provenance(map.address) }
    }

    /// Runs `program` of the suite in a child as `helper:name` with `args` and `environment`; gives its output and end.
    #[track_caller]
    pub fn helper(&self, name: &str, args: &[&str], environment: &[&str]) -> (String, Status) {
        self.output_of(|| {
            self.exec_helper(name, args, environment).ok();
        })
    }

    /// Runs `body`, which executes a program, in a child; gives its output and end.
    #[track_caller]
    pub fn output_of(&self, body: impl FnOnce()) -> (String, Status) {
        let out = self.pipe();
        let child = self.fork(|| {
            sys!(dup2(out.w, 1)).ok();
            sys!(close(out.r)).ok();
            sys!(close(out.w)).ok();
            body();
        });
        sys!(close(out.w)).ok();
        let mut text = Vec::new();
        loop {
            let part = self.recv(out.r, 4096);
            if part.is_empty() {
                break;
            }
            text.extend(part);
        }
        (String::from_utf8_lossy(&text).into_owned(), child.wait())
    }

    /// `execve` of the suite's program as `helper:name`.
    pub fn exec_helper(&self, name: &str, args: &[&str], environment: &[&str]) -> Ret {
        self.exec_copy(self.program(), name, args, environment)
    }

    /// `execve` of `path`, a copy of the suite's program, as `helper:name`.
    pub fn exec_copy(&self, path: &CStr, name: &str, args: &[&str], environment: &[&str]) -> Ret {
        let name = format!("helper:{name}");
        let args: Vec<&str> = [name.as_str()].into_iter().chain(args.iter().copied()).collect();
        let (args, environment) = (Strings::new(&args), Strings::new(environment));
        sys!(execve(path, args.pointer(), environment.pointer()))
    }

    /// Skips the case where process 1 belongs to the case's own user.
    pub fn needs_a_foreign_init(&self) {
        if self.stat("/proc/1").st_uid == self.uid() {
            self.skip("process 1 belongs to this user");
        }
    }

    /// The children's resource use so far.
    #[must_use]
    pub fn rusage(&self, who: i32) -> libc::rusage {
        let mut usage: libc::rusage = zeroed();
        sys!(getrusage(who, &raw mut usage)).ok();
        usage
    }
}

/// A NULL-terminated array of C strings, as `execve` takes it.
pub(super) struct Strings {
    _strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    /// The array of `strings`.
    #[must_use]
    pub(super) fn new(strings: &[&str]) -> Self {
        let strings: Vec<_> = strings.iter().map(super::cstr).collect();
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }

    /// Its address, valid as long as `self`.
    #[must_use]
    pub(super) fn pointer(&self) -> *const *const libc::c_char {
        self.pointers.as_ptr()
    }
}
