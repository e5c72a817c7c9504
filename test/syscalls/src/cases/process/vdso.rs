//! The vDSO.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn it_is_an_elf_image_where_auxv_says(_t: &mut Guest) {
    // SAFETY: has no preconditions.
    let base = unsafe { getauxval(AT_SYSINFO_EHDR) } as usize;
    check!(base != 0);
    expect_eq!([peek(base), peek(base + 1), peek(base + 2), peek(base + 3)], *b"\x7fELF");
}

#[case(as_root, as_user)]
fn its_clocks_agree_with_the_calls(_t: &mut Guest) {
    let mut raw: timeval = zeroed();
    sys!(gettimeofday(&raw mut raw, 0)).ok();
    let quick = deadline(CLOCK_REALTIME, 0);
    check!(quick.tv_sec - raw.tv_sec <= 5 && quick.tv_sec >= raw.tv_sec);
    let seconds = sys!(time(0)).ok();
    // time(2) reads a coarse clock, which may be a second behind at the change of seconds.
    check!((seconds - raw.tv_sec).abs() <= 5, "{seconds} and {}", raw.tv_sec);
}
