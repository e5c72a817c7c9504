//! The flags before the verb.

use crate::config::{Config, StraceSink};
use crate::log::{self, LogFormat};
use anyhow::Result;
use clap::{ArgAction, Args};
use nix::unistd::geteuid;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// What runs guest code: auto, ptrace, systrap or kvm.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    platform: String,

    /// What the guest sees of a network: none, sandbox (its own stack) or host.
    #[arg(long, default_value = "sandbox", value_name = "KIND")]
    network: String,

    /// Where writes to a bundle's root go: root:memory, or none for the root itself.
    #[arg(long, default_value = "root:memory", value_name = "WHERE")]
    overlay2: String,

    // The switches take `--flag=true` and `--flag=false` too, as Go's flags do.
    /// Trace system calls.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    strace: bool,

    /// Trace system calls into FILE.PID, a file for each process, instead of standard error.
    #[arg(long, value_name = "FILE")]
    strace_log: Option<PathBuf>,

    /// Log for the developer.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    debug: bool,

    /// Where that log goes instead of standard error. A trailing slash means a directory; %COMMAND% and %TIMESTAMP% are
    /// replaced.
    #[arg(long, value_name = "PATH")]
    debug_log: Option<PathBuf>,

    /// File that errors are appended to, for the program that called.
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,

    /// Format of that file.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) log_format: LogFormat,

    /// Directory for the state of containers.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Use no privilege on the host. Chosen by itself for everybody but root.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    rootless: bool,
}

impl GlobalArgs {
    /// The checked form.
    pub(super) fn config(&self) -> Result<Config> {
        let strace = match &self.strace_log {
            Some(path) => Some(StraceSink::Files(std::path::absolute(path)?)),
            None => self.strace.then_some(StraceSink::Stderr),
        };
        Ok(Config {
            platform: self.platform.parse()?,
            network: self.network.parse()?,
            overlay: self.overlay2.parse()?,
            strace,
            root: self.root.clone().unwrap_or_else(default_root),
            rootless: self.rootless,
        })
    }

    /// Starts the developer's log, if there is to be one.
    pub(super) fn start_log(&self, command: &str) -> Result<()> {
        if self.debug || self.debug_log.is_some() {
            log::start(self.debug_log.clone(), self.debug, command)?;
        }
        Ok(())
    }
}

fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !geteuid().is_root() && !dir.is_empty() => PathBuf::from(dir).join("runsc-rs"),
        _ => PathBuf::from("/var/run/runsc-rs"),
    }
}

/// Go's flags may be written with one dash, and callers of gVisor do so before the verb.
pub(super) fn with_double_dashes(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut before_verb = true;
    let mut args: Vec<OsString> = args.into_iter().collect();
    for arg in args.iter_mut().skip(1) {
        let bytes = arg.as_bytes();
        before_verb &= bytes.starts_with(b"-");
        if before_verb && bytes.len() > 2 && bytes.get(1) != Some(&b'-') && bytes.contains(&b'=') {
            let mut doubled = b"-".to_vec();
            doubled.extend_from_slice(bytes);
            *arg = OsString::from_vec(doubled);
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_is_as_good_as_two_before_the_verb() {
        let args = ["runsc-rs", "-platform=ptrace", "--debug", "do", "-x=1"].map(OsString::from);
        let expected = ["runsc-rs", "--platform=ptrace", "--debug", "do", "-x=1"];
        assert_eq!(with_double_dashes(args), expected);
    }
}
