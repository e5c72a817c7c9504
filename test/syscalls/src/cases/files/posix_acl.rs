//! POSIX access control lists. Linux: fs/posix_acl.c.

use crate::guest::{ACL_ACCESS, ACL_DEFAULT, AclEntry, acl_bytes, acl_tag, full_acl};
use crate::prelude::*;
use acl_tag::{GROUP, GROUP_OBJ, MASK, NOBODY, OTHER, USER, USER_OBJ};
use libc::*;

/// A user and a group that own nothing.
const SOMEONE: u32 = 4321;
const SOME_GROUP: u32 = 5432;

/// Makes an empty file with `open`.
#[track_caller]
fn create(path: &str, mode: u32) {
    let fd = sys!(openat(AT_FDCWD, &cstr(path), O_CREAT | O_EXCL | O_WRONLY, mode)).fd();
    sys!(close(fd)).ok();
}

/// A list without user, group or mask.
fn minimal(owner: u16, group: u16, other: u16) -> [AclEntry; 3] {
    [(USER_OBJ, owner, NOBODY), (GROUP_OBJ, group, NOBODY), (OTHER, other, NOBODY)]
}

#[case(as_root, as_user)]
fn a_list_reads_as_it_was_set(t: &mut Guest) {
    t.file("f", "");
    let list = full_acl(SOMEONE, SOME_GROUP, [6, 7, 4, 5, 6, 1]);
    t.try_get_acl("f", ACL_ACCESS).or_skip(EOPNOTSUPP, "no access control lists here").fails(ENODATA);
    t.try_acl("f", ACL_ACCESS, &list);
    expect_eq!(t.get_acl("f", ACL_ACCESS), list);
    sys!(getxattr(c"f", &cstr(ACL_ACCESS), 0, 0)).is(4 + 6 * 8);
    let mut small = [0_u8; 8];
    sys!(getxattr(c"f", &cstr(ACL_ACCESS), &mut small, 8)).fails(ERANGE);
    // Flags mean nothing to a list.
    let bytes = acl_bytes(2, &list);
    sys!(setxattr(c"f", &cstr(ACL_ACCESS), &bytes, bytes.len(), XATTR_CREATE)).ok();
}

#[case(as_root, as_user)]
fn ids_of_entries_that_name_nobody_are_ignored(t: &mut Guest) {
    t.file("f", "");
    t.try_acl(
        "f",
        ACL_ACCESS,
        &[(USER_OBJ, 6, 1), (USER, 6, 7), (GROUP_OBJ, 4, 2), (MASK, 4, 3), (OTHER, 0, 4)],
    );
    let ids: Vec<u32> = t.get_acl("f", ACL_ACCESS).iter().map(|entry| entry.2).collect();
    expect_eq!(ids, [NOBODY, 7, NOBODY, NOBODY, NOBODY]);
}

#[case(as_root, as_user)]
fn the_mode_shows_owner_mask_and_others(t: &mut Guest) {
    t.file("f", "");
    t.try_acl("f", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, [6, 7, 4, 5, 3, 1]));
    expect_eq!(t.mode("f"), 0o631);
}

#[case(as_root, as_user)]
fn a_list_that_the_mode_can_hold_becomes_the_mode(t: &mut Guest) {
    t.file("f", "");
    t.try_acl("f", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, [6, 7, 4, 5, 6, 1]));
    t.set_acl("f", ACL_ACCESS, &minimal(7, 5, 1)).ok();
    t.try_get_acl("f", ACL_ACCESS).fails(ENODATA);
    expect_eq!(t.mode("f"), 0o751);
}

#[case(as_root, as_user)]
fn a_mask_alone_is_kept(t: &mut Guest) {
    t.file("f", "");
    let list = [(USER_OBJ, 6, NOBODY), (GROUP_OBJ, 4, NOBODY), (MASK, 2, NOBODY), (OTHER, 0, NOBODY)];
    t.try_acl("f", ACL_ACCESS, &list);
    expect_eq!(t.get_acl("f", ACL_ACCESS), list);
    expect_eq!(t.mode("f"), 0o620);
}

