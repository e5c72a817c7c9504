//! Calls that open files, make and remove names, and change attributes.

use super::*;
use sentry_uapi::errno::*;

const CREAT: OpenFlags = OpenFlags::CREAT;
const WRONLY: OpenFlags = OpenFlags::WRONLY;
const EXCL: OpenFlags = OpenFlags::EXCL;

#[test]
fn open_and_its_errors() {
    let t = Task::new();
    assert_eq!(t.mkdir("/d"), Ok(()));
    t.create("/f");
    assert_eq!(t.symlink("f", "/l"), Ok(()));
    assert_eq!(t.symlink("new", "/dangling"), Ok(()));
    let rdonly = OpenFlags::empty();
    for (name, flags, e) in [
        ("/none", rdonly, ENOENT),
        ("/d", WRONLY, EISDIR),
        ("/d", CREAT, EISDIR),
        ("/d/", CREAT, EISDIR),
        ("/none/", CREAT, EISDIR),
        ("/f/", rdonly, ENOTDIR),
        ("/f", OpenFlags::DIRECTORY, ENOTDIR),
        ("/f", CREAT | EXCL, EEXIST),
        ("/d", CREAT | EXCL, EEXIST),
        ("/l", CREAT | EXCL, EEXIST),
        ("/dangling", CREAT | EXCL, EEXIST),
        ("/l", OpenFlags::NOFOLLOW, ELOOP),
        ("/l", OpenFlags::NOFOLLOW | OpenFlags::DIRECTORY, ENOTDIR),
        ("/f/x", CREAT, ENOTDIR),
        ("/none/x", CREAT, ENOENT),
        ("/x", CREAT | OpenFlags::DIRECTORY, EINVAL),
        ("/d/..", CREAT, EISDIR),
        ("/f", OpenFlags::from_bits_retain(0o20_000_000), EINVAL),
        ("/d", OpenFlags::TMPFILE, EINVAL),
    ] {
        assert_eq!(err(t.open(name, flags)), Some(e), "{name} {flags:?}");
    }
    assert!(t.open("/dangling", CREAT).is_ok());
    assert!(t.stat("/new").is_ok());
    assert!(t.open("/l", OpenFlags::NOFOLLOW | OpenFlags::PATH).is_ok());
    assert!(t.open("/d", OpenFlags::DIRECTORY).is_ok());
}

#[test]
fn openat2_is_strict() {
    let how = |flags, mode, resolve| err(build_open_flags(&OpenHow { flags, mode, resolve }));
    assert_eq!(how(1 << 31, 0, 0), Some(EINVAL));
    assert_eq!(how(1 << 40, 0, 0), Some(EINVAL));
    assert_eq!(how(0, 0o644, 0), Some(EINVAL));
    assert_eq!(how(0o100, 0o10_000, 0), Some(EINVAL));
    assert_eq!(how(0, 0, 0x40), Some(EINVAL));
    let path = u64::from(OpenFlags::PATH.bits());
    assert_eq!(how(path | 2, 0, 0), Some(EINVAL));
    assert_eq!(how(path, 0, 0), None);
    assert_eq!(how(0o100, 0o7777, 0), None);
}

#[test]
fn creating_asks_the_directory_and_opening_the_file() {
    let t = Task::new();
    assert_eq!(t.mkdir("/d"), Ok(()));
    t.create("/d/f");
    assert_eq!(t.chmod("/d/f", 0o666), Ok(()));
    let user = t.user(1000);
    assert_eq!(err(user.open("/d/new", CREAT | WRONLY)), Some(EACCES));
    assert!(user.open("/d/f", CREAT | WRONLY).is_ok());
    assert_eq!(t.chmod("/d/f", 0o444), Ok(()));
    assert_eq!(err(user.open("/d/f", CREAT | WRONLY)), Some(EACCES));
    assert_eq!(err(user.open("/d/f", OpenFlags::TRUNC)), Some(EACCES));
    assert_eq!(err(user.open("/d/f", OpenFlags::NOATIME)), Some(EPERM));
    assert_eq!(t.chmod("/d", 0o777), Ok(()));
    // A new file may be written by whoever makes it, whatever its mode.
    assert!(user.open_mode("/d/new", CREAT | OpenFlags::RDWR, 0).is_ok());
    assert_eq!(err(user.open("/d/new", OpenFlags::empty())), Some(EACCES));
}

