use super::*;
use crate::{FileType, Inode, InodeOps, IoFlags, TestContext};
use sentry_auth::GroupInfo;
use sentry_auth::Kgid;
use sentry_uapi::errno::{EAGAIN, EBUSY, ENXIO, EPERM};
use std::sync::atomic::AtomicUsize;
use std::thread;

fn read(ctx: &TestContext, file: &File, max: usize) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0; max];
    let n = file.read(ctx, &mut IoDst::from_slice(&mut buf), IoFlags::empty())?;
    buf.truncate(n);
    Ok(buf)
}

fn write(ctx: &TestContext, file: &File, bytes: &[u8]) -> Result<usize, Errno> {
    file.write(ctx, &mut IoSrc::from_slice(bytes), IoFlags::empty())
}

fn sibling(ctx: &TestContext) -> TestContext {
    ctx.sibling(2, (*ctx.cred()).clone())
}

#[test]
fn bytes_come_out_in_order_and_the_end_shows() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let (r, w) = do_pipe2(&ctx, OpenFlags::NONBLOCK)?;
    assert_eq!(read(&ctx, &r, 1), Err(EAGAIN));
    assert_eq!((r.poll_now(), w.poll_now()), (0, WRITABLE));
    assert_eq!(write(&ctx, &w, b"hello "), Ok(6));
    assert_eq!(write(&ctx, &w, b"world"), Ok(5));
    assert_eq!(r.poll_now(), READABLE);
    assert_eq!(read(&ctx, &r, 8), Ok(b"hello wo".to_vec()));
    drop(w);
    assert_eq!(r.poll_now(), READABLE | POLLHUP);
    assert_eq!(read(&ctx, &r, 8), Ok(b"rld".to_vec()));
    assert_eq!(read(&ctx, &r, 8), Ok(Vec::new()));
    assert_eq!(r.poll_now(), POLLHUP);
    Ok(())
}

#[test]
fn no_readers_means_a_signal_and_an_error() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let (r, w) = do_pipe2(&ctx, OpenFlags::empty())?;
    drop(r);
    assert_eq!(write(&ctx, &w, b""), Ok(0));
    assert_eq!(ctx.last_signal.load(Ordering::Relaxed), 0);
    assert_eq!(write(&ctx, &w, b"x"), Err(EPIPE));
    assert_eq!(ctx.last_signal.load(Ordering::Relaxed), SIGPIPE);
    assert_eq!(w.poll_now(), WRITABLE | POLLERR);
    Ok(())
}

#[test]
fn room_is_counted_in_pages_and_small_writes_are_whole() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let (r, w) = do_pipe2(&ctx, OpenFlags::NONBLOCK)?;
    assert_eq!(write(&ctx, &w, &[1; 100_000]), Ok(65536));
    assert_eq!(w.poll_now(), 0);
    assert_eq!(write(&ctx, &w, b"x"), Err(EAGAIN));
    // A page has to be free, not just some bytes.
    assert_eq!(read(&ctx, &r, 4095)?.len(), 4095);
    assert_eq!(write(&ctx, &w, b"x"), Err(EAGAIN));
    assert_eq!(read(&ctx, &r, 1)?.len(), 1);
    assert_eq!(write(&ctx, &w, &[2; 4000]), Ok(4000));
    // Fits into the last page only in part, so it does not go there at all.
    assert_eq!(write(&ctx, &w, &[3; 100]), Err(EAGAIN));
    assert_eq!(write(&ctx, &w, &[3; 96]), Ok(96));
    assert_eq!(read(&ctx, &r, 100_000)?.len(), 65536);
    assert_eq!(ctx.vfs.pipes.pages(), 16);
    drop((r, w));
    assert_eq!(ctx.vfs.pipes.pages(), 0);
    Ok(())
}

