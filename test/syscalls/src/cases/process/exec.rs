//! `execve` and `execveat`.

use crate::prelude::*;
use libc::*;
use std::os::unix::fs::PermissionsExt;

/// A copy of the suite's program that can be executed.
#[track_caller]
fn program(t: &Guest, name: &str) {
    std::fs::copy(t.program().to_str().unwrap(), name).unwrap();
    std::fs::set_permissions(name, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn script(t: &Guest, name: &str, text: &str) {
    t.file(name, text);
    sys!(chmod(&cstr(name), 0o755)).ok();
}

#[case(as_root, as_user)]
fn arguments_and_environment_arrive(t: &mut Guest) {
    let (output, status) = t.helper("args", &["one", "", "two words", "ünï"], &["A=1"]);
    status.exited(0);
    expect_eq!(output, "one\n\ntwo words\nünï\n");
    let (output, _) = t.helper("environment", &[], &["A=1", "B=two words", "EMPTY="]);
    expect_eq!(output, "A=1\nB=two words\nEMPTY=\n");
}

#[case(as_root, as_user)]
fn ids_and_group_stay(t: &mut Guest) {
    let out = t.pipe();
    let child = t.fork(|| {
        sys!(dup2(out.w, 1)).ok();
        t.exec_helper("ids", &[], &[]).ok();
    });
    child.done();
    let output = String::from_utf8(t.recv(out.r, 256)).unwrap();
    let ids: Vec<i64> = output.split_whitespace().map(|id| id.parse().unwrap()).collect();
    expect_eq!(ids[0], i64::from(child.pid));
    expect_eq!(ids[1], sys!(getpid()).ok());
    expect_eq!(ids[2], sys!(getpgid(0)).ok());
    expect_eq!(ids[3], sys!(getsid(0)).ok());
    expect_eq!(ids[4], i64::from(t.uid()));
    expect_eq!(ids[8], 0);
}

#[case(as_root, as_user)]
fn what_cannot_be_executed_is_refused(t: &mut Guest) {
    t.file("f", "text");
    sys!(execve(c"f", 0, 0)).fails(EACCES);
    sys!(chmod(c"f", 0o755)).ok();
    sys!(execve(c"f", 0, 0)).fails(ENOEXEC);
    t.file("empty", "");
    sys!(chmod(c"empty", 0o755)).ok();
    sys!(execve(c"empty", 0, 0)).fails(ENOEXEC);
    t.dir("d");
    sys!(execve(c"d", 0, 0)).fails(EACCES);
    sys!(execve(c"none", 0, 0)).fails(ENOENT);
    sys!(execve(c"f/x", 0, 0)).fails(ENOTDIR);
    sys!(execve(8, 0, 0)).fails(EFAULT);
    sys!(execve(t.program(), 8, 0)).fails(EFAULT);
    t.file("elf", b"\x7fELF\x02\x01\x01 and nothing more");
    sys!(chmod(c"elf", 0o755)).ok();
    sys!(execve(c"elf", 0, 0)).fails(ENOEXEC);
}

#[case(as_root, as_user)]
fn a_script_runs_its_interpreter(t: &mut Guest) {
    program(t, "helper:args");
    script(t, "script", "#!helper:args  an option \nrest");
    let out = t.pipe();
    let child = t.fork(|| {
        sys!(dup2(out.w, 1)).ok();
        let argv = [c"ignored".as_ptr(), c"argument".as_ptr(), std::ptr::null()];
        sys!(execve(c"script", &argv, 0)).ok();
    });
    child.done();
    let output = String::from_utf8(t.recv(out.r, 256)).unwrap();
    expect_eq!(output, "an option\nscript\nargument\n");
}

#[case(as_root, as_user)]
fn a_script_without_an_interpreter_is_refused(t: &mut Guest) {
    script(t, "a", "#!/does/not/exist\n");
    sys!(execve(c"a", 0, 0)).fails(ENOENT);
    script(t, "b", "#!\n");
    sys!(execve(c"b", 0, 0)).fails(ENOEXEC);
    script(t, "c", "#!c\n");
    sys!(execve(c"c", 0, 0)).fails(ELOOP);
}

#[case(as_root, as_user)]
fn a_script_can_be_another_scripts_interpreter(t: &mut Guest) {
    program(t, "helper:args");
    script(t, "inner", "#!helper:args\n");
    script(t, "outer", "#!inner opt\n");
    let out = t.pipe();
    let child = t.fork(|| {
        sys!(dup2(out.w, 1)).ok();
        let argv = [c"x".as_ptr(), std::ptr::null()];
        sys!(execve(c"outer", &argv, 0)).ok();
    });
    child.done();
    expect_eq!(String::from_utf8(t.recv(out.r, 256)).unwrap(), "inner\nopt\nouter\n");
}

#[case(as_root, as_user)]
fn a_file_open_for_writing_is_etxtbsy(t: &mut Guest) {
    program(t, "p");
    let fd = t.open("p", O_WRONLY);
    sys!(execve(c"p", 0, 0)).fails(ETXTBSY);
    sys!(close(fd)).ok();
    let ready = t.pipe();
    let child = t.fork(|| {
        sys!(dup2(ready.w, 1)).ok();
        let argv = [c"helper:pause".as_ptr(), std::ptr::null()];
        sys!(execve(c"p", &argv, 0)).ok();
    });
    expect_eq!(t.recv(ready.r, 16), b"ready\n");
    t.try_open("p", O_WRONLY).fails(ETXTBSY);
    sys!(truncate(c"p", 0)).fails(ETXTBSY);
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
    t.open("p", O_WRONLY);
}

#[case(as_root, as_user)]
fn too_long_a_list_is_e2big(t: &mut Guest) {
    let long = cstr("x".repeat(128 * 1024));
    let argv = [long.as_ptr(), std::ptr::null()];
    sys!(execve(t.program(), &argv, 0)).fails(E2BIG);
    let part = cstr("y".repeat(100 * 1024));
    let mut argv = vec![part.as_ptr(); 80];
    argv.push(std::ptr::null());
    sys!(execve(t.program(), &argv, 0)).fails(E2BIG);
}

#[case(as_root, as_user)]
fn a_large_list_below_the_limit_arrives(t: &mut Guest) {
    let word = "z".repeat(1000);
    let args = vec![word.as_str(); 1000];
    let (output, status) = t.helper("args", &args, &[]);
    status.exited(0);
    expect_eq!(output.len(), 1001 * 1000);
}

#[case(as_root, as_user)]
fn handlers_are_reset_and_ignored_signals_stay(t: &mut Guest) {
    t.catch(SIGUSR1, 0);
    t.ignore(SIGUSR2);
    t.block(&[SIGTERM]);
    let (output, _) = t.helper("file", &["/proc/self/status"], &[]);
    let set = |key: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
        u64::from_str_radix(line, 16).unwrap()
    };
    let bit = |signal: i32| 1_u64 << (signal - 1);
    expect_eq!(set("SigCgt:") & bit(SIGUSR1), 0);
    expect_eq!(set("SigIgn:") & bit(SIGUSR2), bit(SIGUSR2));
    expect_eq!(set("SigBlk:") & bit(SIGTERM), bit(SIGTERM));
}

#[case(as_root, as_user)]
fn execveat_takes_a_directory_or_the_file_itself(t: &mut Guest) {
    t.dir("d");
    program(t, "d/p");
    let argv = [c"helper:exit".as_ptr(), c"3".as_ptr(), std::ptr::null()];
    let d = t.open("d", O_PATH);
    let p = t.open("d/p", O_PATH | O_CLOEXEC);
    t.fork_exit(|| sys!(execveat(d, c"p", &argv, 0, 0)).fd()).wait().exited(3);
    t.fork_exit(|| sys!(execveat(p, c"", &argv, 0, AT_EMPTY_PATH)).fd()).wait().exited(3);
    sys!(execveat(p, c"", &argv, 0, 0)).fails(ENOENT);
    sys!(symlinkat(c"p", d, c"l")).ok();
    sys!(execveat(d, c"l", &argv, 0, AT_SYMLINK_NOFOLLOW)).fails(ELOOP);
    sys!(execveat(d, c"p", &argv, 0, 0x4000_0000)).fails(EINVAL);
    sys!(execveat(99, c"p", &argv, 0, 0)).fails(EBADF);
}

/// A script that is executed by a close-on-exec descriptor could not be opened by its interpreter.
#[case(as_root, as_user)]
fn a_script_by_cloexec_descriptor_is_enoent(t: &mut Guest) {
    program(t, "helper:args");
    script(t, "s", "#!helper:args\n");
    let argv = [c"x".as_ptr(), std::ptr::null()];
    sys!(execveat(t.open("s", O_PATH | O_CLOEXEC), c"", &argv, 0, AT_EMPTY_PATH)).fails(ENOENT);
    let out = t.pipe();
    let fd = t.open("s", O_RDONLY);
    t.fork(|| {
        sys!(dup2(out.w, 1)).ok();
        sys!(execveat(fd, c"", &argv, 0, AT_EMPTY_PATH)).ok();
    })
    .done();
    expect_eq!(String::from_utf8(t.recv(out.r, 64)).unwrap(), format!("/dev/fd/{fd}\n"));
}

#[case(as_root, as_user)]
fn auxv_tells_what_a_loader_needs(t: &mut Guest) {
    let (output, status) = t.helper("auxv", &[], &[]);
    status.exited(0);
    let get = |key: u64| {
        output
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key} ")))
            .map(|v| v.parse::<u64>().unwrap())
    };
    expect_eq!(get(AT_PAGESZ), Some(4096));
    expect_eq!(get(AT_CLKTCK), Some(100));
    expect_eq!(get(AT_UID), Some(t.uid().into()));
    expect_eq!(get(AT_EUID), Some(t.uid().into()));
    expect_eq!(get(AT_SECURE), Some(0));
    expect_eq!(get(AT_PHENT), Some(56));
    for key in [AT_PHDR, AT_PHNUM, AT_ENTRY, AT_RANDOM, AT_EXECFN, AT_PLATFORM, AT_HWCAP, AT_SYSINFO_EHDR] {
        check!(get(key).is_some_and(|value| value != 0), "no entry {key} in {output:?}");
    }
}

