//! What passed, what failed, and the table of it.

use crate::expected::Expected;
use crate::stage::User;
use crate::suite::{Outcome, Outcomes, place};
use std::fmt::Write;

/// The numbers of one run of the suite.
#[derive(Default)]
struct Row {
    place: String,
    passed: usize,
    failed: usize,
    known: usize,
    skipped: usize,
}

/// The rows of all runs.
#[derive(Default)]
pub(crate) struct Account {
    rows: Vec<Row>,
    stale: usize,
}

impl Account {
    /// Counts a failure that belongs to no run and prints it.
    pub(crate) fn fail(&mut self, place: &str, case: &str, why: &str) {
        self.stale += 1;
        say(place, case, why);
    }

    /// Adds a native run: what fails there is a wrong case.
    pub(crate) fn add_native(&mut self, user: User, native: &Outcomes) {
        let mut row = Row { place: place(user, None), ..Row::default() };
        for (case, outcome) in native {
            match outcome {
                Outcome::Passed => row.passed += 1,
                Outcome::Skipped(why) => {
                    row.skipped += 1;
                    crate::print(&format!("skip {case} ({}): {why}\n", row.place));
                }
                Outcome::Failed(why) => {
                    row.failed += 1;
                    say(&row.place, case, why);
                }
            }
        }
        self.rows.push(row);
    }

    /// Adds a run in the sandbox: what passes natively must pass there, unless it is expected not to.
    pub(crate) fn add_inside(
        &mut self,
        user: User,
        platform: &str,
        native: &Outcomes,
        inside: &Outcomes,
        expected: &Expected,
    ) {
        let mut row = Row { place: place(user, Some(platform)), ..Row::default() };
        let mut missing = Vec::new();
        for (case, outcome) in native {
            if *outcome != Outcome::Passed {
                row.skipped += 1;
                continue;
            }
            let listed = expected.contains(platform, user, case);
            match inside.get(case) {
                Some(Outcome::Passed) if listed => {
                    row.failed += 1;
                    say(&row.place, case, "passes, but the list of expected failures has it");
                }
                Some(Outcome::Passed) => row.passed += 1,
                _ if listed => row.known += 1,
                None => {
                    row.failed += 1;
                    missing.push(case.as_str());
                }
                Some(Outcome::Skipped(why)) => {
                    row.failed += 1;
                    say(&row.place, case, &format!("passes natively, skipped here: {why}"));
                }
                Some(Outcome::Failed(why)) => {
                    row.failed += 1;
                    say(&row.place, case, why);
                }
            }
        }
        if let [first, .., last] = missing.as_slice() {
            let count = missing.len();
            say(&row.place, &format!("{first} to {last}"), &format!("{count} cases did not run here"));
        } else if let [only] = missing.as_slice() {
            say(&row.place, only, "did not run here");
        }
        self.rows.push(row);
    }

    /// How many failures there are in all.
    pub(crate) fn failed(&self) -> usize {
        self.stale + self.rows.iter().map(|row| row.failed).sum::<usize>()
    }

    /// The table and the closing line, which counts known failures as skipped.
    pub(crate) fn summary(&self) -> String {
        let mut text =
            format!("\n{:24} {:>7} {:>7} {:>7} {:>7}\n", "", "passed", "failed", "known", "skipped");
        for row in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:24} {:>7} {:>7} {:>7} {:>7}",
                row.place, row.passed, row.failed, row.known, row.skipped
            );
        }
        let sum = |number: fn(&Row) -> usize| self.rows.iter().map(number).sum::<usize>();
        let skipped = sum(|row| row.known + row.skipped);
        let _ =
            writeln!(text, "{} passed, {} failed, {skipped} skipped", sum(|row| row.passed), self.failed());
        text
    }
}

fn say(place: &str, case: &str, why: &str) {
    crate::print(&format!("FAIL {case} ({place}): {why}\n"));
}