#[test]
fn packets_are_read_one_by_one_and_cut() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let (r, w) = do_pipe2(&ctx, OpenFlags::NONBLOCK | OpenFlags::DIRECT)?;
    for packet in [&b"first"[..], b"second", b"third"] {
        assert_eq!(write(&ctx, &w, packet), Ok(packet.len()));
    }
    assert_eq!(read(&ctx, &r, 3), Ok(b"fir".to_vec()));
    assert_eq!(read(&ctx, &r, 100), Ok(b"second".to_vec()));
    w.set_status_flags(OpenFlags::NONBLOCK)?;
    assert_eq!(write(&ctx, &w, b"tail"), Ok(4));
    assert_eq!(read(&ctx, &r, 100), Ok(b"third".to_vec()));
    assert_eq!(read(&ctx, &r, 100), Ok(b"tail".to_vec()));
    Ok(())
}

#[test]
fn sizes_are_powers_of_two_within_limits() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let cred = ctx.cred();
    let (r, w) = do_pipe2(&ctx, OpenFlags::NONBLOCK)?;
    assert_eq!(pipe_get_size(&r), Ok(65536));
    assert_eq!(pipe_set_size(&w, &cred, 100_000), Ok(131_072));
    assert_eq!(pipe_set_size(&w, &cred, 0), Ok(4096));
    assert_eq!(pipe_set_size(&w, &cred, (1 << 20) + 1), Err(EPERM));
    assert_eq!(pipe_set_size(&w, &cred, u32::MAX), Err(EINVAL));
    assert_eq!(pipe_set_size(&w, &cred, 8192), Ok(8192));
    assert_eq!(write(&ctx, &w, &[0; 5000]), Ok(5000));
    assert_eq!(pipe_set_size(&w, &cred, 4096), Err(EBUSY));
    let event = crate::do_eventfd(&ctx, 0, 0)?;
    assert_eq!(pipe_get_size(&event), Err(EBADF));
    assert_eq!(do_pipe2(&ctx, OpenFlags::APPEND).err(), Some(EINVAL));
    assert_eq!(do_pipe2(&ctx, OpenFlags::EXCL).err(), Some(ENOPKG));
    Ok(())
}

#[test]
fn an_ordinary_user_gets_small_pipes_beyond_the_soft_limit() -> Result<(), Errno> {
    let ctx = TestContext::new();
    ctx.vfs.pipes.user_pages_soft.store(32, Ordering::Relaxed);
    let cred = Cred::user(
        ctx.cred.user_ns.clone(),
        Kuid::from_global(7),
        Kgid::from_global(7),
        GroupInfo::default(),
    );
    let user = ctx.sibling(3, cred);
    let first = do_pipe2(&user, OpenFlags::empty())?;
    let second = do_pipe2(&user, OpenFlags::empty())?;
    let third = do_pipe2(&user, OpenFlags::empty())?;
    let sizes = (pipe_get_size(&first.0), pipe_get_size(&second.0), pipe_get_size(&third.0));
    assert_eq!(sizes, (Ok(65536), Ok(65536), Ok(8192)));
    assert_eq!(pipe_set_size(&third.0, &user.cred(), 65536), Err(EPERM));
    drop(first);
    assert_eq!(pipe_set_size(&third.0, &user.cred(), 32768), Ok(32768));
    Ok(())
}

#[test]
fn a_megabyte_passes_between_threads() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let (r, w) = do_pipe2(&ctx, OpenFlags::empty())?;
    let other = sibling(&ctx);
    let data: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    let expected = data.clone();
    let writer = thread::spawn(move || write(&other, &w, &data));
    let mut got = Vec::new();
    loop {
        let part = read(&ctx, &r, 10_000)?;
        if part.is_empty() {
            break;
        }
        got.extend(part);
    }
    assert_eq!(writer.join().ok(), Some(Ok(1 << 20)));
    assert!(got == expected);
    Ok(())
}

