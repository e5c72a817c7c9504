//! Mappings of files: what is seen through them when the file changes, and what of them reaches the file.

use crate::guest::Map;
use crate::prelude::*;
use libc::*;

const RW: i32 = PROT_READ | PROT_WRITE;

/// A file of `pages` pages, the bytes of each its number from `a` on.
fn pages(t: &Guest, name: &str, pages: usize) {
    let letters = (b'a'..).take(pages);
    t.file(name, letters.flat_map(|letter| vec![letter; PAGE]).collect::<Vec<u8>>());
}

#[case(as_root, as_user)]
fn a_page_that_is_only_read_follows_the_file(t: &mut Guest) {
    pages(t, "f", 2);
    let (reader, writer) = (t.open("f", O_RDONLY), t.open("f", O_WRONLY));
    let private = t.map_file(reader, 2 * PAGE, RW, MAP_PRIVATE, 0);
    let shared = t.map_file(reader, 2 * PAGE, PROT_READ, MAP_SHARED, 0);
    expect_eq!((private.get(0), shared.get(PAGE)), (b'a', b'b'));
    sys!(pwrite64(writer, b"xy", 2, PAGE - 1)).is(2);
    expect_eq!(private.bytes(PAGE - 1, 3), b"xyb");
    expect_eq!(shared.bytes(PAGE - 1, 3), b"xyb");
}

#[case(as_root, as_user)]
fn stores_to_a_private_page_stay_there(t: &mut Guest) {
    pages(t, "f", 2);
    let (reader, writer) = (t.open("f", O_RDONLY), t.open("f", O_WRONLY));
    let map = t.map_file(reader, 2 * PAGE, RW, MAP_PRIVATE, 0);
    let other = t.map_file(reader, 2 * PAGE, PROT_READ, MAP_PRIVATE, 0);
    map.set(1, b'1');
    sys!(pwrite64(writer, b"2", 1, 2)).is(1);
    expect_eq!(map.bytes(0, 3), b"a1a");
    expect_eq!(other.bytes(0, 3), b"aa2");
    expect_eq!(t.recv(reader, 3), b"aa2");
}

#[case(as_root, as_user)]
fn a_store_does_not_undo_when_the_file_is_opened_again(t: &mut Guest) {
    pages(t, "f", 2);
    let map = t.map_file(t.open("f", O_RDONLY), 2 * PAGE, RW, MAP_PRIVATE, 0);
    map.set(0, b'1');
    expect_eq!(map.get(PAGE), b'b');
    t.write("f", "changed").ok();
    t.open("f", O_RDONLY);
    expect_eq!(map.get(0), b'1');
}

#[case(as_root, as_user)]
fn truncation_takes_pages_from_mappings_that_only_read(t: &mut Guest) {
    pages(t, "f", 3);
    let fd = t.open("f", O_RDONLY);
    let shared = t.map_file(fd, 3 * PAGE, PROT_READ, MAP_SHARED, 0);
    let private = t.map_file(fd, 3 * PAGE, RW, MAP_PRIVATE, 0);
    expect_eq!((shared.get(2 * PAGE), private.get(PAGE)), (b'c', b'b'));
    private.set(2 * PAGE, b'p');
    let writer = t.open("f", O_WRONLY);
    sys!(ftruncate(writer, PAGE + 1)).ok();
    expect_eq!(shared.bytes(PAGE, 2), [b'b', 0]);
    expect_eq!(private.bytes(PAGE, 2), [b'b', 0]);
    for map in [shared, private] {
        let at = t.faults(SIGBUS, BUS_ADRERR, || touch(map.page(2) + 5));
        expect_eq!(at, map.page(2) + 5);
    }
    t.faults(SIGBUS, BUS_ADRERR, || private.set(2 * PAGE, 1));
    let pipe = t.pipe();
    sys!(write(pipe.w, shared.page(2), 1)).fails(EFAULT);
    sys!(ftruncate(writer, 3 * PAGE)).ok();
    expect_eq!((shared.get(2 * PAGE), private.get(2 * PAGE)), (0, 0));
}

