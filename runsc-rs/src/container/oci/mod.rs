//! Containers from bundles. runtime-spec: config.md, config-linux.md.

mod json_error;
mod linux;
mod mounts;
mod process;

use super::{ContainerSpec, devices};
use crate::config::Overlay;
use anyhow::{Context, Result, anyhow, bail};
use oci_spec::runtime::Spec;
use std::path::Path;

/// Reads the `config.json` of a bundle. An error names the file, the place in it, what was expected and what was found.
///
/// # Errors
/// When it is missing, malformed, contradicts itself, or asks for what is not supported.
pub fn load(bundle: &Path, overlay: Overlay) -> Result<ContainerSpec> {
    let path = bundle.join("config.json");
    let text = std::fs::read(&path).map_err(|e| anyhow!("{}", without_number(&e)));
    text.and_then(|text| parse(&text, bundle, overlay)).with_context(|| path.display().to_string())
}

/// An I/O error as a person reads it.
fn without_number(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}

fn parse(text: &[u8], bundle: &Path, overlay: Overlay) -> Result<ContainerSpec> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let spec: Spec =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|e| json_error::explain(&e))?;
    deserializer.end().map_err(|e| json_error::explain_syntax(&e))?;
    convert(&spec, bundle, overlay)
}

fn convert(spec: &Spec, bundle: &Path, overlay: Overlay) -> Result<ContainerSpec> {
    if !spec.version().starts_with("1.") {
        bail!("ociVersion: expected 1.x, found {:?}", spec.version());
    }
    if spec.hooks().as_ref().is_some_and(|hooks| *hooks != Default::default()) {
        bail!("hooks: not supported by this version");
    }
    let linux = match spec.linux() {
        Some(linux) => linux.clone(),
        // The library's default is an example, not an empty section.
        None => serde_json::from_str("{}")?,
    };
    let process = spec.process().as_ref().context("process: missing")?;
    let root = spec.root().as_ref().context("root: missing")?;
    let (devices, symlinks) = (linux::devices(&linux)?, devices::default_symlinks());
    Ok(ContainerSpec {
        process: process::process(process)?,
        root: mounts::root(root, bundle, overlay)?,
        hostname: spec.hostname().clone().unwrap_or_default(),
        domainname: spec.domainname().clone().unwrap_or_default(),
        mounts: mounts::mounts(spec.mounts().as_deref().unwrap_or_default(), bundle)?,
        devices,
        symlinks,
        masked_paths: linux::paths(linux.masked_paths().as_deref(), "linux.maskedPaths")?,
        readonly_paths: linux::paths(linux.readonly_paths().as_deref(), "linux.readonlyPaths")?,
        sysctl: linux::sysctl(&linux),
        user_namespace: linux::user_namespace(&linux)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::mount_options::flags::*;
    use crate::container::{DeviceKind, IdMapping, MountSource, Rlimit};
    use sentry_auth::CapSet;
    use serde_json::{Value, json};
    use std::path::PathBuf;

    fn minimal() -> Value {
        json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "true"], "cwd": "/"},
            "root": {"path": "/", "readonly": true},
        })
    }

    fn parse_value(value: &Value) -> Result<ContainerSpec> {
        parse(value.to_string().as_bytes(), Path::new("/tmp"), Overlay::Memory)
    }

    /// Parses the minimal configuration with the value at `pointer` replaced or added, and shows the error.
    #[track_caller]
    fn error_with(pointer: &str, value: Value) -> String {
        let mut config = minimal();
        let mut at = &mut config;
        for part in pointer.split('/').skip(1) {
            at = &mut at[part];
        }
        *at = value;
        format!("{:#}", parse_value(&config).unwrap_err())
    }

    #[test]
    fn errors_name_the_place_what_was_expected_and_what_was_found() {
        let cases = [
            (
                "/process/user/uid",
                json!("root"),
                "process.user.uid: expected an unsigned 32-bit number, found \"root\"",
            ),
            (
                "/process/user/gid",
                json!(-1),
                "process.user.gid: expected an unsigned 32-bit number, found -1",
            ),
            ("/process/args", json!("sh"), "process.args: expected an array, found \"sh\""),
            ("/process/args", json!([]), "process.args: expected at least one argument, found none"),
            ("/process/args", json!(["a", 7]), "process.args[1]: expected a string, found 7"),
            (
                "/process/args",
                json!(["a\u{0}"]),
                "process.args[0]: expected a string without NUL, found \"a\\0\"",
            ),
            ("/process/env", json!(["A"]), "process.env[0]: expected NAME=value, found \"A\""),
            ("/process/cwd", json!("tmp"), "process.cwd: expected an absolute path, found \"tmp\""),
            ("/process/terminal", json!("yes"), "process.terminal: expected a boolean, found \"yes\""),
            ("/process/capabilities", json!({"bounding": ["CAP_FLY"]}), "process.capabilities.bounding[0]: "),
            ("/root/path", json!("missing"), "root.path: expected a directory, found none at /tmp/missing"),
            ("/root/readonly", json!({}), "root.readonly: expected a boolean, found an object"),
            ("/mounts", json!([{"type": "proc"}]), "mounts[0]: `destination` is missing"),
            (
                "/mounts",
                json!([{"destination": "/x", "type": "bind", "source": "gone"}]),
                "mounts[0].source: expected a file or directory, found none at /tmp/gone",
            ),
            ("/ociVersion", json!("2.0.0"), "ociVersion: expected 1.x, found \"2.0.0\""),
            (
                "/linux",
                json!({"maskedPaths": ["a"]}),
                "linux.maskedPaths[0]: expected an absolute path, found \"a\"",
            ),
            (
                "/linux",
                json!({"namespaces": [{"type": "pet"}]}),
                "linux.namespaces[0].type: expected one of ",
            ),
            (
                "/linux",
                json!({"namespaces": [{"type": "user"}]}),
                "linux.uidMappings: expected at least one mapping, found none",
            ),
        ];
        for (pointer, value, expected) in cases {
            let found = error_with(pointer, value);
            assert!(found.starts_with(expected), "{pointer}:\n expected {expected}\n    found {found}");
        }
    }

    #[test]
    fn a_syntax_error_names_line_and_column() {
        let error = parse(b"{\n  \"root\": }", Path::new("/"), Overlay::None).unwrap_err();
        assert_eq!(format!("{error:#}"), "line 2, column 11: expected value");
        let error = parse(b"{\"ociVersion\": ", Path::new("/"), Overlay::None).unwrap_err();
        assert!(format!("{error:#}").contains("line 1"), "{error:#}");
    }

    #[test]
    fn a_full_configuration_is_read() {
        let mut config = minimal();
        config["process"] = json!({
            "terminal": true, "consoleSize": {"height": 24, "width": 80},
            "user": {"uid": 7, "gid": 8, "additionalGids": [9], "umask": 63},
            "args": ["sh"], "env": ["A=b"], "cwd": "/tmp",
            "capabilities": {"bounding": ["CAP_KILL", "CAP_BPF"], "ambient": ["CAP_NET_BIND_SERVICE"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}],
            "noNewPrivileges": true, "oomScoreAdj": -5,
        });
        config["hostname"] = json!("box");
        config["mounts"] = json!([
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
            {"destination": "/mnt", "source": "/tmp", "options": ["rbind", "ro"]},
            {"destination": "data", "type": "tmpfs", "options": ["mode=755", "size=1k"]},
        ]);
        config["linux"] = json!({
            "namespaces": [{"type": "user"}, {"type": "pid"}],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 100, "size": 2}],
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438}],
            "sysctl": {"net.ipv4.ip_forward": "1"},
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
        });
        let spec = parse_value(&config).unwrap();
        let process = &spec.process;
        assert_eq!((process.user.uid, process.user.gid, process.user.umask), (7, 8, 0o77));
        assert_eq!(process.user.additional_gids, [9]);
        assert_eq!(process.capabilities.bounding, CapSet::KILL | CapSet::BPF);
        assert_eq!(process.capabilities.ambient, CapSet::NET_BIND_SERVICE);
        assert_eq!(process.rlimits, [Rlimit { resource: 7, soft: 5, hard: 6 }]);
        assert_eq!(process.terminal, [true; 3]);
        assert_eq!(process.console_size.unwrap().cols, 80);
        assert_eq!((process.no_new_privileges, process.oom_score_adj), (true, Some(-5)));
        assert_eq!(spec.hostname, "box");
        assert!(spec.root.readonly);
        assert_eq!(spec.mounts[0].options.flags, MS_NOSUID);
        let bind = MountSource::Bind { path: PathBuf::from("/tmp"), recursive: true };
        assert_eq!(spec.mounts[1].source, bind);
        assert!(spec.mounts[1].options.readonly());
        assert_eq!(spec.mounts[2].destination, Path::new("/data"));
        assert_eq!(spec.mounts[2].options.data, "mode=755,size=1k");
        let fuse = spec.devices.last().unwrap();
        assert_eq!((fuse.kind, fuse.major, fuse.minor, fuse.mode), (DeviceKind::Character, 10, 229, 0o666));
        assert_eq!(spec.sysctl, [("net.ipv4.ip_forward".to_owned(), "1".to_owned())]);
        let user_namespace = spec.user_namespace.unwrap();
        let mapping = IdMapping { container_id: 0, host_id: 1000, size: 1 };
        assert_eq!(user_namespace.uid_mappings, [mapping]);
    }
}
