//! Keys and keyrings.

use crate::prelude::*;
use libc::*;
use std::ffi::CStr;

const SESSION: i32 = -3;
const PROCESS: i32 = -2;
const THREAD: i32 = -1;
const GET_KEYRING_ID: i32 = 0;
const JOIN_SESSION_KEYRING: i32 = 1;
const UPDATE: i32 = 2;
const REVOKE: i32 = 3;
const SETPERM: i32 = 5;
const DESCRIBE: i32 = 6;
const CLEAR: i32 = 7;
const LINK: i32 = 8;
const UNLINK: i32 = 9;
const SEARCH: i32 = 10;
const READ: i32 = 11;

/// A session of the case's own; gives its number.
#[track_caller]
fn session() -> i32 {
    sys!(keyctl(JOIN_SESSION_KEYRING, 0, 0, 0, 0)).or_skip(ENOSYS, "this kernel has no keys").fd()
}

#[track_caller]
fn add(description: &CStr, payload: &str, ring: i32) -> i32 {
    sys!(add_key(c"user", description, payload.as_bytes(), payload.len(), ring)).fd()
}

#[track_caller]
fn text(option: i32, key: i32) -> String {
    let mut buffer = [0_u8; 256];
    let length = sys!(keyctl(option, key, &mut buffer, buffer.len(), 0)).size();
    String::from_utf8_lossy(&buffer[..length]).trim_end_matches('\0').to_owned()
}

#[case(as_root, as_user)]
fn a_joined_session_is_new_and_the_childrens_too(t: &mut Guest) {
    let old = session();
    let new = session();
    check!(old != new, "{old} {new}");
    sys!(keyctl(GET_KEYRING_ID, SESSION, 0, 0, 0)).is(new);
    let uid = t.uid();
    check!(text(DESCRIBE, SESSION).starts_with(&format!("keyring;{uid};")), "{}", text(DESCRIBE, SESSION));
    check!(text(DESCRIBE, SESSION).ends_with(";3f030000;_ses"), "{}", text(DESCRIBE, SESSION));
    t.fork(|| sys!(keyctl(GET_KEYRING_ID, SESSION, 0, 0, 0)).is(new)).done();
    sys!(keyctl(JOIN_SESSION_KEYRING, c".hidden", 0, 0, 0)).fails(EPERM);
    sys!(keyctl(JOIN_SESSION_KEYRING, 8, 0, 0, 0)).fails(EFAULT);
}

#[case(as_root, as_user)]
fn a_session_can_be_joined_by_name(t: &mut Guest) {
    session();
    let name = std::ffi::CString::new(format!("case-{}", sys!(getpid()).fd())).unwrap();
    let named = sys!(keyctl(JOIN_SESSION_KEYRING, &name, 0, 0, 0)).fd();
    check!(text(DESCRIBE, named).ends_with(&format!(";3f130000;{}", name.to_str().unwrap())));
    // Only those whom its permissions let search it find it.
    t.fork(|| check!(sys!(keyctl(JOIN_SESSION_KEYRING, &name, 0, 0, 0)).fd() != named)).done();
    sys!(keyctl(SETPERM, named, 0x3f1b_0000, 0, 0)).ok();
    sys!(keyctl(JOIN_SESSION_KEYRING, &name, 0, 0, 0)).is(0);
    t.fork(|| {
        session();
        sys!(keyctl(JOIN_SESSION_KEYRING, &name, 0, 0, 0)).is(named);
    })
    .done();
}

#[case(as_root, as_user)]
fn a_key_is_added_read_and_updated(_t: &mut Guest) {
    let ring = session();
    let key = add(c"a", "one", ring);
    expect_eq!(text(READ, key), "one");
    expect_eq!(add(c"a", "three", ring), key);
    expect_eq!(text(READ, key), "three");
    sys!(keyctl(READ, key, 0, 0, 0)).is(5);
    sys!(keyctl(UPDATE, key, b"four", 4, 0)).ok();
    expect_eq!(text(READ, key), "four");
    sys!(keyctl(SEARCH, ring, c"user", c"a", 0)).is(key);
    sys!(keyctl(SEARCH, ring, c"user", c"b", 0)).fails(ENOKEY);
    sys!(request_key(c"user", c"a", 0, 0)).is(key);
    sys!(request_key(c"user", c"b", 0, 0)).fails(ENOKEY);
    expect_eq!(text(DESCRIBE, key).rsplit(';').take(2).collect::<Vec<_>>(), ["a", "3f010000"]);
}

