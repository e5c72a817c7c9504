//! The command line of `conformance`.

use crate::stage::User;
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
usage: conformance [OPTION]...
  --platform A,B    the sandbox's platforms to run on (ptrace)
  --runsc PATH      the sandbox (target/release/runsc-rs)
  --native-only     run the suite natively, in no sandbox
  --as root,user    the users to run as (both)
  --filter TEXT,... only cases whose names contain one of these, and none of those that begin with !
  --cases PATH      the suite's program (syscall-cases beside this program)
  --expected FILE   the list of expected failures (expected-failures.txt of the suite)
  --timeout SECONDS the limit of each case (10)
  --limit SECONDS   the limit of all of one user's cases on one platform (1200)
  --silence SECONDS how long a sandbox may say nothing before it counts as hung (60)
";

/// The command line, parsed.
pub(crate) struct Options {
    pub(crate) platforms: Vec<String>,
    pub(crate) runsc: PathBuf,
    pub(crate) users: Vec<User>,
    pub(crate) filter: String,
    pub(crate) cases: PathBuf,
    pub(crate) expected: PathBuf,
    pub(crate) timeout: u32,
    pub(crate) silence: Duration,
    pub(crate) limit: Duration,
}

impl Options {
    /// Parses the arguments after the program's name; none for `--help`.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let program =
            std::env::current_exe().map_err(|error| format!("the path of this program: {error}"))?;
        let mut options = Self {
            platforms: vec!["ptrace".to_owned()],
            runsc: PathBuf::from("target/release/runsc-rs"),
            users: vec![User::Root, User::Ordinary],
            filter: String::new(),
            cases: program.with_file_name("syscall-cases"),
            expected: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("expected-failures.txt"),
            timeout: 10,
            silence: Duration::from_secs(60),
            limit: Duration::from_secs(1200),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg}: expected a value, found none"));
            match arg.as_str() {
                "--help" => return Ok(None),
                "--platform" => options.platforms = value()?.split(',').map(str::to_owned).collect(),
                "--native-only" => options.platforms.clear(),
                "--runsc" => options.runsc = value()?.into(),
                "--as" => options.users = value()?.split(',').map(user).collect::<Result<_, _>>()?,
                "--filter" => options.filter = value()?,
                "--cases" => options.cases = value()?.into(),
                "--expected" => options.expected = value()?.into(),
                "--timeout" => options.timeout = number(&arg, &value()?)?,
                "--limit" => options.limit = Duration::from_secs(number(&arg, &value()?)?.into()),
                "--silence" => options.silence = Duration::from_secs(number(&arg, &value()?)?.into()),
                _ => return Err(format!("expected an option (see --help), found {arg:?}")),
            }
        }
        Ok(Some(options))
    }
}

fn user(name: &str) -> Result<User, String> {
    [User::Root, User::Ordinary]
        .into_iter()
        .find(|user| user.name() == name)
        .ok_or(format!("--as: expected root or user, found {name:?}"))
}

fn number(option: &str, text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{option}: expected a number, found {text:?}"))
}
