//! The sentry's process as the host sees it: confined, told of signals, and gone when it should be.
#![allow(clippy::unwrap_used)]

mod common;

use common::{TempDir, bundle, is_confined, is_dead, is_root, runsc, sentry_of, status_line, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

const NOBODY: u32 = 65534;

/// A sandbox that stays until it gets a signal.
fn sleeping(configure: impl FnOnce(&mut Command) -> &mut Command) -> (Child, u32) {
    let mut command = runsc(&["do", "sleep", "1000"]);
    started(configure(command.stdout(Stdio::null())))
}

fn started(command: &mut Command) -> (Child, u32) {
    let child = command.spawn().unwrap();
    let sentry = sentry_of(&child);
    until(|| is_confined(sentry));
    (child, sentry)
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

fn end(mut child: Child) {
    send(child.id(), Signal::SIGTERM);
    child.wait().unwrap();
}

#[track_caller]
fn assert_confined(sentry: u32, capabilities: &str) {
    for set in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(status_line(sentry, set).unwrap(), "0000000000000000", "{set}");
    }
    for set in ["CapPrm", "CapEff"] {
        assert_eq!(status_line(sentry, set).unwrap(), capabilities, "{set}");
    }
    assert_eq!(status_line(sentry, "NoNewPrivs").unwrap(), "1");
    assert_eq!(status_line(sentry, "Seccomp").unwrap(), "2");
    assert!(status_line(sentry, "NSpid").unwrap().ends_with("\t1"), "not the first of a pid namespace");
    for namespace in ["user", "mnt", "pid", "ipc", "uts", "net", "cgroup"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        assert_ne!(of(&sentry.to_string()), of("self"), "{namespace} namespace");
    }
    let mounts = fs::read_to_string(format!("/proc/{sentry}/mountinfo")).unwrap();
    assert_eq!(mounts.lines().count(), 1, "{mounts}");
    assert!(mounts.contains(" / / ro,nosuid,nodev,noexec"), "{mounts}");
    assert_eq!(fs::read_dir(format!("/proc/{sentry}/root")).unwrap().count(), 0);
}

/// The guest process behind a stub that the host's OOM killer takes is killed; with the sentry all would be.
#[test]
fn the_oom_killer_takes_stubs_before_the_sentry() {
    let (child, sentry) = sleeping(|command| command);
    let score = |pid: &str| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(&sentry.to_string()), score("self"));
    let threads = fs::read_dir(format!("/proc/{sentry}/task")).unwrap();
    let stubs: Vec<String> = threads
        .filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).ok())
        .flat_map(|children| children.split_whitespace().map(String::from).collect::<Vec<_>>())
        .collect();
    assert!(!stubs.is_empty());
    for stub in stubs {
        assert_eq!(score(&stub), "1000\n");
    }
    end(child);
}

#[test]
fn the_sentry_of_root_is_confined() {
    if !is_root() {
        return;
    }
    let (child, sentry) = sleeping(|command| command);
    // CAP_DAC_READ_SEARCH, over the ids of its own user namespace.
    assert_confined(sentry, "0000000000000004");
    end(child);
}

#[test]
fn the_sentry_of_a_user_is_confined() {
    // The folder the program was built in may be its owner's alone.
    let place = TempDir::new();
    // By another process: a descriptor of this one would be open in what other tests fork, and the file be busy.
    let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_runsc-rs"), &place.str("runsc-rs")]).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(place.str("runsc-rs"));
    command.args(["do", "sleep", "1000"]).stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
    let (child, sentry) = started(if is_root() { command.uid(NOBODY).gid(NOBODY) } else { &mut command });
    assert_confined(sentry, "0000000000000000");
    let map = fs::read_to_string(format!("/proc/{sentry}/uid_map")).unwrap();
    assert_eq!(map.split_ascii_whitespace().nth(2), Some("1"), "{map}");
    assert_eq!(fs::read_to_string(format!("/proc/{sentry}/setgroups")).unwrap(), "deny\n");
    end(child);
}

#[test]
fn the_sentry_inherits_no_stray_descriptor() {
    let secret = fs::File::open("/etc/passwd").unwrap();
    let (child, sentry) = sleeping(|command| {
        // SAFETY: dup2 is async-signal-safe.
        unsafe {
            command.pre_exec(move || match nix::libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&secret), 77) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            })
        }
    });
    let open = |pid: u32| fs::read_link(format!("/proc/{pid}/fd/77"));
    assert!(open(child.id()).is_ok());
    assert!(open(sentry).is_err());
    end(child);
}

