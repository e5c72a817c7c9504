//! The container of `do`: the caller's own environment, directory, ids and capabilities over the host's files.

use super::{
    Capabilities, ContainerSpec, Mount, MountSource, Process, Rlimit, Root, User, devices,
    mount_options::MountOptions,
};
use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit};
use sentry_auth::CapSet;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What `do` was asked for.
#[derive(Debug)]
pub struct Request {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// The root directory.
    pub root: PathBuf,
    /// The working directory, instead of the caller's.
    pub cwd: Option<PathBuf>,
    /// The user id, instead of the caller's.
    pub uid: Option<u32>,
    /// The group id, instead of the caller's.
    pub gid: Option<u32>,
    /// Whether writes go to memory, rather than to the host's files.
    pub overlay: bool,
    /// Further mounts of host paths.
    pub volumes: Vec<Mount>,
    /// Which of standard input, output and error are a terminal of the container's own.
    pub terminal: [bool; 3],
}

/// The specification of a container that runs a command as if the caller had run it.
///
/// # Errors
/// Without `/proc`, with a directory that is none, or with an argument that holds a NUL.
pub fn container(request: Request) -> Result<ContainerSpec> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let caller = Status::parse(&status)?;
    let mut user =
        User { uid: caller.euid, gid: caller.egid, additional_gids: caller.groups, umask: caller.umask };
    let mut capabilities = caller.capabilities;
    if let Some(uid) = request.uid
        && uid != user.uid
    {
        if user.uid == 0 {
            // As setuid(2) does on the way from root to somebody else.
            capabilities.permitted = CapSet::empty();
            capabilities.effective = CapSet::empty();
            capabilities.ambient = CapSet::empty();
        }
        user.uid = uid;
        user.additional_gids.clear();
    }
    if let Some(gid) = request.gid {
        user.gid = gid;
        user.additional_gids.clear();
    }
    let uname = nix::sys::utsname::uname().context("uname")?;
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    Ok(ContainerSpec {
        process: Process {
            args: request.command.into_iter().map(|arg| c_string(arg.into_vec())).collect::<Result<_>>()?,
            env: std::env::vars_os().map(|(name, value)| variable(name, value)).collect::<Result<_>>()?,
            cwd: working_directory(request.cwd.as_deref(), &request.root)?,
            user,
            capabilities,
            rlimits: rlimits(),
            no_new_privileges: caller.no_new_privileges,
            oom_score_adj: None,
            ignored_signals: caller.ignored_signals,
            terminal: request.terminal,
            console_size: None,
        },
        root: Root { path: request.root, readonly: false, overlay: request.overlay },
        hostname: text(uname.nodename()),
        domainname: text(uname.domainname()),
        mounts: default_mounts().into_iter().chain(request.volumes).collect(),
        devices: devices::defaults(),
        symlinks: devices::default_symlinks(),
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        sysctl: Vec::new(),
        user_namespace: None,
    })
}

/// A string as execve(2) takes it.
pub(super) fn c_string(text: impl Into<Vec<u8>>) -> Result<CString> {
    let text = text.into();
    CString::new(text).map_err(|e| {
        anyhow::anyhow!("argument or variable {:?} holds a NUL", String::from_utf8_lossy(&e.into_vec()))
    })
}

fn variable(name: OsString, value: OsString) -> Result<CString> {
    let mut variable = name.into_vec();
    variable.push(b'=');
    variable.append(&mut value.into_vec());
    c_string(variable)
}

fn working_directory(asked: Option<&Path>, root: &Path) -> Result<PathBuf> {
    let current = std::env::current_dir().ok();
    let Some(asked) = asked else {
        // A directory that has been removed, or lies outside another root, does not exist in the container.
        let usable = current.filter(|_| root == Path::new("/"));
        return Ok(usable.unwrap_or_else(|| PathBuf::from("/")));
    };
    if asked.is_absolute() {
        return Ok(asked.to_path_buf());
    }
    match current {
        Some(current) => Ok(current.join(asked)),
        None => bail!("--cwd={}: relative to a directory that does not exist any more", asked.display()),
    }
}

