//! `read`, `write` and their relatives.

use crate::prelude::*;
use libc::*;

#[case(as_root, as_user)]
fn reads_move_the_offset_and_end_at_the_end(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDONLY);
    expect_eq!(t.recv(fd, 4), b"0123");
    expect_eq!(t.recv(fd, 100), b"456789");
    expect_eq!(t.recv(fd, 100), b"");
}

#[case(as_root, as_user)]
fn positioned_calls_leave_the_offset(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDWR);
    let mut bytes = [0_u8; 3];
    sys!(pread64(fd, &mut bytes, 3, 5)).is(3);
    expect_eq!(&bytes, b"567");
    sys!(pwrite64(fd, b"xyz", 3, 8)).is(3);
    sys!(pread64(fd, &mut bytes, 3, 11)).is(0);
    sys!(pread64(fd, &mut bytes, 3, -1)).fails(EINVAL);
    sys!(pwrite64(fd, b"x", 1, -1)).fails(EINVAL);
    sys!(lseek(fd, 0, SEEK_CUR)).is(0);
    t.read("f").is("01234567xyz");
}

#[case(as_root, as_user)]
fn vectors_are_filled_one_after_the_other(t: &mut Guest) {
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    let out = [iov(b"one"), iov(b""), iov(b"two"), iov(b"three")];
    sys!(writev(fd, &out, 4)).is(11);
    let (a, b) = ([0_u8; 4], [0_u8; 16]);
    let parts = [iov(&a), iov(&b)];
    sys!(preadv(fd, &parts, 2, 0, 0)).is(11);
    expect_eq!((&a, &b[..7]), (b"onet", &b"wothree"[..]));
    sys!(pwritev(fd, &out, 1, 2, 0)).is(3);
    t.read("f").is("ononeothree");
}

#[case(as_root, as_user)]
fn vectors_have_limits(t: &mut Guest) {
    t.file("f", "x");
    let fd = t.open("f", O_RDWR);
    let parts = vec![iov(b""); 1025];
    sys!(readv(fd, &parts, 1024)).is(0);
    sys!(readv(fd, &parts, 1025)).fails(EINVAL);
    sys!(readv(fd, &parts, -1)).fails(EINVAL);
    sys!(readv(fd, 0, 0)).is(0);
    sys!(readv(fd, 1, 1)).fails(EFAULT);
    let huge = [iovec { iov_base: std::ptr::null_mut(), iov_len: usize::MAX }];
    sys!(readv(fd, &huge, 1)).fails(EINVAL);
}

#[case(as_root, as_user)]
fn preadv2_minus_one_uses_the_offset(t: &mut Guest) {
    t.file("f", "abcdef");
    let fd = t.open("f", O_RDWR);
    let bytes = [0_u8; 2];
    let part = [iov(&bytes)];
    sys!(preadv2(fd, &part, 1, -1_i64, -1_i64, 0)).is(2);
    sys!(lseek(fd, 0, SEEK_CUR)).is(2);
    sys!(pwritev2(fd, &[iov(b"Z")], 1, 0, 0, RWF_APPEND)).is(1);
    t.read("f").is("abcdefZ");
    sys!(preadv2(fd, &part, 1, 0, 0, 0x4000_0000)).fails(EOPNOTSUPP);
}

#[case(as_root, as_user)]
fn the_access_mode_is_kept(t: &mut Guest) {
    t.file("f", "x");
    let mut byte = [0_u8];
    let reader = t.open("f", O_RDONLY);
    sys!(write(reader, &byte, 1)).fails(EBADF);
    let writer = t.open("f", O_WRONLY);
    sys!(read(writer, &mut byte, 1)).fails(EBADF);
    sys!(read(-1, &mut byte, 1)).fails(EBADF);
    sys!(write(9999, &byte, 1)).fails(EBADF);
}

#[case(as_root, as_user)]
fn bad_buffers_are_efault(t: &mut Guest) {
    t.file("f", "some text");
    let fd = t.open("f", O_RDWR);
    sys!(read(fd, 8, 4)).fails(EFAULT);
    sys!(write(fd, 8, 4)).fails(EFAULT);
    sys!(read(fd, 8, 0)).is(0);
    sys!(lseek(fd, 0, SEEK_CUR)).is(0);
    sys!(read(fd, usize::MAX - 100, 4)).fails(EFAULT);
}

