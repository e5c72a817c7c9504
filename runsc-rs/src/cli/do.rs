//! `runsc-rs do`: one command, as the caller would run it, in a sandbox. gVisor: runsc/cmd/do.go.

use super::conclude;
use crate::config::Config;
use crate::container::caller;
use crate::container::mount_options::MountOptions;
use crate::container::{Mount, MountSource};
use crate::sandbox::{self, ExitStatus};
use anyhow::{Result, bail};
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

    /// Show the host's SRC as DST (SRC by default), writable unless the options say `ro`. May be given more than once.
    #[arg(long, value_name = "SRC[:DST[:OPTIONS]]")]
    volume: Vec<String>,

    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) fn run(args: &Args, config: &Config) -> Result<ExitStatus> {
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let spec = caller::container(caller::Request {
        command: args.command.clone(),
        root: std::path::absolute(&args.root)?,
        cwd: args.cwd.clone(),
        uid: args.uid,
        gid: args.gid,
        overlay: true,
        volumes: args.volume.iter().map(|volume| parse_volume(volume)).collect::<Result<_>>()?,
        terminal: [interactive, interactive, interactive && std::io::stderr().is_terminal()],
    })?;
    let outcome = sandbox::start(spec, config)?.wait()?;
    conclude(outcome, 128, 126, 127)
}

/// gVisor: runsc/cmd/do.go, `volumes.Set`.
fn parse_volume(volume: &str) -> Result<Mount> {
    let mut parts = volume.splitn(3, ':');
    let source = parts.next().unwrap_or_default();
    let destination = parts.next().unwrap_or(source);
    let options = MountOptions::parse(parts.next().unwrap_or_default().split(',').filter(|o| !o.is_empty()));
    let path = std::path::absolute(source)?;
    if !path.exists() {
        bail!("--volume={volume}: expected a file or directory, found none at {}", path.display());
    }
    let destination = PathBuf::from(destination);
    if !destination.is_absolute() {
        bail!("--volume={volume}: expected an absolute path, found {:?}", destination.display().to_string());
    }
    Ok(Mount { destination, source: MountSource::Bind { path, recursive: true }, options })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_volume_has_a_source_a_place_and_options() {
        let volume = parse_volume("/tmp:/data:ro,nosuid").unwrap();
        assert_eq!(volume.destination, Path::new("/data"));
        assert!(volume.options.readonly());
        assert_eq!(parse_volume("/tmp").unwrap().destination, Path::new("/tmp"));
        assert!(parse_volume("/tmp:data").unwrap_err().to_string().contains("absolute path, found \"data\""));
        assert!(parse_volume("/missing").is_err());
    }
}