#[case(as_root, as_user)]
fn a_reader_sees_what_another_process_stores(t: &mut Guest) {
    pages(t, "f", 3);
    let reader = t.map_file(t.open("f", O_RDONLY), 3 * PAGE, PROT_READ, MAP_SHARED, 0);
    let private = t.map_file(t.open("f", O_RDONLY), 3 * PAGE, RW, MAP_PRIVATE, 0);
    expect_eq!((reader.get(0), private.get(PAGE)), (b'a', b'b'));
    private.set(2 * PAGE, b'p');
    t.fork(|| {
        let writer = t.map_file(t.open("f", O_RDWR), 3 * PAGE, RW, MAP_SHARED, 0);
        writer.set(0, b'1');
        writer.set(PAGE, b'2');
        expect_eq!((reader.get(0), private.get(PAGE), private.get(2 * PAGE)), (b'1', b'2', b'p'));
    })
    .done();
    expect_eq!((reader.get(0), reader.get(PAGE), reader.get(2 * PAGE)), (b'1', b'2', b'c'));
    expect_eq!((private.get(2 * PAGE), private.get(PAGE)), (b'p', b'2'));
    expect_eq!(t.recv(t.open("f", O_RDONLY), 2), b"1a");
}

#[case(as_root, as_user)]
fn mappings_that_came_before_and_after_the_first_to_write_are_one(t: &mut Guest) {
    pages(t, "f", 2);
    let before = t.map_file(t.open("f", O_RDONLY), 2 * PAGE, PROT_READ, MAP_SHARED, 0);
    touch(before.page(0));
    let fd = t.open("f", O_RDWR);
    let writer = t.map_file(fd, 2 * PAGE, PROT_READ, MAP_SHARED, 0);
    let after = t.map_file(t.open("f", O_RDONLY), PAGE, PROT_READ, MAP_PRIVATE, PAGE);
    sys!(mprotect(writer.address, 2 * PAGE, RW)).ok();
    for (index, value) in (b'0'..=b'9').enumerate() {
        writer.set(index, value);
        writer.set(PAGE + index, value);
        expect_eq!((before.get(index), after.get(index)), (value, value));
    }
    t.unmap(writer.address, 2 * PAGE).ok();
    sys!(pwrite64(fd, b"call", 4, 0)).is(4);
    expect_eq!(before.bytes(0, 6), b"call45");
}

#[case(as_root, as_user)]
fn only_what_was_opened_for_writing_can_be_made_writable(t: &mut Guest) {
    pages(t, "f", 1);
    let (reader, writer) = (t.open("f", O_RDONLY), t.open("f", O_RDWR));
    let fixed = t.map_file(reader, PAGE, PROT_READ, MAP_SHARED, 0);
    touch(fixed.address);
    sys!(mprotect(fixed.address, PAGE, RW)).fails(EACCES);
    t.faults(SIGSEGV, SEGV_ACCERR, || fixed.set(0, 1));
    sys!(pread64(writer, fixed.address, 1, 0)).fails(EFAULT);
    let private = t.map_file(reader, PAGE, PROT_READ, MAP_PRIVATE, 0);
    touch(private.address);
    sys!(pread64(writer, private.address, 1, 0)).fails(EFAULT);
    sys!(mprotect(private.address, PAGE, RW)).ok();
    private.set(0, b'p');
    let shared = t.map_file(writer, PAGE, PROT_READ, MAP_SHARED, 0);
    touch(shared.address);
    sys!(mprotect(shared.address, PAGE, RW)).ok();
    shared.set(0, b's');
    expect_eq!((fixed.get(0), private.get(0)), (b's', b'p'));
}

