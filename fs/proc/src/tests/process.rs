//! Files of a process.

use super::{
    labels, list, native, open, read, read_bytes, read_fd, readlink, with_options, with_proc, write,
};
use fs_vfs::TaskContext;
use platform::Prot;
use sentry_mm::{IoDst, IoSrc, MmLimits, MmapRequest, Placement};
use sentry_uapi::errno::{EINVAL, EIO, ENOENT, EPERM};
use sentry_uapi::fcntl::OpenFlags;

#[test]
fn status_has_the_native_kernels_labels() {
    /// Lines that kernels after 6.1 have added.
    const NEWER: [&str; 2] = ["Kthread", "untag_mask"];
    with_proc(|task| {
        let ours = read(task, "/proc/self/status").unwrap_or_default();
        let theirs = native("/proc/self/status");
        let theirs: Vec<&str> = labels(&theirs).into_iter().filter(|l| !NEWER.contains(l)).collect();
        assert_eq!(labels(&ours), theirs);
        for line in [
            "Name:\tinit (x) y",
            "Umask:\t0022",
            "State:\tR (running)",
            "Tgid:\t1",
            "Pid:\t1",
            "PPid:\t0",
            "Uid:\t0\t0\t0\t0",
            "Groups:\t ",
            "NSpid:\t1",
            "Threads:\t1",
            "CapEff:\t000001ffffffffff",
            "Cpus_allowed:\t3",
            "Cpus_allowed_list:\t0-1",
        ] {
            assert!(ours.lines().any(|l| l == line), "{line:?} in {ours}");
        }
    });
}

#[test]
fn stat_has_52_fields_and_the_name_in_parentheses() {
    with_proc(|task| {
        for path in ["/proc/self/stat", "/proc/thread-self/stat"] {
            let ours = read(task, path).unwrap_or_default();
            assert!(ours.starts_with("1 (init (x) y) R 0 1 1 0 -1 "), "{ours}");
            let fields = |t: &str| t.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().count());
            assert_eq!(fields(&ours), Some(50));
            assert_eq!(fields(&ours), fields(&native("/proc/self/stat")));
        }
        let fields = |path: &str| read(task, path).unwrap_or_default().split_whitespace().count();
        assert_eq!(fields("/proc/self/statm"), 7);
        assert_eq!(fields("/proc/self/schedstat"), 3);
    });
}

#[test]
fn memory_is_mapped_read_and_written() {
    with_proc(|task| {
        let mm = task.mm().unwrap_or_else(|e| unreachable!("{e}"));
        let at = 0x10_0000;
        let request = MmapRequest::anonymous(Placement::Fixed(at), 0x3000, Prot::READ);
        assert_eq!(mm.mmap(&request, &MmLimits::NONE), Ok(at));
        let maps = read(task, "/proc/self/maps").unwrap_or_default();
        assert_eq!(maps, "00100000-00103000 r--p 00000000 00:00 0 \n");
        let smaps = read(task, "/proc/self/smaps").unwrap_or_default();
        assert!(smaps.contains("Size:                 12 kB\n"), "{smaps}");
        assert!(smaps.contains("VmFlags: rd mr mw me"), "{smaps}");
        assert!(read(task, "/proc/self/numa_maps").is_ok_and(|t| t.starts_with("00100000 default")));
        assert!(read(task, "/proc/self/smaps_rollup").is_ok_and(|t| t.contains("[rollup]\nRss: ")));
        let fd = open(task, "/proc/self/mem", OpenFlags::RDWR).unwrap_or(-1);
        let mem = task.files().get(fd).unwrap_or_else(|e| unreachable!("{e}"));
        // Though the guest may not write there.
        let io = fs_vfs::IoFlags::empty();
        assert_eq!(mem.write_at(task, &mut IoSrc::from_slice(b"hello"), at + 0xffe, io), Ok(5));
        let mut buf = [0; 7];
        assert_eq!(mem.read_at(task, &mut IoDst::from_slice(&mut buf), at + 0xffd, io), Ok(7));
        assert_eq!(&buf, b"\0hello\0");
        assert_eq!(mem.read_at(task, &mut IoDst::from_slice(&mut buf), at + 0x2ffc, io), Ok(4));
        assert_eq!(mem.read_at(task, &mut IoDst::from_slice(&mut buf), 0, io), Err(EIO));
        let page_map = open(task, "/proc/self/pagemap", OpenFlags::empty()).unwrap_or(-1);
        let page_map = task.files().get(page_map).unwrap_or_else(|e| unreachable!("{e}"));
        let mut word = [0; 8];
        let pos = at / 4096 * 8;
        assert_eq!(page_map.read_at(task, &mut IoDst::from_slice(&mut word), pos, io), Ok(8));
        assert_eq!(u64::from_ne_bytes(word) >> 63, 1);
    });
}