#[test]
fn truncation_needs_write_permission_and_happens() {
    let t = Task::new();
    t.create("/f");
    assert_eq!(t.write("/f", "hello"), Ok(5));
    assert_eq!(t.stat("/f").map(|s| s.attr.size), Ok(5));
    assert!(t.open("/f", OpenFlags::TRUNC | WRONLY).is_ok());
    assert_eq!(t.stat("/f").map(|s| s.attr.size), Ok(0));
    assert_eq!(do_truncate(&t.0, b"/f", 100), Ok(()));
    assert_eq!(t.stat("/f").map(|s| s.attr.size), Ok(100));
    assert_eq!(do_truncate(&t.0, b"/f", -1), Err(EINVAL));
    assert_eq!(do_truncate(&t.0, b"/", 0), Err(EISDIR));
    t.0.fsize.store(50, Ordering::Relaxed);
    assert_eq!(do_truncate(&t.0, b"/f", 200), Err(EFBIG));
    assert_eq!(t.0.last_signal.load(Ordering::Relaxed), 25);
    assert_eq!(do_truncate(&t.0, b"/f", 60), Ok(()));
}

#[test]
fn writes_stop_at_the_limit() {
    let t = Task::new();
    t.create("/f");
    t.0.fsize.store(3, Ordering::Relaxed);
    let Ok(f) = t.open("/f", WRONLY) else { unreachable!("it is there") };
    let write =
        |text: &str| f.write(&t.0, &mut sentry_mm::IoSrc::from_slice(text.as_bytes()), IoFlags::empty());
    assert_eq!(write("hello"), Ok(3));
    assert_eq!(write("lo"), Err(EFBIG));
    assert_eq!(t.0.last_signal.load(Ordering::Relaxed), 25);
}

#[test]
fn what_is_executed_cannot_be_written_and_the_reverse() {
    let t = Task::new();
    t.create("/f");
    let exec = |task: &Task| do_open_execat(&task.0, &At::Cwd, b"/f", LookupFlags::FOLLOW);
    assert_eq!(err(exec(&t)), Some(EACCES));
    assert_eq!(t.chmod("/f", 0o755), Ok(()));
    let writer = t.open("/f", WRONLY);
    assert_eq!(err(exec(&t)), Some(ETXTBSY));
    drop(writer);
    let running = exec(&t);
    assert!(running.is_ok());
    assert_eq!(err(t.open("/f", WRONLY)), Some(ETXTBSY));
    assert_eq!(do_truncate(&t.0, b"/f", 0), Err(ETXTBSY));
    drop(running);
    assert!(t.open("/f", WRONLY).is_ok());
}

#[test]
fn making_nodes() {
    let t = Task::new();
    assert_eq!(t.mkdir("/d"), Ok(()));
    assert_eq!(t.mkdir("/d/"), Err(EEXIST));
    assert_eq!(t.mkdir("/"), Err(EEXIST));
    assert_eq!(t.mkdir("/d/."), Err(EEXIST));
    assert_eq!(t.mkdir("/e/"), Ok(()));
    assert_eq!(t.mkdir(""), Err(ENOENT));
    assert_eq!(t.symlink("", "/l"), Err(ENOENT));
    assert_eq!(t.symlink("x", "/l/"), Err(ENOENT));
    let mknod =
        |task: &Task, name: &str, mode, dev| do_mknodat(&task.0, &At::Cwd, name.as_bytes(), mode, dev);
    assert_eq!(mknod(&t, "/f", 0o644, 0), Ok(()));
    assert_eq!(mknod(&t, "/fifo", 0o010_644, 0), Ok(()));
    assert_eq!(mknod(&t, "/dir", 0o040_644, 0), Err(EPERM));
    assert_eq!(mknod(&t, "/what", 0o050_644, 0), Err(EINVAL));
    assert_eq!(mknod(&t, "/null", 0o020_666, sentry_uapi::stat::makedev(1, 3)), Ok(()));
    assert_eq!(t.chmod("/d", 0o777), Ok(()));
    let user = t.user(1000);
    assert_eq!(mknod(&user, "/d/null", 0o020_666, 0x103), Err(EPERM));
    assert_eq!(mknod(&user, "/d/whiteout", 0o020_000, 0), Ok(()));
    assert_eq!(mknod(&user, "/null", 0o020_666, 0x103), Err(EEXIST));
    assert_eq!(mknod(&user, "/no", 0o644, 0), Err(EACCES));
    assert_eq!(err(t.open("/null", OpenFlags::empty())), Some(ENXIO));
    assert_eq!(err(t.open("/fifo", OpenFlags::WRONLY | OpenFlags::NONBLOCK)), Some(ENXIO));
}

