//! The list of known differences between Linux and the sandbox.

use crate::stage::User;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One line of the list: `platform-or-* user-or-* case reason`.
struct Entry {
    platform: String,
    user: String,
    case: String,
}

/// The list.
pub(crate) struct Expected(Vec<Entry>);

impl Expected {
    /// Reads the list; `#` starts a comment, every entry needs a reason.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|message| format!("{}:{message}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let mut words = text.split_whitespace();
            let Some(platform) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            let (Some(user), Some(case), Some(_reason)) = (words.next(), words.next(), words.next()) else {
                return Err(format!("{line}: expected `platform user case reason`, found {text:?}"));
            };
            if !["*", "root", "user"].contains(&user) {
                return Err(format!("{line}: expected root, user or *, found {user:?}"));
            }
            entries.push(Entry {
                platform: platform.to_owned(),
                user: user.to_owned(),
                case: case.to_owned(),
            });
        }
        Ok(Self(entries))
    }

    /// Whether `case` is known to fail for `user` on `platform`.
    pub(crate) fn contains(&self, platform: &str, user: User, case: &str) -> bool {
        let covers = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        self.0.iter().any(|entry| {
            entry.case == case && covers(&entry.platform, platform) && covers(&entry.user, user.name())
        })
    }

    /// The listed names that no case has.
    pub(crate) fn unknown(&self, cases: &BTreeSet<String>) -> BTreeSet<String> {
        self.0.iter().map(|entry| &entry.case).filter(|case| !cases.contains(*case)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_covers_what_its_patterns_say() {
        let list = Expected::parse("# comment\n\nptrace * a::b reason here\n* root c because\n")
            .unwrap_or(Expected(vec![]));
        assert!(list.contains("ptrace", User::Root, "a::b"));
        assert!(!list.contains("systrap", User::Root, "a::b"));
        assert!(list.contains("systrap", User::Root, "c"));
        assert!(!list.contains("systrap", User::Ordinary, "c"));
        assert_eq!(list.unknown(&BTreeSet::from(["c".to_owned()])), BTreeSet::from(["a::b".to_owned()]));
    }

    #[test]
    fn an_entry_without_a_reason_is_refused() {
        assert!(Expected::parse("* * a\n").is_err());
        assert!(Expected::parse("* nobody a reason\n").is_err());
    }
}
