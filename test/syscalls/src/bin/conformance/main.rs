//! Runs the suite natively and in the sandbox on every platform asked for, and compares.
//!
//! Linux is the oracle: what passes natively must pass inside. Known differences stand in `expected-failures.txt`.

mod account;
mod expected;
mod options;
mod stage;
mod suite;

use account::Account;
use expected::Expected;
use options::Options;
use stage::{Stage, User};
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print(options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => return refuse(&message),
    };
    match compare(&options) {
        Ok(account) => {
            print(&account.summary());
            if account.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => refuse(&message),
    }
}

/// Runs everything and accounts for it.
fn compare(options: &Options) -> Result<Account, String> {
    let expected = Expected::read(&options.expected)?;
    let stage = Stage::new(options)?;
    let mut account = Account::default();
    for stale in expected.unknown(&stage.cases()?) {
        account.fail("list", &stale, "expected a case of this name, found none");
    }
    for user in options.users.iter().copied().filter(|user| stage.can_be(*user)) {
        let native = suite::run(&stage, user, None, options)?;
        account.add_native(user, &native);
        for platform in &options.platforms {
            let inside = suite::run(&stage, user, Some(platform), options)?;
            account.add_inside(user, platform, &native, &inside, &expected);
        }
    }
    Ok(account)
}

fn refuse(message: &str) -> ExitCode {
    print(&format!("conformance: {message}\n"));
    ExitCode::from(2)
}

/// Writes to standard output.
fn print(text: &str) {
    // Nobody is left to tell if the reader is gone.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

impl User {
    /// How reports and the list of expected failures call it.
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Ordinary => "user",
        }
    }
}
