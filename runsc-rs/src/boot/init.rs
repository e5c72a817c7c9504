//! The first process of a container.

use super::files::Files;
use super::identity::Identity;
use super::{CommandError, StdioFd, terminal};
use crate::config::Network;
use crate::container::{ContainerSpec, Process};
use crate::sandbox::control::ControlChannel;
use anyhow::{Context, Result, anyhow};
use fs_devpts::Console;
use fs_hostfs::host_fd_file;
use fs_vfs::{At, FdTable, File, FileType, LookupFlags, TaskContext, chdir, do_open_execat};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::fstat;
use platform_host::poller::HostPoller;
use platform_host::tty::WindowSize;
use sentry_auth::Cred;
use sentry_kernel::{CurrentTask, InitProcess, Kernel, NsProxy, ThreadGroup, UtsNames, init_rlimits};
use sentry_loader::Arguments;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, ENOENT, ENOTDIR};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::resource::{RLIMIT_STACK, Rlimit};
use sentry_uapi::sched::CloneFlags;
use sentry_uapi::sigaction::{SIG_IGN, SigAction};
use sentry_uapi::signal::NSIG;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, mpsc};

/// What the first process begins with, beside its container.
pub(super) struct Start {
    /// Standard input, output and error.
    pub(super) stdio: [StdioFd; 3],
    /// The size of its terminal, if it is to have one.
    pub(super) terminal: Option<WindowSize>,
    /// What it sees of a network.
    pub(super) network: Network,
}

/// Starts the first process, and tells the command once its program is loaded.
///
/// # Errors
/// A [`CommandError`] for a program that cannot be started; anything else is a failure of the runtime.
pub(super) fn start(
    kernel: &Arc<Kernel>,
    spec: ContainerSpec,
    files: Files,
    start: Start,
    poller: &HostPoller,
    control: &Arc<ControlChannel>,
) -> Result<(Arc<ThreadGroup>, Option<Arc<Console>>)> {
    let Start { stdio, terminal, network } = start;
    let identity = Identity::new(kernel, &spec)?;
    let stdio = open_stdio(kernel, stdio, poller, &Arc::new(identity.process.clone()))?;
    let ns = namespaces(kernel, &identity, &spec, &files, network);
    let init = InitProcess {
        cred: identity.maker.clone(),
        fs: files.fs.clone(),
        files: FdTable::new(),
        ns,
        rlimits: rlimits(&spec.process),
        no_new_privs: spec.process.no_new_privileges,
        oom_score_adj: spec.process.oom_score_adj.unwrap_or(0),
    };
    let (report, outcome) = mpsc::channel();
    let group = kernel
        .start_init(init, move |task| {
            let result = prepare(task, &spec, &files, stdio, terminal, identity);
            let failed = result.is_err();
            // The other end waits for exactly one message.
            let _ = report.send(result);
            if failed { Err(ENOENT) } else { Ok(()) }
        })
        .map_err(|e| anyhow!("cannot make the first process: {}", e.message()))?;
    let console = outcome.recv().context("the first process ended before it began")??;
    control.started()?;
    Ok((group, console))
}

/// On the new process's own thread: mounts, descriptors, identity, program.
fn prepare(
    task: &mut CurrentTask,
    spec: &ContainerSpec,
    files: &Files,
    stdio: [Stdio; 3],
    terminal: Option<WindowSize>,
    identity: Identity,
) -> Result<Option<Arc<Console>>> {
    files.mount_all(task, spec, &identity.user_ns)?;
    let console = terminal.map(|size| terminal::open(task, &identity.process, size)).transpose()?;
    let table = TaskContext::files(task);
    for fd in stdio {
        let file = match (fd, &console) {
            (Stdio::File(file), _) => file,
            (Stdio::Terminal, Some((_, file))) => file.clone(),
            (Stdio::Terminal, None) => return Err(anyhow!("standard descriptors: there is no terminal")),
        };
        table.install(task, file, false).map_err(|e| anyhow!("standard descriptors: {}", e.message()))?;
    }
    task.fs().set_umask(spec.process.user.umask);
    let sighand = task.group.sighand();
    for signo in (1..=NSIG).filter(|s| spec.process.ignored_signals & (1 << (s - 1)) != 0) {
        sighand.set(signo, SigAction { handler: SIG_IGN, ..SigAction::default() });
    }
    if identity.is_mapped() {
        // Its mounts are its own, but what has been mounted for it cannot be taken away piece by piece.
        task.commit_creds(identity.root);
        task.unshare(CloneFlags::NEWNS).map_err(|e| anyhow!("mount namespace: {}", e.message()))?;
    }
    task.commit_creds(identity.process);
    let cwd = spec.process.cwd.as_os_str().as_bytes();
    chdir(task, cwd).map_err(|e| anyhow!("chdir to cwd ({:?}): {}", spec.process.cwd, e.message()))?;
    exec(task, &spec.process)?;
    Ok(console.map(|(console, _)| console))
}