#[test]
fn umask_and_set_group_id_directories() {
    let t = Task::new();
    t.0.fs.set_umask(0o027);
    assert_eq!(t.mkdir("/d"), Ok(()));
    assert_eq!(t.stat("/d").map(|s| s.mode()), Ok(0o040_750));
    assert_eq!(t.chown("/d", 0, 50), Ok(()));
    assert_eq!(t.chmod("/d", 0o2777), Ok(()));
    assert_eq!(t.mkdir("/d/sub"), Ok(()));
    let user = t.user(1000);
    user.0.fs.set_umask(0);
    assert!(user.open_mode("/d/f", CREAT, 0o2755).is_ok());
    let gid = |name| t.stat(name).map(|s| (s.attr.gid.to_global(), s.mode() & 0o7777));
    assert_eq!(gid("/d/sub"), Ok((50, 0o2750)));
    assert_eq!(gid("/d/f"), Ok((50, 0o755)));
}

#[test]
fn removing_names() {
    let t = Task::new();
    assert_eq!(t.mkdir("/d"), Ok(()));
    t.create("/d/f");
    for (result, e) in [
        (t.unlink("/d"), EISDIR),
        (t.unlink("/d/"), EISDIR),
        (t.unlink("/none"), ENOENT),
        (t.unlink("/none/"), ENOENT),
        (t.unlink("/d/f/"), ENOTDIR),
        (t.unlink("/d/."), EISDIR),
        (t.unlink("/"), EISDIR),
        (t.rmdir("/d"), ENOTEMPTY),
        (t.rmdir("/d/f"), ENOTDIR),
        (t.rmdir("/d/."), EINVAL),
        (t.rmdir("/d/.."), ENOTEMPTY),
        (t.rmdir("/"), EBUSY),
        (t.rmdir("/none"), ENOENT),
    ] {
        assert_eq!(result, Err(e));
    }
    let f = t.open("/d/f", OpenFlags::empty());
    assert_eq!(t.unlink("/d/f"), Ok(()));
    if let Ok(f) = f {
        assert_eq!(d_path(f.path(), &t.0.fs.root()), b"/d/f (deleted)");
    }
    assert_eq!(t.rmdir("/d/"), Ok(()));
    assert_eq!(t.fails("/d"), ENOENT);
}

#[test]
fn the_sticky_bit() {
    let t = Task::new();
    assert_eq!(t.mkdir("/tmp"), Ok(()));
    assert_eq!(t.chmod("/tmp", 0o1777), Ok(()));
    let (a, b) = (t.user(1000), t.user(1001));
    a.create("/tmp/a");
    assert_eq!(b.unlink("/tmp/a"), Err(EPERM));
    assert_eq!(b.rename("/tmp/a", "/tmp/b", 0), Err(EPERM));
    b.create("/tmp/b");
    assert_eq!(b.rename("/tmp/b", "/tmp/a", 0), Err(EPERM));
    assert_eq!(a.unlink("/tmp/a"), Ok(()));
    assert_eq!(t.unlink("/tmp/b"), Ok(()));
}

#[test]
fn links() {
    let t = Task::new();
    t.create("/f");
    assert_eq!(t.mkdir("/d"), Ok(()));
    assert_eq!(t.link("/f", "/g"), Ok(()));
    assert_eq!(t.ino("/f"), t.ino("/g"));
    assert_eq!(t.stat("/g").map(|s| s.attr.nlink), Ok(2));
    assert_eq!(t.link("/f", "/g"), Err(EEXIST));
    assert_eq!(t.link("/d", "/e"), Err(EPERM));
    assert_eq!(t.link("/none", "/g"), Err(ENOENT));
    assert_eq!(t.link("/f", "/new/"), Err(ENOENT));
    assert_eq!(t.rename("/f", "/g", 0), Ok(()));
    assert!(t.stat("/f").is_ok(), "both names of one file: nothing happens");
}