/// Linux: a copy that meets a bad page counts what was copied before it.
#[case(as_root, as_user)]
fn a_buffer_that_ends_at_a_bad_page_gives_a_short_count(t: &mut Guest) {
    let page = t.page_at_border();
    let pipe = t.pipe();
    page.put(PAGE - 4, b"tail");
    sys!(write(pipe.w, page.address + PAGE, 4)).fails(EFAULT);
    t.file("f", vec![b'q'; PAGE]);
    let fd = t.open("f", O_RDONLY);
    sys!(read(fd, page.address + PAGE - 10, 100)).is(10);
    expect_eq!(page.bytes(PAGE - 10, 10), [b'q'; 10]);
    sys!(lseek(fd, 0, SEEK_CUR)).is(10);
}

#[case(as_root, as_user)]
fn a_write_past_the_end_leaves_zeroes(t: &mut Guest) {
    t.file("f", "ab");
    let fd = t.open("f", O_RDWR);
    sys!(pwrite64(fd, b"z", 1, 5)).is(1);
    t.read("f").is("ab\0\0\0z");
}

#[case(as_root, as_user)]
fn fsize_limits_writes_with_sigxfsz(t: &mut Guest) {
    t.catch(SIGXFSZ, 0);
    t.file("f", "");
    let fd = t.open("f", O_WRONLY);
    t.limit(RLIMIT_FSIZE, 10);
    sys!(write(fd, &[0_u8; 16], 16)).is(10);
    sys!(write(fd, &[0_u8; 16], 16)).fails(EFBIG);
    expect_eq!(t.caught(), [SIGXFSZ]);
    sys!(ftruncate(fd, 11)).fails(EFBIG);
}

#[case(as_user)]
fn writing_clears_set_id_bits(t: &mut Guest) {
    t.file("f", "");
    sys!(chmod(c"f", 0o6755)).ok();
    t.write("f", "x").is(1);
    expect_eq!(t.mode("f"), 0o755);
    sys!(chmod(c"f", 0o4755)).ok();
    sys!(truncate(c"f", 0)).ok();
    expect_eq!(t.mode("f"), 0o755);
}

#[case(as_root, as_user)]
fn fsync_family_takes_files_only(t: &mut Guest) {
    t.file("f", "x");
    let fd = t.open("f", O_RDONLY);
    sys!(fsync(fd)).is(0);
    sys!(fdatasync(fd)).is(0);
    sys!(sync_file_range(fd, 0, 0, 0)).is(0);
    sys!(syncfs(fd)).is(0);
    let pipe = t.pipe();
    sys!(fsync(pipe.r)).fails(EINVAL);
    sys!(fsync(99)).fails(EBADF);
    sys!(fsync(t.open("f", O_PATH))).fails(EBADF);
}

#[case(as_root, as_user)]
fn a_write_from_a_buffer_that_ends_at_a_bad_page_is_short(t: &mut Guest) {
    let page = t.page_at_border();
    page.put(PAGE - 10, b"0123456789");
    t.file("f", "");
    let fd = t.open("f", O_RDWR);
    sys!(write(fd, page.address + PAGE - 10, 100)).is(10);
    t.read("f").is("0123456789");
    sys!(write(fd, page.address + PAGE, 100)).fails(EFAULT);
    expect_eq!(t.stat("f").st_size, 10);
}

#[case(as_root, as_user)]
fn a_vector_whose_second_part_is_bad_is_short(t: &mut Guest) {
    t.file("f", "0123456789");
    let fd = t.open("f", O_RDWR);
    let good = [0_u8; 4];
    let bad = iovec { iov_base: std::ptr::without_provenance_mut(8), iov_len: 4 };
    sys!(readv(fd, &[iov(&good), bad], 2)).is(4);
    expect_eq!(std::hint::black_box(&good), b"0123");
    sys!(lseek(fd, 0, SEEK_CUR)).is(4);
    sys!(readv(fd, &[bad, iov(&good)], 2)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn nothing_is_written_and_read_as_zero_bytes(t: &mut Guest) {
    t.file("f", "x");
    let fd = t.open("f", O_RDWR);
    sys!(write(fd, 0, 0)).is(0);
    sys!(read(fd, 0, 0)).is(0);
    let pipe = t.pipe();
    sys!(write(pipe.w, 0, 0)).is(0);
    expect_eq!(t.poll(pipe.r, POLLIN, 0), 0);
}

#[case(as_root, as_user)]
fn many_small_appends_by_two_processes_are_all_there(t: &mut Guest) {
    t.file("f", "");
    let write = |byte: u8| {
        let fd = t.open("f", O_WRONLY | O_APPEND);
        for _ in 0..200 {
            t.send(fd, [byte; 7]);
        }
    };
    let child = t.fork(|| write(b'a'));
    write(b'b');
    child.done();
    let text = t.read("f").ok();
    expect_eq!(text.len(), 2 * 200 * 7);
    check!(text.as_bytes().chunks(7).all(|chunk| chunk.iter().all(|byte| *byte == chunk[0])));
}