fn default_mounts() -> Vec<Mount> {
    let mount = |destination: &str, fstype: &str, options: &[&str]| Mount {
        destination: PathBuf::from(destination),
        source: MountSource::Filesystem { fstype: fstype.to_owned(), source: fstype.to_owned() },
        options: MountOptions::parse(options),
    };
    vec![
        mount("/proc", "proc", &["nosuid", "nodev", "noexec"]),
        mount("/sys", "sysfs", &["nosuid", "nodev", "noexec"]),
        mount("/dev", "devtmpfs", &["nosuid"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"]),
        mount("/dev/shm", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
    ]
}

fn rlimits() -> Vec<Rlimit> {
    use Resource::*;
    [
        RLIMIT_CPU,
        RLIMIT_FSIZE,
        RLIMIT_DATA,
        RLIMIT_STACK,
        RLIMIT_CORE,
        RLIMIT_RSS,
        RLIMIT_NPROC,
        RLIMIT_NOFILE,
        RLIMIT_MEMLOCK,
        RLIMIT_AS,
        RLIMIT_LOCKS,
        RLIMIT_SIGPENDING,
        RLIMIT_MSGQUEUE,
        RLIMIT_NICE,
        RLIMIT_RTPRIO,
        RLIMIT_RTTIME,
    ]
    .into_iter()
    .filter_map(|resource| {
        let (soft, hard) = getrlimit(resource).ok()?;
        Some(Rlimit { resource: resource as u32, soft, hard })
    })
    .collect()
}

/// The lines of `/proc/self/status` that a child inherits. Linux: fs/proc/array.c.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    euid: u32,
    egid: u32,
    groups: Vec<u32>,
    umask: u32,
    ignored_signals: u64,
    capabilities: Capabilities,
    no_new_privileges: bool,
}

impl Status {
    fn parse(text: &str) -> Result<Status> {
        let mut status = Status::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            status.set(name, value).with_context(|| format!("/proc/self/status: {name}: {value:?}"))?;
        }
        // The Rust runtime ignores SIGPIPE before main; what the caller had is not known, and is hardly ever that.
        status.ignored_signals &= !(1 << (nix::libc::SIGPIPE - 1));
        Ok(status)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let effective_id =
            || -> Result<u32> { Ok(value.split_ascii_whitespace().nth(1).context("no second id")?.parse()?) };
        let hex = || u64::from_str_radix(value, 16);
        let caps = || hex().map(CapSet::from_bits_truncate);
        match name {
            "Uid" => self.euid = effective_id()?,
            "Gid" => self.egid = effective_id()?,
            "Groups" => {
                self.groups = value.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?;
            }
            "Umask" => self.umask = u32::from_str_radix(value, 8)?,
            "SigIgn" => self.ignored_signals = hex()?,
            "CapInh" => self.capabilities.inheritable = caps()?,
            "CapPrm" => self.capabilities.permitted = caps()?,
            "CapEff" => self.capabilities.effective = caps()?,
            "CapBnd" => self.capabilities.bounding = caps()?,
            "CapAmb" => self.capabilities.ambient = caps()?,
            "NoNewPrivs" => self.no_new_privileges = value == "1",
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_inherits_is_read_from_status() {
        let text = "Name:\tsh\nUmask:\t0027\nUid:\t1000\t1001\t1002\t1003\nGid:\t7\t8\t9\t10\nGroups:\t4 24 \n\
                    SigIgn:\t0000000000001001\nCapEff:\t0000000000000003\nNoNewPrivs:\t1\n";
        let status = Status::parse(text).unwrap();
        assert_eq!((status.euid, status.egid, status.umask), (1001, 8, 0o27));
        assert_eq!(status.groups, [4, 24]);
        assert_eq!(status.ignored_signals, 1, "SIGHUP stays, SIGPIPE is our own runtime's doing");
        assert_eq!(status.capabilities.effective, CapSet::CHOWN | CapSet::DAC_OVERRIDE);
        assert!(status.no_new_privileges);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let error = Status::parse("Umask:\t0o9\n").unwrap_err();
        assert_eq!(error.to_string(), "/proc/self/status: Umask: \"0o9\"");
    }
}
