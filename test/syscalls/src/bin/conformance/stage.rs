//! A directory that root and the ordinary user can reach, with copies of the programs.

use crate::options::Options;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ordinary user's and group's number: nobody.
pub(crate) const ORDINARY_ID: u32 = 65534;

/// The name of the suite's program.
pub(crate) const PROGRAM: &str = "syscall-cases";

/// Who runs the suite, or starts the sandbox that runs it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

/// The directory; it goes when this does.
pub(crate) struct Stage {
    directory: PathBuf,
}

impl Stage {
    /// Makes the directory and copies the programs.
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let stage = Self { directory: PathBuf::from(format!("/tmp/conformance.{}", std::process::id())) };
        make_directory(&stage.directory, 0o755)?;
        copy(&options.cases, &stage.program())?;
        if !options.platforms.is_empty() {
            copy(&options.runsc, &stage.runsc())?;
        }
        if options.host_tmp {
            make_directory(&stage.tmp(), 0o700)?;
            let open = fs::Permissions::from_mode(0o1777);
            fs::set_permissions(stage.tmp(), open).map_err(|error| error.to_string())?;
            copy(&options.cases, &stage.tmp().join(PROGRAM))?;
        }
        // Where the ordinary user's sandbox may keep its state.
        make_directory(&stage.run_directory(), 0o700)?;
        if stage.can_be(User::Root) {
            chown(stage.run_directory(), Some(ORDINARY_ID), Some(ORDINARY_ID)).map_err(|e| e.to_string())?;
        }
        Ok(stage)
    }

    /// The suite's program.
    pub(crate) fn program(&self) -> PathBuf {
        self.directory.join(PROGRAM)
    }

    /// The host's directory that is `/tmp` in a sandbox, if that is to have one. The suite's program is in it, too.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.directory.join("tmp")
    }

    /// The sandbox.
    pub(crate) fn runsc(&self) -> PathBuf {
        self.directory.join("runsc-rs")
    }

    /// The ordinary user's `XDG_RUNTIME_DIR`.
    pub(crate) fn run_directory(&self) -> PathBuf {
        self.directory.join("run")
    }

    /// Where what a sandbox says on standard error is kept.
    pub(crate) fn errors(&self) -> PathBuf {
        self.directory.join("stderr")
    }

    /// Whether this process can run programs as `user`: root can be both, anyone else only themselves.
    pub(crate) fn can_be(&self, user: User) -> bool {
        user == User::Ordinary || nix::unistd::geteuid().is_root()
    }

    /// The names of all cases.
    pub(crate) fn cases(&self) -> Result<BTreeSet<String>, String> {
        let output = Command::new(self.program()).arg("--list").output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nothing depends on it being gone.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<(), String> {
    DirBuilder::new().mode(mode).create(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to)
        .and_then(|_| fs::set_permissions(to, fs::Permissions::from_mode(0o755)))
        .map_err(|error| format!("{}: expected a program to run: {error}", from.display()))
}
