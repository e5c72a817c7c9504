//! What the sentry gives up for good before it runs guest code.
//!
//! Namespaces and the empty root come first, and belong to `boot`. Then go capabilities and the right to gain any
//! (`no_new_privs`), while there is a single thread, since each thread has its own. Last, with the back-end open, goes every
//! system call the sentry does not need.

use super::{Io, filter, violation};
use crate::container::{ContainerSpec, Mount, MountSource};
use crate::sandbox::control::ControlChannel;
use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use platform_host::capability::drop_capabilities;
use platform_kvm::KvmDescriptors;
use sentry_auth::CapSet;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// Gives up, for this thread and all that it will start, every capability that the container does not call for, and the
/// right to gain any. `privileged` says whether the sentry has those of root over the host's files to begin with.
pub(super) fn drop_rights(spec: &ContainerSpec, privileged: bool) -> Result<()> {
    let kept = kept_capabilities(privileged, writes_to_host(spec));
    drop_capabilities(kept.bits()).context("cannot drop capabilities")?;
    prctl::set_no_new_privs().context("prctl(PR_SET_NO_NEW_PRIVS)")?;
    // A change of capabilities may make the process undumpable, and its children untraceable with it.
    prctl::set_dumpable(true).context("prctl(PR_SET_DUMPABLE)")
}

/// The filter of system calls that a sentry is going to enter.
#[derive(Debug)]
#[must_use = "guest code may only run in confinement"]
pub struct Confinement {
    /// The sockets messages are exchanged on.
    sockets: Vec<RawFd>,
    control: RawFd,
    /// Whether host files may be created, changed and removed.
    writes_to_host: bool,
}

impl Confinement {
    /// The filter for a container.
    pub(super) fn new(spec: &ContainerSpec, io: &Io, control: &ControlChannel) -> Confinement {
        let control = control.as_fd().as_raw_fd();
        let mut sockets = vec![control];
        sockets.extend(io.strace.iter().map(|strace| strace.as_fd().as_raw_fd()));
        sockets.extend(io.owners.iter().map(|owners| owners.as_fd().as_raw_fd()));
        Confinement { sockets, control, writes_to_host: writes_to_host(spec) }
    }

    /// Enters it, with all threads there are and will be. There is no way back. `kvm` is the virtual machine's
    /// descriptors, if guests run in one.
    ///
    /// # Errors
    /// When the host refuses it; the sentry must not go on then.
    pub fn enter(self, kvm: Option<KvmDescriptors>) -> Result<()> {
        violation::install(self.control);
        let needs = filter::Needs { sockets: &self.sockets, writes_to_host: self.writes_to_host, kvm };
        filter::install(&needs).context("cannot install the seccomp filter")
    }
}

fn writes_to_host(spec: &ContainerSpec) -> bool {
    let writable_bind =
        |mount: &Mount| matches!(mount.source, MountSource::Bind { .. }) && !mount.options.readonly();
    spec.root.writes_to_host() || spec.mounts.iter().any(writable_bind)
}

/// The kernel checks file permissions itself, for ids of the guest. So it needs to get past the host's checks for its
/// own: to read whatever root may read and, only where the guest can write to the host, to do so in anybody's name.
fn kept_capabilities(privileged: bool, writes_to_host: bool) -> CapSet {
    match (privileged, writes_to_host) {
        (false, _) => CapSet::empty(),
        (true, false) => CapSet::DAC_READ_SEARCH,
        (true, true) => {
            CapSet::DAC_READ_SEARCH | CapSet::DAC_OVERRIDE | CapSet::CHOWN | CapSet::FOWNER | CapSet::FSETID
        }
    }
}

