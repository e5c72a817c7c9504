//! Where the runtime ends and the kernel begins.

use super::confine::Confinement;
use super::files::Files;
use super::init;
use super::platform;
use super::terminal::ConsoleStreams;
use super::{Io, Options, memory_file};
use crate::container::ContainerSpec;
use crate::sandbox::control::{ControlChannel, Request};
use crate::sandbox::{ExitStatus, SETTLED};
use ::platform::PlatformStats;
use anyhow::{Context, Result, anyhow};
use fs_devpts::Console;
use fs_vfs::Vfs;
use platform_host::poller::HostPoller;
use sentry_auth::UserNamespace;
use sentry_kernel::signal::SigSource;
use sentry_kernel::{Kernel, KernelParts, SyscallTable, ThreadGroup, VdsoPages};
use sentry_loader::Vdso;
use sentry_time::Clocks;
use sentry_uapi::signal::{SI_USER, SigInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The version of Linux whose behaviour is followed, as `LINUX_VERSION_CODE` has it: 6.1.0.
const LINUX_VERSION_CODE: u32 = 6 << 16 | 1 << 8;

/// Runs the container to its end, in this process.
///
/// Called with a single thread, in namespaces of its own and with an empty root, but with the host's system calls and
/// capabilities still at hand, so that a back-end can be opened. [`Confinement::enter`] must come before guest code.
///
/// # Errors
/// When the container cannot be started; a [`super::CommandError`] for a program that cannot be.
pub fn run(
    spec: ContainerSpec,
    io: Io,
    control: &Arc<ControlChannel>,
    options: &Options,
    confinement: Confinement,
) -> Result<ExitStatus> {
    let memory = memory_file::make(io.huge, io.memory)?;
    let make = || platform::make(options.platform, io.kvm, &memory);
    let (platform, kvm) = match io.oom_score {
        Some(mut score) => score.of_stubs(make),
        None => make(),
    }?;
    if platform.maps_host_files() {
        memory.use_host_files().map_err(|e| anyhow!("cannot reserve address space for host files: {e}"))?;
    }
    let clocks = Arc::new(Clocks::host());
    let vdso = Vdso::new(&memory, &clocks, LINUX_VERSION_CODE, true)
        .map_err(|e| anyhow!("cannot make the vDSO: {e}"))?;
    let vdso = VdsoPages { vvar_len: Vdso::VVAR_LEN, image_len: vdso.image_len(), pages: vdso };
    let user_ns = UserNamespace::new_initial();
    let vfs = Vfs::new(clocks.clone(), &user_ns);
    let Io { stdio, terminal, trees, strace, owners, cpuinfo: io_cpuinfo, .. } = io;
    let tracer = strace.map(super::tracer::new);
    let kernel = Kernel::new(KernelParts {
        platform,
        memory,
        timers: vfs.timers.clone(),
        clocks,
        vfs,
        user_ns,
        syscalls: SyscallTable { entries: syscalls::table::entries(), tracer },
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        random: platform_host::random::fill,
        vdso: Some(vdso),
    });
    let poller = HostPoller::new().map_err(|e| anyhow!("cannot watch host descriptors: {e}"))?;
    let files = Files::new(&kernel, &spec, trees, owners, &io_cpuinfo)?;
    confinement.enter(kvm)?;

    let start = init::Start { stdio, terminal: terminal.as_ref().map(|t| t.size), network: options.network };
    let (group, console) = init::start(&kernel, spec, files, start, &poller, control)?;
    let streams = match (&console, terminal) {
        (Some(console), Some(terminal)) => Some(ConsoleStreams::connect(console, terminal.stream)?),
        _ => None,
    };
    spawn_control(control, &kernel, &group, console)?;
    let status = kernel.wait_for_init(Some(Instant::now() + SETTLED)).or_else(|| {
        platform_host::program::forget_start_up();
        kernel.memory.trim();
        kernel.wait_for_init(None)
    });
    tell_counters(kernel.platform.stats());
    if let Some(streams) = streams {
        streams.finish();
    }
    status.map(exit_status).context("the first process has left no status")
}

/// What the back-end has counted, for `--debug`.
fn tell_counters(stats: &PlatformStats) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    tracing::debug!(
        switches = count(&stats.switches),
        exits = count(&stats.exits),
        answered = count(&stats.answered),
        map_batches = count(&stats.map_batches),
        map_ops = count(&stats.map_ops),
        address_spaces = count(&stats.address_spaces),
        stub_threads = count(&stats.stub_threads),
        "the back-end's counters"
    );
}

/// Carries out what the command asks for. Its end ends the sandbox.
fn spawn_control(
    control: &Arc<ControlChannel>,
    kernel: &Arc<Kernel>,
    group: &Arc<ThreadGroup>,
    console: Option<Arc<Console>>,
) -> Result<()> {
    let (control, kernel, group) = (control.clone(), kernel.clone(), group.clone());
    let serve = move || {
        while let Ok(Some(request)) = control.recv() {
            match request {
                Request::Signal { signo, to_group } => send(&kernel, &group, signo, to_group),
                Request::WindowSize { rows, cols } => {
                    if let Some(console) = &console {
                        console.resize(rows, cols);
                    }
                }
                Request::IdsMapped => {}
            }
        }
        kernel.kill_all();
    };
    std::thread::Builder::new()
        .name("control".into())
        .stack_size(128 << 10)
        .spawn(serve)
        .context("thread")?;
    Ok(())
}

fn send(kernel: &Kernel, group: &ThreadGroup, signo: i32, to_group: bool) {
    let info = SigInfo::from_process(signo, SI_USER, 0, 0);
    // A first process that does not handle the signal is ended by it, as it would be without a pid namespace.
    let source = SigSource::Outside;
    let _ =
        if to_group { kernel.kill_pgrp(group.id(), info, source) } else { group.send_signal(info, source) };
}

fn exit_status(status: i32) -> ExitStatus {
    match status & 0x7f {
        0 => ExitStatus::Exited(u8::try_from((status >> 8) & 0xff).unwrap_or(u8::MAX)),
        signo => ExitStatus::Signaled(signo),
    }
}
