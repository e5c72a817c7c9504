//! Memory that is large enough for huge pages: its bytes are those of small ones.

use crate::guest::Map;
use crate::prelude::*;
use libc::*;

const RW: i32 = PROT_READ | PROT_WRITE;
const MIB: usize = 1 << 20;
const LEN: usize = 16 * MIB;

/// Marks each 256 KiB.
fn marks() -> impl Iterator<Item = (usize, u8)> {
    (0..LEN).step_by(256 << 10).zip((1..=251).cycle())
}

/// How many marks are not what they should be: zero in the emptied range, and else as set.
fn wrong(map: &Map, empty: std::ops::Range<usize>) -> usize {
    marks().filter(|(at, mark)| map.get(*at) != if empty.contains(at) { 0 } else { *mark }).count()
}

#[case(as_root, as_user)]
fn large_memory_keeps_its_bytes_through_fork_and_copies(t: &mut Guest) {
    for advice in [None, Some(MADV_HUGEPAGE), Some(MADV_NOHUGEPAGE)] {
        let map = t.map(LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS);
        if let Some(advice) = advice {
            // A kernel without huge pages knows no such advice.
            let _ = sys!(madvise(map.address, LEN, advice));
        }
        marks().for_each(|(at, mark)| map.set(at, mark));
        t.fork(|| {
            expect_eq!(wrong(&map, 0..0), 0);
            map.set(6 * MIB, 255);
            map.set(LEN - 1, 255);
            expect_eq!((map.get(6 * MIB), map.get(LEN - 1)), (255, 255));
        })
        .done();
        expect_eq!(wrong(&map, 0..0), 0);
        map.set(5 * MIB + 1, 9);
        expect_eq!((map.get(5 * MIB + 1), wrong(&map, 0..0)), (9, 0));
        t.unmap(map.address, LEN).ok();
    }
}

#[case(as_root, as_user)]
fn a_part_of_large_memory_is_emptied_closed_moved_and_unmapped(t: &mut Guest) {
    let map = t.map(LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS);
    marks().for_each(|(at, mark)| map.set(at, mark));
    let (from, to) = (5 * MIB, 9 * MIB + MIB / 2);
    sys!(madvise(map.address + from, to - from, MADV_DONTNEED)).ok();
    expect_eq!(wrong(&map, from..to), 0);
    marks().filter(|(at, _)| (from..to).contains(at)).for_each(|(at, mark)| map.set(at, mark));
    expect_eq!(wrong(&map, 0..0), 0);

    sys!(mprotect(map.address + from, PAGE, PROT_READ)).ok();
    expect_eq!(t.faults(SIGSEGV, SEGV_ACCERR, || map.set(from, 1)), map.address + from);
    sys!(mprotect(map.address + from, PAGE, RW)).ok();
    expect_eq!(wrong(&map, 0..0), 0);

    let room = t.map(4 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    sys!(mremap(map.address + 8 * MIB, 2 * MIB, 2 * MIB, flags, room.address + PAGE)).ok();
    expect_eq!(room.get(PAGE), map.get(0).wrapping_add(32));
    expect_eq!(t.faults(SIGSEGV, SEGV_MAPERR, || touch(map.address + 8 * MIB)), map.address + 8 * MIB);

    t.unmap(map.address + 4 * MIB + PAGE, PAGE).ok();
    let gone = map.address + 4 * MIB + PAGE;
    expect_eq!(t.faults(SIGSEGV, SEGV_MAPERR, || touch(gone)), gone);
    let left = |at: &usize| !(8 * MIB..10 * MIB).contains(at);
    let mut others = marks().filter(|(at, _)| left(at));
    check!(others.all(|(at, mark)| map.get(at) == mark), "bytes beside what was unmapped have changed");
}

#[case(as_root, as_user)]
fn a_read_into_fresh_large_memory_arrives(t: &mut Guest) {
    let len = 6 * MIB;
    t.file("f", vec![b'x'; len]);
    let map = t.map(LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS);
    let fd = t.open("f", O_RDONLY);
    for at in (0..len).step_by(MIB) {
        sys!(pread64(fd, map.address + 3 * MIB + at, MIB, at)).is(MIB as i64);
    }
    let seen = |at: usize| map.get(at);
    expect_eq!((seen(3 * MIB - 1), seen(3 * MIB), seen(9 * MIB - 1), seen(9 * MIB)), (0, b'x', b'x', 0));
}
