//! `Cargo.toml`, read as far as the checks need it.

/// A crate of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Folder, relative to the repository.
    pub folder: String,
    /// Package name.
    pub name: String,
    /// Names under `[dependencies]` and `[build-dependencies]`.
    pub dependencies: Vec<String>,
    /// Names under `[dev-dependencies]`.
    pub dev_dependencies: Vec<String>,
    /// Whether it takes the workspace's lints.
    pub workspace_lints: bool,
}

impl Manifest {
    /// Reads the manifest at `path`; none for one without a package.
    pub fn parse(path: &str, text: &str) -> Option<Self> {
        let folder = path.strip_suffix("/Cargo.toml")?.to_owned();
        let mut manifest = Self {
            folder,
            name: String::new(),
            dependencies: Vec::new(),
            dev_dependencies: Vec::new(),
            workspace_lints: false,
        };
        let mut section = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name;
                if let Some((kind, name)) = name.split_once('.') {
                    manifest.depend(kind, name);
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=').map(|(k, v)| (k.trim(), v.trim())) else {
                continue;
            };
            match section {
                "package" if key == "name" => manifest.name = value.trim_matches('"').to_owned(),
                "lints" if key == "workspace" => manifest.workspace_lints = value == "true",
                _ => manifest.depend(section, key.split('.').next().unwrap_or(key)),
            }
        }
        (!manifest.name.is_empty()).then_some(manifest)
    }

    fn depend(&mut self, section: &str, name: &str) {
        match section {
            "dependencies" | "build-dependencies" => self.dependencies.push(name.to_owned()),
            "dev-dependencies" => self.dev_dependencies.push(name.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_dependency_is_read() {
        let text = "[package]\nname = \"a-b\"\n[dependencies]\nx = { workspace = true }\ny.workspace = true\n\
                    [dependencies.z]\nversion = \"1\"\n[dev-dependencies]\nw = \"1\"\n[lints]\nworkspace = true\n";
        let manifest = Manifest::parse("a/b/Cargo.toml", text).unwrap();
        assert_eq!(manifest.name, "a-b");
        assert_eq!(manifest.folder, "a/b");
        assert_eq!(manifest.dependencies, ["x", "y", "z"]);
        assert_eq!(manifest.dev_dependencies, ["w"]);
        assert!(manifest.workspace_lints);
    }
}
