//! System-wide files of `/proc`: shapes, not values.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn meminfo_is_in_kilobytes(t: &mut Guest) {
    let number = |key: &str| -> u64 {
        let value = t.field("/proc/meminfo", key);
        value.strip_suffix(" kB").unwrap().parse().unwrap()
    };
    check!(number("MemTotal") > 0);
    check!(number("MemFree") <= number("MemTotal"));
    check!(number("MemAvailable") <= number("MemTotal"));
    for key in ["Buffers", "Cached", "SwapTotal", "SwapFree"] {
        number(key);
    }
}

#[case(as_root, as_user)]
fn cpuinfo_lists_each_processor(t: &mut Guest) {
    let text = t.read("/proc/cpuinfo").ok();
    let count = text.lines().filter(|line| line.starts_with("processor\t: ")).count();
    check!(count > 0);
    for key in ["vendor_id\t:", "model name\t:", "cpu MHz\t\t:", "flags\t\t:"] {
        check!(text.contains(key), "no {key:?}");
    }
    let stat = t.read("/proc/stat").ok();
    let numbered = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    expect_eq!(numbered, count);
}

#[case(as_root, as_user)]
fn stat_begins_with_cpu_and_has_boot_time(t: &mut Guest) {
    let text = t.read("/proc/stat").ok();
    check!(text.starts_with("cpu  "));
    expect_eq!(text.lines().next().unwrap().split_whitespace().count(), 11);
    for key in ["btime ", "ctxt ", "processes ", "procs_running "] {
        check!(text.lines().any(|line| line.starts_with(key)), "no {key:?}");
    }
}

#[case(as_root, as_user)]
fn uptime_and_loadavg_are_numbers(t: &mut Guest) {
    let uptime = t.read("/proc/uptime").ok();
    let numbers: Vec<f64> = uptime.split_whitespace().map(|word| word.parse().unwrap()).collect();
    expect_eq!(numbers.len(), 2);
    check!(numbers[0] > 0.0);
    let load = t.read("/proc/loadavg").ok();
    let words: Vec<_> = load.split_whitespace().collect();
    expect_eq!(words.len(), 5);
    check!(words[..3].iter().all(|word| word.parse::<f64>().is_ok()), "{load}");
    check!(words[3].contains('/'));
}

#[case(as_root, as_user)]
fn filesystems_and_version_have_their_form(t: &mut Guest) {
    let text = t.read("/proc/filesystems").ok();
    check!(text.contains("nodev\tproc\n") && text.contains("nodev\ttmpfs\n"), "{text}");
    let version = t.read("/proc/version").ok();
    check!(version.starts_with("Linux version "), "{version}");
    let release = t.read("/proc/sys/kernel/osrelease").ok();
    check!(version.contains(release.trim()), "{release} not in {version}");
    t.read("/proc/sys/kernel/ostype").is("Linux\n");
}

#[case(as_root, as_user)]
fn the_settings_that_programs_ask_for_are_there(t: &mut Guest) {
    let number = |path: &str| -> i64 {
        let text = t.read(path).ok();
        text.trim().parse().unwrap_or_else(|_| panic!("{path}: expected a number, got {text:?}"))
    };
    for path in [
        "kernel/pid_max",
        "kernel/ngroups_max",
        "kernel/cap_last_cap",
        "kernel/overflowuid",
        "fs/file-max",
        "fs/nr_open",
        "fs/pipe-max-size",
        "vm/overcommit_memory",
        "vm/max_map_count",
        "net/core/somaxconn",
    ] {
        check!(number(&format!("/proc/sys/{path}")) >= 0);
    }
    expect_eq!(number("/proc/sys/kernel/ngroups_max"), 65536);
    let name = t.read("/proc/sys/kernel/hostname").ok();
    let mut uts: utsname = zeroed();
    sys!(uname(&raw mut uts)).ok();
    let node: String = uts.nodename.iter().take_while(|c| **c != 0).map(|c| *c as u8 as char).collect();
    expect_eq!(name.trim(), node);
}

#[case(as_root, as_user)]
fn every_read_of_a_uuid_gives_another_but_boot_id_stays(t: &mut Guest) {
    let uuid = "/proc/sys/kernel/random/uuid";
    let first = t.read(uuid).ok();
    expect_eq!(first.len(), 37);
    check!(first != t.read(uuid).ok());
    let boot = "/proc/sys/kernel/random/boot_id";
    let first = t.read(boot).ok();
    t.read(boot).is(&first);
}

#[case(as_root, as_user)]
fn mounts_has_six_fields_a_line(t: &mut Guest) {
    for line in t.read("/proc/mounts").ok().lines() {
        expect_eq!(line.split(' ').count(), 6);
    }
    let info = t.read("/proc/self/mountinfo").ok();
    check!(info.lines().any(|line| line.split(' ').nth(4) == Some("/")));
    for line in info.lines() {
        let (head, tail) = line.split_once(" - ").unwrap();
        check!(head.split(' ').count() >= 6, "{line}");
        expect_eq!(tail.split(' ').count(), 3);
    }
}

#[case(as_root, as_user)]
fn proc_takes_no_new_names(t: &mut Guest) {
    let refused = |errno: i32| [ENOENT, EPERM, EACCES].contains(&errno);
    check!(refused(sys!(mkdir(c"/proc/x", 0o755)).errno()));
    check!(refused(t.try_open("/proc/x", O_CREAT | O_WRONLY).errno()));
    check!(refused(sys!(unlink(c"/proc/self/status")).errno()));
    check!(refused(sys!(rename(c"/proc/self/status", c"/proc/self/x")).errno()));
}

#[case(as_user)]
fn a_user_does_not_change_settings(t: &mut Guest) {
    t.try_open("/proc/sys/kernel/hostname", O_WRONLY).fails(EACCES);
    t.try_open("/proc/sys/vm/overcommit_memory", O_WRONLY).fails(EACCES);
}

#[case(as_root, as_user)]
fn files_can_be_read_by_parts_and_again(t: &mut Guest) {
    let fd = t.open("/proc/self/status", O_RDONLY);
    let mut text = Vec::new();
    loop {
        let part = t.recv(fd, 10);
        if part.is_empty() {
            break;
        }
        text.extend(part);
    }
    check!(text.starts_with(b"Name:\t") && text.len() > 500, "{} bytes", text.len());
    sys!(lseek(fd, 0, SEEK_SET)).is(0);
    expect_eq!(t.recv(fd, 6), b"Name:\t");
    expect_eq!(t.fstat(fd).st_size, 0);
}
