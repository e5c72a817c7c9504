//! Commands with a time limit, after which nothing of them is left.

use crate::host;
use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes kept of what a command says on standard error.
const KEPT: u64 = 64 << 10;

/// Where commands are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every command runs with, and nothing else.
const ENVIRONMENT: [(&str, &str); 4] =
    [("PATH", PATH), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("TERM", "dumb")];

/// A program that commands find.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    find_in(PATH.as_ref(), name)
}

/// A program on a search path.
pub(crate) fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// A command that runs. Dropping it ends it and all that it started.
pub(crate) struct Job {
    child: Child,
    begin: Instant,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Disconnected once standard error has ended.
    all_said: Receiver<()>,
    /// Ends the watchdog when dropped.
    watched: Option<Sender<()>>,
    limit: Duration,
    timed_out: Arc<AtomicBool>,
}

impl Job {
    /// Starts a command, on one CPU if so asked, that is killed with all it started after `limit`.
    pub(crate) fn start(argv: &[OsString], cpu: Option<usize>, limit: Duration) -> Result<Self> {
        let [program, arguments @ ..] = argv else { bail!("no command") };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(ENVIRONMENT).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let pinned = cpu.map(Pinned::to).transpose()?;
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| PathBuf::from(program).display().to_string())?;
        drop(pinned);
        let (Some(stdout), Some(mut errors)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("pipes were asked for and are not there")
        };
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stderr);
        let (at_end, all_said) = mpsc::channel();
        thread::spawn(move || {
            let _at_end: Sender<()> = at_end;
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() as u64 <= KEPT {
                    kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
                }
            }
        });
        let timed_out = Arc::new(AtomicBool::new(false));
        let (watched, watchdog) = mpsc::channel();
        let flag = Arc::clone(&timed_out);
        thread::spawn(move || {
            if watchdog.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::Relaxed);
                for pid in host::descendants() {
                    // It may have ended meanwhile.
                    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                }
            }
        });
        Ok(Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(stdout),
            child,
            begin,
            stderr,
            all_said,
            watched: Some(watched),
            limit,
            timed_out,
        })
    }

    /// The next line of output without its end, or none at the end.
    pub(crate) fn line(&mut self) -> Result<Option<String>> {
        let mut line = Vec::new();
        self.stdout.read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(&line);
        Ok((!line.is_empty()).then(|| text.trim_end().to_owned()))
    }

    /// Waits for a line that the guest is to print.
    pub(crate) fn expect_line(&mut self, expected: &str) -> Result<()> {
        loop {
            match self.line()? {
                Some(line) if line == expected => return Ok(()),
                Some(_) => {}
                None => return Err(self.why()),
            }
        }
    }

    /// Sends an empty line, for which the guest waits.
    pub(crate) fn answer(&mut self) -> Result<()> {
        self.stdin.as_mut().context("standard input")?.write_all(b"\n").context("standard input")
    }

    /// Since the command was started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Waits for the end, which must be a good one: the time it took in all.
    pub(crate) fn finish(mut self) -> Result<Duration> {
        self.end()
    }

    /// Waits for the end, which must be a good one: what was said on standard error.
    pub(crate) fn finish_with_errors(mut self) -> Result<String> {
        self.end()?;
        let _ = self.all_said.recv_timeout(Duration::from_secs(1));
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(String::from_utf8_lossy(&kept).into_owned())
    }

    fn end(&mut self) -> Result<Duration> {
        self.stdin = None;
        while self.line()?.is_some() {}
        let status = self.child.wait()?;
        let wall = self.begin.elapsed();
        if status.success() && !self.timed_out.load(Ordering::Relaxed) { Ok(wall) } else { Err(self.why()) }
    }

    /// Why there was no more output, or not the right one.
    pub(crate) fn why(&mut self) -> anyhow::Error {
        self.stdin = None;
        let status = self.child.wait();
        if self.timed_out.load(Ordering::Relaxed) {
            return anyhow::anyhow!("not done after {} s", self.limit.as_secs());
        }
        // An orphan may hold standard error for longer than its parent lives.
        let _ = self.all_said.recv_timeout(Duration::from_secs(1));
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let words = last_line(&String::from_utf8_lossy(&kept));
        let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
        if words.is_empty() { anyhow::anyhow!("{status}") } else { anyhow::anyhow!("{status}: {words}") }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.watched = None;
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last line that says something.
fn last_line(text: &str) -> String {
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or_default().chars().take(160).collect()
}

/// This thread, and what it starts, on one CPU for as long as it lives.
struct Pinned {
    before: CpuSet,
}

impl Pinned {
    fn to(cpu: usize) -> Result<Self> {
        let before = sched_getaffinity(Pid::from_raw(0))?;
        let mut only = CpuSet::new();
        only.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &only)
            .with_context(|| format!("sched_setaffinity to CPU {cpu}"))?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}

/// The CPUs this process may use.
pub(crate) fn cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, limit: Duration) -> Job {
        let argv = ["/bin/sh", "-c", script].map(OsString::from);
        Job::start(&argv, None, limit).unwrap()
    }

    #[test]
    fn a_command_says_why_it_failed() {
        let error = start("echo first >&2; echo no such thing >&2; exit 3", Duration::from_secs(10)).finish();
        assert_eq!(error.unwrap_err().to_string(), "exit status: 3: no such thing");
    }

    #[test]
    fn lines_and_answers_take_turns() {
        let mut job = start("echo begin; read x; echo done", Duration::from_secs(10));
        job.expect_line("begin").unwrap();
        job.answer().unwrap();
        assert_eq!(job.line().unwrap().as_deref(), Some("done"));
        job.finish().unwrap();
    }

    #[test]
    fn the_environment_is_the_same_everywhere() {
        let mut job = start("echo $HOME $PWD", Duration::from_secs(10));
        assert_eq!(job.line().unwrap().as_deref(), Some("/tmp /"));
    }
}
