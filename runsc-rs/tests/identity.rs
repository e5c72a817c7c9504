//! Who the processes of a bundle are, and what they may: ids and their maps, capabilities, limits, paths kept from them.
#![allow(clippy::unwrap_used)]

mod common;

use common::{TempDir, is_root, runsc};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

const NOBODY: u32 = 65534;

/// A bundle over the host's own files whose process runs a script.
fn config(script: &str) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/usr/bin:/bin"],
        },
        "root": {"path": "/", "readonly": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "options": ["nosuid", "nodev", "noexec"]},
            {"destination": "/dev", "type": "tmpfs", "options": ["nosuid", "mode=755"]},
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]},
    })
}

/// One line of an id map.
fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!({"containerID": container, "hostID": host, "size": size})
}

fn with_user_namespace(mut config: Value, uids: &[Value], gids: &[Value]) -> Value {
    config["linux"]["namespaces"] = json!([{"type": "user"}, {"type": "pid"}, {"type": "mount"}]);
    config["linux"]["uidMappings"] = uids.into();
    config["linux"]["gidMappings"] = gids.into();
    config
}

/// Runs a bundle as the caller, or as an ordinary user.
fn run_as(user: Option<u32>, config: &Value, path: &str) -> Output {
    let dir = TempDir::new();
    fs::write(dir.str("config.json"), config.to_string()).unwrap();
    // The folder the program was built in may be its owner's alone.
    fs::copy(env!("CARGO_BIN_EXE_runsc-rs"), dir.str("runsc-rs")).unwrap();
    fs::create_dir(dir.str("state")).unwrap();
    fs::set_permissions(dir.str("state"), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = match user {
        Some(_) => Command::new(dir.str("runsc-rs")),
        None => runsc(&[]),
    };
    let root = format!("--root={}", dir.str("state"));
    command.args([&root, "run", "-b", dir.path().to_str().unwrap(), "c"]).env("PATH", path);
    if let Some(id) = user {
        command.current_dir("/").uid(id).gid(id);
    }
    command.output().unwrap()
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn run(config: &Value) -> String {
    printed(&run_as(None, config, "/usr/bin:/bin"))
}

#[track_caller]
fn error(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "one line, found {text:?}");
    text.trim_end().to_owned()
}

/// A map's numbers, without the padding.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn ones_own_ids_are_mapped_without_a_helper() {
    if !is_root() {
        return;
    }
    let place = TempDir::new();
    chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let script = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; stat -c '%u %g' /mnt /etc; \
                  unshare -U true && echo nested";
    let own = [mapping(0, NOBODY, 1)];
    let mut config = with_user_namespace(config(script), &own, &own);
    let bind = json!({"destination": "/mnt", "source": place.path(), "options": ["rbind", "ro"]});
    config["mounts"].as_array_mut().unwrap().push(bind);
    // There is no newuidmap in this path.
    let output = printed(&run_as(Some(NOBODY), &config, "/nowhere"));
    let map = ["0", "65534", "1"];
    let files = ["0", "0", "65534", "65534"];
    let expected = [&map[..], &map, &["deny", "0"], &files, &["nested"]].concat();
    assert_eq!(words(&output), expected);
}

