//! `msync`, and mappings of files that change.

use crate::prelude::*;
use libc::*;

const RW: i32 = PROT_READ | PROT_WRITE;

#[case(as_root, as_user)]
fn msync_checks_its_range_and_flags(t: &mut Guest) {
    t.file("f", vec![0; 2 * PAGE]);
    let map = t.map_file(t.open("f", O_RDWR), 2 * PAGE, RW, MAP_SHARED, 0);
    map.set(0, 1);
    sys!(msync(map.address, 2 * PAGE, MS_SYNC)).ok();
    sys!(msync(map.address, 2 * PAGE, MS_ASYNC)).ok();
    sys!(msync(map.address, 2 * PAGE, MS_SYNC | MS_ASYNC)).fails(EINVAL);
    sys!(msync(map.address, 2 * PAGE, 0x80)).fails(EINVAL);
    sys!(msync(map.address + 1, PAGE, MS_SYNC)).fails(EINVAL);
    t.unmap(map.page(1), PAGE).ok();
    sys!(msync(map.address, 2 * PAGE, MS_SYNC)).fails(ENOMEM);
}

#[case(as_root, as_user)]
fn two_mappings_of_a_file_are_one_memory(t: &mut Guest) {
    t.file("f", vec![0; 2 * PAGE]);
    let fd = t.open("f", O_RDWR);
    let (a, b) = (t.map_file(fd, 2 * PAGE, RW, MAP_SHARED, 0), t.map_file(fd, PAGE, RW, MAP_SHARED, PAGE));
    a.set(PAGE + 3, 9);
    expect_eq!(b.get(3), 9);
    t.fork(|| b.set(4, 8)).done();
    expect_eq!(a.get(PAGE + 4), 8);
}

#[case(as_root, as_user)]
fn a_private_page_follows_the_file_until_it_is_written(t: &mut Guest) {
    t.file("f", vec![b'a'; PAGE]);
    let fd = t.open("f", O_RDWR);
    let map = t.map_file(fd, PAGE, RW, MAP_PRIVATE, 0);
    map.set(0, b'x');
    sys!(pwrite64(fd, b"bb", 2, 0)).is(2);
    expect_eq!(map.get(0), b'x');
}

#[case(as_root, as_user)]
fn truncation_takes_mapped_pages_away(t: &mut Guest) {
    t.file("f", vec![b'a'; 2 * PAGE]);
    let fd = t.open("f", O_RDWR);
    let map = t.map_file(fd, 2 * PAGE, RW, MAP_SHARED, 0);
    let private = t.map_file(fd, 2 * PAGE, RW, MAP_PRIVATE, 0);
    private.set(PAGE, b'p');
    sys!(ftruncate(fd, 10)).ok();
    expect_eq!((map.get(9), map.get(10)), (b'a', 0));
    t.faults(SIGBUS, BUS_ADRERR, || touch(map.page(1)));
    t.faults(SIGBUS, BUS_ADRERR, || touch(private.page(1)));
}

/// A system call that meets such a page gets EFAULT where the program itself gets SIGBUS.
#[case(as_root, as_user)]
fn a_call_on_a_page_past_the_end_is_efault(t: &mut Guest) {
    t.file("f", "x");
    let map = t.map_file(t.open("f", O_RDWR), 2 * PAGE, RW, MAP_SHARED, 0);
    let pipe = t.pipe();
    sys!(write(pipe.w, map.page(1), 1)).fails(EFAULT);
    t.send(pipe.w, "y");
    sys!(read(pipe.r, map.page(1), 1)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn a_read_into_a_mapping_of_the_same_file_works(t: &mut Guest) {
    t.file("f", vec![b'a'; 2 * PAGE]);
    let fd = t.open("f", O_RDWR);
    let map = t.map_file(fd, 2 * PAGE, RW, MAP_SHARED, 0);
    sys!(pwrite64(fd, b"bcd", 3, 0)).is(3);
    sys!(pread64(fd, map.page(1), 16, 0)).is(16);
    expect_eq!(map.bytes(PAGE, 4), b"bcda");
    sys!(pwrite64(fd, map.address, 3, 100)).is(3);
    expect_eq!(map.bytes(100, 3), b"bcd");
}

#[case(as_root, as_user)]
fn a_read_breaks_copy_on_write_like_a_store(t: &mut Guest) {
    let map = t.pages(1);
    map.put(0, b"parent");
    let pipe = t.pipe();
    t.send(pipe.w, "child!");
    t.fork(|| {
        sys!(read(pipe.r, map.address, 6)).is(6);
        expect_eq!(map.bytes(0, 6), b"child!");
    })
    .done();
    expect_eq!(map.bytes(0, 6), b"parent");
}
