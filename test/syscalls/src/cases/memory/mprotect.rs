//! `mprotect`, and executable memory.

use crate::prelude::*;
use libc::*;
use std::mem::transmute;

const RW: i32 = PROT_READ | PROT_WRITE;

#[case(as_root, as_user)]
fn it_takes_rights_and_gives_them_back(t: &mut Guest) {
    let map = t.pages(3);
    map.set(PAGE, 5);
    sys!(mprotect(map.page(1), PAGE, PROT_READ)).ok();
    expect_eq!(map.get(PAGE), 5);
    expect_eq!(t.faults(SIGSEGV, SEGV_ACCERR, || map.set(PAGE, 1)), map.page(1));
    map.set(0, 1);
    map.set(2 * PAGE, 1);
    sys!(mprotect(map.page(1), PAGE, PROT_NONE)).ok();
    t.faults(SIGSEGV, SEGV_ACCERR, || touch(map.page(1)));
    sys!(mprotect(map.address, 3 * PAGE, RW)).ok();
    map.set(PAGE, 6);
    expect_eq!(map.get(PAGE), 6);
}

#[case(as_root, as_user)]
fn a_hole_is_enomem_after_the_part_before_it(t: &mut Guest) {
    let map = t.pages(3);
    t.unmap(map.page(1), PAGE).ok();
    sys!(mprotect(map.address, 3 * PAGE, PROT_READ)).fails(ENOMEM);
    t.faults(SIGSEGV, SEGV_ACCERR, || map.set(0, 1));
    map.set(2 * PAGE, 1);
}

#[case(as_root, as_user)]
fn arguments_are_checked(t: &mut Guest) {
    let map = t.pages(1);
    sys!(mprotect(map.address + 1, PAGE, PROT_READ)).fails(EINVAL);
    sys!(mprotect(map.address, PAGE, 0x80)).fails(EINVAL);
    sys!(mprotect(map.address, 0, PROT_READ)).ok();
    sys!(mprotect(map.address, 1, PROT_READ)).ok();
    t.faults(SIGSEGV, SEGV_ACCERR, || map.set(PAGE - 1, 1));
}

#[case(as_root, as_user)]
fn a_shared_mapping_of_a_reader_stays_read_only(t: &mut Guest) {
    t.file("f", vec![0; PAGE]);
    let fd = t.open("f", O_RDONLY);
    let map = t.map_file(fd, PAGE, PROT_READ, MAP_SHARED, 0);
    sys!(mprotect(map.address, PAGE, RW)).fails(EACCES);
    let private = t.map_file(fd, PAGE, PROT_READ, MAP_PRIVATE, 0);
    sys!(mprotect(private.address, PAGE, RW)).ok();
    private.set(0, 1);
}

/// Code that was just written runs, and code without the right does not.
#[case(as_root, as_user)]
fn code_can_be_written_and_run(t: &mut Guest) {
    // mov eax, 42; ret
    let code = [0xb8, 42, 0, 0, 0, 0xc3];
    let map = t.pages(1);
    map.put(0, &code);
    // SAFETY: the mapping holds a function of this type once it is executable.
    let call = |address: usize| unsafe { transmute::<usize, extern "C" fn() -> i32>(address)() };
    let at = t.faults(SIGSEGV, SEGV_ACCERR, || {
        call(map.address);
    });
    expect_eq!(at, map.address);
    sys!(mprotect(map.address, PAGE, PROT_READ | PROT_EXEC)).ok();
    expect_eq!(call(map.address), 42);
    sys!(mprotect(map.address, PAGE, RW | PROT_EXEC)).ok();
    map.set(1, 43);
    expect_eq!(call(map.address), 43);
}

#[case(as_root, as_user)]
fn a_file_can_be_mapped_and_run(t: &mut Guest) {
    t.file("code", [0xb8, 7, 0, 0, 0, 0xc3]);
    let map = t.map_file(t.open("code", O_RDONLY), PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, 0);
    // SAFETY: the mapping holds a function of this type.
    expect_eq!(unsafe { transmute::<usize, extern "C" fn() -> i32>(map.address)() }, 7);
}