#[case(as_root, as_user)]
fn malformed_lists_are_refused(t: &mut Guest) {
    t.dir("d");
    t.try_acl("d", ACL_ACCESS, &minimal(7, 5, 5));
    let good = minimal(6, 4, 4);
    for name in [ACL_ACCESS, ACL_DEFAULT] {
        t.set_acl_bytes("d", name, &acl_bytes(1, &good)).fails(EOPNOTSUPP);
        t.set_acl_bytes("d", name, &acl_bytes(3, &good)).fails(EOPNOTSUPP);
        t.set_acl_bytes("d", name, &[2, 0]).fails(EINVAL);
        t.set_acl_bytes("d", name, &acl_bytes(2, &good)[..27]).fails(EINVAL);
        let owner = (USER_OBJ, 6, NOBODY);
        let group = (GROUP_OBJ, 4, NOBODY);
        let other = (OTHER, 4, NOBODY);
        let mask = (MASK, 7, NOBODY);
        let user = (USER, 6, SOMEONE);
        let of_group = (GROUP, 6, SOME_GROUP);
        let bad: [&[AclEntry]; 14] = [
            &[owner],
            &[owner, group],
            &[group, other],
            &[owner, other, group],
            &[owner, owner, group, other],
            &[owner, group, other, other],
            &[owner, group, mask, mask, other],
            &[owner, user, group, other],
            &[owner, group, of_group, other],
            &[user, owner, group, mask, other],
            &[owner, group, user, mask, other],
            &[owner, of_group, group, mask, other],
            &[owner, group, (OTHER, 8, NOBODY)],
            &[owner, group, other, (0x40, 7, NOBODY)],
        ];
        for list in bad {
            t.set_acl("d", name, list).fails(EINVAL);
        }
        t.set_acl("d", name, &[owner, (USER, 6, NOBODY), group, mask, other]).fails(EINVAL);
        t.set_acl("d", name, &[owner, group, (GROUP, 6, NOBODY), mask, other]).fails(EINVAL);
        // Nobody looks for an id that is there twice, nor for order among ids.
        t.set_acl("d", name, &[owner, user, user, (USER, 1, 1), group, mask, other]).ok();
    }
}

#[case(as_root, as_user)]
fn default_lists_are_for_directories(t: &mut Guest) {
    t.file("f", "");
    t.dir("d");
    let list = full_acl(SOMEONE, SOME_GROUP, [7, 7, 5, 5, 7, 0]);
    t.try_acl("d", ACL_DEFAULT, &list);
    expect_eq!(t.get_acl("d", ACL_DEFAULT), list);
    t.try_get_acl("d", ACL_ACCESS).fails(ENODATA);
    t.set_acl("f", ACL_DEFAULT, &list).fails(EACCES);
    t.set_acl("f", ACL_DEFAULT, &[]).ok();
    t.try_get_acl("f", ACL_DEFAULT).fails(ENODATA);
    // A default list is kept though mode bits could hold it, and changes no mode.
    sys!(chmod(c"d", 0o755)).ok();
    t.set_acl("d", ACL_DEFAULT, &minimal(7, 0, 0)).ok();
    expect_eq!(t.get_acl("d", ACL_DEFAULT), minimal(7, 0, 0));
    expect_eq!(t.mode("d"), 0o755);
}

#[case(as_root, as_user)]
fn symbolic_links_have_none(t: &mut Guest) {
    t.file("f", "");
    t.try_acl("f", ACL_ACCESS, &minimal(6, 4, 4));
    sys!(symlink(c"f", c"l")).ok();
    let bytes = acl_bytes(2, &minimal(6, 4, 4));
    sys!(lsetxattr(c"l", &cstr(ACL_ACCESS), &bytes, bytes.len(), 0)).fails(EOPNOTSUPP);
    sys!(lgetxattr(c"l", &cstr(ACL_ACCESS), 0, 0)).fails(EOPNOTSUPP);
}