#[case(as_root, as_user)]
fn a_mapping_beyond_the_end_sees_the_file_grow(t: &mut Guest) {
    t.file("f", "abc");
    let map = t.map_file(t.open("f", O_RDONLY), 4 * PAGE, PROT_READ, MAP_PRIVATE, 0);
    expect_eq!(map.bytes(2, 3), [b'c', 0, 0]);
    t.faults(SIGBUS, BUS_ADRERR, || touch(map.page(1)));
    let writer = t.open("f", O_WRONLY);
    sys!(pwrite64(writer, b"x", 1, 2 * PAGE)).is(1);
    expect_eq!((map.get(2), map.get(3), map.get(PAGE), map.get(2 * PAGE)), (b'c', 0, 0, b'x'));
    t.faults(SIGBUS, BUS_ADRERR, || touch(map.page(3)));
}

#[case(as_root, as_user)]
fn a_fork_has_its_own_copies_of_private_pages(t: &mut Guest) {
    pages(t, "f", 3);
    let (reader, writer) = (t.open("f", O_RDONLY), t.open("f", O_WRONLY));
    let map = t.map_file(reader, 3 * PAGE, RW, MAP_PRIVATE, 0);
    map.set(2 * PAGE, b'1');
    t.fork(|| {
        expect_eq!((map.get(2 * PAGE), map.get(PAGE)), (b'1', b'b'));
        map.set(2 * PAGE, b'2');
        map.set(PAGE, b'3');
        sys!(pwrite64(writer, b"w", 1, 0)).is(1);
    })
    .done();
    expect_eq!((map.get(0), map.get(PAGE), map.get(2 * PAGE)), (b'w', b'b', b'1'));
}

#[case(as_root, as_user)]
fn a_mapping_that_moves_and_grows_stays_the_file(t: &mut Guest) {
    pages(t, "f", 4);
    let map = t.map_file(t.open("f", O_RDONLY), 2 * PAGE, RW, MAP_PRIVATE, PAGE);
    map.set(0, b'p');
    let place = t.pages(8);
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    sys!(mremap(map.address, 2 * PAGE, 3 * PAGE, flags, place.page(1))).ok();
    let moved = Map { address: place.page(1), length: 3 * PAGE };
    expect_eq!((moved.get(0), moved.get(PAGE), moved.get(2 * PAGE)), (b'p', b'c', b'd'));
    t.faults(SIGSEGV, SEGV_MAPERR, || touch(map.address));
    sys!(madvise(moved.address, 3 * PAGE, MADV_DONTNEED)).ok();
    expect_eq!(moved.get(0), b'b');
}

#[case(as_root, as_user)]
fn pages_of_two_files_side_by_side_are_told_apart(t: &mut Guest) {
    pages(t, "f", 2);
    t.file("g", vec![b'g'; 2 * PAGE]);
    let (f, g) = (t.open("f", O_RDONLY), t.open("g", O_RDONLY));
    let place = t.pages(4);
    for (index, (fd, offset)) in [(f, PAGE), (g, 0), (f, 0), (g, PAGE)].into_iter().enumerate() {
        let flags = MAP_PRIVATE | MAP_FIXED;
        sys!(mmap(place.page(index), PAGE, PROT_READ, flags, fd, offset)).ok();
    }
    let seen = || [0, 1, 2, 3].map(|page| place.get(page * PAGE));
    expect_eq!(seen(), *b"bgag");
    sys!(mprotect(place.address, 4 * PAGE, RW)).ok();
    place.set(2 * PAGE, b'!');
    expect_eq!(seen(), *b"bg!g");
    t.fork(|| expect_eq!(seen(), *b"bg!g")).done();
}

#[case(as_root, as_user)]
fn a_hole_that_is_punched_reads_as_zeros_where_nothing_was_stored(t: &mut Guest) {
    pages(t, "f", 4);
    let map = t.map_file(t.open("f", O_RDONLY), 4 * PAGE, RW, MAP_PRIVATE, 0);
    map.set(2 * PAGE, b'p');
    touch(map.page(1));
    let mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    sys!(fallocate(t.open("f", O_WRONLY), mode, PAGE, 2 * PAGE)).or_skip(EOPNOTSUPP, "no holes here").ok();
    expect_eq!((map.get(0), map.get(PAGE), map.get(2 * PAGE), map.get(3 * PAGE)), (b'a', 0, b'p', b'd'));
}