#[test]
fn arguments_are_shown_as_far_as_they_are_there() {
    with_proc(|task| {
        let mm = task.mm().unwrap_or_else(|e| unreachable!("{e}"));
        let at = 0x20_0000;
        let request = MmapRequest::anonymous(Placement::Fixed(at), 0x2000, Prot::READ | Prot::WRITE);
        assert_eq!(mm.mmap(&request, &MmLimits::NONE), Ok(at));
        assert_eq!(read(task, "/proc/self/cmdline").as_deref(), Ok(""));
        let strings = b"prog\0-x\0A=1\0B=2\0";
        assert_eq!(mm.copy_to_user(at, strings), Ok(()));
        mm.update_info(|info| {
            info.args = (at, at + 8);
            info.env = (at + 8, at + 16);
            info.auxv = vec![6, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0];
        });
        assert_eq!(read(task, "/proc/self/cmdline").as_deref(), Ok("prog\0-x\0"));
        assert_eq!(read(task, "/proc/self/environ").as_deref(), Ok("A=1\0B=2\0"));
        assert_eq!(read_bytes(task, "/proc/self/auxv").map(|a| a.len()), Ok(16));
        // A title written over the arguments, and on into the environment.
        assert_eq!(mm.copy_to_user(at, b"a new title\0"), Ok(()));
        assert_eq!(read(task, "/proc/self/cmdline").as_deref(), Ok("a new title\0"));
    });
}

#[test]
fn descriptors_are_links_with_their_access() {
    with_proc(|task| {
        let dir = open(task, "/", OpenFlags::DIRECTORY).unwrap_or(-1);
        assert_eq!(readlink(task, &format!("/proc/self/fd/{dir}")).as_deref(), Ok("/"));
        let (reader, writer) =
            fs_vfs::do_pipe2(task, OpenFlags::empty()).unwrap_or_else(|e| unreachable!("{e}"));
        let files = task.files();
        let (reader, writer) = (files.install(task, reader, false), files.install(task, writer, true));
        let (reader, writer) = (reader.unwrap_or(-1), writer.unwrap_or(-1));
        let name = readlink(task, &format!("/proc/self/fd/{reader}")).unwrap_or_default();
        assert!(name.starts_with("pipe:["), "{name}");
        let perm = |fd: i32| {
            let path = format!("/proc/self/fd/{fd}");
            let flags = fs_vfs::LookupFlags::empty();
            let path = fs_vfs::user_path_at(task, &fs_vfs::At::Cwd, path.as_bytes(), flags);
            path.ok().and_then(|p| p.inode()?.getattr().ok()).map(|a| a.perm)
        };
        assert_eq!((perm(reader), perm(writer)), (Some(0o500), Some(0o300)));
        let names = list(task, "/proc/self/fd").unwrap_or_default();
        let want: Vec<String> = [dir, reader, writer].iter().map(i32::to_string).collect();
        assert_eq!(names[..3], want);
        let info = read(task, &format!("/proc/self/fdinfo/{writer}")).unwrap_or_default();
        assert!(info.starts_with("pos:\t0\nflags:\t02000001\nmnt_id:\t"), "{info}");
        assert_eq!(labels(&info), ["pos", "flags", "mnt_id", "ino"]);
        // A file that shows its own position.
        let own = open(task, &format!("/proc/self/fdinfo/{dir}"), OpenFlags::empty()).unwrap_or(-1);
        assert_eq!(files.dup2(task, own, dir), Ok(dir));
        assert!(read_fd(task, dir, 100).is_ok_and(|t| t.starts_with(b"pos:\t0\nflags:\t00\n")));
        assert_eq!(files.close(task, writer), Ok(()));
        assert_eq!(readlink(task, &format!("/proc/self/fd/{writer}")), Err(ENOENT));
        assert_eq!(readlink(task, "/proc/self/cwd").as_deref(), Ok("/"));
        assert_eq!(readlink(task, "/proc/self/root").as_deref(), Ok("/"));
        assert_eq!(readlink(task, "/proc/self/exe"), Err(ENOENT));
    });
}

