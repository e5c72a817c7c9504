//! Every check, run on this repository.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use test_lint::{Baseline, Finding, Tree, checks};

fn tree() -> Tree {
    Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()).unwrap()
}

fn baseline() -> Baseline {
    Baseline::parse(include_str!("../baseline.txt")).unwrap_or_else(|finding| panic!("{finding}"))
}

fn none(found: &[Finding]) {
    let lines: Vec<String> = found.iter().map(Finding::to_string).collect();
    assert!(found.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn files_are_short() {
    none(&checks::length(&tree(), &baseline()));
}

#[test]
fn guests_reach_no_panic() {
    none(&checks::panics(&tree(), &baseline()));
}

#[test]
fn nothing_is_unfinished() {
    none(&checks::unfinished(&tree()));
}

#[test]
fn no_machine_and_no_tool_is_named() {
    none(&checks::machine(&tree()));
}

#[test]
fn unsafe_code_is_in_its_places() {
    none(&checks::in_place(&tree()));
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    none(&checks::justified(&tree()));
}

#[test]
fn crates_forbid_unsafe_code() {
    none(&checks::forbidden(&tree()));
}

#[test]
fn crates_depend_downward() {
    none(&checks::direction(&tree()));
}

#[test]
fn dependencies_have_allowed_licences() {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata = String::from_utf8(metadata.stdout).unwrap();
    assert!(metadata.contains("\"license\""), "metadata without licences");
    none(&checks::licences(&metadata, include_str!("../../../deny.toml")));
}