#[case(as_root, as_user)]
fn removing_leaves_the_mode(t: &mut Guest) {
    t.dir("d");
    t.try_acl("d", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, [7, 7, 4, 5, 6, 1]));
    t.set_acl("d", ACL_DEFAULT, &minimal(7, 5, 0)).ok();
    // A list without entries is none.
    t.set_acl("d", ACL_DEFAULT, &[]).ok();
    t.try_get_acl("d", ACL_DEFAULT).fails(ENODATA);
    sys!(removexattr(c"d", &cstr(ACL_ACCESS))).ok();
    t.try_get_acl("d", ACL_ACCESS).fails(ENODATA);
    expect_eq!(t.mode("d"), 0o761);
    for name in [ACL_ACCESS, ACL_DEFAULT] {
        sys!(removexattr(c"d", &cstr(name))).ok();
    }
}

#[case(as_root, as_user)]
fn lists_are_listed_while_there_are_any(t: &mut Guest) {
    let names = |path: &str| {
        let mut list = [0_u8; 512];
        let length = sys!(listxattr(&cstr(path), &mut list, 512)).size();
        let names =
            list[..length].split(|byte| *byte == 0).map(|name| String::from_utf8_lossy(name).into_owned());
        names.filter(|name| name.starts_with("system.posix")).collect::<Vec<_>>()
    };
    t.dir("d");
    t.try_acl("d", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, [7, 7, 4, 5, 6, 1]));
    expect_eq!(names("d"), [ACL_ACCESS]);
    t.set_acl("d", ACL_DEFAULT, &minimal(7, 5, 0)).ok();
    expect_eq!(names("d"), [ACL_ACCESS, ACL_DEFAULT]);
    t.set_acl("d", ACL_ACCESS, &minimal(7, 5, 0)).ok();
    expect_eq!(names("d"), [ACL_DEFAULT]);
}

#[case(as_root, as_user)]
fn chmod_changes_the_mask_and_not_the_group(t: &mut Guest) {
    t.file("f", "");
    t.try_acl("f", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, [6, 7, 4, 5, 6, 1]));
    sys!(chmod(c"f", 0o4710)).ok();
    expect_eq!(t.get_acl("f", ACL_ACCESS), full_acl(SOMEONE, SOME_GROUP, [7, 7, 4, 5, 1, 0]));
    expect_eq!(t.mode("f"), 0o4710);
    // Set-ID bits are none of a list's business.
    t.set_acl("f", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, [6, 7, 4, 5, 6, 1])).ok();
    expect_eq!(t.mode("f"), 0o4661);
}

/// The umask is for directories without a default list.
#[case(as_root, as_user)]
fn new_files_inherit_the_default_list(t: &mut Guest) {
    t.dir("d");
    t.try_acl("d", ACL_DEFAULT, &full_acl(SOMEONE, SOME_GROUP, [7, 7, 5, 6, 7, 3]));
    sys!(umask(0o077)).ok();
    create("d/f", 0o664);
    expect_eq!(t.get_acl("d/f", ACL_ACCESS), full_acl(SOMEONE, SOME_GROUP, [6, 7, 5, 6, 6, 0]));
    expect_eq!(t.mode("d/f"), 0o660);
    t.try_get_acl("d/f", ACL_DEFAULT).fails(ENODATA);
    sys!(mknodat(AT_FDCWD, c"d/p", S_IFIFO | 0o646, 0)).ok();
    expect_eq!(t.get_acl("d/p", ACL_ACCESS), full_acl(SOMEONE, SOME_GROUP, [6, 7, 5, 6, 4, 2]));
    sys!(symlink(c"f", c"d/l")).ok();
    sys!(lgetxattr(c"d/l", &cstr(ACL_ACCESS), 0, 0)).fails(EOPNOTSUPP);
}

#[case(as_root, as_user)]
fn new_directories_inherit_it_twice(t: &mut Guest) {
    t.dir("d");
    let list = full_acl(SOMEONE, SOME_GROUP, [7, 7, 5, 6, 7, 5]);
    t.try_acl("d", ACL_DEFAULT, &list);
    sys!(umask(0o077)).ok();
    sys!(mkdir(c"d/e", 0o750)).ok();
    expect_eq!(t.get_acl("d/e", ACL_DEFAULT), list);
    expect_eq!(t.get_acl("d/e", ACL_ACCESS), full_acl(SOMEONE, SOME_GROUP, [7, 7, 5, 6, 5, 0]));
    expect_eq!(t.mode("d/e"), 0o750);
}