#[case(as_root, as_user)]
fn comm_is_the_files_name_cut_to_fifteen(t: &mut Guest) {
    program(t, "a-name-longer-than-fifteen");
    let out = t.pipe();
    t.fork(|| {
        sys!(dup2(out.w, 1)).ok();
        let argv = [c"helper:file".as_ptr(), c"/proc/self/comm".as_ptr(), std::ptr::null()];
        sys!(execve(c"a-name-longer-than-fifteen", &argv, 0)).ok();
    })
    .done();
    expect_eq!(String::from_utf8(t.recv(out.r, 64)).unwrap(), "a-name-longer-t\n");
}

#[case(as_root)]
fn a_set_user_id_program_runs_as_its_owner(t: &mut Guest) {
    program(t, "p");
    sys!(chown(c"p", 1234, 5678)).ok();
    sys!(chmod(c"p", 0o6755)).ok();
    let out = t.pipe();
    t.fork(|| {
        sys!(dup2(out.w, 1)).ok();
        let argv = [c"helper:ids".as_ptr(), std::ptr::null()];
        sys!(execve(c"p", &argv, 0)).ok();
    })
    .done();
    let output = String::from_utf8(t.recv(out.r, 256)).unwrap();
    let ids: Vec<_> = output.split_whitespace().skip(4).collect();
    expect_eq!(ids, ["0", "1234", "0", "5678", "1"]);
}

