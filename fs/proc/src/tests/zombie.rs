//! A process that has ended and was not waited for.

use super::{list, read, readlink, with_proc};
use sentry_kernel::{CloneRequest, CurrentTask, WaitOptions, WaitTarget};
use sentry_uapi::errno::ENOENT;
use sentry_uapi::sched::CloneFlags;
use sentry_uapi::signal::SIGCHLD;

/// Makes a child and waits until it has ended: the guest has no code to run.
fn ended_child(task: &mut CurrentTask) -> u64 {
    let request = CloneRequest {
        flags: CloneFlags::empty(),
        exit_signal: SIGCHLD,
        stack: 0,
        parent_tid: 0,
        child_tid: 0,
        tls: 0,
        set_tid: Vec::new(),
    };
    let pid = task.clone_task(&request, &mut |_, _| Ok(())).unwrap_or_else(|e| unreachable!("{e}"));
    let id = u32::try_from(pid).unwrap_or(0);
    while task.kernel().tree.lock().processes.get(&id).is_some_and(|p| p.zombie.is_none()) {
        std::thread::yield_now();
    }
    pid
}

#[test]
fn a_zombie_keeps_its_name_and_ids_and_little_else() {
    with_proc(|task| {
        let pid = ended_child(task);
        assert!(list(task, "/proc").is_ok_and(|names| names.contains(&pid.to_string())));
        let file = |name: &str| read(task, &format!("/proc/{pid}/{name}")).unwrap_or_default();
        let status = file("status");
        assert!(status.starts_with("Name:\tinit (x) y\nState:\tZ (zombie)\nTgid:\t2\n"), "{status}");
        assert!(status.contains("\nPPid:\t1\n") && status.contains("\nUid:\t0\t0\t0\t0\n"), "{status}");
        assert!(status.contains("\nThreads:\t0\n") && !status.contains("VmSize"), "{status}");
        let stat = file("stat");
        assert!(stat.starts_with("2 (init (x) y) Z 1 1 1 0 -1 "), "{stat}");
        assert_eq!(stat.trim_end().rsplit(' ').next(), Some("9"), "{stat}");
        for name in ["cmdline", "environ", "maps", "smaps", "auxv"] {
            assert_eq!(file(name), "", "{name}");
        }
        assert_eq!(file("comm"), "init (x) y\n");
        assert_eq!(file("statm"), "0 0 0 0 0 0 0\n");
        assert_eq!(readlink(task, &format!("/proc/{pid}/exe")), Err(ENOENT));
        assert_eq!(list(task, &format!("/proc/{pid}/task")).as_deref(), Ok(&[pid.to_string()][..]));
    });
}

#[test]
fn a_name_in_use_does_not_keep_a_number() {
    with_proc(|task| {
        let pid = ended_child(task);
        let fd = super::open(task, &format!("/proc/{pid}/status"), sentry_uapi::fcntl::OpenFlags::empty());
        let fd = fd.unwrap_or(-1);
        let ns = task.pid_ns();
        let nr = u32::try_from(pid).unwrap_or(0);
        assert!(ns.find(nr).is_some());
        let waited = task.do_wait(WaitTarget::Pid(nr), WaitOptions::EXITED);
        assert!(waited.is_ok_and(|outcome| outcome.is_some()));
        // The thread lets go of its id a moment after it has told of its end.
        while ns.find(nr).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(super::read_fd(task, fd, 100), Err(sentry_uapi::errno::ESRCH));
        assert_eq!(read(task, &format!("/proc/{pid}/status")), Err(ENOENT));
        assert!(list(task, "/proc").is_ok_and(|names| !names.contains(&pid.to_string())));
    });
}