#[test]
fn more_ids_need_a_helper() {
    if !is_root() {
        return;
    }
    let maps = [mapping(0, NOBODY, 1), mapping(1, 700_000, 7)];
    let config = with_user_namespace(config("true"), &maps, &maps);
    let missing = error(&run_as(Some(NOBODY), &config, "/nowhere"));
    let expected = "runsc-rs: linux.uidMappings: ids other than the caller's own need newuidmap, which is not installed \
                    (Debian: the package uidmap)";
    assert_eq!(missing, expected);

    let tools = TempDir::new();
    let script = "#!/bin/sh\necho \"$0 $*: no\" >&2\nexit 1\n";
    fs::write(tools.str("newuidmap"), script).unwrap();
    fs::set_permissions(tools.str("newuidmap"), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = error(&run_as(Some(NOBODY), &config, tools.path().to_str().unwrap()));
    let expected = "runsc-rs: linux.uidMappings: nobody may not use ids 700000 to 700006; a line \"nobody:700000:7\" in \
                    /etc/subuid would allow it";
    assert_eq!(refused, expected);
}

#[test]
fn root_maps_ranges_by_itself() {
    if !is_root() {
        return;
    }
    let script = "cat /proc/self/uid_map /proc/self/setgroups; id -u; id -G; stat -c %u /etc /dev /dev/null; \
                  setpriv --reuid 7 --clear-groups id -u; setpriv --reuid 70000 id -u || echo no";
    let maps = [mapping(0, 100_000, 60_000)];
    let mut config = with_user_namespace(config(script), &maps, &maps);
    config["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [5, 9]});
    let all = json!(["CAP_SETUID", "CAP_SETGID"]);
    config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    let output = run(&config);
    let expected = ["0", "100000", "60000", "allow", "0", "0", "5", "9", "65534", "0", "0", "7", "no"];
    assert_eq!(words(&output), expected);
}

#[test]
fn ids_that_are_not_mapped_are_named() {
    let own = |id| [mapping(0, id, 1)];
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let mut config = with_user_namespace(config("true"), &own(uid), &own(gid));
    config["process"]["user"]["uid"] = 5.into();
    let output = run_as(None, &config, "/usr/bin:/bin");
    assert_eq!(error(&output), "runsc-rs: process.user.uid: expected an id of linux.uidMappings, found 5");
    config["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [9]});
    let output = run_as(None, &config, "/usr/bin:/bin");
    let expected = "runsc-rs: process.user.additionalGids: expected ids of linux.gidMappings, found [9]";
    assert_eq!(error(&output), expected);
}

/// The capability lines of a process's status, as numbers.
fn capability_lines(status: &str) -> Vec<(String, u64)> {
    let line = |line: &str| {
        let (name, value) = line.strip_prefix("Cap")?.split_once(":\t")?;
        Some((name.to_owned(), u64::from_str_radix(value, 16).ok()?))
    };
    status.lines().filter_map(line).collect()
}

const KILL: u64 = 1 << 5;
const NET_RAW: u64 = 1 << 13;
const CHOWN: u64 = 1;

fn with_capabilities(uid: u32) -> Vec<(String, u64)> {
    let mut config = config("cat /proc/self/status");
    config["process"]["user"]["uid"] = uid.into();
    config["process"]["capabilities"] = json!({
        "bounding": ["CAP_KILL", "CAP_NET_RAW", "CAP_CHOWN"],
        "permitted": ["CAP_KILL", "CAP_NET_RAW"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL", "CAP_CHOWN"],
    });
    capability_lines(&run(&config))
}

fn sets(sets: [u64; 5]) -> Vec<(String, u64)> {
    ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(str::to_owned).into_iter().zip(sets).collect()
}

#[test]
fn all_five_capability_sets_are_given() {
    // What execve makes of them is Linux's rule, not the specification's.
    let bounding = KILL | NET_RAW | CHOWN;
    assert_eq!(with_capabilities(0), sets([KILL, bounding, bounding, bounding, KILL]));
    assert_eq!(with_capabilities(7), sets([KILL, KILL, KILL, bounding, KILL]));
}

#[test]
fn no_new_privileges_limits_root_to_what_it_has() {
    let mut config = config("cat /proc/self/status");
    config["process"]["noNewPrivileges"] = true.into();
    config["process"]["capabilities"] = json!({
        "bounding": ["CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
    });
    let status = run(&config);
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert_eq!(capability_lines(&status), sets([0, KILL, KILL, KILL | NET_RAW, 0]));
}

#[test]
fn user_groups_limits_and_oom_score_are_as_specified() {
    let script =
        "id -u; id -g; id -G; umask; ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj";
    let mut config = config(script);
    config["process"]["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o27});
    config["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]);
    config["process"]["oomScoreAdj"] = 77.into();
    assert_eq!(words(&run(&config)), ["7", "8", "8", "9", "10", "0027", "100", "200", "0", "77"]);
}

#[test]
fn masked_paths_are_empty_and_read_only_ones_are_not_written() {
    let script = "wc -c < /proc/meminfo; ls -A /proc/sys/vm | wc -l; cat /proc/sys/kernel/hostname; \
                  (echo x > /proc/sys/kernel/hostname) 2>/dev/null || echo refused; \
                  grep ' /proc/sys ' /proc/mounts | cut -d' ' -f4; stat -c %a /dev/null";
    let mut config = config(script);
    config["hostname"] = "box".into();
    config["process"]["capabilities"] = json!({
        "bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"],
    });
    config["linux"]["maskedPaths"] = json!(["/proc/meminfo", "/proc/sys/vm", "/proc/is-not-there"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/proc/is-not-there"]);
    let flags = "ro,nosuid,nodev,noexec,relatime";
    assert_eq!(words(&run(&config)), ["0", "0", "box", "refused", flags, "666"]);
}

#[test]
fn a_file_is_bound_over_a_file() {
    let place = TempDir::new();
    fs::write(place.str("names"), "bound\n").unwrap();
    let mut config = config("cat /etc/hostname /dev/made; ls /dev | grep -c made");
    for destination in ["/etc/hostname", "/dev/made"] {
        let bind =
            json!({"destination": destination, "source": place.str("names"), "options": ["bind", "ro"]});
        config["mounts"].as_array_mut().unwrap().push(bind);
    }
    assert_eq!(words(&run(&config)), ["bound", "bound", "1"]);
}

/// What the host's mounts forbid is forbidden in the sandbox, of a tree that is mounted itself as of one that lies in
/// another; what is written over it included.
#[test]
fn flags_of_host_mounts_are_kept() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = dir.path().to_str().unwrap();
    // A user without privilege executes the same set-user-ID program in each place.
    let inside = r#"
        for place in plain nosuid noexec "no suid"; do
            echo "$place: $(setpriv --reuid 1000 --clear-groups "$AT/$place/id" -u 2>&1 | grep -o -E 'denied|^[0-9]+$')"
        done
        touch "$AT/nosuid/id"; cp --preserve=mode "$AT/nosuid/id" "$AT/nosuid/made"
        for name in id made; do setpriv --reuid 1000 --clear-groups "$AT/nosuid/$name" -u; done
        while read -r _ _ _ _ place options _; do [ "$place" = /data ] && echo "$options"; done </proc/self/mountinfo
        setpriv --reuid 1000 --clear-groups /data/id -u
        cat "$AT/nodev/null" 2>&1 | grep -o denied; cat "$AT/plain/null" && echo open"#;
    let outside = r#"
        mount --make-rprivate /
        cd "$AT"
        for place in plain nosuid noexec nodev "no suid"; do
            mkdir "$place"
            options=${place#plain}
            mount -t tmpfs -o "${options:+${options/no suid/nosuid},}mode=755" none "$place"
            install -m 4755 /usr/bin/id "$place/id"
            mknod -m 666 "$place/null" c 1 3
        done
        "$RUNSC" do --volume "$AT/nosuid:/data" -- sh -c "$INSIDE""#;
    let output = Command::new("unshare")
        .args(["--mount", "bash", "-c", outside])
        .env("AT", at)
        .env("RUNSC", env!("CARGO_BIN_EXE_runsc-rs"))
        .env("INSIDE", inside)
        .output()
        .unwrap();
    let lines = [
        "plain: 0",
        "nosuid: 1000",
        "noexec: denied",
        "no suid: 1000",
        "1000",
        "1000",
        "rw,nosuid,relatime",
        "1000",
        "denied",
        "open",
    ];
    assert_eq!(printed(&output).lines().collect::<Vec<_>>(), lines, "{output:?}");
}
