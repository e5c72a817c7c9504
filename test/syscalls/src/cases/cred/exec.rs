//! Programs that change who runs them: set-user-ID, set-group-ID, file capabilities.

use crate::prelude::*;
use crate::sys::Ret;
use libc::*;
use std::ptr;

const USER: u32 = 1000;
const CAP_NET_RAW: u64 = 1 << 13;
const CAP_CHOWN: u64 = 1 << 0;
/// `VFS_CAP_REVISION_2` with and without `VFS_CAP_FLAGS_EFFECTIVE`.
const VERSION_2: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;
const CAPABILITY: &std::ffi::CStr = c"security.capability";

/// Real and effective user and group, and `AT_SECURE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ids {
    uid: (u32, u32),
    gid: (u32, u32),
    secure: bool,
}

const PLAIN: Ids = Ids { uid: (USER, USER), gid: (USER, USER), secure: false };

/// Makes a copy of the suite's program.
fn program(t: &Guest, owner: (u32, u32), mode: u32) {
    let mut fs: statvfs = zeroed();
    // SAFETY: the path is a string, and the structure is written.
    if unsafe { statvfs(c".".as_ptr(), &raw mut fs) } == 0 && fs.f_flag & ST_NOSUID != 0 {
        t.skip("set-ID programs do nothing in the case's directory");
    }
    std::fs::copy(t.program().to_str().unwrap(), "p").unwrap();
    sys!(chown(c"p", owner.0, owner.1)).ok();
    sys!(chmod(c"p", mode)).ok();
}

/// Gives the copy an attribute of version 2.
fn set_caps(flags: u32, permitted: u64, inheritable: u64) -> Ret {
    let words = [VERSION_2 | flags, permitted as u32, inheritable as u32, (permitted >> 32) as u32, 0];
    sys!(setxattr(c"p", CAPABILITY, &words, size_of_val(&words), 0))
}

fn be_user() {
    sys!(setgroups(0, 0)).ok();
    sys!(setresgid(USER, USER, USER)).ok();
    sys!(setresuid(USER, USER, USER)).ok();
}

fn exec(name: &std::ffi::CStr, arg: &std::ffi::CStr) -> Ret {
    let argv = [name.as_ptr(), arg.as_ptr(), ptr::null()];
    sys!(execve(c"p", &argv, &[ptr::null::<c_char>()]))
}

/// Runs the copy in a child that is prepared by `prepare`; gives its output.
#[track_caller]
fn run(t: &Guest, name: &std::ffi::CStr, arg: &std::ffi::CStr, prepare: impl FnOnce()) -> String {
    let out = t.pipe();
    let child = t.fork(|| {
        sys!(dup2(out.w, 1)).ok();
        sys!(close(out.r)).ok();
        sys!(close(out.w)).ok();
        prepare();
        exec(name, arg).ok();
    });
    sys!(close(out.w)).ok();
    let mut text = Vec::new();
    loop {
        let part = t.recv(out.r, 4096);
        if part.is_empty() {
            break;
        }
        text.extend(part);
    }
    child.done();
    String::from_utf8(text).unwrap()
}

#[track_caller]
fn ids(t: &Guest, prepare: impl FnOnce()) -> Ids {
    let output = run(t, c"helper:ids", c"", prepare);
    let n: Vec<u32> = output.split_whitespace().map(|id| id.parse().unwrap()).collect();
    Ids { uid: (n[4], n[5]), gid: (n[6], n[7]), secure: n[8] != 0 }
}

/// A line of the status of the copy, as a set of capabilities.
#[track_caller]
fn caps(t: &Guest, keys: [&str; 2], prepare: impl FnOnce()) -> [u64; 2] {
    let output = run(t, c"helper:file", c"/proc/self/status", prepare);
    keys.map(|key| {
        let line = output.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t")).unwrap();
        u64::from_str_radix(line, 16).unwrap()
    })
}

#[case(as_root)]
fn set_id_bits_change_the_effective_ids(t: &mut Guest) {
    program(t, (0, 0), 0o4755);
    expect_eq!(ids(t, be_user), Ids { uid: (USER, 0), secure: true, ..PLAIN });
    program(t, (7, 8), 0o6755);
    expect_eq!(ids(t, be_user), Ids { uid: (USER, 7), gid: (USER, 8), secure: true });
    program(t, (0, 0), 0o755);
    expect_eq!(ids(t, be_user), PLAIN);
}

/// Without execution by the group the bit marks mandatory locking.
#[case(as_root)]
fn set_group_id_without_execution_by_the_group_is_none(t: &mut Guest) {
    program(t, (0, 8), 0o2745);
    expect_eq!(ids(t, be_user), PLAIN);
}