#[case(as_root, as_user)]
fn a_default_list_that_the_mode_can_hold_limits_the_mode(t: &mut Guest) {
    t.dir("d");
    t.try_acl("d", ACL_DEFAULT, &minimal(7, 5, 0));
    sys!(umask(0o077)).ok();
    create("d/f", 0o666);
    t.try_get_acl("d/f", ACL_ACCESS).fails(ENODATA);
    expect_eq!(t.mode("d/f"), 0o640);
    sys!(mkdir(c"d/e", 0o777)).ok();
    expect_eq!(t.mode("d/e"), 0o750);
    expect_eq!(t.get_acl("d/e", ACL_DEFAULT), minimal(7, 5, 0));
}

#[case(as_root, as_user)]
fn files_without_a_name_inherit_too(t: &mut Guest) {
    t.dir("d");
    t.try_acl("d", ACL_DEFAULT, &full_acl(SOMEONE, SOME_GROUP, [7, 7, 5, 6, 7, 3]));
    sys!(umask(0o077)).ok();
    let fd = sys!(openat(AT_FDCWD, c"d", O_TMPFILE | O_RDWR, 0o640)).or_skip(EOPNOTSUPP, "no O_TMPFILE").fd();
    sys!(fgetxattr(fd, &cstr(ACL_ACCESS), 0, 0)).is(4 + 6 * 8);
    let mut stat: stat = zeroed();
    sys!(fstat(fd, &raw mut stat)).ok();
    expect_eq!(stat.st_mode & 0o777, 0o640);
}

#[case(as_user)]
fn only_the_owner_sets_lists_and_everybody_reads_them(t: &mut Guest) {
    t.try_get_acl("/etc", ACL_ACCESS).or_skip(EOPNOTSUPP, "no access control lists here").fails(ENODATA);
    t.set_acl("/etc", ACL_ACCESS, &minimal(7, 5, 5)).fails(EPERM);
    t.set_acl("/etc", ACL_DEFAULT, &minimal(7, 5, 5)).fails(EPERM);
    sys!(removexattr(c"/etc", &cstr(ACL_DEFAULT))).fails(EPERM);
    // A file's default list is refused before anybody asks whose it is.
    t.set_acl("/etc/passwd", ACL_DEFAULT, &minimal(7, 5, 5)).fails(EACCES);
    t.file("f", "");
    t.try_acl("f", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, [0, 0, 0, 0, 0, 0]));
    expect_eq!(t.get_acl("f", ACL_ACCESS).len(), 6);
}

/// Whether user `uid` in group `gid` may open `f` so.
#[track_caller]
fn opens(t: &Guest, uid: u32, gid: u32, flags: i32) -> bool {
    let child = t.fork_exit(|| {
        sys!(setgroups(0, 0)).ok();
        sys!(setresgid(gid, gid, gid)).ok();
        sys!(setresuid(uid, uid, uid)).ok();
        i32::from(t.try_open("f", flags).raw() >= 0)
    });
    WEXITSTATUS(child.wait().0) == 1
}

/// `f`, owned by user and group 100, with a list.
fn listed(t: &Guest, perms: [u16; 6]) {
    sys!(chmod(c".", 0o777)).ok();
    t.file("f", "x");
    t.try_acl("f", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, perms));
    sys!(chown(c"f", 100, 100)).ok();
}

#[case(as_root)]
fn the_entry_that_fits_first_decides(t: &mut Guest) {
    listed(t, [4, 6, 4, 6, 7, 0]);
    // The owner gets what is the owner's, whatever group it is in.
    check!(opens(t, 100, SOME_GROUP, O_RDONLY));
    check!(!opens(t, 100, SOME_GROUP, O_WRONLY));
    check!(opens(t, SOMEONE, 7, O_RDWR));
    check!(opens(t, 7, 100, O_RDONLY));
    check!(!opens(t, 7, 100, O_RDWR));
    check!(opens(t, 7, SOME_GROUP, O_RDWR));
    check!(!opens(t, 7, 7, O_RDONLY));
}

#[case(as_root)]
fn a_user_entry_wins_over_groups_and_others(t: &mut Guest) {
    listed(t, [6, 0, 6, 6, 7, 6]);
    check!(!opens(t, SOMEONE, 100, O_RDONLY));
    check!(!opens(t, SOMEONE, SOME_GROUP, O_RDONLY));
    check!(opens(t, 7, 7, O_RDWR));
}

