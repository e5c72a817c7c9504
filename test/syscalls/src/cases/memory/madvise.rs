//! `madvise` and `mincore`.

use crate::prelude::*;
use libc::*;

const RW: i32 = PROT_READ | PROT_WRITE;

#[case(as_root, as_user)]
fn dontneed_makes_private_memory_zero_again(t: &mut Guest) {
    let map = t.pages(3);
    (0..3).for_each(|page| map.set(page * PAGE, 1));
    sys!(madvise(map.page(1), PAGE, MADV_DONTNEED)).ok();
    expect_eq!([map.get(0), map.get(PAGE), map.get(2 * PAGE)], [1, 0, 1]);
}

#[case(as_root, as_user)]
fn dontneed_brings_the_file_back(t: &mut Guest) {
    t.file("f", vec![b'a'; PAGE]);
    let map = t.map_file(t.open("f", O_RDONLY), PAGE, RW, MAP_PRIVATE, 0);
    map.set(0, b'b');
    sys!(madvise(map.address, PAGE, MADV_DONTNEED)).ok();
    expect_eq!(map.get(0), b'a');
}

#[case(as_root, as_user)]
fn dontneed_keeps_shared_memory(t: &mut Guest) {
    let map = t.map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    map.set(0, 4);
    sys!(madvise(map.address, PAGE, MADV_DONTNEED)).ok();
    expect_eq!(map.get(0), 4);
}

#[case(as_root, as_user)]
fn remove_empties_shared_memory(t: &mut Guest) {
    let map = t.map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    map.set(0, 4);
    sys!(madvise(map.address, PAGE, MADV_REMOVE)).ok();
    expect_eq!(map.get(0), 0);
    sys!(madvise(t.pages(1).address, PAGE, MADV_REMOVE)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn free_gives_old_bytes_or_zeroes_and_new_writes_stay(t: &mut Guest) {
    let map = t.pages(1);
    map.set(0, 4);
    sys!(madvise(map.address, PAGE, MADV_FREE)).ok();
    let seen = map.get(0);
    check!(seen == 4 || seen == 0, "{seen}");
    map.set(0, 5);
    expect_eq!(map.get(0), 5);
    let shared = t.map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    sys!(madvise(shared.address, PAGE, MADV_FREE)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn dontfork_and_wipeonfork_hold_in_the_child(t: &mut Guest) {
    let map = t.pages(3);
    (0..3).for_each(|page| map.set(page * PAGE, 1));
    sys!(madvise(map.page(1), PAGE, MADV_WIPEONFORK)).ok();
    t.fork(|| expect_eq!((map.get(0), map.get(PAGE)), (1, 0))).done();
    expect_eq!(map.get(PAGE), 1);
    sys!(madvise(map.page(1), PAGE, MADV_KEEPONFORK)).ok();
    sys!(madvise(map.page(2), PAGE, MADV_DONTFORK)).ok();
    expect_eq!(t.faults(SIGSEGV, SEGV_MAPERR, || touch(map.page(2))), map.page(2));
    t.fork(|| expect_eq!(map.get(PAGE), 1)).done();
    sys!(madvise(map.page(2), PAGE, MADV_DOFORK)).ok();
    t.fork(|| expect_eq!(map.get(2 * PAGE), 1)).done();
}

#[case(as_root, as_user)]
fn hints_are_taken_and_nonsense_is_not(t: &mut Guest) {
    let map = t.pages(2);
    for advice in [MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTDUMP, MADV_DODUMP] {
        sys!(madvise(map.address, 2 * PAGE, advice)).ok();
    }
    sys!(madvise(map.address, 2 * PAGE, 9999)).fails(EINVAL);
    sys!(madvise(map.address + 1, PAGE, MADV_NORMAL)).fails(EINVAL);
    sys!(madvise(map.address, 0, MADV_NORMAL)).ok();
    t.unmap(map.page(1), PAGE).ok();
    sys!(madvise(map.address, 2 * PAGE, MADV_DONTNEED)).fails(ENOMEM);
}

#[case(as_root, as_user)]
fn populate_write_makes_pages_present(t: &mut Guest) {
    let map = t.pages(4);
    sys!(madvise(map.address, 4 * PAGE, MADV_POPULATE_WRITE)).or_skip(EINVAL, "no MADV_POPULATE_WRITE").ok();
    let mut present = [0_u8; 4];
    sys!(mincore(map.address, 4 * PAGE, &mut present)).ok();
    expect_eq!(present.map(|page| page & 1), [1; 4]);
}

#[case(as_root, as_user)]
fn mincore_knows_touched_pages_and_holes(t: &mut Guest) {
    let map = t.pages(2);
    map.set(0, 1);
    let mut present = [0_u8; 2];
    sys!(mincore(map.address, 2 * PAGE, &mut present)).ok();
    expect_eq!(present[0] & 1, 1);
    sys!(mincore(map.address + 1, PAGE, &mut present)).fails(EINVAL);
    sys!(mincore(map.address, PAGE, 8)).fails(EFAULT);
    t.unmap(map.page(1), PAGE).ok();
    sys!(mincore(map.address, 2 * PAGE, &mut present)).fails(ENOMEM);
}
