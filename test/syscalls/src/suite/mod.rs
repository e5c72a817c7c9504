//! The program `syscall-cases`: lists the cases, runs them each in a process of its own, prints a line for each.
//!
//! It is written to need little of the kernel under test: fork, wait, kill, shared memory and a directory under `/tmp`.
//! Waiting is by asking again, since signals, timers and pidfds are what the cases are yet to prove.

mod helper;
mod options;
mod run;

use crate::case::{self, Case};
use options::{Action, Options};
use run::{Outcome, Suite};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Runs the program with this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let mut args = std::env::args();
    let name = args.next().unwrap_or_default();
    if let Some(helper) = name.strip_prefix("helper:") {
        return helper::run(helper, &args.collect::<Vec<_>>());
    }
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(message) => {
            print(&format!("syscall-cases: {message}\n{}", options::USAGE));
            return ExitCode::from(2);
        }
    };
    let cases = case::sorted();
    match &options.action {
        Action::Help => {
            print(options::USAGE);
            ExitCode::SUCCESS
        }
        Action::List => {
            for case in cases.iter().filter(|case| options.selects(&case.name())) {
                print(&format!("{} {}\n", case.name(), case.users()));
            }
            ExitCode::SUCCESS
        }
        Action::Here(name) => {
            let Some(case) = cases.iter().find(|case| case.name() == *name) else { return unknown(name) };
            Suite::new(&name_of_program(&name_arg()), &options).run_here(case)
        }
        Action::Run(name) => {
            let Some(case) = cases.iter().find(|case| case.name() == *name) else { return unknown(name) };
            run_all(&options, &[case])
        }
        Action::Stress(seconds) => {
            run::become_user(options.user);
            crate::stress::run(*seconds)
        }
        Action::All => {
            let as_user = options.user.is_some() || !is_root();
            let fits = |case: &&Case| if as_user { case.as_user } else { case.as_root };
            let cases: Vec<_> =
                cases.into_iter().filter(fits).filter(|case| options.selects(&case.name())).collect();
            run_all(&options, &cases)
        }
    }
}

fn unknown(name: &str) -> ExitCode {
    print(&format!(
        "syscall-cases: {name}: expected the name of a case (see --list), found none of that name\n"
    ));
    ExitCode::from(2)
}

fn name_arg() -> String {
    std::env::args().next().unwrap_or_default()
}

/// The absolute path of this program: argument 0 if that is one, else what `/proc` says.
fn name_of_program(argument: &str) -> String {
    if argument.starts_with('/') {
        return argument.to_owned();
    }
    std::env::current_exe().map_or_else(|_| argument.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn is_root() -> bool {
    // SAFETY: has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Counts that the workers share.
struct Totals {
    next: AtomicU32,
    passed: AtomicU32,
    failed: AtomicU32,
    skipped: AtomicU32,
}

/// Runs `cases` by as many workers as were asked for, then prints the closing line.
fn run_all(options: &Options, cases: &[&'static Case]) -> ExitCode {
    let program = name_of_program(&name_arg());
    let totals = shared_totals();
    if options.jobs == 1 {
        work(options, &program, cases, totals);
    } else {
        // A worker takes all its children for a case's, so this process is none of them.
        let workers: Vec<i32> = (0..options.jobs).map(|_| worker(options, &program, cases, totals)).collect();
        for pid in workers {
            // SAFETY: waits for a child of this process.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        }
    }
    let [passed, failed, skipped] = [&totals.passed, &totals.failed, &totals.skipped].map(|n| n.load(SeqCst));
    print(&format!("{passed} passed, {failed} failed, {skipped} skipped\n"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn shared_totals() -> &'static Totals {
    // SAFETY: a new mapping of zeroes, which are valid totals, never unmapped.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            size_of::<Totals>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert!(page != libc::MAP_FAILED, "mmap of the totals: {}", io::Error::last_os_error());
        &*page.cast()
    }
}

/// Starts one more worker.
fn worker(options: &Options, program: &str, cases: &[&'static Case], totals: &'static Totals) -> i32 {
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        work(options, program, cases, totals);
        // SAFETY: ends the worker.
        unsafe { libc::_exit(0) }
    }
    pid
}

/// Takes cases from the common list until none is left.
fn work(options: &Options, program: &str, cases: &[&'static Case], totals: &Totals) {
    let mut suite = Suite::new(program, options);
    while let Some(case) = cases.get(totals.next.fetch_add(1, SeqCst) as usize) {
        let name = case.name();
        if options.announce {
            print(&format!("start {name}\n"));
        }
        match suite.run(case) {
            Outcome::Passed => {
                totals.passed.fetch_add(1, SeqCst);
                print(&format!("ok {name}\n"));
            }
            Outcome::Skipped(reason) => {
                totals.skipped.fetch_add(1, SeqCst);
                print(&format!("skip {name}: {reason}\n"));
            }
            Outcome::Failed(message) => {
                totals.failed.fetch_add(1, SeqCst);
                print(&format!("FAIL {name}: {message}\n"));
            }
        }
    }
}

/// Writes to standard output in one call, so that workers' lines stay whole.
fn print(text: &str) {
    // Nobody is left to tell if the reader is gone.
    let _ = io::stdout().lock().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
}
