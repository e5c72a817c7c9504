//! `open` and its flags.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn creat_makes_a_file_with_mode_less_umask(t: &mut Guest) {
    sys!(umask(0o027)).ok();
    sys!(openat(AT_FDCWD, c"f", O_CREAT | O_WRONLY, 0o666)).ok();
    expect_eq!(t.mode("f"), 0o640);
}

#[case(as_root, as_user)]
fn excl_refuses_an_existing_file(t: &mut Guest) {
    t.file("f", "x");
    sys!(openat(AT_FDCWD, c"f", O_CREAT | O_EXCL | O_WRONLY, 0o600)).fails(EEXIST);
}
