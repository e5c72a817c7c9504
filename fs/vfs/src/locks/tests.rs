use super::*;
use crate::{FileOps, Inode, Pseudo, TestContext};
use sentry_uapi::errno::EDEADLK;
use std::any::Any;
use std::thread;

struct Blank;

impl FileOps for Blank {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn size(&self, _file: &File) -> Result<u64, Errno> {
        Ok(100)
    }
}

fn inode(ctx: &TestContext) -> Arc<Inode> {
    ctx.vfs.pseudo_inode(Pseudo::Anon, &ctx.cred)
}

fn open(ctx: &TestContext, inode: &Arc<Inode>, flags: OpenFlags) -> Arc<File> {
    let path = ctx.vfs.pseudo_path(Pseudo::Anon, inode.clone(), b"file");
    File::new(path, inode.clone(), Box::new(Blank), flags, ctx.cred())
}

fn flock(l_type: i16, l_start: i64, l_len: i64) -> Flock {
    Flock { l_type, l_start, l_len, ..Flock::default() }
}

const A: LockOwner = LockOwner::Process(1);
const B: LockOwner = LockOwner::Process(2);

fn set(ctx: &TestContext, file: &File, owner: LockOwner, lock: &Flock) -> Result<(), Errno> {
    fcntl_setlk(ctx, file, owner, lock, false)
}

#[test]
fn locks_of_others_conflict_and_are_reported() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let file = open(&ctx, &inode(&ctx), OpenFlags::RDWR);
    set(&ctx, &file, A, &flock(F_WRLCK, 10, 10))?;
    assert_eq!(set(&ctx, &file, A, &flock(F_RDLCK, 12, 2)), Ok(()));
    assert_eq!(set(&ctx, &file, B, &flock(F_RDLCK, 0, 0)), Err(EAGAIN));
    assert_eq!(set(&ctx, &file, B, &flock(F_RDLCK, 12, 2)), Ok(()));
    let found = fcntl_getlk(&ctx, &file, B, &flock(F_WRLCK, 0, 0))?;
    assert_eq!((found.l_type, found.l_start, found.l_len, found.l_pid), (F_WRLCK, 10, 2, 1));
    let found = fcntl_getlk(&ctx, &file, B, &flock(F_RDLCK, 13, 5))?;
    assert_eq!((found.l_type, found.l_start, found.l_len), (F_WRLCK, 14, 6));
    let free = fcntl_getlk(&ctx, &file, B, &flock(F_WRLCK, 20, -1))?;
    assert_eq!(free.l_type, F_WRLCK);
    let free = fcntl_getlk(&ctx, &file, B, &flock(F_WRLCK, 20, 5))?;
    assert_eq!(free, flock(F_UNLCK, 20, 5));
    assert_eq!(locks_show(&ctx.vfs).len(), 4);
    // Closing any descriptor gives all of them up.
    locks_remove_posix(&file, 1);
    assert_eq!(set(&ctx, &file, B, &flock(F_WRLCK, 0, 0)), Ok(()));
    Ok(())
}

#[test]
fn ranges_are_checked_as_the_manual_says() {
    let ctx = TestContext::new();
    let file = open(&ctx, &inode(&ctx), OpenFlags::RDWR);
    let whence = |l_whence, l_start, l_len| Flock { l_whence, ..flock(F_WRLCK, l_start, l_len) };
    let get = |flock: Flock| lock_range(&file, &flock).map(|r| (r.start, r.end));
    assert_eq!(get(whence(2, -10, 5)), Ok((90, 94)));
    assert_eq!(get(whence(2, 0, -100)), Ok((0, 99)));
    assert_eq!(get(whence(2, 0, -101)), Err(EINVAL));
    assert_eq!(get(whence(2, i64::MAX, 1)), Err(EOVERFLOW));
    assert_eq!(get(whence(0, -1, 1)), Err(EINVAL));
    assert_eq!(get(whence(0, i64::MAX, 1)), Ok((i64::MAX, i64::MAX)));
    assert_eq!(get(whence(0, i64::MAX, 2)), Err(EOVERFLOW));
    assert_eq!(get(whence(0, 1, i64::MIN)), Err(EINVAL));
    assert_eq!(get(whence(3, 0, 1)), Err(EINVAL));
    assert_eq!(set(&ctx, &file, A, &flock(7, 0, 0)), Err(EINVAL));
    assert_eq!(fcntl_getlk(&ctx, &file, A, &flock(F_UNLCK, 0, 0)), Err(EINVAL));
    let pid = Flock { l_pid: 1, ..flock(F_RDLCK, 0, 0) };
    assert_eq!(set(&ctx, &file, LockOwner::OpenFile, &pid), Err(EINVAL));
    let reader = open(&ctx, &inode(&ctx), OpenFlags::empty());
    assert_eq!(set(&ctx, &reader, A, &flock(F_WRLCK, 0, 0)), Err(EBADF));
    let writer = open(&ctx, &inode(&ctx), OpenFlags::WRONLY);
    assert_eq!(set(&ctx, &writer, A, &flock(F_RDLCK, 0, 0)), Err(EBADF));
}