#[test]
fn signals_are_passed_on() {
    for signal in
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2]
    {
        let (mut child, sentry) = sleeping(|command| command);
        send(child.id(), signal);
        assert_eq!(child.wait().unwrap().code(), Some(128 + signal as i32), "{signal}");
        assert!(is_dead(sentry));
    }
}

#[test]
fn the_command_stops_and_continues_as_a_job() {
    let (mut child, _) = sleeping(|command| command);
    let stopped = |pid| status_line(pid, "State").is_some_and(|state| state.starts_with('T'));
    send(child.id(), Signal::SIGTSTP);
    until(|| stopped(child.id()));
    send(child.id(), Signal::SIGCONT);
    until(|| !stopped(child.id()));
    send(child.id(), Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn the_sandbox_dies_with_its_command() {
    for signal in [Signal::SIGKILL, Signal::SIGABRT] {
        let (mut child, sentry) = sleeping(|command| command);
        send(child.id(), signal);
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
        until(|| is_dead(sentry));
    }
}

#[test]
fn the_death_of_the_sentry_is_an_error() {
    let (child, sentry) = sleeping(|command| command.stderr(Stdio::piped()));
    send(sentry, Signal::SIGKILL);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(128));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(message, "runsc-rs: the sandbox was killed by SIGKILL\n");
}

#[test]
fn run_leaves_nothing_behind() {
    let bundle = bundle(&["sleep", "1000"]);
    let state = TempDir::new();
    let root = format!("--root={}", state.path().display());
    let pid_file = bundle.str("pid");
    let run = [&root, "run", "-b", bundle.path().to_str().unwrap(), "--pid-file", &pid_file, "c"];
    let mounts_before = fs::read_to_string("/proc/self/mountinfo").unwrap();

    let mut child = runsc(&run).stdout(Stdio::null()).spawn().unwrap();
    until(|| fs::read_to_string(&pid_file).is_ok());
    let pid: u32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert_eq!(pid, sentry_of(&child));
    let state_file = fs::read_to_string(state.str("c/state.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&state_file).unwrap();
    assert_eq!((&json["status"], &json["pid"]), (&"running".into(), &pid.into()));

    assert_eq!(common::error(&run, 1), "runsc-rs: container with id \"c\" exists already");

    send(child.id(), Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(is_dead(pid));
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts_before);
}

#[test]
fn the_id_of_a_killed_run_can_be_used_again() {
    let bundle = bundle(&["sleep", "1000"]);
    let state = TempDir::new();
    let root = format!("--root={}", state.path().display());
    let run = [&root, "run", "-b", bundle.path().to_str().unwrap(), "c"];
    let mut child = runsc(&run).stdout(Stdio::null()).spawn().unwrap();
    until(|| fs::exists(state.str("c/state.json")).unwrap());
    let sentry = sentry_of(&child);
    send(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
    until(|| is_dead(sentry));

    let mut child = runsc(&run).stdout(Stdio::null()).spawn().unwrap();
    until(|| is_confined(sentry_of(&child)));
    send(child.id(), Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

/// Runs `true` in a user namespace in which `set_up` has been done first.
fn do_true_in_user_namespace(set_up: &str) -> std::process::Output {
    let script = format!("{set_up} exec \"$0\" do true");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", &script, env!("CARGO_BIN_EXE_runsc-rs")]);
    command.output().unwrap()
}

#[test]
fn a_sandbox_starts_within_a_user_namespace() {
    let output = do_true_in_user_namespace("");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn root_needs_no_user_namespace() {
    let output = do_true_in_user_namespace("echo 0 > /proc/sys/user/max_user_namespaces &&");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_host_without_namespaces_is_named() {
    let output = do_true_in_user_namespace("echo 0 > /proc/sys/user/max_mnt_namespaces &&");
    assert_eq!(output.status.code(), Some(128));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.starts_with("runsc-rs: the host does not let this user make namespaces ("), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn do_makes_no_state() {
    let state = TempDir::new();
    let root = format!("--root={}/none", state.path().display());
    assert!(common::output(&[&root, "do", "true"]).status.success());
    assert!(!fs::exists(state.str("none")).unwrap());
}
