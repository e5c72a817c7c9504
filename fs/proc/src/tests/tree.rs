//! Directories, and every file in them.

use super::{labels, list, native, open, read, readlink, with_proc};
use fs_vfs::{At, FileType, LookupFlags, user_path_at};
use sentry_kernel::CurrentTask;
use sentry_uapi::errno::{EACCES, EINVAL, ENOENT, EPERM, ESRCH};
use sentry_uapi::fcntl::OpenFlags;

#[test]
fn the_root_lists_files_and_then_processes() {
    with_proc(|task| {
        let names = list(task, "/proc").unwrap_or_default();
        assert_eq!(names.last().map(String::as_str), Some("1"));
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        for name in ["self", "thread-self", "meminfo", "cpuinfo", "stat", "sys", "mounts", "filesystems"] {
            assert!(names.iter().any(|n| n == name), "{name}");
        }
        assert_eq!(readlink(task, "/proc/self").as_deref(), Ok("1"));
        assert_eq!(readlink(task, "/proc/thread-self").as_deref(), Ok("1/task/1"));
        for missing in
            ["/proc/2", "/proc/01", "/proc/nothing", "/proc/1/nothing", "/proc/1/task/2", "/proc/sys/x"]
        {
            assert_eq!(open(task, missing, OpenFlags::empty()), Err(ENOENT), "{missing}");
        }
        let root = user_path_at(task, &At::Cwd, b"/proc", LookupFlags::FOLLOW);
        assert_eq!(root.ok().and_then(|p| p.inode().map(|i| i.ino())), Some(1));
    });
}

#[test]
fn a_processs_directory_has_what_the_native_kernels_has() {
    /// Depends on how a kernel is built, or is newer than 6.1.
    const OPTIONAL: [&str; 5] = ["arch_status", "autogroup", "ksm_merging_pages", "ksm_stat", "patch_state"];
    with_proc(|task| {
        for dir in ["/proc/self", "/proc/thread-self", "/proc/self/attr", "/proc/self/ns"] {
            let mut ours = list(task, dir).unwrap_or_default();
            let native = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let names = native.map(|e| e.file_name().to_string_lossy().into_owned());
            let mut theirs: Vec<String> = names.filter(|n| !OPTIONAL.contains(&n.as_str())).collect();
            ours.sort();
            theirs.sort();
            assert_eq!(ours, theirs, "{dir}");
        }
    });
}

/// Reads everything below a directory; returns how many files there were.
fn read_all(task: &CurrentTask, dir: &str, depth: usize) -> usize {
    let mut count = 0;
    for name in list(task, dir).unwrap_or_default() {
        let path = format!("{dir}/{name}");
        let found = user_path_at(task, &At::Cwd, path.as_bytes(), LookupFlags::empty());
        let found = match found {
            Ok(found) => found,
            // The descriptor by which the directory was listed.
            Err(ENOENT) if dir.ends_with("/fd") || dir.ends_with("/fdinfo") => continue,
            Err(e) => unreachable!("{path}: {e}"),
        };
        let Some(inode) = found.inode() else { unreachable!("{path} is negative") };
        assert!(inode.getattr().is_ok(), "{path}");
        match inode.file_type() {
            FileType::Directory if depth > 0 => count += read_all(task, &path, depth - 1),
            FileType::Symlink => {
                let result = readlink(task, &path);
                assert!(result.is_ok() || result == Err(ENOENT), "{path}: {result:?}");
            }
            FileType::Regular => {
                let result = read(task, &path);
                let fine = match &result {
                    Ok(text) => !text.contains("{") || path.ends_with("maps"),
                    Err(e) => [EACCES, EINVAL, EPERM, ESRCH, sentry_uapi::errno::EIO].contains(e),
                };
                assert!(fine, "{path}: {result:?}");
                count += 1;
            }
            _ => {}
        }
    }
    count
}

#[test]
fn every_file_can_be_read() {
    with_proc(|task| {
        assert!(read_all(task, "/proc", 6) > 300);
    });
}

#[test]
fn files_about_the_kernel_have_the_native_ones_shape() {
    with_proc(|task| {
        let ours = |name: &str| read(task, &format!("/proc/{name}")).unwrap_or_default();
        let words = |text: &str| text.split_whitespace().count();
        for name in ["uptime", "loadavg", "partitions"] {
            assert_eq!(
                words(ours(name).lines().next().unwrap_or("")),
                words(native(&format!("/proc/{name}")).lines().next().unwrap_or("")),
                "{name}"
            );
        }
        let first_words = |text: &str| -> Vec<String> {
            let words = text.lines().filter_map(|l| l.split(' ').next());
            words.filter(|w| *w != "cpu1" && *w != "cpu0").map(str::to_owned).collect()
        };
        let (stat, theirs) = (ours("stat"), native("/proc/stat"));
        let known: Vec<String> =
            first_words(&theirs).into_iter().filter(|w| !w.starts_with("cpu") || w == "cpu").collect();
        assert_eq!(first_words(&stat), known);
        let line = |t: &str, n: usize| words(t.lines().nth(n).unwrap_or(""));
        assert_eq!((line(&stat, 0), line(&stat, 1)), (line(&theirs, 0), line(&theirs, 1)));
        assert_eq!(ours("version"), "Linux version 6.1.0-test (runsc-rs@runsc-rs) (rustc) #1 SMP test\n");
        assert_eq!(ours("cmdline"), "quiet\n");
        assert_eq!(ours("filesystems"), "nodev\tproc\n");
        assert_eq!(ours("swaps"), native("/proc/swaps"));
        assert_eq!(ours("cpuinfo").matches("processor\t: ").count(), 2);
        assert!(ours("meminfo").starts_with("MemTotal:        1048576 kB\n"));
        assert_eq!(labels(&ours("softirqs")), labels(&native("/proc/softirqs")));
    });
}