#[case(as_root, as_user)]
fn a_sparse_file_of_gigabytes_is_mapped_at_its_ends(t: &mut Guest) {
    const SIZE: usize = 3 << 30;
    t.file("f", "start");
    let fd = t.open("f", O_RDWR);
    sys!(pwrite64(fd, b"end", 3, SIZE - 3)).is(3);
    let map = t.map_file(t.open("f", O_RDONLY), SIZE, PROT_READ, MAP_SHARED, 0);
    expect_eq!((map.bytes(0, 5), map.bytes(SIZE - 3, 3)), (b"start".to_vec(), b"end".to_vec()));
    expect_eq!(map.get(SIZE / 2), 0);
}

#[case(as_root, as_user)]
fn populated_pages_are_in_memory(t: &mut Guest) {
    pages(t, "f", 3);
    let fd = t.open("f", O_RDONLY);
    let map = t.map_file(fd, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_POPULATE, 0);
    let mut there = [0_u8; 3];
    sys!(mincore(map.address, 3 * PAGE, &mut there)).ok();
    expect_eq!(there.map(|byte| byte & 1), [1, 1, 1]);
    for advice in [MADV_WILLNEED, MADV_POPULATE_READ] {
        sys!(madvise(map.address, 3 * PAGE, advice)).or_skip(EINVAL, "no such advice here").ok();
    }
    let beyond = t.map_file(fd, 4 * PAGE, PROT_READ, MAP_PRIVATE, 0);
    sys!(madvise(beyond.address, 4 * PAGE, MADV_POPULATE_READ)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn what_is_poked_into_a_page_is_private(t: &mut Guest) {
    pages(t, "f", 1);
    let fd = t.open("f", O_RDONLY);
    let map = t.map_file(fd, PAGE, PROT_READ, MAP_PRIVATE, 0);
    touch(map.address);
    let memory = t.open("/proc/self/mem", O_RDWR);
    sys!(pwrite64(memory, b"poke", 4, map.address)).is(4);
    expect_eq!(map.bytes(0, 5), b"pokea");
    expect_eq!(t.recv(fd, 4), b"aaaa");
    t.faults(SIGSEGV, SEGV_ACCERR, || map.set(0, 1));
}

#[case(as_root, as_user)]
fn a_futex_can_be_in_a_page_that_is_only_read(t: &mut Guest) {
    t.file("f", vec![0; PAGE]);
    let reader = t.map_file(t.open("f", O_RDONLY), PAGE, PROT_READ, MAP_SHARED, 0);
    sys!(futex(reader.address, FUTEX_WAIT, 1, 0, 0, 0)).fails(EAGAIN);
    let child = t.fork(|| sys!(futex(reader.address, FUTEX_WAIT, 0, 0, 0, 0)).is(0));
    t.until_asleep(child.pid);
    let writer = t.map_file(t.open("f", O_RDWR), PAGE, RW, MAP_SHARED, 0);
    t.until(|| sys!(futex(writer.address, FUTEX_WAKE, 1, 0, 0, 0)).size() == 1);
    child.done();
}

#[case(as_root, as_user)]
fn a_mapping_keeps_a_file_that_another_takes_the_name_of(t: &mut Guest) {
    pages(t, "f", 2);
    t.file("g", vec![b'g'; 2 * PAGE]);
    let map = t.map_file(t.open("f", O_RDONLY), 2 * PAGE, RW, MAP_PRIVATE, 0);
    touch(map.address);
    sys!(rename(c"g", c"f")).ok();
    let other = t.map_file(t.open("f", O_RDONLY), 2 * PAGE, PROT_READ, MAP_PRIVATE, 0);
    sys!(unlink(c"f")).ok();
    map.set(0, b'p');
    expect_eq!((map.get(0), map.get(PAGE), other.get(PAGE)), (b'p', b'b', b'g'));
}
