//! `access` and `faccessat2`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn existence_is_f_ok(t: &mut Guest) {
    t.file("f", "");
    sys!(access(c"f", F_OK)).is(0);
    sys!(access(c"none", F_OK)).fails(ENOENT);
    sys!(access(c"f/x", F_OK)).fails(ENOTDIR);
    sys!(access(c"f", 8)).fails(EINVAL);
    sys!(faccessat2(AT_FDCWD, c"f", F_OK, 0x4000_0000)).fails(EINVAL);
}

#[case(as_user)]
fn the_mode_decides(t: &mut Guest) {
    t.file("f", "");
    for bits in 0..8 {
        sys!(chmod(c"f", bits << 6)).ok();
        for wanted in 1..8_u32 {
            let errno = if wanted & !bits == 0 { 0 } else { EACCES };
            expect_eq!(sys!(access(c"f", wanted)).errno(), errno);
        }
    }
}

#[case(as_root)]
fn root_executes_only_what_someone_may_execute(t: &mut Guest) {
    t.file("f", "");
    sys!(chmod(c"f", 0)).ok();
    sys!(access(c"f", R_OK | W_OK)).is(0);
    sys!(access(c"f", X_OK)).fails(EACCES);
    sys!(chmod(c"f", 0o001)).ok();
    sys!(access(c"f", X_OK)).is(0);
    t.dir("d");
    sys!(chmod(c"d", 0)).ok();
    sys!(access(c"d", R_OK | W_OK | X_OK)).is(0);
}

/// Linux: access_override_creds. The real ids count unless AT_EACCESS is given.
#[case(as_root)]
fn the_real_user_counts_not_the_effective(t: &mut Guest) {
    t.file("f", "");
    sys!(chmod(c"f", 0o600)).ok();
    sys!(setresuid(1000, 0, 0)).ok();
    sys!(access(c"f", R_OK)).fails(EACCES);
    sys!(faccessat2(AT_FDCWD, c"f", R_OK, AT_EACCESS)).is(0);
    t.open("f", O_RDONLY);
}

#[case(as_root, as_user)]
fn a_dangling_link_exists_only_unfollowed(_t: &mut Guest) {
    sys!(symlink(c"none", c"l")).ok();
    sys!(access(c"l", F_OK)).fails(ENOENT);
    sys!(faccessat2(AT_FDCWD, c"l", F_OK, AT_SYMLINK_NOFOLLOW)).is(0);
}