#[test]
fn names_and_scores_can_be_written() {
    with_proc(|task| {
        assert_eq!(read(task, "/proc/self/comm").as_deref(), Ok("init (x) y\n"));
        assert_eq!(write(task, "/proc/self/task/1/comm", "a name that is too long"), Ok(23));
        assert_eq!(read(task, "/proc/self/comm").as_deref(), Ok("a name that is \n"));
        assert_eq!(write(task, "/proc/self/oom_score_adj", "500\n"), Ok(4));
        assert_eq!(read(task, "/proc/self/oom_score_adj").as_deref(), Ok("500\n"));
        assert_eq!(read(task, "/proc/self/oom_adj").as_deref(), Ok("8\n"));
        assert_eq!(write(task, "/proc/self/oom_score_adj", "1001"), Err(EINVAL));
        assert_eq!(write(task, "/proc/self/timerslack_ns", "7"), Ok(1));
        assert_eq!(read(task, "/proc/self/timerslack_ns").as_deref(), Ok("7\n"));
        assert_eq!(write(task, "/proc/self/loginuid", "4294967295"), Ok(10));
        assert_eq!(write(task, "/proc/self/loginuid", "0"), Err(EPERM));
        assert_eq!(read(task, "/proc/self/attr/current"), Err(EINVAL));
    });
}

#[test]
fn small_files_read_as_on_the_native_kernel() {
    with_proc(|task| {
        for name in
            ["uid_map", "gid_map", "projid_map", "setgroups", "sessionid", "personality", "coredump_filter"]
        {
            let path = format!("/proc/self/{name}");
            assert_eq!(read(task, &path), Ok(native(&path)), "{name}");
        }
        for (name, text) in [("cgroup", "0::/\n"), ("wchan", "0"), ("stack", ""), ("syscall", "running\n")] {
            assert_eq!(read(task, &format!("/proc/self/{name}")).as_deref(), Ok(text));
        }
        assert_eq!(
            labels(&read(task, "/proc/self/io").unwrap_or_default()),
            labels(&native("/proc/self/io"))
        );
        let ns = readlink(task, "/proc/self/ns/user").unwrap_or_default();
        assert!(ns.starts_with("user:[") && ns.ends_with(']'), "{ns}");
        assert_eq!(readlink(task, "/proc/self/ns/pid"), readlink(task, "/proc/self/ns/pid_for_children"));
        assert_eq!(list(task, "/proc/self/task").as_deref(), Ok(&["1".to_owned()][..]));
        assert!(open(task, "/proc/self/ns/user", OpenFlags::empty()).is_ok());
        assert_eq!(open(task, "/proc/self/ns/user", OpenFlags::WRONLY), Err(EPERM));
        assert_eq!(read(task, "/proc/self/clear_refs"), Err(EINVAL));
    });
}

#[test]
fn mounts_are_listed_and_changes_can_be_polled_for() {
    with_proc(|task| {
        let mounts = read(task, "/proc/mounts").unwrap_or_default();
        assert!(mounts.lines().any(|l| l == "proc /proc proc rw,relatime 0 0"), "{mounts}");
        let info = read(task, "/proc/self/mountinfo").unwrap_or_default();
        let line = info.lines().find(|l| l.ends_with(" - proc proc rw")).unwrap_or_default();
        assert_eq!(line.split(' ').count(), 10, "{info}");
        assert!(
            read(task, "/proc/self/mountstats")
                .is_ok_and(|t| t.contains("device proc mounted on /proc with"))
        );
        let fd = open(task, "/proc/self/mounts", OpenFlags::empty()).unwrap_or(-1);
        let file = task.files().get(fd).unwrap_or_else(|e| unreachable!("{e}"));
        let changed = || file.poll_now() & sentry_uapi::poll::POLLPRI != 0;
        assert!(!changed());
        let args = fs_vfs::MountArgs { source: None, fs_type: Some(b"proc"), flags: 0, data: None };
        assert_eq!(fs_vfs::do_mount(task, b"/proc", &args), Ok(()));
        assert!(changed());
        assert!(!changed());
        assert!(read_fd(task, fd, 10).is_ok_and(|t| !t.is_empty()));
    });
}

#[test]
fn options_are_shown_and_subsets_hide_the_kernel() {
    with_options("hidepid=2,gid=7,subset=pid", |task| {
        let mounts = read(task, "/proc/self/mounts").unwrap_or_default();
        let line = "proc /proc proc rw,relatime,gid=7,hidepid=invisible,subset=pid 0 0";
        assert!(mounts.lines().any(|l| l == line), "{mounts}");
        assert_eq!(list(task, "/proc").as_deref(), Ok(&["self", "thread-self", "1"].map(str::to_owned)[..]));
        assert_eq!(read(task, "/proc/version"), Err(ENOENT));
        assert!(read(task, "/proc/1/stat").is_ok());
    });
}
