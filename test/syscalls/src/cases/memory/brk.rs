//! `brk`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn the_break_grows_zeroed_and_shrinks(t: &mut Guest) {
    let start = sys!(brk(0)).size();
    sys!(brk(start + 3 * PAGE)).is(start + 3 * PAGE);
    expect_eq!((peek(start), peek(start + 3 * PAGE - 1)), (0, 0));
    poke(start + 2 * PAGE, 7);
    sys!(brk(start + PAGE)).is(start + PAGE);
    let page = (start + 2 * PAGE) & !(PAGE - 1);
    t.faults(SIGSEGV, SEGV_MAPERR, || touch(page + PAGE));
    sys!(brk(start + 3 * PAGE)).is(start + 3 * PAGE);
    expect_eq!(peek(start + 2 * PAGE), 0);
}

#[case(as_root, as_user)]
fn an_impossible_break_leaves_the_old_one(_t: &mut Guest) {
    let start = sys!(brk(0)).size();
    sys!(brk(1)).is(start);
    sys!(brk(usize::MAX)).is(start);
    sys!(brk(0)).is(start);
}

#[case(as_root, as_user)]
fn the_break_does_not_run_into_a_mapping(t: &mut Guest) {
    let start = sys!(brk(0)).size();
    let end = start.next_multiple_of(PAGE);
    sys!(mmap(end + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)).ok();
    sys!(brk(end + 3 * PAGE)).is(start);
    t.unmap(end + PAGE, PAGE).ok();
    sys!(brk(end + 3 * PAGE)).is(end + 3 * PAGE);
}

#[case(as_root, as_user)]
fn the_heap_is_named_in_maps(t: &mut Guest) {
    let start = sys!(brk(0)).size();
    sys!(brk(start + 2 * PAGE)).ok();
    let maps = t.maps();
    check!(maps.iter().any(|line| line.ends_with("[heap]")), "{maps:?}");
}
