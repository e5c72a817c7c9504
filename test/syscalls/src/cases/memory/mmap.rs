//! `mmap` and `munmap`.

use crate::prelude::*;
use libc::*;

const RW: i32 = PROT_READ | PROT_WRITE;
const ANON: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

#[case(as_root, as_user)]
fn anonymous_memory_is_zero_and_keeps_what_is_written(t: &mut Guest) {
    let map = t.pages(3);
    expect_eq!(map.address % PAGE, 0);
    expect_eq!(map.bytes(0, 3 * PAGE).iter().all(|byte| *byte == 0), true);
    map.set(2 * PAGE, 7);
    expect_eq!((map.get(2 * PAGE), map.get(2 * PAGE + 1)), (7, 0));
}

#[case(as_root, as_user)]
fn private_memory_is_copied_on_write_across_fork(t: &mut Guest) {
    let map = t.pages(2);
    map.set(0, 1);
    let (go, done) = (t.pipe(), t.pipe());
    let child = t.fork(|| {
        go.wait();
        expect_eq!(map.get(0), 1);
        map.set(0, 3);
        done.signal();
    });
    map.set(0, 2);
    go.signal();
    done.wait();
    expect_eq!(map.get(0), 2);
    child.done();
}

#[case(as_root, as_user)]
fn shared_memory_is_seen_across_fork(t: &mut Guest) {
    let map = t.map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS);
    t.fork(|| map.set(5, 9)).done();
    expect_eq!(map.get(5), 9);
}

#[case(as_root, as_user)]
fn a_shared_file_mapping_is_the_file(t: &mut Guest) {
    t.file("f", vec![b'a'; PAGE]);
    let fd = t.open("f", O_RDWR);
    let map = t.map_file(fd, PAGE, RW, MAP_SHARED, 0);
    map.set(1, b'b');
    let mut bytes = [0_u8; 3];
    sys!(pread64(fd, &mut bytes, 3, 0)).is(3);
    expect_eq!(&bytes, b"aba");
    sys!(pwrite64(fd, b"c", 1, 2)).is(1);
    expect_eq!(map.bytes(0, 4), b"abca");
}

#[case(as_root, as_user)]
fn a_private_file_mapping_does_not_write_the_file(t: &mut Guest) {
    t.file("f", vec![b'a'; PAGE]);
    let fd = t.open("f", O_RDONLY);
    let map = t.map_file(fd, PAGE, RW, MAP_PRIVATE, 0);
    map.set(0, b'b');
    expect_eq!(t.recv(fd, 2), b"aa");
}

#[case(as_root, as_user)]
fn bytes_past_the_end_of_file_are_zero_to_the_page_and_sigbus_after(t: &mut Guest) {
    t.file("f", "abc");
    let fd = t.open("f", O_RDWR);
    let map = t.map_file(fd, 2 * PAGE, RW, MAP_SHARED, 0);
    expect_eq!(map.bytes(2, 3), [b'c', 0, 0]);
    let at = t.faults(SIGBUS, BUS_ADRERR, || map.set(PAGE + 17, 1));
    expect_eq!(at, map.page(1) + 17);
    sys!(ftruncate(fd, PAGE + 1)).ok();
    expect_eq!(map.get(PAGE), 0);
}

#[case(as_root, as_user)]
fn unmapped_memory_is_segv_maperr(t: &mut Guest) {
    let map = t.pages(1);
    t.unmap(map.address, PAGE).ok();
    let at = t.faults(SIGSEGV, SEGV_MAPERR, || map.set(12, 1));
    expect_eq!(at, map.address + 12);
    expect_eq!(t.faults(SIGSEGV, SEGV_MAPERR, || touch(8)), 8);
}

#[case(as_root, as_user)]
fn forbidden_access_is_segv_accerr(t: &mut Guest) {
    let map = t.map(PAGE, PROT_READ, ANON);
    expect_eq!(map.get(0), 0);
    expect_eq!(t.faults(SIGSEGV, SEGV_ACCERR, || map.set(3, 1)), map.address + 3);
    let none = t.map(PAGE, PROT_NONE, ANON);
    expect_eq!(t.faults(SIGSEGV, SEGV_ACCERR, || touch(none.address + 1)), none.address + 1);
}

#[case(as_root, as_user)]
fn fixed_replaces_and_noreplace_refuses(t: &mut Guest) {
    let map = t.pages(2);
    map.set(0, 1);
    map.set(PAGE, 2);
    sys!(mmap(map.address, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0)).fails(EEXIST);
    sys!(mmap(map.address, PAGE, RW, ANON | MAP_FIXED, -1, 0)).is(map.address);
    expect_eq!((map.get(0), map.get(PAGE)), (0, 2));
    t.unmap(map.address, PAGE).ok();
    sys!(mmap(map.address, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0)).is(map.address);
}

#[case(as_root, as_user)]
fn a_hint_is_taken_where_there_is_room(t: &mut Guest) {
    let map = t.pages(4);
    t.unmap(map.page(1), PAGE).ok();
    sys!(mmap(map.page(1), PAGE, RW, ANON, -1, 0)).is(map.page(1));
    let other = sys!(mmap(map.page(2), PAGE, RW, ANON, -1, 0)).size();
    check!(other != map.page(2), "{other:#x}");
}

