//! The caller's terminal: raw while the container runs, and as before afterwards.
#![allow(clippy::unwrap_used)]

mod common;

use common::{is_dead, runsc, sentry_of, until};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::{Pid, read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};

struct OnTerminal {
    child: Child,
    master: OwnedFd,
    slave: OwnedFd,
    before: Termios,
}

fn start(args: &[&str]) -> OnTerminal {
    let pty = openpty(None, None).unwrap();
    let before = tcgetattr(&pty.slave).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let child = runsc(args).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    OnTerminal { child, master: pty.master, slave: pty.slave, before }
}

fn is_raw(tty: impl AsFd) -> bool {
    let flags = tcgetattr(tty).unwrap().local_flags;
    !flags.intersects(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
}

impl OnTerminal {
    fn is_as_before(&self) -> bool {
        tcgetattr(&self.slave).unwrap() == self.before
    }
}

#[test]
fn the_terminal_is_raw_and_then_as_before() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut on = start(&["do", "sleep", "1000"]);
        until(|| is_raw(&on.slave));
        kill(Pid::from_raw(on.child.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(on.child.wait().unwrap().code(), Some(128 + signal as i32));
        assert!(on.is_as_before());
    }
}

#[test]
fn the_terminal_is_put_back_when_the_sentry_is_killed() {
    let mut on = start(&["do", "sleep", "1000"]);
    until(|| is_raw(&on.slave));
    let sentry = sentry_of(&on.child);
    kill(Pid::from_raw(sentry.try_into().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(on.child.wait().unwrap().code(), Some(128));
    assert!(is_dead(sentry));
    assert!(on.is_as_before());
}

#[test]
fn what_the_container_wrote_last_is_shown() {
    let mut on = start(&["do", "echo", "the last word"]);
    assert!(on.child.wait().unwrap().success());
    assert!(on.is_as_before());
    let mut shown = [0; 1024];
    let n = read(&on.master, &mut shown).unwrap();
    assert!(String::from_utf8_lossy(&shown[..n]).contains("the last word"));
}

#[test]
fn output_to_a_pipe_leaves_the_terminal_alone() {
    let pty = openpty(None, None).unwrap();
    let before = tcgetattr(&pty.slave).unwrap();
    let mut child = runsc(&["do", "sleep", "1000"])
        .stdin(pty.slave.try_clone().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let sentry = sentry_of(&child);
    until(|| common::is_confined(sentry));
    assert_eq!(tcgetattr(&pty.slave).unwrap(), before);
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
}
