//! One run of the whole suite, natively or in a sandbox that is started again when it dies.

use crate::options::Options;
use crate::stage::{ORDINARY_ID, PROGRAM, Stage, User};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

/// How a case ended.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

/// The cases that ran, by name.
pub(crate) type Outcomes = BTreeMap<String, Outcome>;

/// Runs the suite as `user`, natively or on `platform`.
pub(crate) fn run(
    stage: &Stage,
    user: User,
    platform: Option<&str>,
    options: &Options,
) -> Result<Outcomes, String> {
    let mut outcomes = Outcomes::new();
    let mut after = String::new();
    let deadline = Instant::now() + options.limit;
    loop {
        let end = run_once(stage, user, platform, options, &after, deadline, &mut outcomes)?;
        match end {
            End::Done => return Ok(outcomes),
            // The comparison reports every case that has no outcome; this says why.
            End::Broken { .. } if Instant::now() >= deadline => {
                crate::print(&format!(
                    "{}: not done after {} s\n",
                    place(user, platform),
                    options.limit.as_secs()
                ));
                return Ok(outcomes);
            }
            End::Broken { running: Some(name), why } => {
                outcomes.insert(name.clone(), Outcome::Failed(format!("{why} while it ran")));
                after = name;
            }
            End::Broken { running: None, why } => {
                crate::print(&format!("{}: {why} before a case ran\n", place(user, platform)));
                return Ok(outcomes);
            }
        }
    }
}

/// How one start of the suite's program ended.
enum End {
    Done,
    Broken { running: Option<String>, why: String },
}

fn run_once(
    stage: &Stage,
    user: User,
    platform: Option<&str>,
    options: &Options,
    after: &str,
    deadline: Instant,
    outcomes: &mut Outcomes,
) -> Result<End, String> {
    let mut child = start(stage, user, platform, options, after)?;
    let lines = lines_of(&mut child);
    let mut running = None;
    let (done, silent) = loop {
        let line = match lines
            .recv_timeout(options.silence.min(deadline.saturating_duration_since(Instant::now())))
        {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break (false, false),
            Err(RecvTimeoutError::Timeout) => break (false, true),
        };
        if let Some(name) = line.strip_prefix("start ") {
            running = Some(name.to_owned());
        } else if let Some((name, outcome)) = parse(&line) {
            running = None;
            outcomes.insert(name, outcome);
        } else if line.contains(" passed, ") {
            break (true, false);
        }
    };
    let why = end(child, done, silent, options)?;
    if done {
        return Ok(End::Done);
    }
    let said = last_words(stage);
    Ok(End::Broken { running, why: format!("{why}{said}") })
}

/// The program's command line, started in a process group of its own.
fn start(
    stage: &Stage,
    user: User,
    platform: Option<&str>,
    options: &Options,
    after: &str,
) -> Result<Child, String> {
    let mut command = match platform {
        None => Command::new(stage.program()),
        Some(platform) => {
            let mut command = Command::new(stage.runsc());
            command.arg(format!("--platform={platform}")).arg("do");
            if options.host_tmp {
                command.arg(format!("--volume={}:/tmp", stage.tmp().display()));
                command.arg("--").arg(Path::new("/tmp").join(PROGRAM));
            } else {
                command.arg("--").arg(stage.program());
            }
            command
        }
    };
    command.args(["--announce", "--filter", &options.filter, "--after", after]);
    command.args(["--timeout", &options.timeout.to_string()]);
    if user == User::Ordinary {
        command.args(["--user", &ORDINARY_ID.to_string()]);
        command.env("XDG_RUNTIME_DIR", stage.run_directory()).env("HOME", stage.run_directory());
        if stage.can_be(User::Root) {
            command.uid(ORDINARY_ID).gid(ORDINARY_ID);
        }
    }
    let errors = File::create(stage.errors()).map_err(|error| error.to_string())?;
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).process_group(0);
    command.spawn().map_err(|error| format!("{}: {error}", place(user, platform)))
}

/// The lines of the child's standard output, as they come.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

/// Ends the child and whatever is left of its group; says how it came to its end.
fn end(mut child: Child, done: bool, silent: bool, options: &Options) -> Result<String, String> {
    let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    if !done || silent {
        // A group that is gone already is what is wanted.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    if silent {
        return Ok(format!("it said nothing for {} s", options.silence.as_secs()));
    }
    Ok(format!("it died ({status})"))
}

/// The end of what the program said on standard error.
fn last_words(stage: &Stage) -> String {
    let text = fs::read(stage.errors()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [] => String::new(),
        lines => format!(" [{}]", lines[lines.len().saturating_sub(3)..].join(" | ")),
    }
}

fn parse(line: &str) -> Option<(String, Outcome)> {
    if let Some(name) = line.strip_prefix("ok ") {
        return Some((name.to_owned(), Outcome::Passed));
    }
    let named = |rest: &str| rest.split_once(": ").map(|(name, why)| (name.to_owned(), why.to_owned()));
    if let Some((name, why)) = line.strip_prefix("skip ").and_then(named) {
        return Some((name, Outcome::Skipped(why)));
    }
    let (name, why) = line.strip_prefix("FAIL ").and_then(named)?;
    Some((name, Outcome::Failed(why)))
}

/// `user on ptrace`, `root natively`.
pub(crate) fn place(user: User, platform: Option<&str>) -> String {
    match platform {
        None => format!("{} natively", user.name()),
        Some(platform) => format!("{} on {platform}", user.name()),
    }
}
