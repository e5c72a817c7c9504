//! The walk along a path.

use super::*;
use sentry_uapi::errno::*;

fn tree() -> Task {
    let t = Task::new();
    for dir in ["/a", "/a/b", "/a/b/c", "/x"] {
        assert_eq!(t.mkdir(dir), Ok(()));
    }
    t.create("/a/file");
    for (target, name) in [
        ("b", "/a/rel"),
        ("/a/b", "/x/abs"),
        ("loop2", "/x/loop1"),
        ("loop1", "/x/loop2"),
        ("../a/file", "/x/up"),
        ("missing", "/x/dangling"),
        ("/", "/x/root"),
        ("b/", "/a/slash"),
        ("file", "/a/tofile"),
    ] {
        assert_eq!(t.symlink(target, name), Ok(()));
    }
    t
}

#[test]
fn names_dots_and_slashes() {
    let t = tree();
    let b = t.ino("/a/b");
    for same in [
        "/a/b",
        "/a//b",
        "//a/b/",
        "/a/./b/.",
        "/a/b/c/..",
        "/../../a/b",
        "/a/rel",
        "/x/abs",
        "/x/abs/",
        "/x/root/a/b",
        "/a/slash",
        "/a/slash/",
        "/a/slash/c/../",
        "/x/root/x/abs/../rel",
    ] {
        assert_eq!(t.ino(same), b, "{same}");
    }
    assert_eq!(t.ino("/x/up"), t.ino("/a/file"));
    assert_eq!(t.ino("/.."), t.ino("/"));
    t.chdir("/a");
    assert_eq!(t.ino("b"), b);
    assert_eq!(t.ino("../a/b"), b);
    assert_eq!(t.ino("."), t.ino("/a"));
}

#[test]
fn which_error_wins() {
    let t = tree();
    let long = format!("/a/{}", "n".repeat(256));
    let fits = format!("/a/{}", "n".repeat(255));
    let longest = format!("/{}", "a/../".repeat(900));
    for (name, e) in [
        ("", ENOENT),
        ("/missing", ENOENT),
        ("/missing/x", ENOENT),
        ("/a/file/x", ENOTDIR),
        ("/a/file/", ENOTDIR),
        ("/a/file/.", ENOTDIR),
        ("/a/file/..", ENOTDIR),
        ("/a/tofile/", ENOTDIR),
        ("/x/loop1", ELOOP),
        ("/x/loop1/y", ELOOP),
        ("/x/dangling", ENOENT),
        ("/x/dangling/y", ENOENT),
        (&long, ENAMETOOLONG),
        (&fits, ENOENT),
        (&longest, ENAMETOOLONG),
    ] {
        assert_eq!(t.fails(name), e, "{name}");
    }
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let t = tree();
    assert_eq!(t.symlink("/a/file", "/l0"), Ok(()));
    for i in 1..41 {
        assert_eq!(t.symlink(&format!("l{}", i - 1), &format!("/l{i}")), Ok(()));
    }
    assert!(t.stat("/l39").is_ok());
    assert_eq!(t.fails("/l40"), ELOOP);
    // Also when they are passed one after the other.
    let chain = |n: usize| format!("/{}", "x/root/".repeat(n));
    assert!(t.stat(&chain(40)).is_ok());
    assert_eq!(t.fails(&chain(41)), ELOOP);
}

#[test]
fn links_at_the_end_are_followed_if_asked_or_with_a_slash() {
    let t = tree();
    let end = |name| t.lookup(name, LookupFlags::empty()).map(|p| p.inode().map(|i| i.file_type()));
    assert_eq!(end("/x/abs"), Ok(Some(FileType::Symlink)));
    assert_eq!(end("/x/abs/"), Ok(Some(FileType::Directory)));
    assert_eq!(end("/x/dangling"), Ok(Some(FileType::Symlink)));
    assert_eq!(end("/x/dangling/"), Err(ENOENT));
    assert_eq!(end("/a/tofile/"), Err(ENOTDIR));
}

#[test]
fn search_permission_comes_before_the_name() {
    let t = tree();
    assert_eq!(t.chmod("/a", 0o700), Ok(()));
    let user = t.user(1000);
    let long = format!("/a/{}", "n".repeat(256));
    for name in ["/a/b", "/a/missing", "/a/.", "/a/..", "/a/rel/x", &long] {
        assert_eq!(user.fails(name), EACCES, "{name}");
    }
    assert!(user.stat("/a").is_ok());
    assert!(user.stat("/a/").is_ok());
    assert_eq!(user.fails("/x/up"), EACCES);
    assert_eq!(t.chmod("/a", 0o711), Ok(()));
    assert!(user.stat("/a/b").is_ok());
}

#[test]
fn a_warm_lookup_asks_the_filesystem_for_no_name() {
    let t = tree();
    t.fails("/a/b/c/none");
    assert!(t.stat("/x/abs/c").is_ok());
    let before = t.lookups();
    for _ in 0..10 {
        assert!(t.stat("/x/abs/c").is_ok());
        assert_eq!(t.fails("/a/b/c/none"), ENOENT);
    }
    assert_eq!(t.lookups(), before);
    t.create("/a/b/c/none");
    assert!(t.stat("/a/b/c/none").is_ok());
    assert_eq!(t.unlink("/a/b/c/none"), Ok(()));
    assert_eq!(t.fails("/a/b/c/none"), ENOENT);
    assert_eq!(t.lookups(), before);
}

