//! Mounts, their propagation, and namespaces.

use super::*;
use sentry_auth::{CapSet, IdMapExtent, UserNamespace};
use sentry_uapi::errno::*;

const DETACH: u32 = 2;

fn dirs(names: &[&str]) -> Task {
    let t = Task::new();
    for name in names {
        assert_eq!(t.mkdir(name), Ok(()), "{name}");
    }
    t
}

fn root_cred(t: &Task) -> Cred {
    Cred::clone(&t.0.cred)
}

/// Credentials with all capabilities in a new user namespace.
fn in_user_ns(t: &Task) -> Cred {
    let ns = UserNamespace::create_user_ns(&t.0.cred, false);
    let Ok(ns) = ns else { unreachable!("the ids are mapped") };
    Cred { user_ns: ns, cap_effective: CapSet::all(), cap_permitted: CapSet::all(), ..root_cred(t) }
}

#[test]
fn a_mount_covers_and_uncovers() {
    let t = dirs(&["/m", "/m/below"]);
    assert_eq!(t.mount("/m"), Ok(()));
    assert_eq!(t.fails("/m/below"), ENOENT);
    assert_eq!(t.mkdir("/m/above"), Ok(()));
    assert_ne!(t.stat("/m").map(|s| s.dev), t.stat("/").map(|s| s.dev));
    assert_eq!(t.stat("/m").map(|s| s.mount_root), Ok(true));
    assert_eq!(t.ino("/m/above/../.."), t.ino("/"));
    t.chdir("/m/above");
    assert_eq!(t.cwd().as_deref(), Ok("/m/above"));
    assert_eq!(t.umount("/m", 0), Err(EBUSY));
    t.chdir("/");
    assert_eq!(t.rmdir("/m"), Err(EBUSY));
    assert_eq!(t.rename("/m", "/n", 0), Err(EBUSY));
    assert_eq!(t.rename("/m/above", "/n", 0), Err(EXDEV));
    assert_eq!(t.umount("/m", 0), Ok(()));
    assert!(t.stat("/m/below").is_ok());
    assert_eq!(t.umount("/m", 0), Err(EINVAL));
}

#[test]
fn mounts_pile_up() {
    let t = dirs(&["/m"]);
    for name in ["/m/a", "/m/b", "/m/c"] {
        assert_eq!(t.mount("/m"), Ok(()));
        assert_eq!(t.mkdir(name), Ok(()));
    }
    assert_eq!(t.mountpoints(), ["/", "/m", "/m", "/m"]);
    assert!(t.stat("/m/c").is_ok());
    assert_eq!(t.ino("/m/.."), t.ino("/"));
    assert_eq!(t.umount("/m", 0), Ok(()));
    assert!(t.stat("/m/b").is_ok());
}

#[test]
fn errors_of_mount() {
    let t = dirs(&["/m"]);
    t.create("/f");
    assert_eq!(t.mount("/f"), Err(ENOTDIR));
    assert_eq!(t.mount("/none"), Err(ENOENT));
    assert_eq!(t.change("/m", 0), Err(EINVAL));
    let typed = |fs_type: &'static [u8], data| {
        let args = MountArgs { fs_type: Some(fs_type), data, ..MountArgs::default() };
        do_mount(&t.0, b"/m", &args)
    };
    assert_eq!(typed(b"nofs", None), Err(ENODEV));
    assert_eq!(typed(b"testfs", Some("bad")), Err(EINVAL));
    assert_eq!(t.user(1000).mount("/m"), Err(EPERM));
    assert_eq!(t.user(1000).mount("/none"), Err(ENOENT));
    assert_eq!(t.user(1000).umount("/m", 0), Err(EPERM));
    assert_eq!(t.umount("/m", 0), Err(EINVAL));
    assert_eq!(t.umount("/m", 16), Err(EINVAL));
    assert_eq!(t.change("/m", ms::SHARED), Err(EINVAL), "no mount point");
    assert_eq!(t.change("/", ms::SHARED | ms::SLAVE), Err(EINVAL));
    assert_eq!(t.bind("", "/m", 0), Err(EINVAL));
    assert_eq!(t.bind("/f", "/m", 0), Err(ENOTDIR));
}

