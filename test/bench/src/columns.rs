//! What is compared: the host, our platforms, and the peers that are there.

use crate::job::{self, Job};
use anyhow::{Context, Result, bail, ensure};
use regex_lite::Regex;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Platforms to try, of ours and of gVisor's.
const PLATFORMS: [&str; 3] = ["ptrace", "systrap", "kvm"];

/// How long a sandbox may take to show that it works.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// Whose numbers a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The host itself.
    Native,
    /// The runtime under test.
    Ours,
    /// A runtime with gVisor's command line.
    Runsc,
    /// A runtime with runc's command line, which shares the host's kernel.
    Runc,
}

/// A column of the table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) version: String,
    binary: PathBuf,
    platform: &'static str,
    /// Where it keeps what it knows of its containers.
    state: PathBuf,
}

impl Column {
    pub(crate) fn native() -> Self {
        Self {
            name: "native".to_owned(),
            kind: Kind::Native,
            version: String::new(),
            binary: PathBuf::new(),
            platform: "",
            state: PathBuf::new(),
        }
    }

    /// A column for tests of what is done with its numbers.
    #[cfg(test)]
    pub(crate) fn named(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, ..Self::native() }
    }

    /// The command line that runs `command` over the host's files; none where there is no such verb.
    pub(crate) fn run_over_host(&self, command: &[OsString]) -> Option<Vec<OsString>> {
        if self.kind == Kind::Native {
            return Some(command.to_vec());
        }
        if self.kind == Kind::Runc {
            return None;
        }
        let mut argv = self.sandbox();
        argv.extend(["do", "--"].map(OsString::from));
        argv.extend_from_slice(command);
        Some(argv)
    }

    /// As [`Column::run_over_host`], with the counters of virtual processors on standard error at the end; none where there
    /// are no such processors.
    pub(crate) fn count_over_host(&self, command: &[OsString]) -> Option<Vec<OsString>> {
        if self.kind != Kind::Ours || self.platform != "kvm" {
            return None;
        }
        let mut argv = self.run_over_host(command)?;
        argv.insert(1, "--debug".into());
        Some(argv)
    }

    /// The command line that runs the container `id` from `bundle`, whose program is `command` on the host.
    pub(crate) fn run_bundle(&self, bundle: &Path, id: &str, command: &[OsString]) -> Vec<OsString> {
        let mut argv = match self.kind {
            Kind::Native => return command.to_vec(),
            Kind::Ours | Kind::Runsc => self.sandbox(),
            Kind::Runc => vec![self.binary.clone().into(), "--root".into(), self.state.clone().into()],
        };
        if self.name == "crun" {
            argv.push("--cgroup-manager=disabled".into());
        }
        argv.extend(["run".into(), "--bundle".into(), bundle.into(), id.into()]);
        argv
    }

    fn sandbox(&self) -> Vec<OsString> {
        let mut root = OsString::from("--root=");
        root.push(&self.state);
        let mut argv = vec![self.binary.clone().into(), root];
        argv.push(format!("--platform={}", self.platform).into());
        argv.extend(["--network=none", "--overlay2=root:memory"].map(OsString::from));
        if self.kind == Kind::Runsc {
            argv.push("--ignore-cgroups".into());
            if !nix::unistd::geteuid().is_root() {
                argv.push("--rootless".into());
            }
        }
        argv
    }
}

/// The columns of this run, native first, and a line for each that could have been and is not.
pub(crate) fn find(
    ours: &Path,
    peers: &[PathBuf],
    wanted: &Regex,
    scratch: &Path,
) -> Result<(Vec<Column>, Vec<String>)> {
    ensure!(ours.exists(), "{}: not there; build it or name it by --runsc", ours.display());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = ["runsc", "crun", "runc"].iter().filter_map(|name| job::find_in(&path, name));
    let binaries = on_path.chain(peers.iter().cloned());
    let mut candidates = Vec::new();
    for (kind, binary) in
        [(Kind::Ours, ours.to_owned())].into_iter().chain(binaries.map(|b| (kind_of(&b), b)))
    {
        candidates.extend(of_binary(kind, &binary, scratch)?);
    }
    let mut columns = vec![Column::native()];
    let mut left_out = Vec::new();
    for mut column in candidates.into_iter().filter(|column| wanted.is_match(&column.name)) {
        if columns.iter().any(|other| other.name == column.name) {
            column.name = format!("{}#{}", column.name, columns.len());
        }
        match probe(&column) {
            Ok(()) => columns.push(column),
            Err(error) => left_out.push(format!("{}: left out: {error:#}", column.name)),
        }
    }
    Ok((columns, left_out))
}