#[test]
fn an_unnamed_file_gets_a_name() {
    let t = Task::new();
    let tmp = t.open("/", OpenFlags::TMPFILE | OpenFlags::RDWR);
    let sealed = t.open("/", OpenFlags::TMPFILE | OpenFlags::RDWR | EXCL);
    let (Ok(tmp), Ok(sealed)) = (tmp, sealed) else { unreachable!("the filesystem can") };
    let shown = String::from_utf8_lossy(&d_path(tmp.path(), &t.0.fs.root())).into_owned();
    assert_eq!(shown, format!("/#{} (deleted)", tmp.inode().ino()));
    let files = &t.0.files;
    assert_eq!(files.install(&t.0, tmp.clone(), false), Ok(0));
    assert_eq!(files.install(&t.0, sealed, false), Ok(1));
    let link = |fd, name: &[u8]| do_linkat(&t.0, &At::Fd(fd), b"", &At::Cwd, name, 0x1000);
    assert_eq!(link(0, b"/named"), Ok(()));
    assert_eq!(t.ino("/named"), tmp.inode().ino());
    assert_eq!(link(1, b"/sealed"), Err(ENOENT));
}

#[test]
fn renaming() {
    let t = Task::new();
    for dir in ["/a", "/a/b", "/e", "/full", "/full/x"] {
        assert_eq!(t.mkdir(dir), Ok(()));
    }
    t.create("/f");
    t.create("/g");
    for (old, new, flags, e) in [
        ("/none", "/x", 0, ENOENT),
        ("/a", "/a/b/c", 0, EINVAL),
        ("/a", "/a/b", 0, EINVAL),
        ("/a/b", "/a", 0, ENOTEMPTY),
        ("/a", "/f", 0, ENOTDIR),
        ("/f", "/a", 0, EISDIR),
        ("/e", "/full", 0, ENOTEMPTY),
        ("/f/", "/x", 0, ENOTDIR),
        ("/f", "/x/", 0, ENOTDIR),
        ("/f", "/g", 1, EEXIST),
        ("/f", "/x", 2, ENOENT),
        ("/a", "/a/b", 2, EINVAL),
        ("/a/b", "/a", 2, EINVAL),
        ("/f", "/g", 3, EINVAL),
        ("/f", "/g", 8, EINVAL),
        ("/a/.", "/x", 0, EBUSY),
        ("/f", "/a/..", 0, EBUSY),
        ("/f", "/a/..", 1, EEXIST),
    ] {
        assert_eq!(t.rename(old, new, flags), Err(e), "{old} {new} {flags}");
    }
    let (f, g, b) = (t.ino("/f"), t.ino("/g"), t.ino("/a/b"));
    assert_eq!(t.rename("/f", "/g", 2), Ok(()));
    assert_eq!((t.ino("/f"), t.ino("/g")), (g, f));
    assert_eq!(t.rename("/f", "/g", 0), Ok(()));
    assert_eq!(t.ino("/g"), g);
    assert_eq!(t.fails("/f"), ENOENT);
    t.chdir("/a/b");
    assert_eq!(t.rename("/a/b", "/e", 0), Ok(()));
    assert_eq!(t.cwd().as_deref(), Ok("/e"));
    assert_eq!(t.ino("/e"), b);
    assert_eq!(t.ino(".."), t.ino("/"));
    assert_eq!(t.rename("/e/", "/a/", 0), Ok(()));
    assert_eq!(t.cwd().as_deref(), Ok("/a"));
    assert_eq!(t.rename("/a", "/g", 2), Ok(()));
    assert_eq!(t.cwd().as_deref(), Ok("/g"));
}

