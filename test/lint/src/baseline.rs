//! `baseline.txt`: what is allowed for now.

use crate::Finding;
use std::collections::BTreeMap;

/// Numbers that may only shrink, by rule and place.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    allowed: BTreeMap<(String, String), usize>,
}

/// Where it stands.
pub(crate) const PATH: &str = "test/lint/baseline.txt";

impl Baseline {
    /// Reads lines of `rule place number`; `#` begins a comment.
    ///
    /// # Errors
    /// The first line that is not like that.
    pub fn parse(text: &str) -> Result<Self, Finding> {
        let mut allowed = BTreeMap::new();
        for (number, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts: Vec<&str> = line.split_whitespace().collect();
            let [rule, place, count] = parts[..] else {
                return Err(Finding::new(
                    PATH,
                    number,
                    format!("expected `rule place number`, found {line:?}"),
                ));
            };
            let count = count
                .parse()
                .map_err(|_| Finding::new(PATH, number, format!("expected a number, found {count:?}")))?;
            allowed.insert((rule.to_owned(), place.to_owned()), count);
        }
        Ok(Self { allowed })
    }

    /// Compares what a rule counted with what it may be: no more, and also no less, so that the list shrinks with it.
    pub(crate) fn judge(&self, rule: &str, counted: &BTreeMap<String, usize>) -> Vec<Finding> {
        let listed = self.allowed.iter().filter(|((r, _), _)| r == rule).map(|((_, place), n)| (place, *n));
        let gone = listed.clone().filter(|(place, n)| counted.get(*place).is_none_or(|c| c < n)).map(
            |(place, n)| {
                let now = counted.get(place).copied().unwrap_or(0);
                Finding::new(PATH, 0, format!("{rule} {place} {n}: is {now} by now, lower the number"))
            },
        );
        let grown = counted
            .iter()
            .map(|(place, n)| (place, *n, listed.clone().find(|(p, _)| *p == place).map_or(0, |(_, n)| n)))
            .filter(|(_, n, allowed)| n > allowed)
            .map(|(place, n, allowed)| match allowed {
                0 => Finding::new(place, 0, format!("{rule}: {n}, where none is allowed")),
                _ => Finding::new(place, 0, format!("{rule}: {n}, where {allowed} are allowed")),
            });
        gone.chain(grown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_neither_grow_nor_stay_too_high() {
        let baseline = Baseline::parse("# comment\nlines a.rs 700\n").unwrap();
        let judge = |path: &str, n| baseline.judge("lines", &BTreeMap::from([(path.to_owned(), n)]));
        assert_eq!(judge("a.rs", 700), []);
        assert_eq!(judge("a.rs", 701).len(), 1);
        assert_eq!(judge("a.rs", 699).len(), 1);
        assert_eq!(judge("b.rs", 601).len(), 2);
    }

    #[test]
    fn lines_that_make_no_sense_are_told() {
        assert_eq!(Baseline::parse("lines a.rs").unwrap_err().line, 1);
        assert_eq!(Baseline::parse("\nlines a.rs many").unwrap_err().line, 2);
    }
}
