//! The command line: what is refused, and in which words.
#![allow(clippy::unwrap_used)]

mod common;

use common::{TempDir, bundle, error, output};
use serde_json::Value;
use std::fs;

#[test]
fn version_and_help_are_no_errors() {
    let version = output(&["--version"]);
    assert!(version.status.success());
    let text = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(text.starts_with("runsc-rs version ") && text.contains("\nspec: 1."), "{text}");
    assert!(output(&["help"]).status.success());
    assert!(output(&["do", "--help"]).status.success());
}

#[test]
fn a_command_line_that_makes_no_sense_is_status_2() {
    assert!(error(&["frobnicate"], 2).starts_with("runsc-rs: unrecognized subcommand 'frobnicate'"));
    assert!(error(&["--frobnicate", "do", "true"], 2).contains("--frobnicate"));
    assert!(error(&["run"], 2).contains("<ID>"));
    assert!(error(&["do"], 2).contains("<CMD>"));
    assert!(error(&["--log-format=xml", "features"], 2).contains("xml"));
    assert_eq!(output(&[]).status.code(), Some(2));
}

#[test]
fn unknown_platforms_and_networks_are_named() {
    let message = error(&["--platform=vax", "do", "true"], 128);
    assert_eq!(message, "runsc-rs: --platform=vax: expected auto, ptrace, systrap or kvm");
    assert!(error(&["--platform=kvm", "do", "true"], 128).contains("leave the choice to auto"));
    let message = error(&["--network=carrier-pigeon", "do", "true"], 128);
    assert_eq!(message, "runsc-rs: --network=carrier-pigeon: expected none, sandbox or host");
}

#[test]
fn one_dash_does_before_the_verb() {
    assert!(error(&["-platform=vax", "do", "true"], 128).contains("--platform=vax"));
}

#[test]
fn a_missing_bundle_is_named() {
    let message = error(&["run", "--bundle", "/does/not/exist", "c"], 1);
    assert_eq!(message, "runsc-rs: /does/not/exist/config.json: no such file or directory");
}

#[test]
fn a_malformed_configuration_is_named_by_its_path_in_the_file() {
    let bundle = bundle(&["true"]);
    let path = bundle.str("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["process"]["user"]["uid"] = "root".into();
    fs::write(&path, config.to_string()).unwrap();
    let message = error(&["run", "-b", bundle.path().to_str().unwrap(), "c"], 1);
    let what = "process.user.uid: expected an unsigned 32-bit number, found \"root\"";
    assert_eq!(message, format!("runsc-rs: {path}: {what}"));

    fs::write(&path, "{").unwrap();
    let message = error(&["run", "-b", bundle.path().to_str().unwrap(), "c"], 1);
    assert!(message.contains("line 1, column 1"), "{message}");
}

#[test]
fn a_terminal_that_is_not_there_is_missed() {
    let bundle = bundle(&["true"]);
    let path = bundle.str("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["process"]["terminal"] = true.into();
    fs::write(&path, config.to_string()).unwrap();
    let state = TempDir::new();
    let root = format!("--root={}", state.path().display());
    let mut command = common::runsc(&[&root, "run", "-b", bundle.path().to_str().unwrap(), "c"]);
    // Without a controlling terminal either.
    let output = in_new_session(&mut command).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        message,
        "runsc-rs: a terminal is asked for, but neither standard input, output nor error is one\n"
    );
}

fn in_new_session(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt;
    // SAFETY: setsid is async-signal-safe.
    unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) }
}

#[test]
fn ids_are_checked_and_used_once() {
    let bundle = bundle(&["true"]);
    let dir = bundle.path().to_str().unwrap();
    let state = TempDir::new();
    let root = format!("--root={}", state.path().display());
    assert!(
        error(&[&root, "run", "-b", dir, "../c"], 1).contains("container id \"../c\": expected 1 to 255")
    );
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn what_is_not_there_yet_says_so() {
    assert!(error(&["run", "--detach", "c"], 1).contains("--detach: not built into this version"));
    assert!(error(&["run", "--console-socket", "/s", "c"], 1).contains("--console-socket: not built"));
}

#[test]
fn errors_reach_the_log_of_the_program_that_called() {
    let dir = TempDir::new();
    let log = dir.str("log.json");
    error(&["--log", &log, "--log-format", "json", "run", "-b", "/does/not/exist", "c"], 1);
    let entry: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!(entry["level"], "error");
    assert_eq!(entry["msg"], "/does/not/exist/config.json: no such file or directory");
}

#[test]
fn features_are_json() {
    let features = output(&["features"]);
    let features: Value = serde_json::from_slice(&features.stdout).unwrap();
    assert!(features["mountOptions"].as_array().unwrap().iter().any(|option| option == "rbind"));
    assert!(features["linux"]["capabilities"].as_array().unwrap().iter().any(|cap| cap == "CAP_SYS_ADMIN"));
}

#[test]
fn nothing_is_said_unasked() {
    let output = output(&["do", "true"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