#[test]
fn bind_mounts() {
    let t = dirs(&["/a", "/a/sub", "/a/sub/deep", "/b", "/c"]);
    t.create("/f");
    t.create("/g");
    assert_eq!(t.bind("/f", "/g", 0), Ok(()));
    assert_eq!(t.ino("/g"), t.ino("/f"));
    assert_eq!(t.mount("/a/sub/deep"), Ok(()));
    assert_eq!(t.mkdir("/a/sub/deep/x"), Ok(()));
    assert_eq!(t.bind("/a/sub", "/b", 0), Ok(()));
    assert_eq!(t.fails("/b/deep/x"), ENOENT);
    assert_eq!(t.ino("/b/.."), t.ino("/"));
    assert_eq!(t.bind("/a", "/c", ms::REC), Ok(()));
    assert!(t.stat("/c/sub/deep/x").is_ok());
    assert_eq!(t.mountpoints(), ["/", "/g", "/a/sub/deep", "/b", "/c", "/c/sub/deep"]);
    assert!(t.mountinfo().contains(" /a/sub /b rw"), "{}", t.mountinfo());
    assert_eq!(t.umount("/c", 0), Err(EBUSY));
    assert_eq!(t.umount("/c", DETACH), Ok(()));
    assert_eq!(t.mountpoints(), ["/", "/g", "/a/sub/deep", "/b"]);
}

#[test]
fn leaving_a_bind_mount_by_rename() {
    let t = dirs(&["/a", "/a/dir", "/b", "/out"]);
    assert_eq!(t.bind("/a", "/b", 0), Ok(()));
    t.chdir("/b/dir");
    assert_eq!(t.rename("/a/dir", "/out/dir", 0), Ok(()));
    assert_eq!(t.fails(".."), ENOENT);
    assert!(t.stat(".").is_ok());
}

#[test]
fn no_xdev() {
    let t = dirs(&["/m"]);
    assert_eq!(t.mount("/m"), Ok(()));
    assert_eq!(t.mkdir("/m/d"), Ok(()));
    assert_eq!(t.symlink("/m", "/m/abs"), Ok(()));
    let open = |name| err(t.openat2(name, OpenFlags::PATH, Resolve::NO_XDEV));
    assert_eq!(open("/m"), Some(EXDEV));
    t.chdir("/m");
    assert_eq!(open("d/.."), None);
    assert_eq!(open(".."), Some(EXDEV));
    assert_eq!(open("abs"), Some(EXDEV));
    assert_eq!(open("/"), None);
}

#[test]
fn read_only_mounts_and_filesystems() {
    let t = dirs(&["/a", "/ro"]);
    t.create("/a/f");
    assert_eq!(t.bind("/a", "/ro", 0), Ok(()));
    let writer = t.open("/ro/f", OpenFlags::WRONLY);
    assert!(writer.is_ok());
    assert_eq!(t.change("/ro", ms::REMOUNT | ms::BIND | ms::RDONLY), Err(EBUSY));
    drop(writer);
    assert_eq!(t.change("/ro", ms::REMOUNT | ms::BIND | ms::RDONLY), Ok(()));
    assert_eq!(err(t.open("/ro/f", OpenFlags::WRONLY)), Some(EROFS));
    assert_eq!(err(t.open("/ro/f", OpenFlags::TRUNC)), Some(EROFS));
    assert_eq!(err(t.open("/ro/new", OpenFlags::CREAT)), Some(EROFS));
    assert_eq!(err(t.open("/ro/f", OpenFlags::CREAT)), None);
    assert_eq!(t.mkdir("/ro/d"), Err(EROFS));
    assert_eq!(t.mkdir("/ro/f"), Err(EEXIST));
    assert_eq!(t.unlink("/ro/f"), Err(EROFS));
    assert_eq!(t.chmod("/ro/f", 0o777), Err(EROFS));
    assert_eq!(do_truncate(&t.0, b"/ro/f", 0), Err(EROFS));
    assert_eq!(do_faccessat(&t.0, &At::Cwd, b"/ro/f", 2, 0), Err(EROFS));
    assert_eq!(t.chmod("/a/f", 0o777), Ok(()));
    assert!(t.mountinfo().contains(" /ro ro - testfs"), "{}", t.mountinfo());
    assert_eq!(t.change("/", ms::REMOUNT | ms::RDONLY), Ok(()));
    assert_eq!(t.chmod("/a/f", 0o700), Err(EROFS));
    assert_eq!(t.change("/", ms::REMOUNT), Ok(()));
    assert_eq!(t.chmod("/a/f", 0o700), Ok(()));
}

