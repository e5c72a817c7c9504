//! What the suite's program does when a case executes it under the name `helper:…`.

use std::process::ExitCode;
use std::{env, fs};

/// Runs helper `name`.
pub(super) fn run(name: &str, args: &[String]) -> ExitCode {
    match name {
        "args" => {
            for arg in args {
                super::print(&format!("{arg}\n"));
            }
        }
        "environment" => {
            for (key, value) in env::vars() {
                super::print(&format!("{key}={value}\n"));
            }
        }
        "auxv" => {
            let words = fs::read("/proc/self/auxv").unwrap_or_default();
            let words: Vec<u64> = words
                .chunks_exact(8)
                .filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?)))
                .collect();
            for pair in words.chunks_exact(2) {
                super::print(&format!("{} {}\n", pair[0], pair[1]));
            }
        }
        // The bare state that execve hands over.
        "file" => {
            for path in args {
                super::print(&fs::read_to_string(path).unwrap_or_else(|error| format!("{path}: {error}\n")));
            }
        }
        "ids" => super::print(&ids()),
        "task" => {
            // SAFETY: has no preconditions.
            let (pid, tid) = unsafe { (libc::getpid(), libc::gettid()) };
            super::print(&format!("{pid} {tid}\n"));
        }
        "fds" => {
            for fd in 0..64 {
                // SAFETY: passes integers only.
                if unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0 {
                    super::print(&format!("{fd}\n"));
                }
            }
        }
        "pause" => {
            super::print("ready\n");
            loop {
                // SAFETY: has no preconditions.
                unsafe { libc::pause() };
            }
        }
        "exit" => return ExitCode::from(code(args)),
        "stress-exit" => return crate::stress::helper("exit", code(args)),
        "stress-threads" => return crate::stress::helper("threads", code(args)),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

fn code(args: &[String]) -> u8 {
    args.first().and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// `pid ppid pgid sid ruid euid rgid egid secure`.
fn ids() -> String {
    // SAFETY: none of these has preconditions.
    let ids = unsafe {
        [
            i64::from(libc::getpid()),
            i64::from(libc::getppid()),
            i64::from(libc::getpgid(0)),
            i64::from(libc::getsid(0)),
            libc::getuid().into(),
            libc::geteuid().into(),
            libc::getgid().into(),
            libc::getegid().into(),
            libc::getauxval(libc::AT_SECURE) as i64,
        ]
    };
    ids.map(|id| id.to_string()).join(" ") + "\n"
}
