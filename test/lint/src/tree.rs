//! The repository's files.

use std::path::Path;
use std::{fs, io};

/// A file of text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path relative to the repository, with `/`.
    pub path: String,
    /// Contents.
    pub text: String,
}

impl SourceFile {
    /// Whether it is compiled for tests only, going by its place: `tests/`, `benches/`, `examples/`, the crates under
    /// `test/`, and modules by the name of `tests` or `testfs`.
    pub fn is_test(&self) -> bool {
        let in_test_folder =
            self.path.split('/').rev().skip(1).any(|part| matches!(part, "tests" | "benches" | "examples"));
        in_test_folder
            || self.path.starts_with("test/")
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("/testfs.rs")
    }

    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// All files of text under a folder.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Sorted by path.
    pub files: Vec<SourceFile>,
}

impl Tree {
    /// Reads what is below `root`, apart from build results, hidden folders other than `.ci` and `.cargo`, and files that
    /// are no text.
    ///
    /// # Errors
    /// What the host says.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let file_type = entry.file_type()?;
                let kept_out =
                    name.starts_with('.') && !matches!(name.as_str(), ".ci" | ".cargo" | ".gitignore");
                if kept_out || name.ends_with(".local.md") || name.ends_with(".log") {
                    continue;
                }
                if file_type.is_dir() {
                    if name != "target" {
                        folders.push(entry.path());
                    }
                } else if file_type.is_file()
                    && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
                {
                    let path = entry.path();
                    let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                    tree.files.push(SourceFile { path, text });
                }
            }
        }
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// A tree of the files given, for tests.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| SourceFile { path: (*path).into(), text: (*text).into() };
        Self { files: files.iter().map(file).collect() }
    }

    /// The text of one file.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|f| f.path == path).map(|f| f.text.as_str())
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|f| f.is_rust())
    }
}