#[case(as_root)]
fn set_user_id_of_root_gives_the_bounding_set(t: &mut Guest) {
    program(t, (0, 0), 0o4755);
    let [permitted, bounding] = caps(t, ["CapPrm", "CapBnd"], be_user);
    expect_eq!(permitted, bounding);
    let [effective, permitted] = caps(t, ["CapEff", "CapPrm"], || {
        sys!(prctl(PR_CAPBSET_DROP, 13, 0, 0, 0)).ok();
        be_user();
    });
    expect_eq!(effective, permitted);
    expect_eq!(effective & CAP_NET_RAW, 0);
}

#[case(as_root)]
fn no_new_privs_means_no_set_id(t: &mut Guest) {
    program(t, (0, 0), 0o6755);
    let seen = ids(t, || {
        be_user();
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
    });
    expect_eq!(seen, PLAIN);
}

#[case(as_root)]
fn a_nosuid_mount_means_no_set_id_and_no_capabilities(t: &mut Guest) {
    let suited = |t: &Guest| {
        sys!(unshare(CLONE_NEWNS)).ok();
        sys!(mount(0, c"/", 0, MS_REC | MS_PRIVATE, 0)).ok();
        sys!(mount(c"t", c".", c"tmpfs", MS_NOSUID, 0)).ok();
        sys!(chdir(&crate::guest::cstr(t.directory()))).ok();
    };
    t.fork(|| {
        suited(t);
        std::fs::copy(t.program().to_str().unwrap(), "p").unwrap();
        sys!(chmod(c"p", 0o6755)).ok();
        set_caps(EFFECTIVE, CAP_NET_RAW, 0).ok();
        expect_eq!(ids(t, be_user), PLAIN);
        expect_eq!(caps(t, ["CapEff", "CapPrm"], be_user), [0, 0]);
    })
    .done();
}

/// Whoever shares the working directory could lead a privileged program astray.
#[case(as_root)]
fn a_shared_working_directory_means_no_set_id(t: &mut Guest) {
    program(t, (0, 0), 0o6755);
    let stop = t.pipe();
    let seen = ids(t, || {
        be_user();
        let child = sys!(clone(CLONE_FS | SIGCHLD, 0, 0, 0, 0));
        if child.raw() == 0 {
            sys!(close(stop.w)).ok();
            sys!(close(1)).ok();
            let mut byte = [0_u8; 1];
            let _ = sys!(read(stop.r, &mut byte, 1));
            // SAFETY: ends the child.
            unsafe { _exit(0) }
        }
        sys!(close(stop.r)).ok();
    });
    // It distrusts its environment all the same.
    expect_eq!(seen, Ids { secure: true, ..PLAIN });
    sys!(close(stop.w)).ok();
}

#[case(as_root)]
fn a_set_id_program_gets_a_sane_stack_and_personality(t: &mut Guest) {
    const ADDR_NO_RANDOMIZE: u64 = 0x0004_0000;
    program(t, (0, 0), 0o4755);
    let big = rlimit { rlim_cur: 64 << 20, rlim_max: RLIM_INFINITY };
    let prepare = || {
        sys!(setrlimit(RLIMIT_STACK, &raw const big)).ok();
        sys!(personality(ADDR_NO_RANDOMIZE)).ok();
        be_user();
    };
    let limits = run(t, c"helper:file", c"/proc/self/limits", prepare);
    let line = limits.lines().find(|line| line.starts_with("Max stack size")).unwrap();
    expect_eq!(line.split_whitespace().nth(3), Some("8388608"));
    expect_eq!(run(t, c"helper:file", c"/proc/self/personality", prepare), "00000000\n");
    sys!(chmod(c"p", 0o755)).ok();
    let limits = run(t, c"helper:file", c"/proc/self/limits", prepare);
    check!(limits.contains("67108864"), "{limits}");
}

#[case(as_root)]
fn who_may_not_read_a_program_may_not_look_into_it(t: &mut Guest) {
    program(t, (0, 0), 0o711);
    let text = run(t, c"helper:file", c"/proc/self/environ", be_user);
    check!(text.contains("Permission denied"), "{text}");
    sys!(chmod(c"p", 0o755)).ok();
    let text = run(t, c"helper:file", c"/proc/self/environ", be_user);
    check!(!text.contains("Permission denied"), "{text}");
}

#[case(as_root)]
fn file_capabilities_are_gained(t: &mut Guest) {
    program(t, (0, 0), 0o755);
    set_caps(EFFECTIVE, CAP_NET_RAW, 0).or_skip(EOPNOTSUPP, "no file capabilities here").ok();
    expect_eq!(caps(t, ["CapPrm", "CapEff"], be_user), [CAP_NET_RAW, CAP_NET_RAW]);
    expect_eq!(ids(t, be_user), Ids { secure: true, ..PLAIN });
    set_caps(0, CAP_NET_RAW, 0).ok();
    expect_eq!(caps(t, ["CapPrm", "CapEff"], be_user), [CAP_NET_RAW, 0]);
    let none = caps(t, ["CapPrm", "CapEff"], || {
        be_user();
        sys!(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).ok();
    });
    expect_eq!(none, [0, 0]);
}

