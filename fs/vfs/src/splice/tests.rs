use super::*;
use crate::tests::Task;
use crate::{TestContext, do_pipe2};
use sentry_uapi::errno::EPIPE;
use std::thread;

const RW: OpenFlags = OpenFlags::RDWR.union(OpenFlags::CREAT);

/// A file with this in it, opened for both.
fn file(task: &Task, name: &str, text: &[u8]) -> Result<Arc<File>, Errno> {
    let file = task.open(name, RW)?;
    file.write_at(&task.0, &mut IoSrc::from_slice(text), 0, IoFlags::empty())?;
    Ok(file)
}

fn contents(ctx: &TestContext, file: &File) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0; 1 << 20];
    let n = file.read_at(ctx, &mut IoDst::from_slice(&mut buf), 0, IoFlags::NOWAIT)?;
    buf.truncate(n);
    Ok(buf)
}

fn put(ctx: &TestContext, file: &File, bytes: &[u8]) -> Result<usize, Errno> {
    file.write(ctx, &mut IoSrc::from_slice(bytes), IoFlags::empty())
}

fn pipe(ctx: &TestContext) -> Result<(Arc<File>, Arc<File>), Errno> {
    do_pipe2(ctx, OpenFlags::NONBLOCK)
}

#[test]
fn sendfile_moves_the_position_it_uses() -> Result<(), Errno> {
    let task = Task::new();
    let ctx = &task.0;
    let (from, to) = (file(&task, "from", b"0123456789")?, file(&task, "to", b"")?);
    assert_eq!(do_sendfile(ctx, &to, &from, None, 4), Ok(4));
    assert_eq!((from.pos(), to.pos()), (4, 4));
    let mut offset = 8;
    assert_eq!(do_sendfile(ctx, &to, &from, Some(&mut offset), 100), Ok(2));
    assert_eq!((offset, from.pos()), (10, 4));
    assert_eq!(contents(ctx, &to), Ok(b"012389".to_vec()));
    let (r, w) = pipe(ctx)?;
    assert_eq!(do_sendfile(ctx, &w, &from, None, 100), Ok(6));
    assert_eq!(contents(ctx, &r), Ok(b"456789".to_vec()));
    assert_eq!(do_sendfile(ctx, &to, &r, None, 1), Err(EINVAL));
    assert_eq!(do_sendfile(ctx, &to, &r, Some(&mut offset), 1), Err(ESPIPE));
    assert_eq!(do_sendfile(ctx, &r, &from, None, 1), Err(EBADF));
    let mut far = u64::MAX;
    assert_eq!(do_sendfile(ctx, &to, &from, Some(&mut far), 1), Err(EINVAL));
    to.set_status_flags(OpenFlags::APPEND)?;
    assert_eq!(do_sendfile(ctx, &to, &from, None, 1), Err(EINVAL));
    Ok(())
}

#[test]
fn splice_fills_and_empties_pipes() -> Result<(), Errno> {
    let task = Task::new();
    let ctx = &task.0;
    let data: Vec<u8> = (0..100_000u32).map(|i| i.to_le_bytes()[0]).collect();
    let (from, to) = (file(&task, "from", &data)?, file(&task, "to", b"")?);
    let (r, w) = pipe(ctx)?;
    assert_eq!(do_splice(ctx, &r, None, &to, None, 1, 0), Err(EAGAIN));
    assert_eq!(do_splice(ctx, &from, None, &w, None, 200_000, 0), Ok(65536));
    assert_eq!(do_splice(ctx, &from, None, &w, None, 1, 0), Err(EAGAIN));
    assert_eq!(do_splice(ctx, &r, None, &to, None, 5000, 0), Ok(5000));
    // Part of a page went back.
    assert_eq!(do_splice(ctx, &r, None, &to, None, 100_000, 0), Ok(60536));
    assert_eq!(do_splice(ctx, &from, None, &w, None, 100_000, 0), Ok(34464));
    assert_eq!(do_splice(ctx, &from, None, &w, None, 100_000, 0), Ok(0));
    let mut at = 65536;
    assert_eq!(do_splice(ctx, &r, None, &to, Some(&mut at), 100_000, 0), Ok(34464));
    assert_eq!((at, to.pos()), (100_000, 65536));
    assert!(contents(ctx, &to)? == data);
    drop(w);
    assert_eq!(do_splice(ctx, &r, None, &to, None, 1, 0), Ok(0));
    Ok(())
}

#[test]
fn errors_of_splice() -> Result<(), Errno> {
    let task = Task::new();
    let ctx = &task.0;
    let plain = file(&task, "plain", b"x")?;
    let (r, w) = pipe(ctx)?;
    let mut at = 0;
    assert_eq!(do_splice(ctx, &plain, None, &plain, None, 0, 99), Ok(0));
    assert_eq!(do_splice(ctx, &plain, None, &w, None, 1, 16), Err(EINVAL));
    assert_eq!(do_splice(ctx, &plain, None, &plain, None, 1, 0), Err(EINVAL));
    assert_eq!(do_splice(ctx, &r, Some(&mut at), &plain, None, 1, 0), Err(ESPIPE));
    assert_eq!(do_splice(ctx, &w, None, &plain, None, 1, 0), Err(EBADF));
    assert_eq!(do_splice(ctx, &r, None, &w, None, 1, 0), Err(EINVAL));
    assert_eq!(do_tee(ctx, &r, &w, 1, 0), Err(EINVAL));
    assert_eq!(do_tee(ctx, &plain, &w, 1, 0), Err(EINVAL));
    assert_eq!(do_vmsplice_from(ctx, &r, &mut IoSrc::from_slice(b"x"), 0), Err(EBADF));
    assert_eq!(do_vmsplice_to(ctx, &plain, &mut IoDst::from_slice(&mut [0]), 0), Err(EBADF));
    drop(r);
    assert_eq!(do_splice(ctx, &plain, None, &w, None, 1, 0), Err(EPIPE));
    Ok(())
}

