//! The repository is about itself: it names no machine it was built on and no tool it was built with.

use crate::rust_text::has_word;
use crate::{Finding, Tree};

/// Places of one machine. In two halves, since this file is checked, too.
const PLACES: [(&str, &str); 7] = [
    ("/work/", "wt"),
    ("/work/", "target"),
    ("/work/", "main"),
    ("/work/", "shared"),
    ("/usr/src", "/l/"),
    ("/root/", ".cargo"),
    (".py", "env"),
];

/// Tools, compared without regard to case.
const TOOLS: [(&str, &str); 6] =
    [("clau", "de"), ("anthro", "pic"), ("open", "ai"), ("cop", "ilot"), ("chat", "gpt"), ("l", "lm")];

/// The only place dependencies come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Paths of a machine, names of tools, and registries other than crates.io.
pub fn machine(tree: &Tree) -> Vec<Finding> {
    let places = PLACES.map(|(a, b)| format!("{a}{b}"));
    let tools = TOOLS.map(|(a, b)| format!("{a}{b}"));
    let mut found = Vec::new();
    for file in &tree.files {
        for (number, line) in file.text.lines().enumerate() {
            let low = line.to_lowercase();
            let place = places.iter().find(|p| line.contains(*p));
            let tool = tools.iter().find(|t| has_word(&low, t));
            let number = number + 1;
            found.extend(
                place.map(|p| Finding::new(&file.path, number, format!("{p} is a path of one machine"))),
            );
            found.extend(tool.map(|t| Finding::new(&file.path, number, format!("{t} has no business here"))));
            found.extend(registry(&file.path, line).map(|text| Finding::new(&file.path, number, text)));
        }
    }
    found
}

fn registry(path: &str, line: &str) -> Option<String> {
    if path.starts_with(".cargo/") && line.trim_start().starts_with("[source") {
        return Some("dependencies come from crates.io".into());
    }
    let source = line.strip_prefix("source = \"").filter(|_| path.ends_with("Cargo.lock"))?;
    (source.trim_end_matches('"') != REGISTRY).then(|| format!("expected crates.io, found {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_tools_and_registries_are_found() {
        let tree = Tree::of(&[
            ("a.md", concat!("see /work/", "wt/x\nMade with Clau", "de\nfine")),
            (
                "Cargo.lock",
                "source = \"registry+https://github.com/rust-lang/crates.io-index\"\nsource = \"git+https://x\"",
            ),
            (".cargo/config.toml", "[source.crates-io]"),
        ]);
        assert_eq!(machine(&tree).len(), 4, "{:?}", machine(&tree));
    }
}
