//! A file over 600 lines is a sign that two things live in it.

use crate::{Baseline, Finding, Tree};

/// Lines a file may have.
const MAX: usize = 600;

/// Rust files of more than 600 lines, except for those that the baseline lists.
pub fn length(tree: &Tree, baseline: &Baseline) -> Vec<Finding> {
    let long = tree.rust().map(|f| (f.path.clone(), f.text.lines().count())).filter(|(_, n)| *n > MAX);
    baseline.judge("lines", &long.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_found() {
        let (fits, long) = ("\n".repeat(600), "\n".repeat(601));
        let tree = Tree::of(&[("a.rs", &fits), ("b.rs", &long), ("c.md", &long)]);
        let found = length(&tree, &Baseline::default());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "b.rs");
        assert_eq!(length(&tree, &Baseline::parse("lines b.rs 601").unwrap()), []);
    }
}
