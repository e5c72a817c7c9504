//! What is committed is finished, as far as it goes.

use crate::rust_text::has_word;
use crate::{Finding, Tree};

/// Marks of what is not there yet. In two halves, since this file is checked, too.
const WORDS: [(&str, &str); 5] =
    [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("to", "do!"), ("unimple", "mented!")];

/// Marks of unfinished work, in comments as well as in code.
pub fn unfinished(tree: &Tree) -> Vec<Finding> {
    let words = WORDS.map(|(a, b)| format!("{a}{b}"));
    let mut found = Vec::new();
    for file in &tree.files {
        for (number, line) in file.text.lines().enumerate() {
            let word = words.iter().find(|word| has_word(line, word));
            found.extend(
                word.map(|word| Finding::new(&file.path, number + 1, format!("{word} is for notes"))),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_they_stand() {
        let tree = Tree::of(&[
            ("a.rs", concat!("x\n// TO", "DO: more\nto", "do!()")),
            ("b.md", concat!("FIX", "ME")),
            ("c.rs", "/tmp/fooXXXXXX XXXX"),
        ]);
        let lines: Vec<usize> = unfinished(&tree).iter().map(|f| f.line).collect();
        assert_eq!(lines, [2, 3, 1]);
    }
}