#[case(as_root, as_user)]
fn what_makes_no_key_is_refused(_t: &mut Guest) {
    let ring = session();
    sys!(add_key(c"nothing", c"a", b"x", 1, ring)).fails(ENODEV);
    sys!(add_key(c".user", c"a", b"x", 1, ring)).fails(EPERM);
    sys!(add_key(c"user", c"a", b"x", 0, ring)).fails(EINVAL);
    sys!(add_key(c"user", 0, b"x", 1, ring)).fails(EINVAL);
    sys!(add_key(c"user", c"a", b"x", 32768, ring)).fails(EINVAL);
    sys!(add_key(c"user", c"a", 8, 1, ring)).fails(EFAULT);
    sys!(add_key(c"user", c"a", b"x", 1, 0)).fails(EINVAL);
    sys!(add_key(c"user", c"a", b"x", 1, 0x7fff_fff0)).fails(ENOKEY);
    sys!(add_key(c"keyring", c"a", b"x", 1, ring)).fails(EINVAL);
    sys!(add_key(c"keyring", c".a", 0, 0, ring)).fails(EPERM);
    let key = add(c"a", "x", ring);
    sys!(add_key(c"user", c"b", b"x", 1, key)).fails(ENOTDIR);
    sys!(keyctl(CLEAR, key, 0, 0, 0)).fails(ENOTDIR);
    sys!(keyctl(SETPERM, key, -1, 0, 0)).fails(EINVAL);
    sys!(keyctl(999, 0, 0, 0, 0)).fails(EOPNOTSUPP);
}

#[case(as_root, as_user)]
fn a_revoked_key_is_ekeyrevoked_and_an_unlinked_one_gone(_t: &mut Guest) {
    let ring = session();
    let key = add(c"a", "x", ring);
    sys!(keyctl(REVOKE, key, 0, 0, 0)).ok();
    sys!(keyctl(READ, key, 0, 0, 0)).fails(EKEYREVOKED);
    sys!(keyctl(UNLINK, key, ring, 0, 0)).ok();
    let other = add(c"b", "x", ring);
    sys!(keyctl(CLEAR, ring, 0, 0, 0)).ok();
    sys!(keyctl(UNLINK, other, ring, 0, 0)).or_skip(ENOKEY, "the key has been collected").fails(ENOENT);
}

#[case(as_root, as_user)]
fn keyrings_hold_keyrings_but_not_themselves(_t: &mut Guest) {
    let ring = session();
    let inner = sys!(add_key(c"keyring", c"inner", 0, 0, ring)).fd();
    let key = add(c"deep", "x", inner);
    sys!(keyctl(SEARCH, ring, c"user", c"deep", 0)).is(key);
    sys!(keyctl(LINK, ring, inner, 0, 0)).fails(EDEADLK);
    sys!(keyctl(LINK, key, ring, 0, 0)).ok();
    let mut links = [0_i32; 4];
    sys!(keyctl(READ, ring, &mut links, size_of_val(&links), 0)).is(8);
    check!(links.contains(&key) && links.contains(&inner), "{links:?}");
}

/// Whoever has a key in a keyring of its own possesses it; others have what the mask gives its owner, or everybody.
#[case(as_root, as_user)]
fn possession_makes_the_difference(t: &mut Guest) {
    let ring = session();
    let key = add(c"a", "x", ring);
    t.fork(|| {
        session();
        sys!(keyctl(READ, key, 0, 0, 0)).fails(EACCES);
        check!(text(DESCRIBE, key).ends_with(";a"));
    })
    .done();
    sys!(keyctl(SETPERM, key, 0x3f03_0000, 0, 0)).ok();
    t.fork(|| {
        session();
        sys!(keyctl(READ, key, 0, 0, 0)).is(1);
    })
    .done();
}

#[case(as_root, as_user)]
fn process_and_thread_keyrings_are_made_when_wanted_and_not_inherited(t: &mut Guest) {
    session();
    sys!(keyctl(GET_KEYRING_ID, PROCESS, 0, 0, 0)).fails(ENOKEY);
    let process = sys!(keyctl(GET_KEYRING_ID, PROCESS, 1, 0, 0)).fd();
    let thread = sys!(keyctl(GET_KEYRING_ID, THREAD, 1, 0, 0)).fd();
    check!(process != thread);
    sys!(keyctl(GET_KEYRING_ID, PROCESS, 0, 0, 0)).is(process);
    t.thread(move || check!(sys!(keyctl(GET_KEYRING_ID, THREAD, 0, 0, 0)).fd() != thread)).join();
    t.fork(|| sys!(keyctl(GET_KEYRING_ID, PROCESS, 0, 0, 0)).fails(ENOKEY)).done();
}
