//! Crates depend downward only, as `ARCHITECTURE.md` says.

use crate::{Finding, Manifest, Tree};

/// The layers, lowest first. A crate may use what is below its layer.
const LAYERS: [&[&str]; 13] = [
    &["sentry-uapi"],
    &["sentry-sync", "platform"],
    &["sentry-auth", "platform-host"],
    &["platform-placement"],
    &["platform-ptrace", "platform-systrap", "platform-kvm", "platform-scripted", "sentry-time"],
    &["sentry-mm"],
    &["fs-vfs", "sentry-loader"],
    &["fs-kernfs", "fs-tmpfs", "fs-hostfs", "fs-overlay", "sentry-net"],
    &["fs-devtmpfs", "fs-sysfs"],
    &["sentry-kernel"],
    &["fs-proc", "fs-devpts", "syscalls"],
    &["runsc-rs"],
    // The suites use nothing of the workspace but each other: what they test, they run.
    &["test-bench", "test-lint", "test-programs", "test-syscalls", "test-syscalls-macros"],
];

/// Dependencies that lead sideways or upward, crates that no layer names, and crates without the workspace's lints.
pub fn direction(tree: &Tree) -> Vec<Finding> {
    let manifests = tree.files.iter().filter_map(|f| Manifest::parse(&f.path, &f.text));
    manifests.flat_map(|manifest| check(&manifest)).collect()
}

fn check(manifest: &Manifest) -> Vec<Finding> {
    let path = format!("{}/Cargo.toml", manifest.folder);
    let mut found = Vec::new();
    if !manifest.workspace_lints {
        found.push(Finding::new(&path, 0, "expected [lints] workspace = true"));
    }
    let dashed = manifest.folder.replace('/', "-");
    if manifest.name != dashed {
        found.push(Finding::new(&path, 0, format!("expected the name {dashed}, found {}", manifest.name)));
    }
    let Some(layer) = layer_of(&manifest.name) else {
        found.push(Finding::new(
            &path,
            0,
            format!("{} is in no layer of the direction check", manifest.name),
        ));
        return found;
    };
    let in_suite = manifest.name.starts_with("test-");
    let mut judge = |kind: &str, name: &str, allowed: &dyn Fn(usize) -> bool| {
        let fits = layer_of(name).is_none_or(|other| {
            if in_suite { name.starts_with("test-") } else { allowed(other) && !name.starts_with("test-") }
        });
        if !fits {
            found.push(Finding::new(&path, 0, format!("{} may not have the {kind} {name}", manifest.name)));
        }
    };
    for name in &manifest.dependencies {
        judge("dependency", name, &|other| other < layer);
    }
    for name in &manifest.dev_dependencies {
        judge("dev-dependency", name, &|other| other <= layer);
    }
    found
}

/// The layer of a crate of the workspace.
fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &str, name: &str, rest: &str) -> usize {
        let text = format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n{rest}");
        direction(&Tree::of(&[(&format!("{folder}/Cargo.toml"), &text)])).len()
    }

    #[test]
    fn dependencies_lead_downward() {
        assert_eq!(found("fs/vfs", "fs-vfs", "[dependencies]\nsentry-mm = {}\nlibc = {}"), 0);
        assert_eq!(found("fs/vfs", "fs-vfs", "[dependencies]\nsentry-kernel = {}"), 1);
        assert_eq!(found("fs/overlay", "fs-overlay", "[dependencies]\nfs-hostfs = {}"), 1);
        assert_eq!(found("fs/overlay", "fs-overlay", "[dev-dependencies]\nfs-hostfs = {}"), 0);
        assert_eq!(found("test/syscalls", "test-syscalls", "[dependencies]\nsentry-uapi = {}"), 1);
    }

    #[test]
    fn crates_have_a_layer_lints_and_the_name_of_their_folder() {
        assert_eq!(found("fs/new", "fs-new", ""), 1);
        assert_eq!(found("fs/virtual", "fs-vfs", ""), 1);
        let bare = Tree::of(&[("fs/vfs/Cargo.toml", "[package]\nname = \"fs-vfs\"\n")]);
        assert_eq!(direction(&bare).len(), 1);
    }
}