#[test]
fn many_readers_and_writers_lose_no_wake_up() -> Result<(), Errno> {
    const EACH: usize = 2000;
    let ctx = TestContext::new();
    let (r, w) = do_pipe2(&ctx, OpenFlags::empty())?;
    pipe_set_size(&w, &ctx.cred(), 4096)?;
    let got = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (task, r, got) = (sibling(&ctx), r.clone(), got.clone());
            thread::spawn(move || {
                while let Ok(part) = read(&task, &r, 700)
                    && !part.is_empty()
                {
                    got.fetch_add(part.len(), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|i| {
            let (task, w) = (sibling(&ctx), w.clone());
            thread::spawn(move || (0..EACH).all(|_| write(&task, &w, &vec![0; 900 + i]) == Ok(900 + i)))
        })
        .collect();
    drop(w);
    assert!(writers.into_iter().all(|t| t.join().is_ok_and(|all| all)));
    assert!(readers.into_iter().all(|t| t.join().is_ok()));
    assert_eq!(got.load(Ordering::Relaxed), EACH * (900 + 901 + 902 + 903));
    Ok(())
}

/// An inode of type FIFO, with the file that opening it gives.
struct Fifo(Arc<Inode>);

struct NoOps;

impl InodeOps for NoOps {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn getattr(&self, _inode: &Inode) -> Result<crate::Attr, Errno> {
        Err(EINVAL)
    }
}

impl Fifo {
    fn new(ctx: &TestContext) -> Fifo {
        let sb = ctx.vfs.pseudo_inode(Pseudo::Anon, &ctx.cred).sb().clone();
        Fifo(Inode::new(sb, 1, FileType::Fifo, 0, Box::new(NoOps)))
    }

    fn open(&self, ctx: &TestContext, flags: OpenFlags) -> Result<Arc<File>, Errno> {
        let ops = open_fifo(&self.0, ctx, flags)?;
        let path = ctx.vfs.pseudo_path(Pseudo::Anon, self.0.clone(), b"fifo");
        Ok(File::new(path, self.0.clone(), ops, flags, ctx.cred()))
    }
}

#[test]
fn opening_a_fifo_waits_for_the_other_side() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let fifo = Fifo::new(&ctx);
    let (other, inode) = (sibling(&ctx), Fifo(fifo.0.clone()));
    let opener = thread::spawn(move || {
        let w = inode.open(&other, OpenFlags::WRONLY)?;
        write(&other, &w, b"hi")
    });
    let r = fifo.open(&ctx, OpenFlags::empty())?;
    assert_eq!(read(&ctx, &r, 10), Ok(b"hi".to_vec()));
    assert_eq!(opener.join().ok(), Some(Ok(2)));
    assert_eq!(read(&ctx, &r, 10), Ok(Vec::new()));
    Ok(())
}

#[test]
fn opening_a_fifo_without_blocking() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let fifo = Fifo::new(&ctx);
    let nonblock = OpenFlags::NONBLOCK;
    assert_eq!(fifo.open(&ctx, OpenFlags::WRONLY | nonblock).err(), Some(ENXIO));
    let r = fifo.open(&ctx, nonblock)?;
    // Nobody has hung up yet, since nobody has been there.
    assert_eq!(r.poll_now(), 0);
    assert_eq!(read(&ctx, &r, 1), Ok(Vec::new()));
    let w = fifo.open(&ctx, OpenFlags::WRONLY | nonblock)?;
    assert_eq!(read(&ctx, &r, 1), Err(EAGAIN));
    drop(w);
    assert_eq!(r.poll_now(), POLLHUP);
    drop(r);
    let both = fifo.open(&ctx, OpenFlags::RDWR)?;
    assert_eq!(write(&ctx, &both, b"x"), Ok(1));
    assert_eq!(both.poll_now(), READABLE | WRITABLE);
    drop(both);
    // What nobody has read is gone with the last one to close.
    let r = fifo.open(&ctx, nonblock)?;
    assert_eq!(read(&ctx, &r, 1), Ok(Vec::new()));
    Ok(())
}

mod model {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize),
        Read(usize),
        /// Takes some out for a splice and consumes part of that.
        Transit(usize, usize),
        Reserve(usize),
        Resize(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = prop_oneof![1usize..200, 3900usize..4200, 1usize..80_000];
        prop_oneof![
            3 => size.clone().prop_map(Step::Write),
            3 => size.clone().prop_map(Step::Read),
            1 => (size.clone(), 0usize..9000).prop_map(|(n, used)| Step::Transit(n, used)),
            1 => size.prop_map(Step::Reserve),
            1 => (0u32..200_000).prop_map(Step::Resize),
        ]
    }

    struct Bytes(u32);

    impl Bytes {
        fn next(&mut self, n: usize) -> Vec<u8> {
            (0..n)
                .map(|_| {
                    self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    self.0.to_le_bytes()[3]
                })
                .collect()
        }
    }

    proptest! {
        #[test]
        fn a_pipe_is_a_queue_of_bytes(steps in prop::collection::vec(step(), 1..60)) {
            let ctx = TestContext::new();
            let Ok((r, w)) = do_pipe2(&ctx, OpenFlags::NONBLOCK) else { unreachable!() };
            let Some(pipe) = r.pipe().cloned() else { unreachable!() };
            let mut queue = VecDeque::new();
            let mut source = Bytes(1);
            for step in steps {
                let writable = w.poll_now() & POLLOUT != 0;
                match step {
                    Step::Write(n) => {
                        let bytes = source.next(n);
                        match write(&ctx, &w, &bytes) {
                            Ok(done) => {
                                prop_assert!(done == n || (n > PIPE_PAGE && done > 0));
                                queue.extend(&bytes[..done]);
                            }
                            Err(e) => {
                                prop_assert_eq!(e, EAGAIN);
                                prop_assert!(!writable);
                            }
                        }
                    }
                    Step::Read(n) => match read(&ctx, &r, n) {
                        Ok(got) => {
                            prop_assert_eq!(got.len(), n.min(queue.len()));
                            let expected: Vec<u8> = queue.drain(..got.len()).collect();
                            prop_assert!(got == expected);
                        }
                        Err(e) => {
                            prop_assert_eq!(e, EAGAIN);
                            prop_assert!(queue.is_empty());
                        }
                    },
                    Step::Transit(n, used) => {
                        if let Ok(mut transit) = pipe.take(n) {
                            let got: Vec<u8> = transit.chunks().flatten().copied().collect();
                            prop_assert!(got.len() >= n.min(queue.len()));
                            prop_assert!(got.iter().eq(queue.range(..got.len())));
                            let used = used.min(got.len());
                            transit.consume(used);
                            queue.drain(..used);
                        }
                    }
                    Step::Reserve(n) => {
                        if let Ok(reservation) = pipe.reserve(&ctx, n) {
                            prop_assert!(writable);
                            let bytes = source.next(n.min(reservation.room()));
                            prop_assert_eq!(reservation.commit(&bytes), bytes.len());
                            queue.extend(&bytes);
                        }
                    }
                    Step::Resize(n) => {
                        let _ = pipe_set_size(&w, &ctx.cred(), n);
                    }
                }
                prop_assert_eq!(pipe.len(), queue.len());
                prop_assert!(queue.len() <= pipe.size());
                prop_assert_eq!(r.poll_now() & POLLIN != 0, !queue.is_empty());
            }
            drop((r, w, pipe));
            prop_assert_eq!(ctx.vfs.pipes.pages(), 0);
        }
    }
}

#[test]
fn a_fifo_in_a_directory_opens_as_any_file() -> Result<(), Errno> {
    let task = crate::tests::Task::new();
    crate::do_mknodat(&task.0, &crate::At::Cwd, b"fifo", sentry_uapi::stat::S_IFIFO | 0o600, 0)?;
    let nonblock = OpenFlags::NONBLOCK;
    assert_eq!(task.open("fifo", OpenFlags::WRONLY | nonblock).err(), Some(ENXIO));
    let r = task.open("fifo", nonblock)?;
    let w = task.open("fifo", OpenFlags::WRONLY | nonblock)?;
    assert_eq!(write(&task.0, &w, b"x"), Ok(1));
    assert_eq!(read(&task.0, &r, 9), Ok(b"x".to_vec()));
    Ok(())
}
