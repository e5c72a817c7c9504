//! Limits on memory.

use crate::prelude::*;
use libc::*;

const RW: i32 = PROT_READ | PROT_WRITE;
const ANON: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

#[case(as_root, as_user)]
fn address_space_is_limited(t: &mut Guest) {
    t.limit(RLIMIT_AS, 1 << 30);
    sys!(mmap(0, 2_usize << 30, RW, ANON, -1, 0)).fails(ENOMEM);
    sys!(mmap(0, 2_usize << 30, PROT_NONE, ANON | MAP_NORESERVE, -1, 0)).fails(ENOMEM);
    sys!(mmap(0, 1 << 20, RW, ANON, -1, 0)).ok();
}

#[case(as_root, as_user)]
fn data_is_limited_for_brk_and_private_memory(t: &mut Guest) {
    let start = sys!(brk(0)).size();
    let data: u64 = t.field("/proc/self/status", "VmData").split(' ').next().unwrap().parse().unwrap();
    t.limit(RLIMIT_DATA, (data + 1024) * 1024);
    sys!(brk(start + (64 << 20))).is(start);
    sys!(mmap(0, 64 << 20, RW, ANON, -1, 0)).fails(ENOMEM);
    sys!(mmap(0, 64 << 20, PROT_READ, ANON, -1, 0)).ok();
    sys!(mmap(0, 64 << 20, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0)).ok();
}

#[case(as_root, as_user)]
fn status_counts_the_address_space(t: &mut Guest) {
    let kib = |t: &Guest| -> i64 {
        t.field("/proc/self/status", "VmSize").split(' ').next().unwrap().parse().unwrap()
    };
    let before = kib(t);
    let map = t.map(64 << 20, PROT_NONE, ANON | MAP_NORESERVE);
    check!(kib(t) - before >= 65536, "{}", kib(t) - before);
    t.unmap(map.address, map.length).ok();
    check!(kib(t) - before < 65536);
}