#[test]
fn nodev_and_noexec() {
    let t = dirs(&["/m"]);
    t.create("/m/f");
    assert_eq!(t.chmod("/m/f", 0o755), Ok(()));
    assert_eq!(do_mknodat(&t.0, &At::Cwd, b"/m/null", 0o020_666, 0x103), Ok(()));
    assert_eq!(t.bind("/m", "/m", 0), Ok(()));
    assert_eq!(t.change("/m", ms::REMOUNT | ms::BIND | ms::NODEV | ms::NOEXEC), Ok(()));
    assert_eq!(err(t.open("/m/null", OpenFlags::empty())), Some(EACCES));
    assert_eq!(err(do_open_execat(&t.0, &At::Cwd, b"/m/f", LookupFlags::FOLLOW)), Some(EACCES));
    assert_eq!(do_faccessat(&t.0, &At::Cwd, b"/m/f", 1, 0), Err(EACCES));
    assert_eq!(t.change("/m", ms::REMOUNT | ms::BIND | ms::NOSYMFOLLOW), Ok(()));
    assert_eq!(t.symlink("f", "/m/l"), Ok(()));
    assert_eq!(t.fails("/m/l"), ELOOP);
    assert_eq!(err(t.open("/m/null", OpenFlags::empty())), Some(ENXIO));
}

#[test]
fn shared_mounts_hear_of_each_other() {
    let t = dirs(&["/a", "/b"]);
    assert_eq!(t.mount("/a"), Ok(()));
    for d in ["/a/x", "/a/y"] {
        assert_eq!(t.mkdir(d), Ok(()));
    }
    assert_eq!(t.change("/a", ms::SHARED), Ok(()));
    assert_eq!(t.bind("/a", "/b", 0), Ok(()));
    assert_eq!(t.mount("/a/x"), Ok(()));
    assert_eq!(t.mount("/b/y"), Ok(()));
    assert_eq!(t.mountpoints(), ["/", "/a", "/b", "/a/x", "/b/x", "/b/y", "/a/y"]);
    assert_eq!(t.stat("/a/x").map(|s| s.dev), t.stat("/b/x").map(|s| s.dev));
    // The new mounts are peers themselves.
    assert_eq!(t.mkdir("/a/x/z"), Ok(()));
    assert_eq!(t.mount("/b/x/z"), Ok(()));
    assert_eq!(t.stat("/a/x/z").map(|s| s.mount_root), Ok(true));
    assert_eq!(t.umount("/a/x", 0), Err(EBUSY));
    assert_eq!(t.umount("/a/x/z", 0), Ok(()));
    assert_eq!(t.stat("/b/x/z").map(|s| s.mount_root), Ok(false));
    t.chdir("/b/x");
    assert_eq!(t.umount("/a/x", 0), Err(EBUSY), "in use in a peer");
    t.chdir("/");
    assert_eq!(t.umount("/b/x", 0), Ok(()));
    assert_eq!(t.mountpoints(), ["/", "/a", "/b", "/b/y", "/a/y"]);
    assert_eq!(t.umount("/a", DETACH), Ok(()));
    assert_eq!(t.mountpoints(), ["/", "/b"], "what was below it goes everywhere");
}

