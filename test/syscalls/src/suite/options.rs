//! The command line of `syscall-cases`.

use std::time::Duration;

/// What `--help` prints.
pub(super) const USAGE: &str = "\
usage: syscall-cases [OPTION]...
  --list            print the cases' names and the users they run as
  --run NAME        run one case, in a child process
  --here NAME       run one case in this very process
  --filter TEXT,... only cases whose names contain one of these, and none of those that begin with !
  --after NAME      only cases that come after NAME
  --user [ID]       run the user cases, as this user and group (65534)
  --jobs N          run N cases at a time (1)
  --timeout SECONDS the limit of each case (10)
  --stress SECONDS  no cases, but threads that signal, wake, fork and execute each other for so long
  --announce        print `start NAME` before each case
Without --user, root runs the root cases and anyone else the user cases.
";

/// What is to be done.
pub(super) enum Action {
    Help,
    List,
    All,
    Run(String),
    Here(String),
    Stress(u32),
}

/// The command line, parsed.
pub(super) struct Options {
    pub(super) action: Action,
    pub(super) filter: String,
    pub(super) after: String,
    pub(super) user: Option<u32>,
    pub(super) jobs: u32,
    pub(super) timeout: Duration,
    pub(super) announce: bool,
}

impl Options {
    /// Parses the arguments after the program's name.
    pub(super) fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = args.peekable();
        let mut options = Self {
            action: Action::All,
            filter: String::new(),
            after: String::new(),
            user: None,
            jobs: 1,
            timeout: Duration::from_secs(10),
            announce: false,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg}: expected a value, found none"));
            match arg.as_str() {
                "--help" => options.action = Action::Help,
                "--list" => options.action = Action::List,
                "--run" => options.action = Action::Run(value()?),
                "--here" => options.action = Action::Here(value()?),
                "--stress" => options.action = Action::Stress(number(&arg, &value()?)?),
                "--filter" => options.filter = value()?,
                "--after" => options.after = value()?,
                "--jobs" => options.jobs = number(&arg, &value()?)?.max(1),
                "--timeout" => options.timeout = Duration::from_secs(number(&arg, &value()?)?.into()),
                "--announce" => options.announce = true,
                "--user" => {
                    let id = args.next_if(|next| !next.starts_with("--"));
                    options.user = Some(id.map_or(Ok(65534), |id| number(&arg, &id))?);
                }
                _ => return Err(format!("expected an option, found {arg:?}")),
            }
        }
        Ok(options)
    }

    /// Whether `--filter` and `--after` let the case of this name through.
    pub(super) fn selects(&self, name: &str) -> bool {
        let (mut named, mut any) = (false, false);
        for text in self.filter.split(',') {
            match text.strip_prefix('!') {
                Some(unwanted) if name.contains(unwanted) => return false,
                Some(_) => {}
                None => (named, any) = (named || name.contains(text), true),
            }
        }
        (named || !any) && name > self.after.as_str()
    }
}

fn number(option: &str, text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{option}: expected a number, found {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_name_what_is_wanted_and_what_is_not() {
        let selects = |filter: &str, name| {
            Options::parse(["--filter", filter].map(str::to_owned).into_iter()).unwrap().selects(name)
        };
        assert!(selects("", "a::b"));
        assert!(selects("b", "a::b") && !selects("c", "a::b"));
        assert!(selects("x,b", "a::b") && !selects("x,y", "a::b"));
        assert!(!selects("a::,!b", "a::b") && selects("a::,!b", "a::c"));
        assert!(!selects("!b", "a::b") && selects("!b", "a::c"));
    }
}