#[test]
fn beneath_and_in_root() {
    let t = tree();
    t.chdir("/a");
    let open = |name, resolve| t.openat2(name, OpenFlags::PATH, resolve).map(|f| f.inode().ino());
    let b = t.ino("/a/b");
    assert_eq!(open("b", Resolve::BENEATH), Ok(b));
    assert_eq!(open("rel", Resolve::BENEATH), Ok(b));
    assert_eq!(open("b/..", Resolve::BENEATH), Ok(t.ino("/a")));
    assert_eq!(open("..", Resolve::BENEATH), Err(EXDEV));
    assert_eq!(open("b/../../a/b", Resolve::BENEATH), Err(EXDEV));
    assert_eq!(open("/a", Resolve::BENEATH), Err(EXDEV));
    assert_eq!(t.symlink("/b", "/a/abs"), Ok(()));
    assert_eq!(open("abs", Resolve::BENEATH), Err(EXDEV));
    assert_eq!(open("/b", Resolve::IN_ROOT), Ok(b));
    assert_eq!(open("abs", Resolve::IN_ROOT), Ok(b));
    assert_eq!(open("../../b", Resolve::IN_ROOT), Ok(b));
    assert_eq!(open("/..", Resolve::IN_ROOT), Ok(t.ino("/a")));
    assert_eq!(open("/", Resolve::BENEATH | Resolve::IN_ROOT), Err(EINVAL));
}

#[test]
fn links_can_be_refused() {
    let t = tree();
    let open = |name, resolve| err(t.openat2(name, OpenFlags::PATH, resolve));
    assert_eq!(open("/x/abs", Resolve::NO_SYMLINKS), Some(ELOOP));
    assert_eq!(open("/x/abs/c", Resolve::NO_SYMLINKS), Some(ELOOP));
    assert_eq!(open("/x/abs", Resolve::NO_MAGICLINKS), None);
    let nofollow = OpenFlags::PATH | OpenFlags::NOFOLLOW;
    assert_eq!(err(t.openat2("/x/abs", nofollow, Resolve::NO_SYMLINKS)), None);
}

#[test]
fn jumping_links() {
    let t = tree();
    let target = t.path("/a/b");
    let dir = t.path("/x");
    if let Some(inode) = dir.inode() {
        TestFs::add_jump(inode, b"magic", target);
    }
    assert_eq!(t.ino("/x/magic"), t.ino("/a/b"));
    assert_eq!(t.ino("/x/magic/c"), t.ino("/a/b/c"));
    assert_eq!(t.ino("/x/magic/.."), t.ino("/a"));
    let open = |name, resolve| err(t.openat2(name, OpenFlags::PATH, resolve));
    assert_eq!(open("/x/magic", Resolve::NO_MAGICLINKS), Some(ELOOP));
    assert_eq!(open("/x/magic/c", Resolve::NO_SYMLINKS), Some(ELOOP));
    assert_eq!(open("/x/magic", Resolve::NO_XDEV), None);
    t.chdir("/");
    assert_eq!(open("x/magic", Resolve::BENEATH), Some(EXDEV));
    assert_eq!(open("x/magic", Resolve::IN_ROOT), Some(EXDEV));
}

#[test]
fn a_cached_only_walk_does_not_ask() {
    let t = tree();
    let vfs = t.0.vfs.clone();
    t.0.fs.root().dentry.sb().forget_all();
    assert_eq!(err(t.openat2("/a/b", OpenFlags::PATH, Resolve::CACHED)), Some(EAGAIN));
    assert!(t.stat("/a/b").is_ok());
    assert_eq!(err(t.openat2("/a/b", OpenFlags::PATH, Resolve::CACHED)), None);
    let creat =
        OpenHow { flags: u64::from(OpenFlags::CREAT.bits()), mode: 0, resolve: Resolve::CACHED.bits() };
    assert_eq!(err(build_open_flags(&creat)), Some(EAGAIN));
    drop(vfs);
}

#[test]
fn what_the_filesystem_takes_back_is_looked_up_anew() {
    let t = Task::new();
    let root = TestFs::with_flags(&t.0.vfs, &t.0.cred.user_ns, SuperFlags::REVALIDATE);
    let dir = root.inode();
    let task = Task(TestContext::with_root(
        t.0.vfs.clone(),
        t.0.cred.user_ns.clone(),
        &Mount::new_internal(99, root),
    ));
    assert_eq!(task.fails("/later"), ENOENT);
    if let Some(dir) = dir {
        TestFs::add_jump(&dir, b"later", t.path("/"));
    }
    assert!(task.stat("/later").is_ok());
}

#[test]
fn the_working_directory_can_be_removed() {
    let t = tree();
    t.chdir("/a/b/c");
    assert_eq!(t.cwd().as_deref(), Ok("/a/b/c"));
    assert_eq!(t.rmdir("/a/b/c"), Ok(()));
    assert_eq!(t.cwd(), Err(ENOENT));
    assert_eq!(t.fails("x"), ENOENT);
    assert_eq!(t.mkdir("x"), Err(ENOENT));
    assert_eq!(t.ino(".."), t.ino("/a/b"));
    let here = t.0.fs.pwd();
    assert_eq!(d_path(&here, &t.0.fs.root()), b"/a/b/c (deleted)");
}

#[test]
fn chroot_bounds_the_walk() {
    let t = tree();
    t.chdir("/x");
    assert_eq!(chroot(&t.0, b"/a"), Ok(()));
    assert!(current_chrooted(&t.0));
    assert_eq!(t.cwd().as_deref(), Ok("(unreachable)/x"));
    t.chdir("/");
    assert_eq!(t.cwd().as_deref(), Ok("/"));
    assert_eq!(t.ino("/../../b"), t.ino("/b"));
    assert_eq!(t.fails("/x"), ENOENT);
    let user = t.user(1000);
    assert_eq!(chroot(&user.0, b"/b"), Err(EPERM));
}