fn exec(task: &mut CurrentTask, process: &Process) -> Result<()> {
    let name = process.args.first().context("no program")?.to_bytes();
    let shown = String::from_utf8_lossy(name).into_owned();
    let (path, file, deny) = find(task, name, process).map_err(|e| match e {
        ENOENT | ENOTDIR => CommandError::NotFound(shown.clone()),
        e => CommandError::CannotExecute(shown.clone(), e.message().to_lowercase()),
    })?;
    let limit = task.group.rlimit(RLIMIT_STACK).cur;
    let mut load = || -> Result<(), Errno> {
        let mut args = Arguments::new(&path, process.args.len(), process.env.len(), limit)?;
        for env in &process.env {
            args.push_envp(env.to_bytes())?;
        }
        for arg in &process.args {
            args.push_argv(arg.to_bytes())?;
        }
        args.finish()?;
        let mut open = |task: &CurrentTask, path: &[u8]| -> Result<Arc<File>, Errno> {
            Ok(do_open_execat(task, &At::Cwd, path, LookupFlags::FOLLOW)?.0)
        };
        task.execve(file.clone(), deny.clone(), args, &path, false, &mut open)
    };
    load().map_err(|e| CommandError::CannotExecute(shown, e.message().to_lowercase()))?;
    Ok(())
}

type Guard = Arc<dyn std::any::Any + Send + Sync>;

/// Finds the program as execvp(3) would.
fn find(task: &CurrentTask, name: &[u8], process: &Process) -> Result<(Vec<u8>, Arc<File>, Guard), Errno> {
    let open = |path: &[u8]| {
        do_open_execat(task, &At::Cwd, path, LookupFlags::FOLLOW)
            .map(|(file, deny)| (path.to_vec(), file, Arc::new(deny) as Guard))
    };
    if name.contains(&b'/') {
        return open(name);
    }
    let path = process.env.iter().find_map(|e| e.to_bytes().strip_prefix(b"PATH="));
    let path = path.unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut result = ENOENT;
    for dir in path.split(|b| *b == b':') {
        let mut full = if dir.is_empty() { b".".to_vec() } else { dir.to_vec() };
        full.push(b'/');
        full.extend_from_slice(name);
        match open(&full) {
            Ok(found) => return Ok(found),
            Err(ENOENT | ENOTDIR) => {}
            Err(EACCES) => result = EACCES,
            Err(e) => return Err(e),
        }
    }
    Err(result)
}

fn rlimits(process: &Process) -> [Rlimit; sentry_uapi::resource::RLIM_NLIMITS] {
    let mut limits = init_rlimits();
    for l in &process.rlimits {
        if let Some(slot) = usize::try_from(l.resource).ok().and_then(|r| limits.get_mut(r)) {
            *slot = Rlimit { cur: l.soft, max: l.hard };
        }
    }
    limits
}

fn namespaces(
    kernel: &Kernel,
    identity: &Identity,
    spec: &ContainerSpec,
    files: &Files,
    network: Network,
) -> NsProxy {
    let names = UtsNames {
        nodename: spec.hostname.as_bytes().to_vec(),
        domainname: spec.domainname.as_bytes().to_vec(),
    };
    let ethernet = (network == Network::Sandbox).then(|| eth_random_addr(kernel));
    NsProxy::new_initial(kernel, &identity.user_ns, files.mnt_ns.clone(), names, ethernet)
}

/// A hardware address that nobody was given: unicast, locally administered. Linux: include/linux/etherdevice.h.
fn eth_random_addr(kernel: &Kernel) -> [u8; 6] {
    let mut address = [0; 6];
    kernel.random(&mut address);
    address[0] = (address[0] & 0xfe) | 0x02;
    address
}

/// A standard descriptor of the first process.
enum Stdio {
    File(Arc<File>),
    /// The container's terminal, which is there once its devpts is mounted.
    Terminal,
}

fn open_stdio(
    kernel: &Arc<Kernel>,
    stdio: [StdioFd; 3],
    poller: &HostPoller,
    cred: &Arc<Cred>,
) -> Result<[Stdio; 3]> {
    let open = |fd| match fd {
        StdioFd::Host(fd) => host_file(kernel, fd, poller, cred).map(Stdio::File),
        StdioFd::Terminal => Ok(Stdio::Terminal),
    };
    let [stdin, stdout, stderr] = stdio;
    Ok([open(stdin)?, open(stdout)?, open(stderr)?])
}

fn host_file(kernel: &Kernel, fd: OwnedFd, poller: &HostPoller, cred: &Arc<Cred>) -> Result<Arc<File>> {
    let mode = fstat(&fd).context("standard descriptors")?.st_mode;
    let flags = fcntl(&fd, FcntlArg::F_GETFL).context("standard descriptors")?;
    let file_type = FileType::from_mode(mode).unwrap_or(FileType::CharDevice);
    let access = OpenFlags::from_bits_retain(flags.cast_unsigned() & 3);
    host_fd_file(&kernel.vfs, poller, fd, file_type, access, cred.clone())
        .map_err(|e| anyhow!("standard descriptors: {}", e.message()))
}