#[test]
fn tee_copies_and_splice_moves_between_pipes() -> Result<(), Errno> {
    let task = Task::new();
    let ctx = &task.0;
    let ((r1, w1), (r2, w2)) = (pipe(ctx)?, pipe(ctx)?);
    put(ctx, &w1, &[7; 5000])?;
    assert_eq!(do_tee(ctx, &r1, &w2, 4500, 0), Ok(4500));
    assert_eq!(contents(ctx, &r2)?.len(), 4500);
    assert_eq!(do_splice(ctx, &r1, None, &w2, None, 4500, 0), Ok(4500));
    assert_eq!((contents(ctx, &r1)?.len(), contents(ctx, &r2)?.len()), (500, 4500));
    // What was copied is nobody else's to append to.
    put(ctx, &w1, b"ab")?;
    assert_eq!(do_tee(ctx, &r1, &w2, 100, 0), Ok(2));
    put(ctx, &w2, b"c")?;
    assert_eq!((contents(ctx, &r1)?, contents(ctx, &r2)?), (b"ab".to_vec(), b"abc".to_vec()));
    assert_eq!(do_tee(ctx, &r1, &w2, 1, 0), Err(EAGAIN));
    drop(w1);
    assert_eq!(do_tee(ctx, &r1, &w2, 1, 0), Ok(0));
    Ok(())
}

#[test]
fn vmsplice_takes_what_fits() -> Result<(), Errno> {
    let task = Task::new();
    let ctx = &task.0;
    let (r, w) = do_pipe2(ctx, OpenFlags::empty())?;
    assert_eq!(do_vmsplice_from(ctx, &w, &mut IoSrc::from_slice(&[1; 70_000]), 0), Ok(65536));
    let more = do_vmsplice_from(ctx, &w, &mut IoSrc::from_slice(&[1]), SPLICE_F_NONBLOCK);
    assert_eq!(more, Err(EAGAIN));
    let mut buf = vec![0; 70_000];
    assert_eq!(do_vmsplice_to(ctx, &r, &mut IoDst::from_slice(&mut buf), 0), Ok(65536));
    Ok(())
}

#[test]
fn a_chain_of_splices_blocks_and_goes_on() -> Result<(), Errno> {
    const TOTAL: usize = 1 << 20;
    let task = Task::new();
    let ctx = &task.0;
    let ((r1, w1), (r2, w2)) = (do_pipe2(ctx, OpenFlags::empty())?, do_pipe2(ctx, OpenFlags::empty())?);
    let (a, b) = (ctx.sibling(2, (*ctx.cred).clone()), ctx.sibling(3, (*ctx.cred).clone()));
    let writer = thread::spawn(move || put(&a, &w1, &vec![5; TOTAL]));
    let mover = thread::spawn(move || {
        while let Ok(n) = do_splice(&b, &r1, None, &w2, None, TOTAL, 0)
            && n > 0
        {}
    });
    let to = file(&task, "to", b"")?;
    let mut moved = 0;
    loop {
        match do_splice(ctx, &r2, None, &to, None, TOTAL, 0)? {
            0 => break,
            n => moved += n,
        }
    }
    assert_eq!(moved, TOTAL);
    assert_eq!(writer.join().ok(), Some(Ok(TOTAL)));
    assert!(mover.join().is_ok());
    assert!(contents(ctx, &to)?.iter().all(|b| *b == 5));
    Ok(())
}

#[test]
fn copy_file_range_checks_and_copies() -> Result<(), Errno> {
    let task = Task::new();
    let ctx = &task.0;
    let (from, to) = (file(&task, "from", b"0123456789")?, file(&task, "to", b"")?);
    let (mut a, mut b) = (2, 5);
    assert_eq!(do_copy_file_range(ctx, &from, Some(&mut a), &to, Some(&mut b), 100, 0), Ok(8));
    assert_eq!((a, b), (10, 13));
    assert_eq!(contents(ctx, &to)?, b"\0\0\0\0\x0023456789");
    assert_eq!(do_copy_file_range(ctx, &from, Some(&mut a), &to, None, 1, 0), Ok(0));
    assert_eq!(do_copy_file_range(ctx, &from, None, &to, None, 3, 0), Ok(3));
    assert_eq!((from.pos(), to.pos()), (3, 3));
    let same =
        |mut a: u64, mut b: u64, n| do_copy_file_range(ctx, &from, Some(&mut a), &from, Some(&mut b), n, 0);
    assert_eq!(same(0, 4, 5), Err(EINVAL));
    assert_eq!(same(0, 5, 5), Ok(5));
    assert_eq!(contents(ctx, &from)?, b"0123401234");
    assert_eq!(do_copy_file_range(ctx, &from, None, &to, None, 1, 1), Err(EINVAL));
    let (r, w) = pipe(ctx)?;
    assert_eq!(do_copy_file_range(ctx, &r, None, &to, None, 1, 0), Err(EINVAL));
    assert_eq!(do_copy_file_range(ctx, &from, None, &w, None, 1, 0), Err(EINVAL));
    let dir = task.open(".", OpenFlags::DIRECTORY)?;
    assert_eq!(do_copy_file_range(ctx, &dir, None, &to, None, 1, 0), Err(EISDIR));
    let append = task.open("to", OpenFlags::WRONLY | OpenFlags::APPEND)?;
    assert_eq!(do_copy_file_range(ctx, &from, None, &append, None, 1, 0), Err(EBADF));
    Ok(())
}
