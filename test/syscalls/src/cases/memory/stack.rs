//! The stack, and mappings that grow down.

use crate::prelude::*;
use libc::*;

/// Uses the stack down to address `end`.
#[inline(never)]
fn descend(end: usize) -> u8 {
    let frame = std::hint::black_box([1_u8; 1024]);
    let here = frame.as_ptr().addr();
    if here < end { frame[7] } else { descend(end).wrapping_add(frame[here % 1024]) }
}

#[case(as_root, as_user)]
fn the_stack_grows_to_its_limit(t: &mut Guest) {
    let local = 0_u8;
    let start = (&raw const local).addr();
    // Growth is bounded by the limit at the time of the fault.
    t.limit(RLIMIT_STACK, 6 << 20);
    t.fork_exit(|| i32::from(descend(start - (5 << 20)) == 0)).done();
    t.fork_exit(|| i32::from(descend(start - (7 << 20)) == 0)).wait().killed(SIGSEGV);
}

/// Linux: expand_stack. A fault just below a MAP_GROWSDOWN mapping extends it, the guard gap kept.
#[case(as_root, as_user)]
fn growsdown_grows_on_a_fault_below(t: &mut Guest) {
    let room = t.map(600 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    t.unmap(room.address, room.length).ok();
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED;
    let at = room.page(599);
    sys!(mmap(at, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0)).is(at);
    poke(at - 8, 3);
    expect_eq!(peek(at - 8), 3);
    poke(at - 3 * PAGE, 4);
    expect_eq!(peek(at - 3 * PAGE), 4);
}

#[case(as_root, as_user)]
fn growth_stops_at_the_guard_gap(t: &mut Guest) {
    let room = t.map(600 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED;
    t.unmap(room.page(100), 500 * PAGE).ok();
    // The gap is 256 pages: 100 pages above the lower mapping is inside it.
    sys!(mmap(room.page(200), PAGE, PROT_READ | PROT_WRITE, flags, -1, 0)).is(room.page(200));
    t.faults(SIGSEGV, SEGV_MAPERR, || poke(room.page(199), 1));
}

#[case(as_root, as_user)]
fn the_stack_is_in_maps_and_holds_the_locals(t: &mut Guest) {
    let local = 0_u8;
    let at = (&raw const local).addr();
    let maps = t.maps();
    let line = maps.iter().find(|line| line.ends_with("[stack]")).unwrap();
    let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
    check!((start..end).contains(&at), "{at:#x} not in {line}");
    check!(line.contains(" rw-p "), "{line}");
}