#[case(as_root)]
fn no_new_privs_disarms_set_user_id(t: &mut Guest) {
    program(t, "p");
    sys!(chown(c"p", 1234, 5678)).ok();
    sys!(chmod(c"p", 0o6755)).ok();
    let out = t.pipe();
    t.fork(|| {
        sys!(dup2(out.w, 1)).ok();
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
        let argv = [c"helper:ids".as_ptr(), std::ptr::null()];
        sys!(execve(c"p", &argv, 0)).ok();
    })
    .done();
    let output = String::from_utf8(t.recv(out.r, 256)).unwrap();
    let ids: Vec<_> = output.split_whitespace().skip(4).collect();
    expect_eq!(ids, ["0", "0", "0", "0", "0"]);
}

#[case(as_root, as_user)]
fn proc_self_exe_can_be_executed(t: &mut Guest) {
    let argv = [c"helper:exit".as_ptr(), c"9".as_ptr(), std::ptr::null()];
    t.fork_exit(|| sys!(execve(c"/proc/self/exe", &argv, 0)).fd()).wait().exited(9);
}

#[case(as_root, as_user)]
fn an_executed_file_may_be_removed_and_replaced(t: &mut Guest) {
    program(t, "p");
    let ready = t.pipe();
    let child = t.fork(|| {
        sys!(dup2(ready.w, 1)).ok();
        let argv = [c"helper:pause".as_ptr(), std::ptr::null()];
        sys!(execve(c"p", &argv, 0)).ok();
    });
    expect_eq!(t.recv(ready.r, 16), b"ready\n");
    sys!(unlink(c"p")).ok();
    let link = std::fs::read_link(format!("/proc/{}/exe", child.pid)).unwrap();
    expect_eq!(link.to_string_lossy(), format!("{}/p (deleted)", t.directory()));
    t.file("p", "another");
    child.kill(SIGKILL);
    child.wait().killed(SIGKILL);
}

#[case(as_user)]
fn a_program_without_read_permission_runs_undumpable(t: &mut Guest) {
    program(t, "p");
    sys!(chmod(c"p", 0o111)).ok();
    let argv = [c"helper:exit".as_ptr(), c"2".as_ptr(), std::ptr::null()];
    t.fork_exit(|| sys!(execve(c"p", &argv, 0)).fd()).wait().exited(2);
    sys!(chmod(c"p", 0o666)).ok();
    sys!(execve(c"p", &argv, 0)).fails(EACCES);
}

/// A program with an empty argument list gets one empty argument (since Linux 5.18).
#[case(as_root, as_user)]
fn an_empty_argument_list_becomes_one_empty_string(t: &mut Guest) {
    let text = "#!helper:args\n";
    program(t, "helper:args");
    script(t, "s", text);
    let out = t.pipe();
    t.fork(|| {
        sys!(dup2(out.w, 1)).ok();
        sys!(execve(c"s", 0, 0)).ok();
    })
    .done();
    expect_eq!(String::from_utf8(t.recv(out.r, 64)).unwrap(), "s\n");
}
