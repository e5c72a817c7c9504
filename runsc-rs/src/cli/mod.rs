//! The command line. gVisor: runsc/cli, runsc/cmd.

mod r#do;
mod features;
mod global;
mod run;

use crate::log;
use crate::sandbox::control::FailureKind;
use crate::sandbox::{ExitStatus, Outcome};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use global::GlobalArgs;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// What `--version` shows behind the name; the second half is `oci_spec::runtime::VERSION`.
const VERSION: &str = concat!("version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.1.0");
const _: () = assert!(oci_spec::runtime::VERSION_MAJOR == 1 && oci_spec::runtime::VERSION_MINOR == 1);

/// Status for a command line that cannot be understood.
const USAGE: u8 = 2;

/// A sandboxed container runtime: the system calls of the programs in it are served by a kernel in user space.
#[derive(Debug, Parser)]
#[command(name = "runsc-rs", version = VERSION)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Do(r#do::Args),
    Run(run::Args),
    Features(features::Args),
}

impl Verb {
    fn name(&self) -> &'static str {
        match self {
            Verb::Do(_) => "do",
            Verb::Run(_) => "run",
            Verb::Features(_) => "features",
        }
    }

    /// Status for a failure of the runtime's own: `do` keeps clear of the statuses programs use.
    fn failure_status(&self) -> u8 {
        match self {
            Verb::Do(_) => 128,
            Verb::Run(_) | Verb::Features(_) => 1,
        }
    }
}

/// An error with the status the program ends with.
#[derive(Debug)]
struct Failure {
    status: u8,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Runs the program. Errors go to standard error, one line each.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(global::with_double_dashes(args)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let own_status = cli.verb.failure_status();
    match dispatch(&cli) {
        Ok(status) => ExitCode::from(status.code()),
        Err(error) => {
            let message = without_numbers(&format!("{error:#}"));
            report(&message);
            if let Some(path) = &cli.global.log {
                // There is nowhere left to say that this failed too.
                let _ = log::record_error(path, cli.global.log_format, &message);
            }
            ExitCode::from(error.downcast_ref::<Failure>().map_or(own_status, |failure| failure.status))
        }
    }
}

fn dispatch(cli: &Cli) -> anyhow::Result<ExitStatus> {
    cli.global.start_log(cli.verb.name())?;
    let config = cli.global.config()?;
    match &cli.verb {
        Verb::Do(args) => r#do::run(args, &config),
        Verb::Run(args) => run::run(args, &config),
        Verb::Features(_) => features::run(),
    }
}

/// What a sandbox's end comes to. `not_found` and `cannot_execute` are the statuses for a program that is missing or
/// cannot be executed.
fn conclude(outcome: Outcome, own: u8, cannot_execute: u8, not_found: u8) -> anyhow::Result<ExitStatus> {
    match outcome {
        Outcome::Ended(status) => Ok(status),
        Outcome::Failed { message, kind } => {
            let status = match kind {
                FailureKind::Runtime => own,
                FailureKind::CannotExecute => cannot_execute,
                FailureKind::NotFound => not_found,
            };
            Err(Failure { status, message }.into())
        }
    }
}

/// Leaves out the numbers that the standard library puts behind the text of a host error.
fn without_numbers(message: &str) -> String {
    let mut text = message.to_owned();
    while let Some(at) = text.find(" (os error ") {
        let end = text.get(at..).and_then(|rest| rest.find(')')).map_or(text.len(), |len| at + len + 1);
        text.replace_range(at..end, "");
    }
    text
}

/// One line on standard error.
fn report(message: &str) {
    let line = message.lines().next().unwrap_or_default();
    // When standard error is closed, the exit status has to do.
    let _ = writeln!(std::io::stderr(), "runsc-rs: {line}");
}

fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(USAGE);
    }
    let text = error.to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let first = first.join(" ");
    report(&format!("{} (see runsc-rs --help)", first.strip_prefix("error: ").unwrap_or(&first)));
    ExitCode::from(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_errors_are_told_without_their_numbers() {
        let message = "--root: /r: Permission denied (os error 13)";
        assert_eq!(without_numbers(message), "--root: /r: Permission denied");
        assert_eq!(without_numbers("a (os error 1): b (os error 2) c"), "a: b c");
        assert_eq!(without_numbers("a (os error 1"), "a");
    }
}
