//! Ratchets: rules of this repository that neither the compiler nor clippy checks.
//!
//! Each check takes the [`Tree`] and returns what it finds. What is allowed for now stands in `baseline.txt` and may only
//! shrink: a number that is too high fails like one that is too low. `tests/repository.rs` runs every check on the
//! repository itself.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod baseline;
pub mod checks;
mod manifest;
mod rust_text;
mod tree;

pub use baseline::Baseline;
pub use manifest::Manifest;
pub use rust_text::RustText;
pub use tree::{SourceFile, Tree};

use std::fmt;

/// Something a check objects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path relative to the repository.
    pub path: String,
    /// Line from 1; 0 for the file as a whole.
    pub line: usize,
    /// What was expected, what was found.
    pub text: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}