#[case(as_root)]
fn inheritable_file_capabilities_meet_those_of_the_process(t: &mut Guest) {
    program(t, (0, 0), 0o755);
    set_caps(EFFECTIVE, 0, CAP_NET_RAW | CAP_CHOWN).or_skip(EOPNOTSUPP, "no file capabilities here").ok();
    let seen = caps(t, ["CapPrm", "CapInh"], || {
        let header = [0x2008_0522_u32, 0];
        sys!(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)).ok();
        be_user();
        let set = CAP_NET_RAW as u32;
        sys!(capset(&header, &[set, set, set, 0, 0, 0])).ok();
    });
    expect_eq!(seen, [CAP_NET_RAW, CAP_NET_RAW]);
}

/// A program with the effective flag is one that does not know how to do with less.
#[case(as_root)]
fn a_program_that_would_lack_capabilities_is_eperm(t: &mut Guest) {
    program(t, (0, 0), 0o755);
    set_caps(EFFECTIVE, CAP_NET_RAW, 0).or_skip(EOPNOTSUPP, "no file capabilities here").ok();
    t.fork(|| {
        sys!(prctl(PR_CAPBSET_DROP, 13, 0, 0, 0)).ok();
        exec(c"helper:ids", c"").fails(EPERM);
        be_user();
        exec(c"helper:ids", c"").fails(EPERM);
    })
    .done();
    set_caps(0, CAP_NET_RAW, 0).ok();
    let seen = caps(t, ["CapPrm", "CapEff"], || {
        sys!(prctl(PR_CAPBSET_DROP, 13, 0, 0, 0)).ok();
        be_user();
    });
    expect_eq!(seen, [0, 0]);
}

#[case(as_root)]
fn of_a_set_user_id_program_its_capabilities_decide(t: &mut Guest) {
    program(t, (0, 0), 0o4755);
    set_caps(EFFECTIVE, CAP_NET_RAW, 0).or_skip(EOPNOTSUPP, "no file capabilities here").ok();
    expect_eq!(caps(t, ["CapPrm", "CapEff"], be_user), [CAP_NET_RAW, CAP_NET_RAW]);
    expect_eq!(ids(t, be_user).uid, (USER, 0));
}

#[case(as_root)]
fn privileged_programs_lose_ambient_capabilities(t: &mut Guest) {
    let prepare = || {
        sys!(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)).ok();
        be_user();
        let set = CAP_NET_RAW as u32;
        sys!(capset(&[0x2008_0522_u32, 0], &[set, set, set, 0, 0, 0])).ok();
        sys!(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 13, 0, 0)).ok();
    };
    program(t, (7, 8), 0o755);
    expect_eq!(caps(t, ["CapAmb", "CapEff"], prepare), [CAP_NET_RAW, CAP_NET_RAW]);
    program(t, (7, 8), 0o2755);
    expect_eq!(caps(t, ["CapAmb", "CapEff"], prepare), [0, 0]);
    program(t, (7, 8), 0o755);
    set_caps(EFFECTIVE, CAP_CHOWN, 0).or_skip(EOPNOTSUPP, "no file capabilities here").ok();
    expect_eq!(caps(t, ["CapAmb", "CapEff"], prepare), [0, CAP_CHOWN]);
}

#[case(as_root)]
fn malformed_capabilities_cannot_be_executed_nor_read(t: &mut Guest) {
    program(t, (0, 0), 0o755);
    sys!(setxattr(c"p", CAPABILITY, c"abcd", 4, 0)).fails(EINVAL);
    let words = [0x0100_0000_u32, 0, 0];
    sys!(setxattr(c"p", CAPABILITY, &words, 12, 0)).fails(EINVAL);
    // An empty value is not looked at.
    sys!(setxattr(c"p", CAPABILITY, 0, 0, 0)).or_skip(EOPNOTSUPP, "no file capabilities here").ok();
    t.fork(|| exec(c"helper:ids", c"").fails(EINVAL)).done();
    sys!(getxattr(c"p", CAPABILITY, 0, 0)).fails(EINVAL);
}

#[case(as_user)]
fn ones_own_set_id_program_changes_nothing(t: &mut Guest) {
    let uid = t.uid();
    // SAFETY: has no preconditions.
    let gid = unsafe { getegid() };
    program(t, (uid, gid), 0o4755);
    let seen = ids(t, || {});
    expect_eq!((seen.uid, seen.secure), ((uid, uid), false));
    set_caps(EFFECTIVE, CAP_NET_RAW, 0).fails(EPERM);
}
