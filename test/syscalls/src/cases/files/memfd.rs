//! `memfd_create` and seals.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn a_memfd_is_a_file_without_a_name(t: &mut Guest) {
    let fd = sys!(memfd_create(c"label", MFD_CLOEXEC)).fd();
    sys!(fcntl(fd, F_GETFD, 0)).is(FD_CLOEXEC);
    t.send(fd, "text");
    let stat = t.fstat(fd);
    expect_eq!((stat.st_mode & S_IFMT, stat.st_size, stat.st_nlink), (S_IFREG, 4, 0));
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    expect_eq!(link.to_string_lossy(), "/memfd:label (deleted)");
    t.read(&format!("/proc/self/fd/{fd}")).is("text");
    sys!(memfd_create(c"x", 0x1000)).fails(EINVAL);
    sys!(memfd_create(&cstr("n".repeat(250)), 0)).fails(EINVAL);
    sys!(memfd_create(8, 0)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn without_allow_sealing_it_is_sealed_against_seals(_t: &mut Guest) {
    let fd = sys!(memfd_create(c"x", 0)).fd();
    sys!(fcntl(fd, F_GET_SEALS, 0)).is(F_SEAL_SEAL);
    sys!(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)).fails(EPERM);
}

#[case(as_root, as_user)]
fn seals_forbid_what_they_say(t: &mut Guest) {
    let fd = sys!(memfd_create(c"x", MFD_ALLOW_SEALING)).fd();
    t.send(fd, "0123456789");
    sys!(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)).ok();
    sys!(ftruncate(fd, 5)).fails(EPERM);
    sys!(ftruncate(fd, 20)).ok();
    sys!(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW)).ok();
    sys!(ftruncate(fd, 30)).fails(EPERM);
    sys!(pwrite64(fd, b"x", 1, 20)).fails(EPERM);
    sys!(pwrite64(fd, b"x", 1, 19)).is(1);
    sys!(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)).ok();
    sys!(pwrite64(fd, b"x", 1, 0)).fails(EPERM);
    sys!(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)).fails(EPERM);
    sys!(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)).ok();
    sys!(fcntl(fd, F_GET_SEALS, 0)).is(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    sys!(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL)).ok();
    sys!(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW)).fails(EPERM);
}

#[case(as_root, as_user)]
fn the_write_seal_waits_for_no_writable_mapping(t: &mut Guest) {
    let fd = sys!(memfd_create(c"x", MFD_ALLOW_SEALING)).fd();
    sys!(ftruncate(fd, PAGE)).ok();
    let map = t.map_file(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    sys!(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)).fails(EBUSY);
    t.unmap(map.address, PAGE).ok();
    sys!(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)).ok();
}

#[case(as_root, as_user)]
fn future_write_keeps_old_mappings_writable(t: &mut Guest) {
    let fd = sys!(memfd_create(c"x", MFD_ALLOW_SEALING)).fd();
    sys!(ftruncate(fd, PAGE)).ok();
    let map = t.map_file(fd, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
    sys!(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)).ok();
    map.set(0, 1);
    sys!(write(fd, b"x", 1)).fails(EPERM);
    sys!(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)).fails(EPERM);
}

#[case(as_root, as_user)]
fn ordinary_files_have_no_seals(t: &mut Guest) {
    let pipe = t.pipe();
    sys!(fcntl(pipe.r, F_GET_SEALS, 0)).fails(EINVAL);
    sys!(fcntl(pipe.w, F_ADD_SEALS, F_SEAL_WRITE)).fails(EINVAL);
}