#[test]
fn slaves_receive_and_do_not_send() {
    let t = dirs(&["/a", "/b", "/c", "/d"]);
    assert_eq!(t.mount("/a"), Ok(()));
    for d in ["/a/x", "/a/y"] {
        assert_eq!(t.mkdir(d), Ok(()));
    }
    assert_eq!(t.change("/a", ms::SHARED), Ok(()));
    assert_eq!(t.bind("/a", "/b", 0), Ok(()));
    assert_eq!(t.change("/b", ms::SLAVE), Ok(()));
    // b is a slave of a; c is its peer once it shares too; d receives from those.
    assert_eq!(t.change("/b", ms::SHARED), Ok(()));
    assert_eq!(t.bind("/b", "/c", 0), Ok(()));
    assert_eq!(t.bind("/c", "/d", 0), Ok(()));
    assert_eq!(t.change("/d", ms::SLAVE), Ok(()));
    assert_eq!(t.mount("/a/x"), Ok(()));
    let mounted = |name| t.stat(name).map(|s| s.mount_root);
    for name in ["/a/x", "/b/x", "/c/x", "/d/x"] {
        assert_eq!(mounted(name), Ok(true), "{name}");
    }
    assert_eq!(t.mount("/c/y"), Ok(()));
    for (name, there) in [("/a/y", false), ("/b/y", true), ("/c/y", true), ("/d/y", true)] {
        assert_eq!(mounted(name), Ok(there), "{name}");
    }
    let info = t.mountinfo();
    let line = |at: &str| {
        let found = info.lines().find(|l| l.contains(&format!(" / {at} ")));
        found.and_then(|l| l.split(" - ").next()).and_then(|l| l.split("relatime").nth(1)).map(str::to_string)
    };
    assert_eq!(line("/a").as_deref(), Some(" shared:1"));
    assert_eq!(line("/b").as_deref(), Some(" shared:2 master:1"));
    assert_eq!(line("/d").as_deref(), Some(" master:2"));
    assert_eq!(line("/b/x").as_deref(), Some(" shared:4 master:3"));
    assert_eq!(line("/c/x").as_deref(), Some(" shared:4 master:3"));
    assert_eq!(line("/d/x").as_deref(), Some(" master:4"));
    assert_eq!(line("/d/y").as_deref(), Some(" master:5"));
    assert_eq!(t.umount("/d/x", 0), Ok(()));
    assert_eq!(mounted("/c/x"), Ok(true));
    assert_eq!(t.umount("/a/x", 0), Ok(()));
    for name in ["/a/x", "/b/x", "/c/x", "/d/x"] {
        assert_eq!(mounted(name), Ok(false), "{name}");
    }
}

#[test]
fn a_master_that_goes_hands_its_slaves_on() {
    let t = dirs(&["/a", "/b", "/c"]);
    assert_eq!(t.mount("/a"), Ok(()));
    assert_eq!(t.mkdir("/a/x"), Ok(()));
    assert_eq!(t.change("/a", ms::SHARED), Ok(()));
    assert_eq!(t.bind("/a", "/b", 0), Ok(()));
    assert_eq!(t.change("/b", ms::SLAVE), Ok(()));
    assert_eq!(t.change("/b", ms::SHARED), Ok(()));
    assert_eq!(t.bind("/b", "/c", 0), Ok(()));
    assert_eq!(t.change("/c", ms::SLAVE), Ok(()));
    assert_eq!(t.umount("/b", 0), Ok(()));
    assert_eq!(t.mount("/a/x"), Ok(()));
    assert_eq!(t.stat("/c/x").map(|s| s.mount_root), Ok(true));
    assert_eq!(t.umount("/a/x", 0), Ok(()));
    assert_eq!(t.change("/a", ms::PRIVATE), Ok(()));
    assert_eq!(t.mount("/a/x"), Ok(()));
    assert_eq!(t.stat("/c/x").map(|s| s.mount_root), Ok(false));
    assert!(!t.mountinfo().contains("master:"));
}

#[test]
fn unbindable_mounts() {
    let t = dirs(&["/a", "/a/u", "/b"]);
    assert_eq!(t.mount("/a/u"), Ok(()));
    assert_eq!(t.change("/a/u", ms::UNBINDABLE), Ok(()));
    assert_eq!(t.bind("/a/u", "/b", 0), Err(EINVAL));
    assert_eq!(t.bind("/a", "/b", ms::REC), Ok(()));
    assert_eq!(t.mountpoints(), ["/", "/a/u", "/b"]);
    assert!(t.mountinfo().contains("unbindable"));
    assert_eq!(t.change("/a/u", ms::PRIVATE), Ok(()));
    assert!(!t.mountinfo().contains("unbindable"));
}

#[test]
fn a_mount_that_arrives_goes_below_what_is_there() {
    let t = dirs(&["/a", "/b"]);
    assert_eq!(t.mount("/a"), Ok(()));
    assert_eq!(t.mkdir("/a/x"), Ok(()));
    assert_eq!(t.change("/a", ms::SHARED), Ok(()));
    assert_eq!(t.bind("/a", "/b", 0), Ok(()));
    assert_eq!(t.change("/b", ms::SLAVE), Ok(()));
    assert_eq!(t.mount("/b/x"), Ok(()));
    assert_eq!(t.mkdir("/b/x/own"), Ok(()));
    assert_eq!(t.mount("/a/x"), Ok(()));
    assert!(t.stat("/b/x/own").is_ok(), "b's own mount stays on top");
    assert_eq!(t.umount("/a/x", 0), Ok(()));
    assert!(t.stat("/b/x/own").is_ok(), "and takes the place of the one that goes");
    assert_eq!(t.mountpoints(), ["/", "/a", "/b", "/b/x"]);
    assert_eq!(t.umount("/b/x", 0), Ok(()));
    assert_eq!(t.fails("/b/x/own"), ENOENT);
}