/// Raises the limit on descriptors as far as it goes: a guest's open host files and stubs all take some.
pub(super) fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Staying with less is no reason to stop.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::control::{Channel, Event};
    use nix::libc;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    /// What became of a call made in confinement.
    #[derive(Debug, PartialEq, Eq)]
    enum Verdict {
        /// The call was made; the probe returned this.
        Made(i32),
        /// The filter stopped it.
        Stopped,
    }

    fn confined_with(writes_to_host: bool, probe: impl FnOnce() -> i32) -> Verdict {
        confined_in(None, writes_to_host, probe)
    }

    /// Runs a probe in a confined process, which reports what it returned or which call it was stopped at.
    fn confined_in(
        kvm: Option<KvmDescriptors>,
        writes_to_host: bool,
        probe: impl FnOnce() -> i32,
    ) -> Verdict {
        let (ours, theirs) = Channel::pair().unwrap();
        let control = theirs.as_fd().as_raw_fd();
        // SAFETY: glibc's fork leaves its allocator usable; the child takes no lock another thread may hold, and leaves
        // by _exit.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                prctl::set_no_new_privs().unwrap();
                let confinement = Confinement { sockets: vec![control], control, writes_to_host };
                let code = if confinement.enter(kvm).is_ok() { probe() } else { 99 };
                violation::exit_now(code)
            }
            ForkResult::Parent { child } => {
                drop(theirs);
                let event = ours.recv::<Event>().unwrap();
                let status = waitpid(child, None).unwrap();
                match (event, status) {
                    (Some(Event::Failed { .. }), WaitStatus::Exited(_, 1)) => Verdict::Stopped,
                    (None, WaitStatus::Exited(_, code)) => Verdict::Made(code),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn confined(probe: impl FnOnce() -> i32) -> Verdict {
        confined_with(false, probe)
    }

    #[track_caller]
    fn stopped(number: i64, args: [i64; 4]) {
        let [a, b, c, d] = args;
        // SAFETY: in a process of its own, and with arguments that name no memory.
        let verdict = confined(|| i32::from(unsafe { libc::syscall(number, a, b, c, d, 0, 0) } != 0));
        assert_eq!(verdict, Verdict::Stopped, "system call {number}");
    }

    #[test]
    fn nothing_leads_to_the_hosts_files() {
        let here = i64::from(libc::AT_FDCWD);
        stopped(libc::SYS_open, [0; 4]);
        stopped(libc::SYS_mkdirat, [here, 0, 0, 0]);
        stopped(libc::SYS_unlinkat, [here, 0, 0, 0]);
        stopped(libc::SYS_chroot, [0; 4]);
        stopped(libc::SYS_mount, [0; 4]);
        stopped(libc::SYS_umount2, [0; 4]);
        stopped(libc::SYS_pivot_root, [0; 4]);
        stopped(libc::SYS_open_tree, [here, 0, 0, 0]);
        stopped(libc::SYS_move_mount, [0; 4]);
        stopped(libc::SYS_open_by_handle_at, [0; 4]);
    }

    #[test]
    fn opening_by_path_writes_nothing() {
        // The root of a sentry is empty and read-only; here, where it is the host's, no more than reading is tried.
        let verdict = confined(|| i32::from(std::fs::File::create("/proc/no-such-file").is_ok()));
        assert_eq!(verdict, Verdict::Made(0));
    }

    #[test]
    fn nothing_leads_to_other_processes_or_the_network() {
        stopped(libc::SYS_execve, [0; 4]);
        stopped(libc::SYS_execveat, [0; 4]);
        stopped(libc::SYS_socket, [i64::from(libc::AF_INET), i64::from(libc::SOCK_STREAM), 0, 0]);
        stopped(libc::SYS_connect, [0; 4]);
        stopped(libc::SYS_sendmsg, [0; 4]);
        stopped(libc::SYS_pidfd_open, [1, 0, 0, 0]);
        stopped(libc::SYS_pidfd_getfd, [0; 4]);
        stopped(libc::SYS_process_vm_readv, [0; 4]);
        stopped(libc::SYS_kcmp, [0; 4]);
    }

    #[test]
    fn nothing_widens_what_the_process_may_do() {
        stopped(libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0, 0]);
        stopped(libc::SYS_clone, [i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0, 0]);
        stopped(libc::SYS_setns, [0; 4]);
        stopped(libc::SYS_setuid, [0; 4]);
        stopped(libc::SYS_capset, [0; 4]);
        stopped(libc::SYS_prctl, [i64::from(libc::PR_SET_KEEPCAPS), 1, 0, 0]);
        stopped(libc::SYS_prlimit64, [0, 0, 8, 0]);
        stopped(libc::SYS_bpf, [0; 4]);
        stopped(libc::SYS_io_uring_setup, [0; 4]);
        stopped(libc::SYS_userfaultfd, [0; 4]);
        stopped(libc::SYS_perf_event_open, [0; 4]);
        stopped(libc::SYS_keyctl, [0; 4]);
        stopped(libc::SYS_init_module, [0; 4]);
        let tiocsti = i64::try_from(libc::TIOCSTI).unwrap();
        stopped(libc::SYS_ioctl, [0, tiocsti, 0, 0]);
        stopped(libc::SYS_fcntl, [0, i64::from(libc::F_SETOWN), 0, 0]);
    }

    #[test]
    fn clone3_is_as_if_it_did_not_exist() {
        let verdict = confined(|| {
            // SAFETY: names no memory.
            let result = unsafe { libc::syscall(libc::SYS_clone3, 0, 0) };
            i32::from(result == -1 && nix::errno::Errno::last() == nix::errno::Errno::ENOSYS)
        });
        assert_eq!(verdict, Verdict::Made(1));
    }

    #[test]
    fn host_files_are_written_only_where_the_container_may() {
        let probe = || {
            // SAFETY: names no memory.
            i32::from(unsafe { libc::syscall(libc::SYS_mkdirat, -1, 0, 0) } == -1)
        };
        assert_eq!(confined(probe), Verdict::Stopped);
        assert_eq!(confined_with(true, probe), Verdict::Made(1));
    }

    #[test]
    fn requests_to_kvm_are_those_of_the_back_end_on_its_descriptors() {
        const KVM_CREATE_VM: u32 = 0xae01;
        const KVM_CREATE_DEVICE: u32 = 0xc00c_aee0;
        let file = std::fs::File::open("/dev/null").unwrap();
        let (vm, other) = (file.as_raw_fd(), file.as_raw_fd() + 1);
        let vcpus = vm + 100..vm + 110;
        let own = || Some(KvmDescriptors { vm, vcpus: vcpus.clone() });
        let verdict = |kvm, fd: RawFd, request: u32| {
            // No file here knows the requests, so that they fail where they are made.
            // SAFETY: without an argument.
            let probe = || i32::from(unsafe { libc::ioctl(fd, libc::c_ulong::from(request), 0) } == -1);
            confined_in(kvm, false, probe)
        };
        for request in platform_kvm::requests::VM {
            assert_eq!(verdict(own(), vm, request), Verdict::Made(1), "{request:#x}");
            assert_eq!(verdict(own(), other, request), Verdict::Stopped, "{request:#x}");
            assert_eq!(verdict(own(), vcpus.start, request), Verdict::Stopped, "{request:#x}");
            assert_eq!(verdict(None, vm, request), Verdict::Stopped, "{request:#x}");
        }
        for request in platform_kvm::requests::VCPU {
            for inside in [vcpus.start, vcpus.end - 1] {
                assert_eq!(verdict(own(), inside, request), Verdict::Made(1), "{request:#x}");
                assert_eq!(verdict(None, inside, request), Verdict::Stopped, "{request:#x}");
            }
            for outside in [vm, vcpus.start - 1, vcpus.end, -1] {
                assert_eq!(verdict(own(), outside, request), Verdict::Stopped, "{request:#x} on {outside}");
            }
        }
        for request in [KVM_CREATE_VM, KVM_CREATE_DEVICE] {
            assert_eq!(verdict(own(), vm, request), Verdict::Stopped, "{request:#x}");
            assert_eq!(verdict(own(), vcpus.start, request), Verdict::Stopped, "{request:#x}");
        }
        // A processor's descriptor is put in its place, and nowhere else.
        for (to, flags, expected) in [
            (vcpus.start, libc::O_CLOEXEC, Verdict::Made(vcpus.start)),
            (vcpus.start, 0, Verdict::Stopped),
            (vcpus.end, libc::O_CLOEXEC, Verdict::Stopped),
            (vm, libc::O_CLOEXEC, Verdict::Stopped),
        ] {
            // SAFETY: passes numbers only.
            let probe = || unsafe { libc::dup3(vm, to, flags) };
            assert_eq!(confined_in(own(), false, probe), expected, "{to} {flags}");
        }
    }

    #[test]
    fn a_sentry_can_do_its_work() {
        let directory = std::fs::File::open("/").unwrap();
        let verdict = confined(|| {
            let made =
                std::thread::spawn(|| platform_host::memfd::MemoryWindow::new("test", 1 << 30).is_ok())
                    .join();
            // SAFETY: the strings end in NUL, and the buffer is as long as it says.
            let beneath = unsafe {
                let mut stat: libc::stat = std::mem::zeroed();
                let directory = directory.as_raw_fd();
                libc::fstatat(directory, c"etc".as_ptr(), &raw mut stat, libc::AT_SYMLINK_NOFOLLOW) == 0
                    && libc::openat(directory, c"etc".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY) >= 0
            };
            i32::from(matches!(made, Ok(true))) | i32::from(beneath) << 1
        });
        assert_eq!(verdict, Verdict::Made(3));
    }

    #[test]
    fn a_sentry_can_run_stubs() {
        let verdict = confined(|| {
            // SAFETY: the child makes two system calls and stays in the parent's program.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                    libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), libc::SIGSTOP);
                    libc::_exit(0);
                }
                let mut status = 0;
                let mut regs: libc::user_regs_struct = std::mem::zeroed();
                let stopped = libc::waitpid(child, &raw mut status, 0) == child && libc::WIFSTOPPED(status);
                let read = libc::ptrace(libc::PTRACE_GETREGS, child, 0, &raw mut regs) == 0;
                libc::kill(child, libc::SIGKILL);
                let reaped = libc::waitpid(child, &raw mut status, 0) == child && libc::WIFSIGNALED(status);
                i32::from(stopped) | i32::from(read) << 1 | i32::from(reaped) << 2
            }
        });
        assert_eq!(verdict, Verdict::Made(7));
    }

    #[test]
    fn capabilities_are_kept_only_for_root_and_only_for_files() {
        assert_eq!(kept_capabilities(false, true), CapSet::empty());
        assert_eq!(kept_capabilities(true, false), CapSet::DAC_READ_SEARCH);
        let for_writing = kept_capabilities(true, true);
        assert!(
            !for_writing.intersects(CapSet::SYS_ADMIN | CapSet::SYS_PTRACE | CapSet::MKNOD | CapSet::SETUID)
        );
    }
}
