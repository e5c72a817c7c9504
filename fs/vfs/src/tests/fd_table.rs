//! Descriptors.

use super::*;
use sentry_uapi::errno::*;

fn file(t: &Task) -> Arc<File> {
    match t.open("/", OpenFlags::DIRECTORY) {
        Ok(file) => file,
        Err(e) => unreachable!("{e}"),
    }
}

#[test]
fn the_lowest_free_descriptor_is_given_out() {
    let t = Task::new();
    let files = &t.0.files;
    for n in 0..5 {
        assert_eq!(files.install(&t.0, file(&t), false), Ok(n));
    }
    assert_eq!(files.close(&t.0, 3), Ok(()));
    assert_eq!(files.close(&t.0, 1), Ok(()));
    assert_eq!(files.close(&t.0, 1), Err(EBADF));
    assert_eq!(files.dup(&t.0, 0), Ok(1));
    assert_eq!(files.dup(&t.0, 0), Ok(3));
    assert_eq!(files.dup(&t.0, 0), Ok(5));
    assert_eq!(files.dup_min(&t.0, 0, 100, true), Ok(100));
    assert_eq!(files.dup_min(&t.0, 0, 2, false), Ok(6));
    assert_eq!(files.dup(&t.0, 0), Ok(7));
    assert_eq!(files.cloexec(100), Ok(true));
}

#[test]
fn limits() {
    let t = Task::new();
    let files = &t.0.files;
    t.0.nofile.store(3, Ordering::Relaxed);
    for n in 0..3 {
        assert_eq!(files.install(&t.0, file(&t), false), Ok(n));
    }
    assert_eq!(files.install(&t.0, file(&t), false), Err(EMFILE));
    assert_eq!(files.dup_min(&t.0, 0, 3, false), Err(EINVAL));
    assert_eq!(files.dup2(&t.0, 0, 3), Err(EBADF));
    assert_eq!(files.dup2(&t.0, 0, -1), Err(EBADF));
    assert_eq!(files.dup2(&t.0, 0, 0), Ok(0));
    assert_eq!(files.dup3(&t.0, 0, 0, false), Err(EINVAL));
    t.0.nofile.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(files.dup2(&t.0, 0, i32::MAX), Err(EBADF));
}

#[test]
fn a_reserved_descriptor_is_not_open_yet() {
    let t = Task::new();
    let files = &t.0.files;
    assert_eq!(files.install(&t.0, file(&t), false), Ok(0));
    let fd = files.get_unused_fd(&t.0, true);
    assert_eq!(fd, Ok(1));
    assert!(files.get_raw(1).is_none());
    assert_eq!(files.close(&t.0, 1), Err(EBADF));
    assert_eq!(files.dup2(&t.0, 0, 1), Err(EBUSY));
    assert!(files.copy().get_raw(1).is_none());
    files.put_unused_fd(1);
    assert_eq!(files.dup(&t.0, 0), Ok(1));
}

#[test]
fn ranges_exec_and_fork() {
    let t = Task::new();
    let files = &t.0.files;
    for _ in 0..10 {
        assert!(files.install(&t.0, file(&t), false).is_ok());
    }
    assert_eq!(files.set_cloexec(2, true), Ok(()));
    assert_eq!(files.set_cloexec(20, true), Err(EBADF));
    let child = files.copy();
    assert_eq!(files.close_range(&t.0, 8, u32::MAX, false), Ok(()));
    assert_eq!(files.close_range(&t.0, 5, 6, true), Ok(()));
    assert_eq!(files.close_range(&t.0, 6, 5, false), Err(EINVAL));
    files.close_on_exec(&t.0);
    let mut open = Vec::new();
    files.for_each(|fd, _, _| open.push(fd));
    assert_eq!(open, [0, 1, 3, 4, 7]);
    assert_eq!(files.next_fd(5).map(|(fd, _)| fd), Some(7));
    assert!(child.get(9).is_ok());
    assert_eq!(child.cloexec(2), Ok(true));
}

#[test]
fn path_descriptors_are_only_places() {
    let t = Task::new();
    let opened = t.open("/", OpenFlags::PATH);
    let Ok(f) = opened else { unreachable!("it is there") };
    assert_eq!(t.0.files.install(&t.0, f, false), Ok(0));
    assert_eq!(err(t.0.files.get(0)), Some(EBADF));
    assert!(t.0.files.get_raw(0).is_some());
    assert!(vfs_fstat(&t.0, 0).is_ok());
    assert_eq!(do_fchmod(&t.0, 0, 0o700), Err(EBADF));
    assert_eq!(fchdir(&t.0, 0), Ok(()));
}