#[test]
fn moving_mounts() {
    let t = dirs(&["/a", "/b"]);
    assert_eq!(t.mount("/a"), Ok(()));
    assert_eq!(t.mkdir("/a/x"), Ok(()));
    assert_eq!(t.move_mount("/a", "/b"), Ok(()));
    assert!(t.stat("/b/x").is_ok());
    assert_eq!(t.mountpoints(), ["/", "/b"]);
    assert_eq!(t.move_mount("/b", "/b/x"), Err(ELOOP));
    assert_eq!(t.move_mount("/a", "/b/x"), Err(EINVAL));
    assert_eq!(t.change("/", ms::SHARED), Ok(()));
    assert_eq!(t.move_mount("/b", "/a"), Err(EINVAL), "the parent shares");
    assert_eq!(t.change("/", ms::PRIVATE), Ok(()));
    assert_eq!(t.move_mount("/b", "/a"), Ok(()));
}

#[test]
fn pivoting() {
    let t = dirs(&["/new", "/plain"]);
    let pivot = |new: &str, old: &str| err(pivot_root(&t.0, new.as_bytes(), old.as_bytes()));
    assert_eq!(pivot("/plain", "/plain"), Some(EBUSY), "no mount");
    assert_eq!(t.mount("/new"), Ok(()));
    for d in ["/new/old", "/new/dir"] {
        assert_eq!(t.mkdir(d), Ok(()));
    }
    assert_eq!(pivot("/", "/"), Some(EBUSY));
    assert_eq!(pivot("/new/dir", "/new/old"), Some(EINVAL));
    assert_eq!(pivot("/new", "/plain"), Some(EBUSY));
    let sibling = t.user(1000);
    let (Ok(roots), true) = (pivot_root(&t.0, b"/new", b"/new/old"), true) else { unreachable!("it works") };
    assert!(t.stat("/dir").is_ok());
    assert!(t.stat("/old/plain").is_ok());
    assert_eq!(t.cwd().as_deref(), Ok("/"));
    assert_eq!(sibling.cwd().as_deref(), Ok("/"));
    assert_eq!(sibling.fails("/dir"), ENOENT);
    sibling.0.fs.chroot_refs(&roots.0, &roots.1);
    assert!(sibling.stat("/dir").is_ok());
    drop(roots);
    assert_eq!(t.umount("/old", 0), Ok(()));
    assert_eq!(t.mountpoints(), ["/"]);
    assert!(!current_chrooted(&t.0));
}

#[test]
fn pivoting_onto_itself_as_runtimes_do() {
    let t = dirs(&["/new"]);
    assert_eq!(t.mount("/new"), Ok(()));
    assert_eq!(t.mkdir("/new/dir"), Ok(()));
    t.chdir("/new");
    assert!(pivot_root(&t.0, b".", b".").is_ok());
    assert_eq!(t.umount(".", DETACH), Ok(()));
    t.chdir("/");
    assert!(t.stat("/dir").is_ok());
    assert_eq!(t.fails("/new"), ENOENT);
    assert_eq!(t.mountpoints(), ["/"]);
}

#[test]
fn a_copy_of_a_namespace_is_its_own() {
    let t = dirs(&["/m", "/n"]);
    assert_eq!(t.mount("/m"), Ok(()));
    assert_eq!(t.mkdir("/m/x"), Ok(()));
    t.chdir("/m/x");
    let child = t.unshare(root_cred(&t));
    t.chdir("/");
    assert_eq!(child.cwd().as_deref(), Ok("/m/x"));
    assert_eq!(child.mountpoints(), ["/", "/m"]);
    assert_eq!(child.umount("/m", 0), Err(EBUSY));
    assert_eq!(t.umount("/m", 0), Ok(()), "the child's working directory is on its copy");
    child.chdir("/");
    assert_eq!(child.mount("/n"), Ok(()));
    assert_eq!(t.stat("/n").map(|s| s.mount_root), Ok(false));
    assert_eq!(t.rmdir("/n"), Ok(()), "a mount elsewhere does not keep a directory");
    assert_eq!(child.mountpoints(), ["/", "/m"]);
    let path = child.path("/m");
    let ns = Arc::downgrade(&child.0.mnt_ns);
    drop(child);
    assert!(ns.upgrade().is_none());
    assert!(path.mnt.parent().is_none(), "the tree has been taken apart");
}

