//! A guest may end itself, never the sentry.

use crate::{Baseline, Finding, RustText, Tree};
use std::collections::BTreeMap;

/// What ends a thread. Clippy's own lints can be allowed away, one by one; these are counted.
const WORDS: [&str; 5] = [".unwrap()", ".expect(", ".unwrap_err()", "panic!(", "unreachable!("];

/// Calls that panic in the code of `sentry`, `fs` and `syscalls`, by crate.
pub fn panics(tree: &Tree, baseline: &Baseline) -> Vec<Finding> {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for file in tree.rust().filter(|f| !f.is_test()) {
        let Some(place) = place(&file.path) else { continue };
        let code = RustText::new(&file.text).without_tests().code.join("\n");
        let n: usize = WORDS.iter().map(|word| code.matches(word).count()).sum();
        if n > 0 {
            *counted.entry(place).or_default() += n;
        }
    }
    baseline.judge("panics", &counted)
}

/// The crate's folder.
fn place(path: &str) -> Option<String> {
    let mut parts = path.split('/');
    match parts.next()? {
        "syscalls" => Some("syscalls".to_owned()),
        group @ ("sentry" | "fs") => Some(format!("{group}/{}", parts.next()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_guests_reach_counts() {
        let tree = Tree::of(&[
            ("fs/vfs/src/a.rs", "fn f() { x.unwrap(); y.expect(\"\") } // .unwrap()"),
            ("fs/vfs/src/b.rs", "fn f() { unreachable!(\"no\") }"),
            ("fs/vfs/src/c.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n fn g() { x.unwrap() }\n}\n"),
            ("fs/vfs/src/tests/d.rs", "fn f() { x.unwrap() }"),
            ("runsc-rs/src/e.rs", "fn f() { x.unwrap() }"),
        ]);
        let found = panics(&tree, &Baseline::default());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].text, "panics: 3, where none is allowed");
        assert_eq!(panics(&tree, &Baseline::parse("panics fs/vfs 3").unwrap()), []);
    }
}
