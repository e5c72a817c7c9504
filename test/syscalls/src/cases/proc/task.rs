//! What `/proc` tells about processes.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn stat_has_fifty_two_fields(t: &mut Guest) {
    sys!(prctl(PR_SET_NAME, c"a) b (c", 0, 0, 0)).ok();
    let text = t.read("/proc/self/stat").ok();
    let (head, rest) = text.trim_end().rsplit_once(") ").unwrap();
    expect_eq!(head, format!("{} (a) b (c", sys!(getpid()).ok()));
    let words: Vec<_> = rest.split(' ').collect();
    expect_eq!(words.len(), 50);
    expect_eq!(words[0], "R");
    let ids = [sys!(getppid()).ok(), sys!(getpgid(0)).ok(), sys!(getsid(0)).ok()].map(|id| id.to_string());
    expect_eq!(words[1..4], ids);
    expect_eq!(words[17], "1");
}

#[case(as_root, as_user)]
fn status_tells_ids_threads_and_sizes(t: &mut Guest) {
    let field = |key: &str| t.field("/proc/self/status", key);
    let uid = t.uid().to_string();
    expect_eq!(field("Uid").split_whitespace().collect::<Vec<_>>(), [uid.as_str(); 4]);
    expect_eq!(field("Threads"), "1");
    expect_eq!(field("Tgid"), sys!(getpid()).ok().to_string());
    expect_eq!(field("TracerPid"), "0");
    expect_eq!(field("Umask"), "0022");
    check!(field("VmRSS").ends_with(" kB"));
    check!(field("State").starts_with("R (running)"));
    expect_eq!(field("CapEff").len(), 16);
    expect_eq!(field("Seccomp"), "0");
}

#[case(as_root, as_user)]
fn signal_sets_are_in_status(t: &mut Guest) {
    t.block(&[SIGUSR1]);
    t.raise(SIGUSR1);
    t.ignore(SIGUSR2);
    t.catch(SIGTERM, 0);
    let set = |key: &str| u64::from_str_radix(&t.field("/proc/self/status", key), 16).unwrap();
    expect_eq!(set("SigBlk"), 1 << (SIGUSR1 - 1));
    expect_eq!(set("ShdPnd"), 1 << (SIGUSR1 - 1));
    expect_eq!(set("SigPnd"), 0);
    expect_eq!(set("SigIgn"), 1 << (SIGUSR2 - 1));
    expect_eq!(set("SigCgt"), 1 << (SIGTERM - 1));
}

#[case(as_root, as_user)]
fn cmdline_and_environ_end_each_string_with_nul(t: &mut Guest) {
    let (output, status) = t.helper("file", &["/proc/self/cmdline", "/proc/self/environ"], &["A=1", "B=2"]);
    status.exited(0);
    expect_eq!(output, "helper:file\0/proc/self/cmdline\0/proc/self/environ\0A=1\0B=2\0");
}

#[case(as_root, as_user)]
fn a_child_has_a_directory_until_it_is_reaped(t: &mut Guest) {
    let child = t.sleeper();
    let path = format!("/proc/{}", child.pid);
    expect_eq!(t.field(&format!("{path}/status"), "PPid"), sys!(getpid()).ok().to_string());
    check!(t.names("/proc").contains(&child.pid.to_string()));
    child.kill(SIGKILL);
    t.until_state(child.pid, "Z");
    t.read(&format!("{path}/cmdline")).is("");
    child.wait().killed(SIGKILL);
    expect_eq!(t.exists(&path), false);
}

#[case(as_root, as_user)]
fn an_open_directory_of_a_dead_process_is_esrch_or_enoent(t: &mut Guest) {
    let child = t.sleeper();
    let status = t.open(&format!("/proc/{}/status", child.pid), O_RDONLY);
    let directory = t.open(&format!("/proc/{}", child.pid), O_RDONLY | O_DIRECTORY);
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
    sys!(read(status, &mut [0_u8; 8], 8)).fails(ESRCH);
    let errno = sys!(openat(directory, c"status", O_RDONLY, 0)).errno();
    check!([ESRCH, ENOENT].contains(&errno), "{errno}");
}

#[case(as_user)]
fn anothers_private_files_are_eacces(t: &mut Guest) {
    t.needs_a_foreign_init();
    t.try_open("/proc/1/maps", O_RDONLY).fails(EACCES);
    t.try_open("/proc/1/environ", O_RDONLY).fails(EACCES);
    t.try_open("/proc/1/mem", O_RDONLY).fails(EACCES);
    t.try_open("/proc/1/fd", O_RDONLY).fails(EACCES);
    sys!(readlinkat(AT_FDCWD, c"/proc/1/cwd", &mut [0_u8; 64], 64)).fails(EACCES);
    t.open("/proc/1/status", O_RDONLY);
}

#[case(as_root, as_user)]
fn oom_score_adj_is_kept_and_inherited(t: &mut Guest) {
    t.write("/proc/self/oom_score_adj", "500").is(3);
    t.read("/proc/self/oom_score_adj").is("500\n");
    t.fork(|| t.read("/proc/self/oom_score_adj").is("500\n")).done();
    t.write("/proc/self/oom_score_adj", "1001").fails(EINVAL);
    t.write("/proc/self/oom_score_adj", "many").fails(EINVAL);
}

#[case(as_root, as_user)]
fn fdinfo_tells_position_and_flags(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDWR | O_APPEND | O_CLOEXEC);
    t.recv(fd, 4);
    let path = format!("/proc/self/fdinfo/{fd}");
    expect_eq!(t.field(&path, "pos"), "4");
    let flags = i32::from_str_radix(&t.field(&path, "flags"), 8).unwrap();
    expect_eq!(flags & (O_ACCMODE | O_APPEND | O_CLOEXEC), O_RDWR | O_APPEND | O_CLOEXEC);
}

#[case(as_root, as_user)]
fn a_descriptors_link_opens_the_file_again(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDONLY);
    t.recv(fd, 5);
    let again = t.open(&format!("/proc/self/fd/{fd}"), O_RDWR);
    expect_eq!(t.recv(again, 3), b"012");
    sys!(unlink(c"f")).ok();
    let unnamed = t.open(&format!("/proc/self/fd/{fd}"), O_RDONLY);
    expect_eq!(t.recv(unnamed, 3), b"012");
    t.try_open("/proc/self/fd/99", O_RDONLY).fails(ENOENT);
    t.open(&format!("/dev/fd/{fd}"), O_RDONLY);
}

#[case(as_root, as_user)]
fn namespaces_are_links_with_numbers(t: &mut Guest) {
    for name in ["mnt", "pid", "user", "uts", "ipc", "net", "cgroup"] {
        let path = format!("/proc/self/ns/{name}");
        let link = std::fs::read_link(&path).unwrap().to_string_lossy().into_owned();
        expect_eq!(link, format!("{name}:[{}]", t.stat(&path).st_ino));
    }
}

#[case(as_root, as_user)]
fn a_threads_directory_is_found_but_not_listed(t: &mut Guest) {
    let go = t.pipe();
    let thread = t.thread(move || go.wait());
    let tid = thread.tid.to_string();
    check!(t.exists(&format!("/proc/{tid}/status")));
    check!(!t.names("/proc").contains(&tid));
    let link = std::fs::read_link("/proc/thread-self").unwrap();
    expect_eq!(link.to_string_lossy(), format!("{0}/task/{0}", sys!(getpid()).ok()));
    go.signal();
    thread.join();
}