#[test]
fn owners_and_modes() {
    let t = Task::new();
    t.create("/f");
    assert_eq!(t.chown("/f", 1000, 1000), Ok(()));
    let (user, other) = (t.user(1000), t.user(1001));
    let mode = || t.stat("/f").map(|s| s.mode() & 0o7777);
    assert_eq!(user.chmod("/f", 0o6755), Ok(()));
    assert_eq!(mode(), Ok(0o6755));
    assert_eq!(other.chmod("/f", 0o777), Err(EPERM));
    assert_eq!(user.chown("/f", 1001, u32::MAX), Err(EPERM));
    assert_eq!(user.chown("/f", u32::MAX, 1001), Err(EPERM));
    assert_eq!(user.chown("/f", 1000, 1000), Ok(()));
    assert_eq!(mode(), Ok(0o755));
    assert_eq!(t.chmod("/f", 0o4777), Ok(()));
    assert_eq!(t.write("/f", "root keeps them"), Ok(15));
    assert_eq!(mode(), Ok(0o4777));
    assert_eq!(other.write("/f", "x"), Ok(1));
    assert_eq!(mode(), Ok(0o777));
    assert_eq!(t.chown("/f", 1000, 50), Ok(()));
    assert_eq!(user.chmod("/f", 0o2755), Ok(()));
    assert_eq!(mode(), Ok(0o755), "not of that group");
    assert_eq!(t.symlink("f", "/l"), Ok(()));
    let nofollow = sentry_uapi::fcntl::AT_SYMLINK_NOFOLLOW;
    assert_eq!(do_fchmodat(&t.0, &At::Cwd, b"/l", 0o700, nofollow), Err(EOPNOTSUPP));
    assert_eq!(do_fchmodat(&t.0, &At::Cwd, b"/l", 0o700, 1), Err(EINVAL));
}

#[test]
fn times() {
    use sentry_uapi::time::Timespec;
    let t = Task::new();
    t.create("/f");
    assert_eq!(t.chmod("/f", 0o666), Ok(()));
    let user = t.user(1000);
    let utimes = |task: &Task, times| do_utimes_path(&task.0, &At::Cwd, b"/f", times, 0);
    let at = |s, ns| Timespec { tv_sec: s, tv_nsec: ns };
    assert_eq!(utimes(&user, None), Ok(()));
    assert_eq!(utimes(&user, Some([at(0, UTIME_NOW), at(0, UTIME_NOW)])), Ok(()));
    assert_eq!(utimes(&user, Some([at(0, UTIME_NOW), at(0, UTIME_OMIT)])), Err(EPERM));
    assert_eq!(utimes(&user, Some([at(1, 0), at(2, 0)])), Err(EPERM));
    assert_eq!(utimes(&t, Some([at(1, 1_000_000_000), at(2, 0)])), Err(EINVAL));
    assert_eq!(utimes(&t, Some([at(1, 5), at(2, UTIME_OMIT)])), Ok(()));
    assert_eq!(t.stat("/f").map(|s| s.attr.atime), Ok(at(1, 5)));
    assert_eq!(t.chmod("/f", 0o600), Ok(()));
    assert_eq!(utimes(&user, None), Err(EACCES));
}

#[test]
fn access_asks_for_the_real_ids() {
    let t = Task::new();
    t.create("/f");
    let mut set_id = t.user(1000);
    let cred = Arc::make_mut(&mut set_id.0.cred);
    cred.fsuid = Kuid::GLOBAL_ROOT;
    cred.cap_effective = sentry_auth::CapSet::all();
    let access = |mode, flags| do_faccessat(&set_id.0, &At::Cwd, b"/f", mode, flags);
    assert_eq!(access(4, 0), Ok(()));
    assert_eq!(access(2, 0), Err(EACCES));
    assert_eq!(access(2, sentry_uapi::fcntl::AT_EACCESS), Ok(()));
    assert_eq!(access(1, sentry_uapi::fcntl::AT_EACCESS), Err(EACCES));
    assert_eq!(access(8, 0), Err(EINVAL));
    assert_eq!(access(0, 1), Err(EINVAL));
}

