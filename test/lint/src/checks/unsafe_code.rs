//! `unsafe` is kept where it can be reviewed.

use crate::rust_text::has_word;
use crate::{Finding, Manifest, RustText, SourceFile, Tree};

/// Where `unsafe` may stand: the host's side of things, and guest programs of the conformance suite.
const ALLOWED: [&str; 11] = [
    "platform/host/",
    "platform/kvm/",
    "platform/ptrace/",
    "platform/suite/",
    "platform/systrap/",
    "runsc-rs/",
    "sentry/mm/src/",
    "sentry/sync/src/",
    // Calls the functions of the vDSO image it has built.
    "sentry/loader/tests/vdso.rs",
    // What is measured inside.
    "test/bench/src/work/",
    "test/syscalls/src/",
];

/// Crates that may go without `#![forbid(unsafe_code)]`.
const EXEMPT: [&str; 9] = [
    "platform/host",
    "platform/kvm",
    "platform/ptrace",
    "platform/systrap",
    "runsc-rs",
    "sentry/mm",
    "sentry/sync",
    "test/bench",
    "test/syscalls",
];

/// How many lines above `unsafe` its justification may end.
const NEAR: usize = 8;

/// `unsafe` where it may not stand.
pub fn in_place(tree: &Tree) -> Vec<Finding> {
    let outside = tree.rust().filter(|f| !ALLOWED.iter().any(|place| f.path.starts_with(place)));
    outside
        .flat_map(|file| {
            let text = RustText::new(&file.text);
            let lines: Vec<usize> = uses(&text).collect();
            lines.into_iter().map(|line| Finding::new(&file.path, line + 1, "unsafe where none is allowed"))
        })
        .collect()
}

/// `unsafe` without a comment that says why it is sound: `SAFETY:`, or `# Safety` for what the caller must see to.
pub fn justified(tree: &Tree) -> Vec<Finding> {
    let unjustified = |file: &SourceFile| -> Vec<Finding> {
        let text = RustText::new(&file.text);
        let said = |line: usize| {
            let comments = text.comments.get(line.saturating_sub(NEAR)..=line).unwrap_or_default();
            comments.iter().any(|c| c.contains("SAFETY:") || c.contains("# Safety"))
        };
        uses(&text)
            // What a block of foreign items declares is answered for where it is called.
            .filter(|line| !text.code[*line].contains("unsafe extern \"\" {"))
            .filter(|line| !said(*line))
            .map(|line| Finding::new(&file.path, line + 1, "expected a // SAFETY: comment above unsafe"))
            .collect()
    };
    tree.rust().flat_map(unjustified).collect()
}

/// Crates without `#![forbid(unsafe_code)]`, other than those that need it.
pub fn forbidden(tree: &Tree) -> Vec<Finding> {
    let manifests = tree.files.iter().filter_map(|f| Manifest::parse(&f.path, &f.text));
    let mut found = Vec::new();
    for manifest in manifests.filter(|m| !EXEMPT.contains(&m.folder.as_str())) {
        for path in ["lib.rs", "main.rs"].map(|name| format!("{}/src/{name}", manifest.folder)) {
            // A crate without any code has nothing to forbid.
            let lacks = |text: &str| {
                let code = RustText::new(text).code;
                let mut lines =
                    code.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).peekable();
                lines.peek().is_some() && !lines.any(|line| line == "#![forbid(unsafe_code)]")
            };
            if tree.get(&path).is_some_and(lacks) {
                found.push(Finding::new(&path, 0, "expected #![forbid(unsafe_code)]"));
            }
        }
    }
    found
}

/// Lines on which something unsafe begins; the type of an unsafe function is not.
fn uses(text: &RustText) -> impl Iterator<Item = usize> {
    let begins = |(line, code): (usize, &String)| {
        let declares_type = code.contains("unsafe fn(") || code.contains("unsafe extern \"\" fn(");
        let attribute = code.contains("#[unsafe(");
        (has_word(code, "unsafe") && !declares_type && !attribute).then_some(line)
    };
    text.code.iter().enumerate().filter_map(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "fn f() {\n    unsafe { g() }\n}\n";

    #[test]
    fn unsafe_stays_in_its_places() {
        let tree = Tree::of(&[
            ("platform/host/src/io.rs", BLOCK),
            ("fs/vfs/src/inode.rs", BLOCK),
            ("fs/vfs/src/file.rs", "// unsafe\nfn f() { s(\"unsafe\") }\n#![forbid(unsafe_code)]"),
        ]);
        assert_eq!(in_place(&tree), [Finding::new("fs/vfs/src/inode.rs", 2, "unsafe where none is allowed")]);
    }

    #[test]
    fn every_use_has_its_reason() {
        let tree = Tree::of(&[
            ("a.rs", BLOCK),
            ("b.rs", "fn f() {\n    // SAFETY: g needs nothing.\n    unsafe { g() }\n}\n"),
            ("c.rs", "/// # Safety\n/// As g.\nunsafe fn f() {}\ntype F = unsafe fn(u8);\n"),
            ("d.rs", "unsafe impl Send for X {}\n"),
        ]);
        let found: Vec<String> = justified(&tree).into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["a.rs", "d.rs"]);
    }

    #[test]
    fn crates_forbid_unsafe_code() {
        let package = "[package]\nname = \"x\"\n";
        let tree = Tree::of(&[
            ("fs/vfs/Cargo.toml", package),
            ("fs/vfs/src/lib.rs", "//! #![forbid(unsafe_code)]\nmod inode;"),
            ("fs/proc/Cargo.toml", package),
            ("fs/proc/src/lib.rs", "//! Proc.\n#![forbid(unsafe_code)]\n"),
            ("platform/host/Cargo.toml", package),
            ("platform/host/src/lib.rs", ""),
        ]);
        let found: Vec<String> = forbidden(&tree).into_iter().map(|f| f.path).collect();
        assert_eq!(found, ["fs/vfs/src/lib.rs"]);
    }
}
