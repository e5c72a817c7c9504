//! `runsc-rs run`: one container from a bundle, in the foreground. gVisor: runsc/cmd/run.go; runc: run.go.

use super::conclude;
use crate::config::Config;
use crate::container::oci;
use crate::container::state::{StateDir, write_whole};
use crate::sandbox::{self, ExitStatus};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// Run a container from a bundle, and wait for it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory with config.json.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,

    /// File to write the sandbox's process id to.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// Socket to send the container's terminal to.
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,

    /// Leave the container running and return.
    #[arg(short, long)]
    detach: bool,

    /// Id of the container.
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<ExitStatus> {
    if args.detach {
        bail!("--detach: not built into this version; run in the foreground");
    }
    if args.console_socket.is_some() {
        bail!("--console-socket: not built into this version; run in the foreground on a terminal");
    }
    let spec = oci::load(&args.bundle, config.overlay)?;
    let state = StateDir::create(&config.root, &args.id)?;
    let mut sandbox = sandbox::start(spec, config)?;
    if sandbox.wait_started()? {
        state.write("running", sandbox.pid(), &args.bundle)?;
        if let Some(path) = &args.pid_file {
            write_whole(path, sandbox.pid().to_string().as_bytes()).context("--pid-file")?;
        }
    }
    conclude(sandbox.wait()?, 1, 126, 127)
}
