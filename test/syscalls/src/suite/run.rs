//! One case in a process of its own: set-up, limit, clean-up.

use super::options::Options;
use crate::case::Case;
use crate::guest::{Guest, cstr};
use crate::report::{self, Report};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, io, panic, ptr, thread};

/// How a case ended.
pub(super) enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

/// How long a process that a case left behind may take to end by itself before that counts as a failure.
const GRACE: Duration = Duration::from_secs(1);

/// A worker: runs cases one after the other.
pub(super) struct Suite {
    program: String,
    user: Option<u32>,
    timeout: Duration,
    report: &'static Report,
    count: u32,
}

impl Suite {
    /// A worker of this process. Processes orphaned by its cases become its children, to be ended by it.
    pub(super) fn new(program: &str, options: &Options) -> Self {
        // SAFETY: passes integers only.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        Self {
            program: program.to_owned(),
            user: options.user,
            timeout: options.timeout,
            report: Report::install(),
            count: 0,
        }
    }

    /// Runs `case` in this process and does not come back unless it cannot be started.
    pub(super) fn run_here(&mut self, case: &Case) -> ExitCode {
        match self.make_directory() {
            Ok(directory) => {
                // Nobody reads the report of this process, so the hook's message goes to standard error as usual.
                self.enter(&directory);
                (case.run)(&mut Guest::new(cstr(&self.program), directory.clone()));
                // What stays behind is there to be looked at.
                let _ = env::set_current_dir("/").and_then(|()| remove_tree(&directory));
                super::print(&format!("ok {}\n", case.name()));
                ExitCode::SUCCESS
            }
            Err(message) => {
                super::print(&format!("FAIL {}: {message}\n", case.name()));
                ExitCode::FAILURE
            }
        }
    }

    /// Runs `case` in a child.
    pub(super) fn run(&mut self, case: &Case) -> Outcome {
        self.report.reset();
        let directory = match self.make_directory() {
            Ok(directory) => directory,
            Err(message) => return Outcome::Failed(message),
        };
        // SAFETY: a worker has one thread.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            panic::set_hook(Box::new(report::hook));
            self.enter(&directory);
            (case.run)(&mut Guest::new(cstr(&self.program), directory));
            report::pass();
        }
        let end = if pid < 0 { Err(format!("fork: {}", io::Error::last_os_error())) } else { self.wait(pid) };
        let left = reap_all();
        let removed = remove_tree(&directory);
        let outcome = match (end, self.report.state()) {
            (_, report::FAILED) => return Outcome::Failed(self.report.text()),
            (Err(message), _) => return Outcome::Failed(message),
            (Ok(_), report::SKIPPED) => Outcome::Skipped(self.report.text()),
            (Ok(0), report::PASSED) => Outcome::Passed,
            (Ok(status), _) => return Outcome::Failed(describe(status)),
        };
        match (left, removed) {
            (0, Ok(())) => outcome,
            (0, Err(error)) => Outcome::Failed(format!("its directory cannot be removed: {error}")),
            (left, _) => Outcome::Failed(format!("left {left} processes behind")),
        }
    }

    fn make_directory(&mut self) -> Result<String, String> {
        self.count += 1;
        let directory = format!("/tmp/syscall-cases.{}.{}", std::process::id(), self.count);
        // A directory of this name is what a killed run left behind.
        let _ = remove_tree(&directory);
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&directory)
            .and_then(|()| self.user.map_or(Ok(()), |id| chown(&directory, Some(id), Some(id))))
            .map(|()| directory.clone())
            .map_err(|error| format!("{directory}: {error}"))
    }

    /// Makes this process the case's: a session and directory of its own, default signals, the right user.
    fn enter(&self, directory: &str) {
        // SAFETY: calls with integers and valid pointers, in a process of one thread.
        unsafe {
            libc::setsid();
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if null > 0 {
                libc::dup2(null, 0);
                libc::close(null);
            }
            // Raw, since glibc keeps signals 32 and 33 for itself, and its posix_spawn ignores them in the child.
            let default = [0_u64; 4];
            for signal in 1..=64 {
                libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null_mut::<u64>(), 8);
            }
            let set: libc::sigset_t = std::mem::zeroed();
            libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
            let none = libc::stack_t {
                ss_sp: ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: libc::MINSIGSTKSZ,
            };
            libc::sigaltstack(&raw const none, ptr::null_mut());
            libc::umask(0o022);
            let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
            libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
        }
        become_user(self.user);
        env::set_current_dir(directory).unwrap_or_else(|error| panic!("chdir {directory:?}: {error}"));
    }

    /// Waits until child `pid` has ended or the case's outcome is known to be a failure.
    fn wait(&self, pid: i32) -> Result<i32, String> {
        let start = Instant::now();
        let mut pause = Duration::from_micros(100);
        loop {
            let mut status = 0;
            // SAFETY: `status` is written.
            match unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } {
                0 => {}
                -1 => return Err(format!("waitpid: {}", io::Error::last_os_error())),
                _ => return Ok(status),
            }
            if self.report.state() == report::FAILED {
                // A child of the case reported; the case itself may wait for that child for ever.
                kill(-pid);
                kill(pid);
            } else if start.elapsed() > self.timeout {
                let calls = self.report.calls();
                kill(-pid);
                kill(pid);
                // SAFETY: waits for the child just killed.
                unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
                return Err(format!(
                    "not done after {} s, calls under way: [{calls}]",
                    self.timeout.as_secs()
                ));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

fn kill(pid: i32) {
    // SAFETY: a child of this worker that has not been waited for, or its group.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Reaps all children of this worker; those that do not end soon are killed. Gives the number killed.
fn reap_all() -> usize {
    let start = Instant::now();
    let mut killed = 0;
    loop {
        // SAFETY: no status is asked for.
        match unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG | libc::__WALL) } {
            -1 => return killed,
            0 if start.elapsed() > GRACE => {
                let children = children();
                if children.is_empty() || start.elapsed() > 5 * GRACE {
                    return killed.max(1);
                }
                killed += children.len();
                children.into_iter().for_each(kill);
                thread::sleep(Duration::from_millis(10));
            }
            0 => thread::sleep(Duration::from_millis(1)),
            _ => {}
        }
    }
}

/// The children of this process, as `/proc` knows them.
fn children() -> Vec<i32> {
    let own = std::process::id().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1));
        parent == Some(&own)
    })
    .collect()
}

/// Removes `directory` although its directories' modes may forbid it to their owner.
fn remove_tree(directory: &str) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(directory)?;
            fs::remove_dir_all(directory)
        }
        other => other,
    }
}

/// Makes every directory below `directory` writable.
fn open_up(directory: &str) -> io::Result<()> {
    fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path().to_string_lossy())?;
        }
    }
    Ok(())
}

fn describe(status: i32) -> String {
    if libc::WIFSIGNALED(status) {
        format!("the case's process: expected to return, killed by signal {}", libc::WTERMSIG(status))
    } else {
        format!("the case's process: expected to return, exited with {}", libc::WEXITSTATUS(status))
    }
}

/// Root becomes the given user, if there is one.
pub(super) fn become_user(user: Option<u32>) {
    // SAFETY: passes integers and no list of groups.
    unsafe {
        let Some(id) = user.filter(|_| libc::geteuid() == 0) else { return };
        let switched = libc::setgroups(0, ptr::null()) == 0
            && libc::setresgid(id, id, id) == 0
            && libc::setresuid(id, id, id) == 0;
        assert!(switched, "switch to user {id}: {}", io::Error::last_os_error());
        // The switch took it away; a program started by that user would have it.
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
    }
}
