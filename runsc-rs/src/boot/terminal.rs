//! The container's terminal, and the stream that joins it to the caller's.

use anyhow::{Context, Result, anyhow};
use fs_devpts::Console;
use fs_vfs::{At, File, MountArgs, do_mknodat, do_mount};
use platform_host::tty::WindowSize;
use sentry_auth::Cred;
use sentry_kernel::CurrentTask;
use sentry_uapi::Errno;
use sentry_uapi::errno::EEXIST;
use sentry_uapi::stat::S_IFREG;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

const MS_BIND: u64 = 4096;
const CONSOLE: &[u8] = b"/dev/console";
/// Bytes typed that are passed on at once.
const INPUT_CHUNK: usize = 4096;

/// Makes the terminal of the first process, which calls this, and opens it. As other runtimes do, it is also bound to
/// `/dev/console`, and belongs to the process's user. runc: libcontainer/console_linux.go.
///
/// # Errors
/// Where no devpts is mounted, or the mount fails.
pub(super) fn open(task: &CurrentTask, cred: &Cred, size: WindowSize) -> Result<(Arc<Console>, Arc<File>)> {
    let sys = |e: Errno| anyhow!("cannot make the terminal: {}", e.message());
    let console = Console::new(task, cred.uid, size.rows, size.cols).map_err(sys)?;
    let file = console.open(task).map_err(sys)?;
    match do_mknodat(task, &At::Cwd, CONSOLE, S_IFREG | 0o666, 0) {
        Ok(()) | Err(EEXIST) => {
            let slave = console.path(task).map_err(sys)?;
            let bind = MountArgs { source: Some(&slave), fs_type: None, flags: MS_BIND, data: None };
            do_mount(task, CONSOLE, &bind).map_err(sys)?;
        }
        // There is no /dev to put it in.
        Err(_) => {}
    }
    Ok((console, file))
}

/// The threads between a terminal and its stream.
pub(super) struct ConsoleStreams {
    console: Arc<Console>,
    output: JoinHandle<()>,
}

impl ConsoleStreams {
    /// Starts them. The end of the stream is the hang-up of the caller's terminal.
    ///
    /// # Errors
    /// When the host makes no threads.
    pub(super) fn connect(console: &Arc<Console>, stream: OwnedFd) -> Result<ConsoleStreams> {
        let mut to = std::fs::File::from(stream);
        let mut from = to.try_clone().context("terminal")?;
        let (typed, shown) = (console.clone(), console.clone());
        spawn("tty-in", move || {
            let mut chunk = [0; INPUT_CHUNK];
            while let Ok(n @ 1..) = from.read(&mut chunk) {
                typed.input(chunk.get(..n).unwrap_or_default());
            }
            typed.hang_up();
        })?;
        let output = spawn("tty-out", move || shown.pump(&mut to))?;
        Ok(ConsoleStreams { console: console.clone(), output })
    }

    /// The container has ended: waits until the caller has everything it wrote.
    pub(super) fn finish(self) {
        self.console.finish();
        // A panic of the thread has ended the process already.
        let _ = self.output.join();
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.into()).stack_size(128 << 10);
    thread.spawn(body).context("thread")
}