#[case(as_root)]
fn a_group_that_fits_keeps_from_what_others_may(t: &mut Guest) {
    listed(t, [6, 0, 0, 2, 7, 6]);
    check!(!opens(t, 7, 100, O_RDONLY));
    check!(!opens(t, 7, SOME_GROUP, O_RDONLY));
    check!(opens(t, 7, SOME_GROUP, O_WRONLY));
}

/// One group must give all that is asked for: what two give is not put together.
#[case(as_root)]
fn permissions_of_two_groups_are_not_added(t: &mut Guest) {
    listed(t, [6, 0, 4, 2, 7, 0]);
    t.fork(|| {
        sys!(setgroups(1, &[SOME_GROUP])).ok();
        sys!(setresgid(100, 100, 100)).ok();
        sys!(setresuid(7, 7, 7)).ok();
        t.try_open("f", O_RDONLY).fd();
        t.try_open("f", O_WRONLY).fd();
        t.try_open("f", O_RDWR).fails(EACCES);
    })
    .done();
}

#[case(as_root)]
fn the_mask_limits_users_and_groups(t: &mut Guest) {
    listed(t, [6, 6, 6, 6, 4, 6]);
    for (uid, gid) in [(SOMEONE, 7), (7, 100), (7, SOME_GROUP)] {
        check!(opens(t, uid, gid, O_RDONLY));
        check!(!opens(t, uid, gid, O_WRONLY));
    }
    check!(opens(t, 100, 7, O_RDWR));
    check!(opens(t, 7, 7, O_RDWR));
}

/// A list is not even looked at when its mask is empty: then mode bits count, and users it names are others.
#[case(as_root)]
fn an_empty_mask_turns_the_list_off(t: &mut Guest) {
    listed(t, [6, 6, 6, 6, 0, 4]);
    check!(opens(t, SOMEONE, 7, O_RDONLY));
    check!(opens(t, 7, SOME_GROUP, O_RDONLY));
    check!(!opens(t, 7, 100, O_RDONLY));
}

#[case(as_root)]
fn capabilities_pass_over_lists(t: &mut Guest) {
    listed(t, [0, 0, 0, 0, 7, 0]);
    t.try_open("f", O_RDWR).fd();
    sys!(access(c"f", X_OK)).ok();
    sys!(chmod(c"f", 0)).ok();
    sys!(access(c"f", X_OK)).fails(EACCES);
}

#[case(as_root)]
fn directories_are_searched_by_their_lists(t: &mut Guest) {
    sys!(chmod(c".", 0o777)).ok();
    t.dir("d");
    t.file("d/f", "x");
    sys!(chmod(c"d/f", 0o644)).ok();
    t.try_acl("d", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, [7, 1, 0, 7, 7, 0]));
    t.fork_user(SOMEONE, || {
        t.read("d/f").is("x");
        t.try_open("d", O_RDONLY | O_DIRECTORY).fails(EACCES);
        sys!(access(c"d", X_OK)).ok();
        sys!(access(c"d", R_OK)).fails(EACCES);
        sys!(unlink(c"d/f")).fails(EACCES);
    })
    .done();
    t.fork_user(SOME_GROUP, || {
        t.file("d/g", "");
        sys!(unlink(c"d/f")).ok();
    })
    .done();
}

#[case(as_root)]
fn programs_are_executed_by_their_lists(t: &mut Guest) {
    sys!(chmod(c".", 0o777)).ok();
    t.copy_program("f", (0, 0), 0o700);
    t.try_acl("f", ACL_ACCESS, &full_acl(SOMEONE, SOME_GROUP, [7, 5, 4, 0, 7, 4]));
    t.fork_user(SOMEONE, || expect_eq!(t.ids_after_exec("./f").uid, (SOMEONE, SOMEONE))).done();
    t.fork_user(SOME_GROUP, || {
        sys!(execve(c"./f", 0, 0)).fails(EACCES);
    })
    .done();
}

