//! What runs inside: `bench --work NAME …` measures one thing and prints it.
//!
//! Lines on standard output are the protocol: `begin` and `end` around what is timed, where the runner wants to look at
//! the sandbox then and answers with a line of its own; `result SECONDS` at last. `bench --work count NAME N` does it N times,
//! for a runner that counts something else. Whatever goes wrong is one line on standard
//! error and status 1.

mod calls;
mod handoff;
mod sys;
mod timer;

use crate::programs;
use crate::rows::Goal::{self, HandOffs, Ratio};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, Write, stdin, stdout};
use std::process::ExitCode;
use std::time::Duration;
use timer::Budget;

/// The argument that makes this binary the guest.
pub(crate) const WORK: &str = "--work";

/// What a line with the result begins with.
pub(crate) const RESULT: &str = "result ";

/// What the guest of the idle rows and of the time to first output prints.
pub(crate) const READY: &str = "ready";

/// The raw hand-off, which is measured natively only.
pub(crate) const HAND_OFF: &str = "hand-off";

/// What the work of so many threads at once is called, before their number.
pub(crate) const THREADS: &str = "threads-";

/// A call, or calls that belong together.
pub(crate) struct Call {
    /// The name of the work and of its row.
    pub(crate) name: &'static str,
    /// The row, for people.
    pub(crate) title: &'static str,
    /// What it is to take at most, with a CPU to spare.
    pub(crate) spare: Goal,
    /// And with one CPU for all. A call that is nothing but a hand-off is compared with the raw one.
    pub(crate) pinned: Goal,
    /// Measures it within the budget: seconds.
    run: fn(Budget) -> Result<f64>,
}

/// All of them, in the order of the table.
#[rustfmt::skip]
pub(crate) const CALLS: [Call; 17] = [
    Call { name: "getpid", title: "getpid", spare: Ratio(1.5), pinned: HandOffs(1), run: calls::getpid_row },
    Call { name: "getppid", title: "getppid", spare: Ratio(1.5), pinned: HandOffs(1), run: calls::getppid_row },
    Call { name: "read-zero", title: "read 1 B of /dev/zero", spare: Ratio(1.5), pinned: HandOffs(1), run: calls::read_zero },
    Call { name: "write-null", title: "write 4 KiB to /dev/null", spare: Ratio(1.5), pinned: HandOffs(1), run: calls::write_null },
    Call { name: "pread", title: "pread 4 KiB, file in /tmp", spare: Ratio(1.5), pinned: HandOffs(1), run: calls::pread_file },
    Call { name: "pwrite", title: "pwrite 4 KiB, file in /tmp", spare: Ratio(1.5), pinned: HandOffs(1), run: calls::pwrite_file },
    Call { name: "open-close", title: "open+close", spare: Ratio(1.5), pinned: HandOffs(2), run: calls::open_close },
    Call { name: "access", title: "access", spare: Ratio(1.5), pinned: HandOffs(1), run: calls::access_row },
    Call { name: "create-unlink", title: "create+close+unlink in /tmp", spare: Ratio(0.5), pinned: HandOffs(3), run: calls::create_unlink },
    Call { name: "mmap", title: "mmap 64 KiB, touch, munmap", spare: Ratio(1.3), pinned: Ratio(1.3), run: calls::mmap_touch_munmap },
    Call { name: "fault", title: "anonymous page fault", spare: Ratio(1.3), pinned: Ratio(1.3), run: calls::fault },
    Call { name: "pipe", title: "pipe ping-pong", spare: Goal::None, pinned: Ratio(2.0), run: calls::pipe_ping_pong },
    Call { name: "unix-socket", title: "unix socket ping-pong", spare: Goal::None, pinned: Ratio(2.0), run: calls::unix_ping_pong },
    Call { name: "fork", title: "fork+exit+wait", spare: Ratio(2.5), pinned: Ratio(2.5), run: calls::fork_exit_wait },
    Call { name: "vfork-exec", title: "vfork+exec /bin/true+wait", spare: Ratio(2.0), pinned: Ratio(2.0), run: calls::vfork_exec_wait },
    Call { name: "thread", title: "pthread create+join", spare: Ratio(3.0), pinned: Ratio(3.0), run: calls::thread_create_join },
    Call { name: "clock", title: "clock_gettime by the vDSO", spare: Ratio(1.2), pinned: Ratio(1.2), run: calls::clock_row },
];

/// Runs a piece of work: `arguments` are those after `--work`.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    match work(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let seconds = match arguments[..] {
        ["hello"] => return say(READY),
        ["idle"] => return idle(),
        ["program", name, size, directory] => programs::run(name, size, directory)?,
        ["count", name, count] => call(name)?(Budget::Count(count.parse()?))?,
        [name, milliseconds] => measure(name, Duration::from_millis(milliseconds.parse()?))?,
        _ => bail!("expected the name of a piece of work and its arguments, found {arguments:?}"),
    };
    say(&format!("{RESULT}{seconds:e}"))
}

/// Measures a call for about `budget`.
fn measure(name: &str, budget: Duration) -> Result<f64> {
    if name == HAND_OFF {
        return handoff::round_trip(Budget::Time(budget));
    }
    if let Some(threads) = name.strip_prefix(THREADS) {
        return calls::many_threads(budget, threads.parse()?);
    }
    call(name)?(Budget::Time(budget))
}

fn call(name: &str) -> Result<fn(Budget) -> Result<f64>> {
    let call = CALLS.iter().find(|call| call.name == name);
    Ok(call.with_context(|| format!("expected the name of a piece of work, found {name}"))?.run)
}

/// Operations of the row that a call counts as one.
pub(crate) fn operations(name: &str) -> u32 {
    if name == "fault" { calls::FAULTS } else { 1 }
}

/// Says that it is there and does nothing until its input ends.
fn idle() -> Result<()> {
    say(READY)?;
    await_runner()
}

/// Prints a line and sees to it that it gets there.
fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output")
}

/// Tells the runner where it is, and waits until the runner has looked.
pub(crate) fn checkpoint(name: &str) -> Result<()> {
    say(name)?;
    await_runner()
}

/// Reads a line, or the end of the input.
fn await_runner() -> Result<()> {
    stdin().lock().read_line(&mut String::new()).context("standard input")?;
    Ok(())
}
