//! What the tests of the program share.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]
#![allow(clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A command line of the program, with nothing to read.
pub fn runsc(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runsc-rs"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn output(args: &[&str]) -> Output {
    runsc(args).output().expect("runsc-rs starts")
}

/// Standard error of a run that must fail with `status`.
#[track_caller]
pub fn error(args: &[&str], status: i32) -> String {
    let output = output(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line, found {stderr:?}");
    stderr.trim_end().to_owned()
}

/// A directory that is removed in the end.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("runsc-rs-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a directory for the test");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn str(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a UTF-8 path").to_owned()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A bundle whose container runs `args`.
pub fn bundle(args: &[&str]) -> TempDir {
    let dir = TempDir::new();
    fs::create_dir(dir.path().join("rootfs")).expect("rootfs");
    let config = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/"},
        "root": {"path": "rootfs"},
    });
    fs::write(dir.path().join("config.json"), config.to_string()).expect("config.json");
    dir
}

/// The sentry's process of a running command.
pub fn sentry_of(command: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", command.id());
    let mut found = None;
    until(|| {
        let text = fs::read_to_string(&children).unwrap_or_default();
        found = text.split_ascii_whitespace().next().and_then(|pid| pid.parse().ok());
        found.is_some()
    });
    found.expect("a child")
}

/// The value of a line of `/proc/PID/status`; none when the process is gone.
pub fn status_line(pid: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Whether a process is gone, but perhaps for somebody else's not having reaped it.
pub fn is_dead(pid: u32) -> bool {
    status_line(pid, "State").is_none_or(|state| state.starts_with('Z'))
}

/// Looks again and again until something is so; fails after ten seconds.
#[track_caller]
pub fn until(mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < end, "did not happen within ten seconds");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the sentry runs guest code, as far as its confinement tells.
pub fn is_confined(pid: u32) -> bool {
    status_line(pid, "Seccomp_filters").as_deref() == Some("1")
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
