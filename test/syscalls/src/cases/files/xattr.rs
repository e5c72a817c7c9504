//! Extended attributes.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn user_attributes_are_kept(t: &mut Guest) {
    t.file("f", "");
    sys!(setxattr(c"f", c"user.a", b"value", 5, 0)).or_skip(EOPNOTSUPP, "no user attributes").is(0);
    let mut value = [0_u8; 16];
    sys!(getxattr(c"f", c"user.a", 0, 0)).is(5);
    sys!(getxattr(c"f", c"user.a", &mut value, 16)).is(5);
    expect_eq!(&value[..5], b"value");
    sys!(getxattr(c"f", c"user.a", &mut value, 4)).fails(ERANGE);
    sys!(getxattr(c"f", c"user.none", &mut value, 16)).fails(ENODATA);
    sys!(setxattr(c"f", c"user.a", b"other", 5, XATTR_CREATE)).fails(EEXIST);
    sys!(setxattr(c"f", c"user.b", b"other", 5, XATTR_REPLACE)).fails(ENODATA);
    sys!(removexattr(c"f", c"user.a")).is(0);
    sys!(removexattr(c"f", c"user.a")).fails(ENODATA);
}

#[case(as_root, as_user)]
fn names_are_listed_with_their_nul(t: &mut Guest) {
    t.file("f", "");
    sys!(setxattr(c"f", c"user.one", b"1", 1, 0)).or_skip(EOPNOTSUPP, "no user attributes").ok();
    sys!(setxattr(c"f", c"user.two", b"", 0, 0)).ok();
    let fd = t.open("f", O_RDONLY);
    let mut list = [0_u8; 256];
    let length = sys!(flistxattr(fd, &mut list, 256)).size();
    let names: Vec<_> = list[..length].split(|byte| *byte == 0).collect();
    check!(names.contains(&b"user.one".as_slice()) && names.contains(&b"user.two".as_slice()), "{names:?}");
    sys!(flistxattr(fd, 0, 0)).is(length);
    sys!(flistxattr(fd, &mut list, 3)).fails(ERANGE);
    sys!(fgetxattr(fd, c"user.two", &mut list, 256)).is(0);
}

#[case(as_root, as_user)]
fn names_and_sizes_have_limits(t: &mut Guest) {
    t.file("f", "");
    sys!(setxattr(c"f", c"user.a", b"1", 1, 0)).or_skip(EOPNOTSUPP, "no user attributes").ok();
    sys!(setxattr(c"f", c"nonsense", b"1", 1, 0)).fails(EOPNOTSUPP);
    sys!(setxattr(c"f", c"", b"1", 1, 0)).fails(ERANGE);
    sys!(setxattr(c"f", &cstr(format!("user.{}", "n".repeat(300))), b"1", 1, 0)).fails(ERANGE);
    sys!(setxattr(c"f", c"user.a", 8, 65537, 0)).fails(E2BIG);
    sys!(setxattr(c"f", c"user.a", b"1", 1, 4)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn only_files_and_directories_take_user_attributes(t: &mut Guest) {
    t.file("f", "");
    sys!(setxattr(c"f", c"user.a", b"1", 1, 0)).or_skip(EOPNOTSUPP, "no user attributes").ok();
    sys!(mknodat(AT_FDCWD, c"p", S_IFIFO | 0o600, 0)).ok();
    sys!(symlink(c"f", c"l")).ok();
    sys!(setxattr(c"p", c"user.a", b"1", 1, 0)).fails(EPERM);
    sys!(lsetxattr(c"l", c"user.a", b"1", 1, 0)).fails(EPERM);
    t.dir("d");
    sys!(setxattr(c"d", c"user.a", b"1", 1, 0)).ok();
}

#[case(as_user)]
fn trusted_attributes_are_for_root(t: &mut Guest) {
    t.file("f", "");
    sys!(setxattr(c"f", c"trusted.a", b"1", 1, 0)).fails(EPERM);
    sys!(getxattr(c"f", c"trusted.a", 0, 0)).fails(ENODATA);
}

#[case(as_user)]
fn user_attributes_follow_the_mode(t: &mut Guest) {
    t.file("f", "");
    sys!(setxattr(c"f", c"user.a", b"1", 1, 0)).or_skip(EOPNOTSUPP, "no user attributes").ok();
    sys!(chmod(c"f", 0o400)).ok();
    sys!(setxattr(c"f", c"user.a", b"2", 1, 0)).fails(EACCES);
    sys!(getxattr(c"f", c"user.a", 0, 0)).is(1);
    sys!(chmod(c"f", 0o200)).ok();
    sys!(getxattr(c"f", c"user.a", 0, 0)).fails(EACCES);
}
