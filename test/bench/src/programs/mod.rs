//! Whole programs, unmodified.
//!
//! A program's files are prepared once on the host, outside what is timed. It then runs natively and in each sandbox over
//! them, started and timed by this binary *inside*, so that the sandbox's own start does not count.

mod build;
mod compute;
mod files;
mod servers;
mod shell;

use crate::work::checkpoint;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// Lines around what is timed, which the runner answers.
pub(crate) const BEGIN: &str = "begin";
pub(crate) const END: &str = "end";

/// A row of a whole program.
pub(crate) struct Program {
    /// What the row is selected by.
    pub(crate) name: &'static str,
    /// The row, for people, with `{}` where the amount stands.
    title: &'static str,
    /// How much it has to do: in a full run, and in a quick one.
    amount: [&'static str; 2],
    /// Programs that must be there, each with the Debian package that has it.
    pub(crate) needs: &'static [(&'static str, &'static str)],
    /// How many times the native time it is to take.
    pub(crate) goal: f64,
    /// Makes on the host, in a directory of its own, so much for the program to work on.
    prepare: fn(&Path, &str) -> Result<()>,
    /// Runs it, natively or inside: seconds.
    run: fn(&Stage) -> Result<f64>,
}

impl Program {
    /// The row, for people.
    pub(crate) fn title(&self, quick: bool) -> String {
        self.title.replace("{}", self.amount(quick))
    }

    /// What the guest is told to do.
    pub(crate) fn amount(&self, quick: bool) -> &'static str {
        let [full, little] = self.amount;
        if quick { little } else { full }
    }

    /// Makes in `directory` on the host what the program works on.
    pub(crate) fn prepare(&self, directory: &Path, quick: bool) -> Result<()> {
        (self.prepare)(directory, self.amount(quick))
    }
}

/// All of them, in the order of the table.
#[rustfmt::skip]
pub(crate) const PROGRAMS: [Program; 14] = [
    Program { name: "find", title: "find {}", amount: ["/usr", "/usr/share"], needs: &[("find", "findutils")], goal: 1.5, prepare: nothing, run: files::find },
    Program { name: "tar", title: "tar of {}", amount: ["/usr/share/doc", "/usr/include"], needs: &[("tar", "tar")], goal: 1.3, prepare: nothing, run: files::tar },
    Program { name: "git-status", title: "git status, {} files", amount: ["5000", "500"], needs: &[("git", "git")], goal: 1.3, prepare: files::make_repository, run: files::git_status },
    Program { name: "make", title: "make -j2 of {} C files", amount: ["120", "12"], needs: &[("make", "make"), ("gcc", "gcc")], goal: 1.3, prepare: build::make_sources, run: build::make },
    Program { name: "shell", title: "{} × /bin/true from sh", amount: ["200", "40"], needs: &[("sh", "dash")], goal: 2.0, prepare: nothing, run: shell::many_true },
    Program { name: "python", title: "Python's start × {}", amount: ["20", "4"], needs: &[("python3", "python3")], goal: 1.3, prepare: nothing, run: shell::python },
    Program { name: "sqlite-rows", title: "sqlite, {} inserts", amount: ["50000", "5000"], needs: SQLITE, goal: 1.3, prepare: files::make_inserts, run: files::sqlite },
    Program { name: "sqlite-commits", title: "sqlite, {} transactions", amount: ["200", "50"], needs: SQLITE, goal: 1.3, prepare: files::make_transactions, run: files::sqlite },
    Program { name: "redis-tcp", title: "redis, {} SET by loopback", amount: ["20000", "2000"], needs: REDIS, goal: 1.3, prepare: nothing, run: servers::redis_tcp },
    Program { name: "redis-unix", title: "redis, {} SET by unix socket", amount: ["20000", "2000"], needs: REDIS, goal: 1.3, prepare: nothing, run: servers::redis_unix },
    Program { name: "nginx", title: "nginx, 1000 requests of {} s of wrk", amount: ["3", "1"], needs: &[("nginx", "nginx-light"), ("wrk", "wrk")], goal: 1.3, prepare: nothing, run: servers::nginx },
    Program { name: "node", title: "Node HTTP, {} requests", amount: ["2000", "300"], needs: &[("node", "nodejs")], goal: 1.3, prepare: servers::make_script, run: servers::node },
    Program { name: "xz", title: "xz of {} MiB", amount: ["4", "1"], needs: &[("xz", "xz-utils")], goal: 1.01, prepare: compute::make_text, run: compute::xz },
    Program { name: "sha256", title: "sha256sum of 32 × {} MiB", amount: ["16", "4"], needs: &[("sha256sum", "coreutils")], goal: 1.3, prepare: compute::make_text, run: compute::sha256 },
];

/// What both rows of sqlite need.
const SQLITE: &[(&str, &str)] = &[("sqlite3", "sqlite3")];

/// What both rows of redis need.
const REDIS: &[(&str, &str)] = &[("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")];

/// Prepares nothing.
fn nothing(_directory: &Path, _amount: &str) -> Result<()> {
    Ok(())
}

/// Runs a program inside: `directory` is what was prepared for it. Seconds.
pub(crate) fn run(name: &str, amount: &str, directory: &str) -> Result<f64> {
    let program = PROGRAMS.iter().find(|program| program.name == name);
    let program = program.with_context(|| format!("expected the name of a program, found {name}"))?;
    let stage = Stage {
        amount: amount.to_owned(),
        prepared: PathBuf::from(directory),
        own: tempfile::tempdir_in("/tmp").context("/tmp")?,
    };
    (program.run)(&stage)
}

/// Where a program runs.
struct Stage {
    /// How much there is to do.
    amount: String,
    /// What was prepared on the host.
    prepared: PathBuf,
    /// An empty directory below `/tmp`.
    own: TempDir,
}

impl Stage {
    /// Seconds that `work` takes, while the runner looks at the sandbox before and after.
    fn timed(&self, work: impl FnOnce() -> Result<()>) -> Result<f64> {
        checkpoint(BEGIN)?;
        let begin = Instant::now();
        work()?;
        let took = begin.elapsed().as_secs_f64();
        checkpoint(END)?;
        Ok(took)
    }

    /// Seconds that a command takes.
    fn timed_command(&self, command: &mut Command) -> Result<f64> {
        self.timed(|| output(command).map(drop))
    }

    /// A path in the directory of its own.
    fn file(&self, name: &str) -> PathBuf {
        self.own.path().join(name)
    }
}

/// What a command prints, which must end well.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let words = errors.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "{name}: {}: {words}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A shell that runs `script`, with arguments.
fn sh(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).args(arguments);
    command
}

/// A path as text.
fn text(path: &Path) -> Result<&str> {
    let Some(text) = path.to_str() else { bail!("{}: expected UTF-8", path.display()) };
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_stand_in_titles() {
        let make = PROGRAMS.iter().find(|program| program.name == "make").unwrap();
        assert_eq!(make.title(false), "make -j2 of 120 C files");
        assert_eq!(make.title(true), "make -j2 of 12 C files");
    }

    #[test]
    fn programs_are_prepared() {
        for program in PROGRAMS.iter().filter(|program| program.name != "git-status") {
            let directory = tempfile::tempdir().unwrap();
            program.prepare(directory.path(), true).unwrap();
        }
    }

    #[test]
    fn a_command_that_fails_says_so() {
        let error = output(&mut sh("echo gone >&2; exit 4", &[])).unwrap_err().to_string();
        assert_eq!(error, "/bin/sh: exit status: 4: gone");
        assert_eq!(output(&mut sh("echo $1", &["x"])).unwrap(), "x\n");
    }
}
