//! `runsc-rs do`: one command, as the caller would run it, in a sandbox. gVisor: runsc/cmd/do.go.

use super::conclude;
use crate::config::Config;
use crate::container::caller;
use crate::sandbox::{self, ExitStatus};
use anyhow::Result;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Run a command in a sandbox over the host's files, which it can read as the caller can. What it writes stays in memory.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory to run in; the caller's by default.
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,

    /// Root directory of the sandbox.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// User id to run as; the caller's by default.
    #[arg(long, value_name = "ID")]
    uid: Option<u32>,

    /// Group id to run as; the caller's by default.
    #[arg(long, value_name = "ID")]
    gid: Option<u32>,

    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<ExitStatus> {
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let spec = caller::container(caller::Request {
        command: args.command.clone(),
        root: args.root.clone(),
        cwd: args.cwd.clone(),
        uid: args.uid,
        gid: args.gid,
        overlay: true,
        volumes: Vec::new(),
        terminal: [interactive, interactive, interactive && std::io::stderr().is_terminal()],
    })?;
    let outcome = sandbox::start(spec, config)?.wait()?;
    conclude(outcome, 128, 126, 127)
}