#[test]
fn extended_attributes_by_kind() {
    let t = Task::new();
    t.create("/f");
    assert_eq!(t.mkdir("/d"), Ok(()));
    assert_eq!(t.chmod("/d", 0o1777), Ok(()));
    assert_eq!(t.chmod("/f", 0o666), Ok(()));
    assert_eq!(t.symlink("f", "/l"), Ok(()));
    let user = t.user(1000);
    let (f, d) = (t.path("/f"), t.path("/d"));
    let set =
        |task: &Task, path, name: &str, flags| vfs_setxattr(&task.0, path, name.as_bytes(), b"v", flags);
    assert_eq!(set(&user, &f, "user.a", 0), Ok(()));
    assert_eq!(set(&user, &f, "user.a", 1), Err(EEXIST));
    assert_eq!(set(&user, &f, "user.b", 2), Err(ENODATA));
    assert_eq!(set(&user, &f, "user.", 0), Err(EINVAL));
    assert_eq!(set(&user, &f, "user.a", 3 << 4), Err(EINVAL));
    assert_eq!(set(&user, &f, "", 0), Err(ERANGE));
    assert_eq!(set(&user, &d, "user.a", 0), Err(EPERM), "sticky");
    assert_eq!(set(&user, &f, "trusted.a", 0), Err(EPERM));
    assert_eq!(set(&t, &f, "trusted.a", 0), Ok(()));
    assert_eq!(vfs_getxattr(&user.0, &f, b"trusted.a"), Err(ENODATA));
    assert_eq!(set(&user, &f, "security.x", 0), Err(EPERM));
    assert_eq!(set(&t, &f, "system.posix_acl_access", 0), Err(EOPNOTSUPP));
    assert_eq!(set(&t, &f, "other.x", 0), Err(EOPNOTSUPP));
    assert_eq!(vfs_listxattr(&user.0, &f).as_deref(), Ok(b"user.a\0".as_slice()));
    assert_eq!(vfs_listxattr(&t.0, &f).as_deref(), Ok(b"trusted.a\0user.a\0".as_slice()));
    let Ok(link) = t.lookup("/l", LookupFlags::empty()) else { unreachable!("it is there") };
    assert_eq!(set(&t, &link, "user.a", 0), Err(EPERM));
    assert_eq!(vfs_removexattr(&user.0, &f, b"user.a"), Ok(()));
    assert_eq!(vfs_getxattr(&t.0, &f, b"user.a"), Err(ENODATA));
    assert_eq!(set(&t, &f, "security.capability", 0), Err(EINVAL), "malformed");
    let caps = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(vfs_setxattr(&user.0, &f, b"security.capability", &caps, 0), Err(EPERM));
    assert_eq!(vfs_setxattr(&t.0, &f, b"security.capability", &caps, 0), Ok(()));
    assert_eq!(vfs_getxattr(&user.0, &f, b"security.capability").as_deref(), Ok(caps.as_slice()));
    assert_eq!(t.write("/f", "x"), Ok(1));
    assert_eq!(vfs_getxattr(&t.0, &f, b"security.capability"), Err(ENODATA));
}

#[test]
fn names_of_what_has_no_path() {
    struct Nothing;
    impl FileOps for Nothing {
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }
    let t = Task::new();
    let root = t.0.fs.root();
    let file =
        |fs| t.0.vfs.pseudo_file(fs, "[eventfd]", Box::new(Nothing), OpenFlags::empty(), t.0.cred.clone());
    let pipe = file(Pseudo::Pipe);
    let shown = String::from_utf8_lossy(&d_path(pipe.path(), &root)).into_owned();
    assert_eq!(shown, format!("pipe:[{}]", pipe.inode().ino()));
    assert_eq!(d_path(file(Pseudo::Anon).path(), &root), b"anon_inode:[eventfd]");
}

#[test]
fn fallocate_and_its_errors() {
    let t = Task::new();
    t.create("/f");
    let install = |name: &str, flags| t.open(name, flags).and_then(|f| t.0.files.install(&t.0, f, false));
    assert_eq!(install("/f", WRONLY), Ok(0));
    assert_eq!(install("/f", OpenFlags::empty()), Ok(1));
    assert_eq!(install("/", OpenFlags::empty()), Ok(2));
    let call = |fd, mode, offset, len| do_fallocate(&t.0, fd, mode, offset, len);
    assert_eq!(call(9, 0, 0, 1), Err(EBADF));
    assert_eq!(call(0, 0, -1, 1), Err(EINVAL));
    assert_eq!(call(0, 0, 0, 0), Err(EINVAL));
    assert_eq!(call(0, 0x80, 0, 1), Err(EOPNOTSUPP));
    assert_eq!(call(0, 2, 0, 1), Err(EOPNOTSUPP));
    assert_eq!(call(1, 0, 0, 1), Err(EBADF));
    assert_eq!(call(2, 0, 0, 1), Err(EBADF));
    assert_eq!(call(0, 0, i64::MAX, 1), Err(EFBIG));
    t.0.fsize.store(10, Ordering::Relaxed);
    assert_eq!(call(0, 0, 0, 11), Err(EFBIG));
    assert_eq!(call(0, 0, 0, 10), Err(EOPNOTSUPP), "the filesystem's answer");
}
