//! The register of cases.

use crate::guest::Guest;

/// Every case of the suite, in link order.
#[linkme::distributed_slice]
pub static CASES: [Case];

/// One case: a rule of the kernel and the function that checks it.
pub struct Case {
    /// The module that holds it.
    pub module: &'static str,
    /// The function's name, which states the rule.
    pub function: &'static str,
    /// Runs as root.
    pub as_root: bool,
    /// Runs as an ordinary user.
    pub as_user: bool,
    /// The check itself: returns if the rule holds.
    pub run: fn(&mut Guest),
}

impl Case {
    /// The name on the command line and in reports: `files::open::excl_refuses_an_existing_file`.
    #[must_use]
    pub fn name(&self) -> String {
        let area = self.module.split_once("cases::").map_or(self.module, |(_, area)| area);
        format!("{area}::{}", self.function)
    }

    /// The users it runs as, as `--list` prints them.
    #[must_use]
    pub fn users(&self) -> &'static str {
        match (self.as_root, self.as_user) {
            (true, true) => "as_root,as_user",
            (true, false) => "as_root",
            _ => "as_user",
        }
    }
}

/// All cases, sorted by name.
#[must_use]
pub fn sorted() -> Vec<&'static Case> {
    let mut cases: Vec<_> = CASES.iter().collect();
    cases.sort_by_key(|case| case.name());
    cases
}