#[test]
fn namespaces_hear_of_each_other() {
    let t = dirs(&["/m"]);
    assert_eq!(t.change("/", ms::SHARED | ms::REC), Ok(()));
    let child = t.unshare(root_cred(&t));
    let (before, _) = child.0.mnt_ns.event();
    assert_eq!(t.mount("/m"), Ok(()));
    assert_eq!(child.mountpoints(), ["/", "/m"]);
    assert_ne!(child.0.mnt_ns.event().0, before);
    assert_eq!(child.umount("/m", 0), Ok(()));
    assert_eq!(t.mountpoints(), ["/"]);
}

#[test]
fn a_less_privileged_namespace_cannot_reveal_or_relax() {
    let t = dirs(&["/m", "/m/hidden", "/n", "/own"]);
    assert_eq!(t.mount("/m"), Ok(()));
    assert_eq!(t.mount("/n"), Ok(()));
    assert_eq!(t.change("/n", ms::REMOUNT | ms::BIND | ms::RDONLY | ms::NODEV), Ok(()));
    assert_eq!(t.change("/", ms::SHARED | ms::REC), Ok(()));
    let child = t.unshare(in_user_ns(&t));
    assert!(child.mountinfo().contains("master:"));
    assert!(!child.mountinfo().contains("shared:"));
    assert_eq!(child.umount("/m", 0), Err(EINVAL));
    assert_eq!(child.umount("/m", DETACH), Err(EINVAL));
    assert_eq!(child.move_mount("/m", "/own"), Err(EINVAL));
    assert_eq!(child.bind("/", "/own", 0), Err(EINVAL), "would show what /m hides");
    assert_eq!(child.change("/n", ms::REMOUNT | ms::BIND), Err(EPERM));
    assert_eq!(child.change("/n", ms::REMOUNT | ms::BIND | ms::RDONLY), Err(EPERM));
    assert_eq!(child.change("/n", ms::REMOUNT | ms::BIND | ms::RDONLY | ms::NODEV | ms::NOATIME), Err(EPERM));
    assert_eq!(child.change("/n", ms::REMOUNT | ms::BIND | ms::RDONLY | ms::NODEV | ms::NOEXEC), Ok(()));
    assert_eq!(child.change("/", ms::REMOUNT), Err(EPERM), "the filesystem is not its own");
    assert_eq!(child.bind("/", "/own", ms::REC), Ok(()));
    assert_eq!(child.umount("/own/m", 0), Err(EINVAL), "copied locked");
    assert_eq!(child.umount("/own", DETACH), Ok(()));
    // What the parent mounts later arrives unlocked at its top.
    assert_eq!(t.mount("/own"), Ok(()));
    assert_eq!(child.mountpoints().last().map(String::as_str), Some("/own"));
    assert_eq!(child.umount("/own", 0), Ok(()));
    assert_eq!(t.mountpoints().last().map(String::as_str), Some("/own"));
    // A tree that is taken out as a whole keeps together what was locked.
    assert_eq!(child.bind("/", "/own", ms::REC), Ok(()));
    child.chdir("/own/m");
    child.chdir("/own");
    assert_eq!(child.umount("/own", DETACH), Ok(()));
    assert_eq!(child.fails("m/hidden"), ENOENT);
}

#[test]
fn devices_of_a_user_namespaces_own_mounts_do_not_open() {
    let t = dirs(&["/m"]);
    let cred = in_user_ns(&t);
    let map = vec![IdMapExtent { first: 0, lower_first: 0, count: 1 }];
    drop(map);
    let child = t.unshare(cred);
    assert_eq!(child.mount("/m"), Ok(()));
    assert!(!child.path("/m").mnt.may_open_dev());
    assert!(t.path("/m").mnt.may_open_dev());
    assert!(child.path("/m").mnt.may_suid(&child.0.mnt_ns, &child.0.cred));
    assert!(!child.path("/m").mnt.may_suid(&t.0.mnt_ns, &t.0.cred));
    assert_eq!(child.user(5).mount("/m"), Err(EPERM));
}