/// As chmod does.
#[case(as_root)]
fn setting_a_list_takes_the_set_group_id_of_a_foreign_group(t: &mut Guest) {
    sys!(chmod(c".", 0o777)).ok();
    for (name, group) in [("own", SOMEONE), ("foreign", 7)] {
        t.file(name, "");
        sys!(chown(&cstr(name), SOMEONE, group)).ok();
        sys!(chmod(&cstr(name), 0o2755)).ok();
    }
    t.fork_user(SOMEONE, || {
        for name in ["own", "foreign"] {
            t.try_acl(name, ACL_ACCESS, &full_acl(7, 7, [7, 7, 5, 5, 5, 5]));
        }
    })
    .done();
    expect_eq!(t.mode("own"), 0o2755);
    expect_eq!(t.mode("foreign"), 0o755);
}

/// A tmpfs of the case's own, whatever its directory is on.
#[case(as_root)]
fn tmpfs_has_lists(t: &mut Guest) {
    sys!(unshare(CLONE_NEWNS)).ok();
    sys!(mount(0, c"/", 0, MS_REC | MS_PRIVATE, 0)).ok();
    t.dir("m");
    sys!(mount(c"none", c"m", c"tmpfs", 0, c"mode=755")).ok();
    let list = full_acl(SOMEONE, SOME_GROUP, [7, 7, 5, 5, 7, 0]);
    t.set_acl("m", ACL_DEFAULT, &list).ok();
    sys!(umask(0o077)).ok();
    create("m/f", 0o666);
    expect_eq!(t.get_acl("m/f", ACL_ACCESS), full_acl(SOMEONE, SOME_GROUP, [6, 7, 5, 5, 6, 0]));
    sys!(mount(c"none", c"m", 0, MS_REMOUNT | MS_RDONLY, 0)).ok();
    t.set_acl("m", ACL_DEFAULT, &list).fails(EROFS);
    sys!(removexattr(c"m", &cstr(ACL_DEFAULT))).fails(EROFS);
}

#[case(as_root)]
fn an_overlay_copies_lists_up_and_inherits_them(t: &mut Guest) {
    sys!(unshare(CLONE_NEWNS)).ok();
    sys!(mount(0, c"/", 0, MS_REC | MS_PRIVATE, 0)).ok();
    t.dir("t");
    sys!(mount(c"none", c"t", c"tmpfs", 0, c"mode=755")).ok();
    for name in ["t/lower", "t/lower/d", "t/upper", "t/work", "m"] {
        t.dir(name);
    }
    t.file("t/lower/d/f", "x");
    let list = full_acl(SOMEONE, SOME_GROUP, [7, 7, 5, 5, 7, 0]);
    t.set_acl("t/lower/d/f", ACL_ACCESS, &list).ok();
    t.set_acl("t/lower/d", ACL_DEFAULT, &list).ok();
    sys!(mount(c"none", c"m", c"overlay", 0, c"lowerdir=t/lower,upperdir=t/upper,workdir=t/work"))
        .or_skip(ENODEV, "no overlay here")
        .ok();
    expect_eq!(t.get_acl("m/d/f", ACL_ACCESS), list);
    t.write("m/d/f", "y").ok();
    expect_eq!(t.get_acl("t/upper/d/f", ACL_ACCESS), list);
    expect_eq!(t.get_acl("t/upper/d", ACL_DEFAULT), list);
    create("m/d/g", 0o666);
    expect_eq!(t.get_acl("m/d/g", ACL_ACCESS), full_acl(SOMEONE, SOME_GROUP, [6, 7, 5, 5, 6, 0]));
    let other = full_acl(7, 7, [7, 7, 5, 5, 7, 0]);
    t.set_acl("m/d/f", ACL_ACCESS, &other).ok();
    expect_eq!(t.get_acl("t/upper/d/f", ACL_ACCESS), other);
    expect_eq!(t.get_acl("t/lower/d/f", ACL_ACCESS), list);
}

#[case(as_root)]
fn pseudo_filesystems_have_none(t: &mut Guest) {
    t.try_get_acl("/proc/self/status", ACL_ACCESS).fails(EOPNOTSUPP);
    t.set_acl("/proc/self/status", ACL_ACCESS, &minimal(6, 4, 4)).fails(EOPNOTSUPP);
}
