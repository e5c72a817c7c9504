//! Files read by a task of a kernel whose guest runs no code.

mod kernel;
mod process;
mod tree;
mod zombie;

use crate::{ProcFs, ProcParams};
use fs_vfs::testfs::TestFs;
use fs_vfs::{
    At, DirSink, FdTable, FsStruct, IoFlags, MountArgs, MountNamespace, OpenHow, Path, TaskContext, Vfs,
    build_open_flags, do_mkdirat, do_mount, do_readlinkat, do_sys_open,
};
use platform_scripted::ScriptedPlatform;
use sentry_auth::{Cred, UserNamespace};
use sentry_kernel::{
    CurrentTask, InitProcess, Kernel, KernelParts, NsProxy, SyscallTable, UtsNames, init_rlimits,
};
use sentry_mm::{IoDst, IoSrc, MemoryFile};
use sentry_time::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::fcntl::OpenFlags;
use std::sync::{Arc, mpsc};

fn new_kernel() -> Arc<Kernel> {
    let memory = MemoryFile::new().unwrap_or_else(|e| unreachable!("{e}"));
    memory.set_limit(1 << 30);
    let clocks = Arc::new(Clocks::host());
    let user_ns = UserNamespace::new_initial();
    let vfs = Vfs::new(clocks.clone(), &user_ns);
    Kernel::new(KernelParts {
        platform: ScriptedPlatform::new(Vec::new()),
        memory,
        timers: vfs.timers.clone(),
        clocks,
        vfs,
        user_ns,
        syscalls: SyscallTable { entries: Vec::new(), tracer: None },
        cpus: 2,
        random: |buf| buf.fill(7),
        vdso: None,
    })
}

fn first_process(kernel: &Arc<Kernel>) -> InitProcess {
    let user_ns = kernel.user_ns.clone();
    let root = kernel.vfs.kern_mount(TestFs::new_root(&kernel.vfs, &user_ns));
    let top = Path { mnt: root.clone(), dentry: root.root.clone() };
    let names = UtsNames { nodename: b"box".to_vec(), domainname: b"(none)".to_vec() };
    let mnt = MountNamespace::new(&kernel.vfs, user_ns.clone(), &root);
    let ns = NsProxy::new_initial(kernel, &user_ns, mnt, names, None);
    InitProcess {
        cred: Cred::root(user_ns),
        fs: FsStruct::new(&top),
        files: FdTable::new(),
        ns,
        rlimits: init_rlimits(),
        no_new_privs: false,
        oom_score_adj: 0,
    }
}

/// Runs `test` as the first process, with `/proc` mounted with these options.
fn with_options(options: &'static str, test: impl FnOnce(&mut CurrentTask) + Send + 'static) {
    let kernel = new_kernel();
    let params = ProcParams {
        release: "6.1.0-test".into(),
        version: "#1 SMP test".into(),
        cmdline: b"quiet".to_vec(),
        cpuinfo: std::fs::read("/proc/cpuinfo").unwrap_or_default(),
    };
    let procfs = ProcFs::new(&kernel, params);
    assert_eq!(kernel.vfs.filesystems().register(Arc::new(procfs)), Ok(()));
    let (done, wait) = mpsc::channel();
    let init = first_process(&kernel);
    let started = kernel.start_init(init, move |task| {
        do_mkdirat(task, &At::Cwd, b"/proc", 0o755)?;
        let args = MountArgs { source: Some(b"proc"), fs_type: Some(b"proc"), flags: 0, data: Some(options) };
        do_mount(task, b"/proc", &args)?;
        task.task().set_comm(b"init (x) y");
        test(task);
        let _ = done.send(());
        Err(sentry_uapi::errno::ENOEXEC)
    });
    assert!(started.is_ok());
    assert_eq!(wait.recv(), Ok(()), "the test has failed on its own thread");
}

fn with_proc(test: impl FnOnce(&mut CurrentTask) + Send + 'static) {
    with_options("", test);
}

fn open(task: &CurrentTask, path: &str, flags: OpenFlags) -> Result<i32, Errno> {
    let op = build_open_flags(&OpenHow::for_open(flags.bits(), 0))?;
    do_sys_open(task, &At::Cwd, path.as_bytes(), &op)
}

fn read_fd(task: &CurrentTask, fd: i32, piece: usize) -> Result<Vec<u8>, Errno> {
    let file = task.files().get(fd)?;
    let mut text = Vec::new();
    loop {
        let mut buf = vec![0; piece];
        let n = file.read(task, &mut IoDst::from_slice(&mut buf), IoFlags::empty())?;
        if n == 0 {
            return Ok(text);
        }
        text.extend_from_slice(&buf[..n]);
    }
}

fn read_bytes(task: &CurrentTask, path: &str) -> Result<Vec<u8>, Errno> {
    let fd = open(task, path, OpenFlags::empty())?;
    let text = read_fd(task, fd, 100);
    task.files().close(task, fd)?;
    text
}

fn read(task: &CurrentTask, path: &str) -> Result<String, Errno> {
    read_bytes(task, path).map(|b| String::from_utf8_lossy(&b).into_owned())
}

fn write(task: &CurrentTask, path: &str, text: &str) -> Result<usize, Errno> {
    let fd = open(task, path, OpenFlags::WRONLY)?;
    let file = task.files().get(fd)?;
    let n = file.write(task, &mut IoSrc::from_slice(text.as_bytes()), IoFlags::empty());
    drop(file);
    task.files().close(task, fd)?;
    n
}

fn readlink(task: &CurrentTask, path: &str) -> Result<String, Errno> {
    do_readlinkat(task, &At::Cwd, path.as_bytes()).map(|b| String::from_utf8_lossy(&b).into_owned())
}

/// Takes a few entries at a time.
#[derive(Default)]
struct Names {
    seen: Vec<String>,
    room: usize,
}

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], _ino: u64, _dtype: u8, _next: u64) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.seen.push(String::from_utf8_lossy(name).into_owned());
        true
    }
}

fn list(task: &CurrentTask, path: &str) -> Result<Vec<String>, Errno> {
    let fd = open(task, path, OpenFlags::DIRECTORY)?;
    let file = task.files().get(fd)?;
    let mut names = Names::default();
    loop {
        let before = names.seen.len();
        names.room = 7;
        file.readdir(task, &mut names)?;
        if names.seen.len() == before {
            break;
        }
    }
    drop(file);
    task.files().close(task, fd)?;
    names.seen.retain(|n| n != "." && n != "..");
    Ok(names.seen)
}

/// The native kernel's file.
fn native(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// What stands before the first colon of each line.
fn labels(text: &str) -> Vec<&str> {
    text.lines().filter_map(|l| l.split_once(':')).map(|(label, _)| label).collect()
}