#[test]
fn locks_of_an_open_file_end_with_it() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let inode = inode(&ctx);
    let (one, two) = (open(&ctx, &inode, OpenFlags::RDWR), open(&ctx, &inode, OpenFlags::RDWR));
    set(&ctx, &one, LockOwner::OpenFile, &flock(F_WRLCK, 0, 0))?;
    assert_eq!(set(&ctx, &two, LockOwner::OpenFile, &flock(F_RDLCK, 0, 1)), Err(EAGAIN));
    assert_eq!(set(&ctx, &one, A, &flock(F_RDLCK, 0, 1)), Err(EAGAIN));
    assert_eq!(fcntl_getlk(&ctx, &one, A, &flock(F_RDLCK, 0, 1))?.l_pid, -1);
    locks_remove_posix(&one, 1);
    assert_eq!(set(&ctx, &one, A, &flock(F_RDLCK, 0, 1)), Err(EAGAIN));
    drop(one);
    assert_eq!(set(&ctx, &two, LockOwner::OpenFile, &flock(F_RDLCK, 0, 1)), Ok(()));
    drop(two);
    assert_eq!(locks_show(&ctx.vfs), vec![]);
    Ok(())
}

#[test]
fn a_circle_of_waiters_is_refused() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let file = open(&ctx, &inode(&ctx), OpenFlags::RDWR);
    set(&ctx, &file, A, &flock(F_WRLCK, 0, 1))?;
    set(&ctx, &file, B, &flock(F_WRLCK, 1, 1))?;
    let (other, theirs) = (ctx.sibling(2, (*ctx.cred).clone()), file.clone());
    let waiter = thread::spawn(move || fcntl_setlk(&other, &theirs, A, &flock(F_WRLCK, 1, 1), true));
    while !locks_show(&ctx.vfs).iter().any(|l| l.waiting) {
        thread::yield_now();
    }
    while set_blocked(&ctx) == 0 {
        thread::yield_now();
    }
    assert_eq!(fcntl_setlk(&ctx, &file, B, &flock(F_WRLCK, 0, 1), true), Err(EDEADLK));
    set(&ctx, &file, B, &flock(F_UNLCK, 0, 0))?;
    assert_eq!(waiter.join().ok(), Some(Ok(())));
    assert!(!locks_show(&ctx.vfs).iter().any(|l| l.waiting));
    assert_eq!(set_blocked(&ctx), 0);
    Ok(())
}

fn set_blocked(ctx: &TestContext) -> usize {
    ctx.vfs.file_locks.blocked_count()
}

#[test]
fn flock_belongs_to_the_open_file() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let inode = inode(&ctx);
    let (one, two) = (open(&ctx, &inode, OpenFlags::RDWR), open(&ctx, &inode, OpenFlags::empty()));
    assert_eq!(do_flock(&ctx, &one, 3), Err(EINVAL));
    do_flock(&ctx, &one, LOCK_SH)?;
    do_flock(&ctx, &two, LOCK_SH)?;
    // A conversion that fails loses the lock.
    assert_eq!(do_flock(&ctx, &one, LOCK_EX | LOCK_NB), Err(EAGAIN));
    do_flock(&ctx, &two, LOCK_EX | LOCK_NB)?;
    assert_eq!(do_flock(&ctx, &one, LOCK_SH | LOCK_NB), Err(EAGAIN));
    // Nothing to do with record locks.
    set(&ctx, &one, A, &flock(F_WRLCK, 0, 0))?;
    let (other, theirs) = (ctx.sibling(2, (*ctx.cred).clone()), one.clone());
    let waiter = thread::spawn(move || do_flock(&other, &theirs, LOCK_EX));
    drop(two);
    assert_eq!(waiter.join().ok(), Some(Ok(())));
    do_flock(&ctx, &one, LOCK_UN)?;
    assert_eq!(do_flock(&ctx, &one, LOCK_MAND), Ok(()));
    assert_eq!(fcntl_setlease(&ctx, &one, 0), Err(EINVAL));
    Ok(())
}

#[test]
fn closing_any_descriptor_gives_up_the_locks_of_the_process() -> Result<(), Errno> {
    let task = crate::tests::Task::new();
    let ctx = &task.0;
    let open = || task.open("f", OpenFlags::RDWR | OpenFlags::CREAT);
    let (one, two) = (open()?, open()?);
    let owner = LockOwner::Process(ctx.files.lock_owner());
    set(ctx, &one, owner, &flock(F_WRLCK, 0, 0))?;
    assert_eq!(set(ctx, &one, B, &flock(F_RDLCK, 0, 1)), Err(EAGAIN));
    let fd = ctx.files.install(ctx, two, false)?;
    ctx.files.close(ctx, fd)?;
    assert_eq!(set(ctx, &one, B, &flock(F_RDLCK, 0, 1)), Ok(()));
    Ok(())
}