#[case(as_root, as_user)]
fn wrong_arguments_are_refused(t: &mut Guest) {
    t.file("f", "x");
    let fd = t.open("f", O_RDONLY);
    sys!(mmap(0, 0, RW, ANON, -1, 0)).fails(EINVAL);
    sys!(mmap(0, PAGE, RW, MAP_ANONYMOUS, -1, 0)).fails(EINVAL);
    sys!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 1)).fails(EINVAL);
    sys!(mmap(PAGE + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0)).fails(EINVAL);
    sys!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, 99, 0)).fails(EBADF);
    sys!(mmap(0, usize::MAX - PAGE, RW, ANON, -1, 0)).fails(ENOMEM);
    sys!(mmap(0, PAGE, RW, MAP_SHARED, fd, 0)).fails(EACCES);
    let writer = t.open("f", O_WRONLY);
    sys!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, writer, 0)).fails(EACCES);
    let directory = t.open(".", O_RDONLY);
    sys!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, directory, 0)).fails(ENODEV);
    let pipe = t.pipe();
    sys!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, pipe.r, 0)).fails(ENODEV);
    sys!(munmap(PAGE + 1, PAGE)).fails(EINVAL);
    sys!(munmap(PAGE, 0)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn munmap_splits_and_ignores_holes(t: &mut Guest) {
    let map = t.pages(5);
    map.set(0, 1);
    map.set(4 * PAGE, 5);
    t.unmap(map.page(2), PAGE).ok();
    t.unmap(map.page(1), 3 * PAGE).ok();
    expect_eq!((map.get(0), map.get(4 * PAGE)), (1, 5));
    expect_eq!(t.faults(SIGSEGV, SEGV_MAPERR, || touch(map.address + 3 * PAGE)), map.page(3));
}

#[case(as_root, as_user)]
fn a_mapping_outlives_its_descriptor_and_its_name(t: &mut Guest) {
    t.file("f", "still here");
    let fd = t.open("f", O_RDONLY);
    let map = t.map_file(fd, PAGE, PROT_READ, MAP_SHARED, 0);
    sys!(close(fd)).ok();
    sys!(unlink(c"f")).ok();
    expect_eq!(map.bytes(0, 10), b"still here");
}

#[case(as_root, as_user)]
fn dev_zero_maps_as_zeroes(t: &mut Guest) {
    let fd = t.open("/dev/zero", O_RDWR);
    let map = t.map_file(fd, PAGE, RW, MAP_PRIVATE, 0);
    expect_eq!(map.get(100), 0);
    map.set(100, 1);
    let shared = t.map_file(fd, PAGE, RW, MAP_SHARED, 0);
    t.fork(|| shared.set(0, 4)).done();
    expect_eq!(shared.get(0), 4);
}

#[case(as_root, as_user)]
fn low_addresses_and_populated_pages_on_demand(t: &mut Guest) {
    let low = sys!(mmap(0, PAGE, RW, ANON | MAP_32BIT, -1, 0)).size();
    check!(low < 1 << 31, "{low:#x}");
    let map = t.map(8 * PAGE, RW, ANON | MAP_POPULATE);
    let mut present = [0_u8; 8];
    sys!(mincore(map.address, map.length, &mut present)).ok();
    expect_eq!(present.map(|page| page & 1), [1; 8]);
}

/// What just-in-time compilers do where one mapping may not be both.
#[case(as_root, as_user)]
fn code_written_through_one_mapping_runs_through_another(t: &mut Guest) {
    let fd = sys!(memfd_create(c"code", 0)).fd();
    sys!(ftruncate(fd, PAGE)).ok();
    let writer = t.map_file(fd, PAGE, RW, MAP_SHARED, 0);
    let runner = t.map_file(fd, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, 0);
    // mov eax, imm32; ret
    for value in [3, 4] {
        writer.put(0, &[0xb8, value, 0, 0, 0, 0xc3]);
        // SAFETY: the mapping holds a function of this type.
        let run = unsafe { std::mem::transmute::<usize, extern "C" fn() -> i32>(runner.address) };
        expect_eq!(run(), i32::from(value));
    }
}

#[case(as_root, as_user)]
fn a_reservation_larger_than_memory_is_cheap(t: &mut Guest) {
    let map = t.map(1 << 40, PROT_NONE, ANON | MAP_NORESERVE);
    sys!(mprotect(map.address + (1 << 39), PAGE, RW)).ok();
    map.set(1 << 39, 5);
    expect_eq!(map.get(1 << 39), 5);
    t.unmap(map.address, map.length).ok();
}

#[case(as_root, as_user)]
fn many_mappings_with_different_rights(t: &mut Guest) {
    let map = t.pages(400);
    for page in (0..400).step_by(2) {
        sys!(mprotect(map.page(page), PAGE, PROT_READ)).ok();
    }
    for page in (1..400).step_by(2) {
        map.set(page * PAGE, 1);
    }
    t.fork(|| check!((1..400).step_by(2).all(|page| map.get(page * PAGE) == 1))).done();
    t.faults(SIGSEGV, SEGV_ACCERR, || map.set(200 * PAGE, 1));
    sys!(mprotect(map.address, map.length, RW)).ok();
    map.set(200 * PAGE, 1);
}

#[case(as_root, as_user)]
fn copy_on_write_holds_through_generations(t: &mut Guest) {
    let map = t.pages(16);
    (0..16).for_each(|page| map.set(page * PAGE, 1));
    t.fork(|| {
        (0..8).for_each(|page| map.set(page * PAGE, 2));
        t.fork(|| {
            (0..4).for_each(|page| map.set(page * PAGE, 3));
            expect_eq!((map.get(0), map.get(5 * PAGE), map.get(9 * PAGE)), (3, 2, 1));
        })
        .done();
        expect_eq!((map.get(0), map.get(5 * PAGE), map.get(9 * PAGE)), (2, 2, 1));
    })
    .done();
    check!((0..16).all(|page| map.get(page * PAGE) == 1));
}