fn kind_of(binary: &Path) -> Kind {
    let name = binary.file_name().unwrap_or_default().to_string_lossy();
    if name.contains("runsc") { Kind::Runsc } else { Kind::Runc }
}

/// A column for each platform.
fn of_binary(kind: Kind, binary: &Path, scratch: &Path) -> Result<Vec<Column>> {
    let binary = binary.canonicalize().with_context(|| binary.display().to_string())?;
    let version = version(&binary).unwrap_or_default();
    let program = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let column = |name: String, platform| {
        let state = scratch.join("state").join(&name);
        Column { name, kind, version: version.clone(), binary: binary.clone(), platform, state }
    };
    Ok(match kind {
        Kind::Runc | Kind::Native => vec![column(program, "")],
        Kind::Ours => PLATFORMS.map(|platform| column(platform.to_owned(), platform)).to_vec(),
        Kind::Runsc => PLATFORMS.map(|platform| column(format!("{program}:{platform}"), platform)).to_vec(),
    })
}

/// The first line of what `--version` prints.
fn version(binary: &Path) -> Result<String> {
    let mut job = Job::start(&[binary.into(), "--version".into()], None, PROBE_LIMIT)?;
    let line = job.line()?;
    line.context("no version")
}

/// Whether it runs anything at all here. Those that run bundles only show that when they are to.
fn probe(column: &Column) -> Result<()> {
    std::fs::create_dir_all(&column.state)?;
    let Some(argv) = column.run_over_host(&["/bin/echo".into(), "works".into()]) else { return Ok(()) };
    let mut job = Job::start(&argv, None, PROBE_LIMIT)?;
    job.expect_line("works")?;
    job.finish()?;
    Ok(())
}

/// The program to test where none is named: the one that was built beside this one.
pub(crate) fn beside_this_program() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let Some(directory) = this.parent() else { bail!("{}: in no directory", this.display()) };
    Ok(directory.join("runsc-rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Kind, name: &str) -> Column {
        let (binary, state) = (PathBuf::from("/opt/x"), PathBuf::from("/s"));
        Column { name: name.into(), kind, version: String::new(), binary, platform: "systrap", state }
    }

    fn words(argv: &[OsString]) -> String {
        argv.join(OsString::from(" ").as_os_str()).into_string().unwrap()
    }

    #[test]
    fn each_kind_has_its_command_line() {
        let command = ["a".into(), "b".into()];
        assert_eq!(words(&Column::native().run_over_host(&command).unwrap()), "a b");
        assert_eq!(column(Kind::Runc, "crun").run_over_host(&command), None);
        let flags = "/opt/x --root=/s --platform=systrap --network=none --overlay2=root:memory";
        assert_eq!(
            words(&column(Kind::Ours, "x").run_over_host(&command).unwrap()),
            format!("{flags} do -- a b")
        );
        assert_eq!(column(Kind::Ours, "x").count_over_host(&command), None);
        let kvm = Column { platform: "kvm", ..column(Kind::Ours, "kvm") };
        assert!(
            words(&kvm.count_over_host(&command).unwrap())
                .starts_with("/opt/x --debug --root=/s --platform=kvm")
        );
        let bundle = Path::new("/b");
        assert_eq!(
            words(&column(Kind::Ours, "x").run_bundle(bundle, "i", &command)),
            format!("{flags} run --bundle /b i")
        );
        assert_eq!(
            words(&column(Kind::Runc, "crun").run_bundle(bundle, "i", &command)),
            "/opt/x --root /s --cgroup-manager=disabled run --bundle /b i"
        );
    }

    #[test]
    fn a_binary_is_told_by_its_name() {
        assert_eq!(kind_of(Path::new("/usr/bin/runsc")), Kind::Runsc);
        assert_eq!(kind_of(Path::new("/tmp/runsc-2024")), Kind::Runsc);
        assert_eq!(kind_of(Path::new("/usr/bin/crun")), Kind::Runc);
    }
}