#[test]
fn detached_trees() {
    let t = dirs(&["/a", "/a/m", "/b", "/c"]);
    assert_eq!(t.mount("/a/m"), Ok(()));
    assert_eq!(t.mkdir("/a/m/x"), Ok(()));
    let open = |flags| do_open_tree(&t.0, &At::Cwd, b"/a", flags);
    assert_eq!(err(open(0x8000)), Some(EINVAL));
    assert_eq!(err(open(2)), Some(EINVAL));
    let Ok(tree) = open(0x8000 | open_tree::CLONE) else { unreachable!("it can be copied") };
    assert_eq!(t.mountpoints(), ["/", "/a/m"]);
    assert_eq!(t.0.files.install(&t.0, tree, false), Ok(0));
    let attr = MountAttr { attr_set: mount_attr::RDONLY, ..MountAttr::default() };
    let empty = sentry_uapi::fcntl::AT_EMPTY_PATH;
    assert_eq!(do_mount_setattr(&t.0, &At::Fd(0), b"", empty | 0x8000, &attr), Ok(()));
    let to = |target: &[u8]| do_move_mount(&t.0, &At::Fd(0), b"", &At::Cwd, target, move_mount::F_EMPTY_PATH);
    assert_eq!(to(b"/none"), Err(ENOENT));
    assert_eq!(to(b"/b"), Ok(()));
    assert_eq!(t.mountpoints(), ["/", "/a/m", "/b", "/b/m"]);
    assert_eq!(t.mkdir("/b/m/y"), Err(EROFS));
    assert_eq!(to(b"/c"), Ok(()), "an attached mount moves by its descriptor too");
    assert_eq!(t.0.files.close(&t.0, 0), Ok(()));
    assert_eq!(t.mountpoints(), ["/", "/a/m", "/c", "/c/m"]);
    let Ok(tree) = open(open_tree::CLONE) else { unreachable!("it can be copied") };
    let mnt = tree.path().mnt.clone();
    drop(tree);
    assert!(mnt.flags().contains(MountFlags::UMOUNT));
}

#[test]
fn filesystems_are_made_step_by_step() {
    let t = dirs(&["/m"]);
    assert_eq!(err(do_fsopen(&t.user(1000).0, b"testfs")), Some(EPERM));
    assert_eq!(err(do_fsopen(&t.0, b"nofs")), Some(ENODEV));
    let install = |file: Result<Arc<File>, Errno>| {
        let Ok(file) = file else { unreachable!("it can be made") };
        t.0.files.install(&t.0, file, false).unwrap_or(-1)
    };
    let bad = install(do_fsopen(&t.0, b"testfs"));
    assert_eq!(fsconfig_set(&t.0, bad, b"bad", None), Ok(()));
    assert_eq!(err(do_fsmount(&t.0, bad, 0)), Some(EINVAL));
    assert_eq!(fsconfig_create(&t.0, bad), Err(EINVAL));
    assert_eq!(fsconfig_create(&t.0, bad), Err(EBUSY));
    let fd = install(do_fsopen(&t.0, b"testfs"));
    assert_eq!(fsconfig_set(&t.0, fd, b"source", Some(b"dev")), Ok(()));
    assert_eq!(fsconfig_set(&t.0, fd, b"source", Some(b"dev")), Err(EINVAL));
    assert_eq!(fsconfig_set(&t.0, fd, b"ro", None), Ok(()));
    assert_eq!(fsconfig_reconfigure(&t.0, fd), Err(EBUSY));
    assert_eq!(fsconfig_create(&t.0, fd), Ok(()));
    assert_eq!(fsconfig_set(&t.0, fd, b"x", None), Err(EBUSY));
    assert_eq!(err(do_fsmount(&t.0, fd, 1 << 50)), Some(EINVAL));
    let mnt = install(do_fsmount(&t.0, fd, mount_attr::NODEV));
    assert_eq!(err(do_fsmount(&t.0, fd, 0)), Some(EBUSY));
    let (from, to) = (At::Fd(mnt), At::Cwd);
    assert_eq!(do_move_mount(&t.0, &from, b"", &to, b"/m", move_mount::F_EMPTY_PATH), Ok(()));
    assert!(t.mountinfo().contains(" / /m rw,nodev,relatime - testfs dev ro"), "{}", t.mountinfo());
    let pick = install(do_fspick(&t.0, &At::Cwd, b"/m", 0));
    assert_eq!(fsconfig_set(&t.0, pick, b"rw", None), Ok(()));
    assert_eq!(fsconfig_reconfigure(&t.0, pick), Ok(()));
    assert_eq!(t.mkdir("/m/d"), Ok(()));
    assert_eq!(err(do_fspick(&t.0, &At::Cwd, b"/m/d", 0)), Some(EINVAL));
    assert_eq!(t.umount("/m", 0), Err(EBUSY), "the descriptor is on it");
}

