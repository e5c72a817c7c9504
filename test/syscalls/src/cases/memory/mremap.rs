//! `mremap`.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn it_shrinks_in_place(t: &mut Guest) {
    let map = t.pages(4);
    map.set(0, 1);
    sys!(mremap(map.address, 4 * PAGE, 2 * PAGE, 0)).is(map.address);
    expect_eq!(map.get(0), 1);
    t.faults(SIGSEGV, SEGV_MAPERR, || touch(map.page(2)));
}

#[case(as_root, as_user)]
fn it_grows_in_place_where_there_is_room(t: &mut Guest) {
    let map = t.pages(4);
    map.set(0, 1);
    t.unmap(map.page(1), 3 * PAGE).ok();
    sys!(mremap(map.address, PAGE, 3 * PAGE, 0)).is(map.address);
    expect_eq!((map.get(0), map.get(2 * PAGE)), (1, 0));
}

#[case(as_root, as_user)]
fn without_room_it_moves_only_if_it_may(t: &mut Guest) {
    let map = t.pages(2);
    map.set(5, 9);
    sys!(mremap(map.address, PAGE, 2 * PAGE, 0)).fails(ENOMEM);
    let moved = sys!(mremap(map.address, PAGE, 8 * PAGE, MREMAP_MAYMOVE)).size();
    check!(moved != map.address);
    expect_eq!((peek(moved + 5), peek(moved + 7 * PAGE)), (9, 0));
    t.faults(SIGSEGV, SEGV_MAPERR, || touch(map.address));
}

#[case(as_root, as_user)]
fn fixed_moves_to_the_place_and_replaces_it(t: &mut Guest) {
    let (from, to) = (t.pages(2), t.pages(2));
    from.set(0, 1);
    to.set(0, 2);
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    sys!(mremap(from.address, 2 * PAGE, 2 * PAGE, flags, to.address)).is(to.address);
    expect_eq!(to.get(0), 1);
    t.faults(SIGSEGV, SEGV_MAPERR, || touch(from.address));
}

#[case(as_root, as_user)]
fn dontunmap_leaves_an_empty_mapping_behind(t: &mut Guest) {
    let from = t.pages(1);
    from.set(0, 1);
    let to = sys!(mremap(from.address, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP)).size();
    expect_eq!((peek(to), from.get(0)), (1, 0));
}

#[case(as_root, as_user)]
fn a_shared_mapping_moves_with_its_memory(t: &mut Guest) {
    let map = t.map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    let child = t.pipe();
    let done = t.fork(|| {
        child.wait();
        map.set(0, 8);
    });
    let target = t.pages(1);
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    let moved = sys!(mremap(map.address, PAGE, PAGE, flags, target.address)).size();
    child.signal();
    done.done();
    expect_eq!(peek(moved), 8);
}

/// Linux: an old length of zero makes a second mapping of shared memory.
#[case(as_root, as_user)]
fn an_old_length_of_zero_duplicates_shared_memory(t: &mut Guest) {
    let map = t.map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    let second = sys!(mremap(map.address, 0, PAGE, MREMAP_MAYMOVE)).size();
    poke(second, 3);
    expect_eq!(map.get(0), 3);
    sys!(mremap(t.pages(1).address, 0, PAGE, MREMAP_MAYMOVE)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn arguments_are_checked(t: &mut Guest) {
    let map = t.pages(2);
    sys!(mremap(map.address + 1, PAGE, PAGE, 0)).fails(EINVAL);
    sys!(mremap(map.address, PAGE, 0, 0)).fails(EINVAL);
    sys!(mremap(map.address, PAGE, PAGE, 0x80)).fails(EINVAL);
    sys!(mremap(map.address, PAGE, PAGE, MREMAP_FIXED, map.address)).fails(EINVAL);
    sys!(mremap(map.address, PAGE, 2 * PAGE, MREMAP_DONTUNMAP | MREMAP_MAYMOVE)).fails(EINVAL);
    let flags = MREMAP_FIXED | MREMAP_MAYMOVE;
    sys!(mremap(map.address, 2 * PAGE, 2 * PAGE, flags, map.page(1))).fails(EINVAL);
    t.unmap(map.page(1), PAGE).ok();
    sys!(mremap(map.page(1), PAGE, 2 * PAGE, MREMAP_MAYMOVE)).fails(EFAULT);
}