#[test]
fn attributes_change_for_all_or_none() {
    let t = dirs(&["/a", "/a/m"]);
    assert_eq!(t.bind("/a", "/a", 0), Ok(()));
    assert_eq!(t.mount("/a/m"), Ok(()));
    t.create("/a/m/f");
    let set = |attr: &MountAttr| do_mount_setattr(&t.0, &At::Cwd, b"/a", 0x8000, attr);
    let ro = MountAttr { attr_set: mount_attr::RDONLY, ..MountAttr::default() };
    let writer = t.open("/a/m/f", OpenFlags::WRONLY);
    assert_eq!(set(&ro), Err(EBUSY));
    assert_eq!(t.mkdir("/a/x"), Ok(()));
    drop(writer);
    assert_eq!(set(&ro), Ok(()));
    assert_eq!(t.mkdir("/a/y"), Err(EROFS));
    let noatime = MountAttr { attr_set: mount_attr::NOATIME, ..MountAttr::default() };
    assert_eq!(set(&noatime), Err(EINVAL));
    assert_eq!(set(&MountAttr { attr_clr: mount_attr::ATIME, ..noatime }), Ok(()));
    assert!(t.mountinfo().contains(" /a/m ro,noatime"), "{}", t.mountinfo());
    assert_eq!(set(&MountAttr { propagation: ms::SHARED | ms::SLAVE, ..MountAttr::default() }), Err(EINVAL));
    assert_eq!(set(&MountAttr { propagation: ms::SHARED, ..MountAttr::default() }), Ok(()));
    assert!(t.mountinfo().contains("shared:"));
    assert_eq!(
        do_mount_setattr(&t.0, &At::Cwd, b"/", 0, &MountAttr { attr_set: 1 << 40, ..ro }),
        Err(EINVAL)
    );
}

#[test]
fn expiry() {
    let t = dirs(&["/m"]);
    assert_eq!(t.mount("/m"), Ok(()));
    t.create("/m/f");
    assert_eq!(t.umount("/m", 4 | 2), Err(EINVAL));
    assert_eq!(t.umount("/m", 4), Err(EAGAIN));
    assert!(t.open("/m/f", OpenFlags::empty()).is_ok());
    assert_eq!(t.umount("/m", 4), Err(EAGAIN));
    assert_eq!(t.umount("/m", 4), Ok(()));
}

#[test]
fn the_root_is_not_unmounted_but_made_read_only() {
    let t = dirs(&["/m"]);
    assert_eq!(t.umount("/", 0), Ok(()));
    assert_eq!(t.mkdir("/x"), Err(EROFS));
}

#[test]
fn lines_for_procfs() {
    let t = dirs(&["/with space"]);
    assert_eq!(t.mount("/with space"), Ok(()));
    let root = t.0.fs.root();
    let mounts = t.0.mnt_ns.mounts();
    let Some(last) = mounts.last() else { unreachable!("there is one") };
    let text = |line: Option<Vec<u8>>| String::from_utf8_lossy(&line.unwrap_or_default()).into_owned();
    assert_eq!(text(show_vfsmnt(last, &root)), "none /with\\040space testfs rw,relatime 0 0\n");
    let stats = "device none mounted on /with\\040space with fstype testfs\n";
    assert_eq!(text(show_vfsstat(last, &root)), stats);
    let Some(first) = mounts.first() else { unreachable!("there is one") };
    assert!(show_mountinfo(first, &root).is_none(), "nobody sees the bottom");
}

#[test]
fn mounts_of_any_depth_can_go() {
    let t = dirs(&["/m"]);
    for _ in 0..3000 {
        assert_eq!(t.mount("/m"), Ok(()));
    }
    assert_eq!(t.umount("/m", DETACH), Ok(()));
    let Ok(child) = t.0.mnt_ns.copy_mnt_ns(&t.0.vfs, &t.0.cred.user_ns, t.0.cred.euid, None) else {
        unreachable!("it can be copied")
    };
    drop(child);
    assert_eq!(t.mountpoints().len(), 3000);
}
