use super::*;
use crate::{IoFlags, TestContext, do_eventfd, do_pipe2};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::errno::{EFAULT, ELOOP};
use sentry_uapi::eventpoll::EPOLLONESHOT;
use std::thread;
use std::time::Duration;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn add(ctx: &TestContext, ep: &File, file: &Arc<File>, fd: i32, events: u32) -> Result<(), Errno> {
    let data = u64::try_from(fd).unwrap_or(0);
    do_epoll_ctl(ctx, ep, EPOLL_CTL_ADD, file, fd, EpollEvent { events, data })
}

fn ctl(ctx: &TestContext, ep: &File, op: i32, file: &Arc<File>, fd: i32, events: u32) -> Result<(), Errno> {
    do_epoll_ctl(ctx, ep, op, file, fd, EpollEvent { events, data: 99 })
}

fn wait(ctx: &TestContext, ep: &File, max: i32, timeout: Option<Duration>) -> Result<Vec<(u64, u32)>, Errno> {
    let mut out = Vec::new();
    let deadline = timeout.map(|t| Instant::now() + t);
    let n = do_epoll_wait(ctx, ep, max, deadline, &mut |e| {
        out.push((e.data, e.events));
        Ok(())
    })?;
    assert_eq!(n, out.len());
    Ok(out)
}

fn bump(ctx: &TestContext, file: &File) {
    let _ = file.write(ctx, &mut IoSrc::from_slice(&1u64.to_ne_bytes()), IoFlags::empty());
}

fn drain(ctx: &TestContext, file: &File) {
    let _ = file.read(ctx, &mut IoDst::from_slice(&mut [0; 8]), IoFlags::NOWAIT);
}

#[test]
fn level_edge_and_oneshot() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let ep = do_epoll_create(&ctx, 0)?;
    let (level, edge, once) = (do_eventfd(&ctx, 0, 0)?, do_eventfd(&ctx, 0, 0)?, do_eventfd(&ctx, 0, 0)?);
    add(&ctx, &ep, &level, 1, POLLIN)?;
    add(&ctx, &ep, &edge, 2, POLLIN | EPOLLET)?;
    add(&ctx, &ep, &once, 3, POLLIN | EPOLLONESHOT)?;
    assert_eq!(wait(&ctx, &ep, 8, NOW)?, vec![]);
    for file in [&level, &edge, &once] {
        bump(&ctx, file);
    }
    assert_eq!(wait(&ctx, &ep, 8, NOW)?, vec![(1, POLLIN), (2, POLLIN), (3, POLLIN)]);
    assert_eq!(wait(&ctx, &ep, 8, NOW)?, vec![(1, POLLIN)]);
    for file in [&level, &edge, &once] {
        bump(&ctx, file);
    }
    assert_eq!(wait(&ctx, &ep, 8, NOW)?, vec![(1, POLLIN), (2, POLLIN)]);
    ctl(&ctx, &ep, EPOLL_CTL_MOD, &once, 3, POLLIN)?;
    drain(&ctx, &level);
    assert_eq!(wait(&ctx, &ep, 8, NOW)?, vec![(99, POLLIN)]);
    Ok(())
}

#[test]
fn ready_items_take_turns() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let ep = do_epoll_create(&ctx, 0)?;
    let files = [do_eventfd(&ctx, 1, 0)?, do_eventfd(&ctx, 1, 0)?, do_eventfd(&ctx, 1, 0)?];
    for (file, fd) in files.iter().zip(0..) {
        add(&ctx, &ep, file, fd, POLLIN)?;
    }
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.extend(wait(&ctx, &ep, 1, NOW)?.into_iter().map(|(data, _)| data));
    }
    assert_eq!(seen, [0, 1, 2, 0, 1, 2]);
    Ok(())
}

#[test]
fn errors_of_ctl() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let ep = do_epoll_create(&ctx, 0)?;
    let file = do_eventfd(&ctx, 0, 0)?;
    assert_eq!(do_epoll_create(&ctx, 1).err(), Some(EINVAL));
    assert_eq!(add(&ctx, &file, &ep, 1, POLLIN), Err(EINVAL));
    assert_eq!(add(&ctx, &ep, &ep, 1, POLLIN), Err(EINVAL));
    assert_eq!(ctl(&ctx, &ep, EPOLL_CTL_MOD, &file, 1, POLLIN), Err(ENOENT));
    assert_eq!(ctl(&ctx, &ep, EPOLL_CTL_DEL, &file, 1, 0), Err(ENOENT));
    assert_eq!(ctl(&ctx, &ep, 9, &file, 1, 0), Err(EINVAL));
    add(&ctx, &ep, &file, 1, POLLIN)?;
    assert_eq!(add(&ctx, &ep, &file, 1, POLLIN), Err(EEXIST));
    // Another descriptor of the same file is another watch.
    add(&ctx, &ep, &file, 2, POLLIN | EPOLLEXCLUSIVE)?;
    assert_eq!(ctl(&ctx, &ep, EPOLL_CTL_MOD, &file, 2, POLLIN), Err(EINVAL));
    assert_eq!(ctl(&ctx, &ep, EPOLL_CTL_MOD, &file, 1, POLLIN | EPOLLEXCLUSIVE), Err(EINVAL));
    assert_eq!(add(&ctx, &ep, &file, 3, EPOLLONESHOT | EPOLLEXCLUSIVE), Err(EINVAL));
    assert_eq!(wait(&ctx, &ep, 0, NOW), Err(EINVAL));
    assert_eq!(wait(&ctx, &file, 1, NOW), Err(EINVAL));
    ctx.vfs.epoll.max_user_watches.store(2, Ordering::Relaxed);
    assert_eq!(add(&ctx, &ep, &file, 4, POLLIN), Err(ENOSPC));
    ctl(&ctx, &ep, EPOLL_CTL_DEL, &file, 1, 0)?;
    add(&ctx, &ep, &file, 4, POLLIN)
}

#[test]
fn an_event_that_cannot_be_delivered_stays() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let ep = do_epoll_create(&ctx, 0)?;
    let files = [do_eventfd(&ctx, 1, 0)?, do_eventfd(&ctx, 1, 0)?];
    add(&ctx, &ep, &files[0], 1, POLLIN | EPOLLONESHOT)?;
    add(&ctx, &ep, &files[1], 2, POLLIN | EPOLLET)?;
    let failing = do_epoll_wait(&ctx, &ep, 2, Some(Instant::now()), &mut |_| Err(EFAULT));
    assert_eq!(failing, Err(EFAULT));
    let mut room = 1;
    let once = do_epoll_wait(&ctx, &ep, 2, Some(Instant::now()), &mut |_| {
        room -= 1;
        if room < 0 { Err(EFAULT) } else { Ok(()) }
    });
    assert_eq!(once, Ok(1));
    assert_eq!(wait(&ctx, &ep, 2, NOW)?, vec![(2, POLLIN)]);
    Ok(())
}

#[test]
fn closing_the_file_ends_the_watch() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let ep = do_epoll_create(&ctx, 0)?;
    for fd in 0..1000 {
        let file = do_eventfd(&ctx, 1, 0)?;
        add(&ctx, &ep, &file, fd, POLLIN)?;
    }
    let Some(instance) = instance(&ep) else { unreachable!() };
    assert!(instance.items.lock().by_key.len() <= 2 * SWEEP_MIN);
    assert!(instance.ready.len() <= 4 * SWEEP_MIN);
    assert_eq!(wait(&ctx, &ep, 8, NOW)?, vec![]);
    assert_eq!(instance.items.lock().by_key.len(), 0);
    let file = do_eventfd(&ctx, 1, 0)?;
    for _ in 0..1000 {
        add(&ctx, &ep, &file, 5, POLLIN)?;
        ctl(&ctx, &ep, EPOLL_CTL_DEL, &file, 5, 0)?;
    }
    assert!(instance.ready.len() <= 2);
    Ok(())
}

#[test]
fn nests_show_readiness_but_have_no_cycles_and_an_end() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let eps: Vec<_> = (0..7).map(|_| do_epoll_create(&ctx, 0)).collect::<Result<_, _>>()?;
    for pair in eps[..5].windows(2) {
        add(&ctx, &pair[0], &pair[1], 1, POLLIN)?;
    }
    // Five deep; neither end can be made longer, nor the circle closed.
    assert_eq!(add(&ctx, &eps[4], &eps[5], 1, POLLIN), Err(ELOOP));
    assert_eq!(add(&ctx, &eps[5], &eps[0], 1, POLLIN), Err(ELOOP));
    assert_eq!(add(&ctx, &eps[4], &eps[0], 1, POLLIN), Err(ELOOP));
    assert_eq!(add(&ctx, &eps[0], &eps[1], 1, POLLIN), Err(EEXIST));
    let file = do_eventfd(&ctx, 0, 0)?;
    add(&ctx, &eps[4], &file, 7, POLLIN)?;
    assert_eq!(eps[0].poll_now(), 0);
    bump(&ctx, &file);
    assert_eq!(eps[0].poll_now(), POLLIN | POLLRDNORM);
    assert_eq!(wait(&ctx, &eps[0], 8, NOW)?, vec![(1, POLLIN)]);
    drain(&ctx, &file);
    assert_eq!(wait(&ctx, &eps[0], 8, NOW)?, vec![]);
    // Taken apart, it can be put together otherwise.
    ctl(&ctx, &eps[0], EPOLL_CTL_DEL, &eps[1], 1, 0)?;
    add(&ctx, &eps[4], &eps[5], 1, POLLIN)?;
    drop(eps);
    Ok(())
}

#[test]
fn wake_up_paths_are_limited() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let inner = do_epoll_create(&ctx, 0)?;
    let outer: Vec<_> = (0..501).map(|_| do_epoll_create(&ctx, 0)).collect::<Result<_, _>>()?;
    for ep in &outer[..500] {
        add(&ctx, ep, &inner, 1, POLLIN)?;
    }
    assert_eq!(add(&ctx, &outer[500], &inner, 1, POLLIN), Err(EINVAL));
    Ok(())
}

#[test]
fn a_waiter_is_woken_by_an_event_and_by_an_addition() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let ep = do_epoll_create(&ctx, 0)?;
    let file = do_eventfd(&ctx, 0, 0)?;
    add(&ctx, &ep, &file, 1, POLLIN)?;
    for round in 0..2 {
        let (task, waited) = (ctx.sibling(2, (*ctx.cred()).clone()), ep.clone());
        let waiter = thread::spawn(move || wait(&task, &waited, 1, None));
        if round == 0 {
            bump(&ctx, &file);
        } else {
            let other = do_eventfd(&ctx, 1, 0)?;
            add(&ctx, &ep, &other, 2, POLLIN)?;
            assert_eq!(waiter.join().ok(), Some(Ok(vec![(2, POLLIN)])));
            break;
        }
        assert_eq!(waiter.join().ok(), Some(Ok(vec![(1, POLLIN)])));
        drain(&ctx, &file);
    }
    assert_eq!(wait(&ctx, &ep, 1, Some(Duration::from_millis(1)))?, vec![]);
    Ok(())
}

#[test]
fn one_event_of_an_edge_triggered_pipe_reaches_one_thread() -> Result<(), Errno> {
    const ROUNDS: u64 = 3000;
    let ctx = TestContext::new();
    let ep = do_epoll_create(&ctx, 0)?;
    let (r, w) = do_pipe2(&ctx, OpenFlags::NONBLOCK)?;
    let (ack_r, ack_w) = do_pipe2(&ctx, OpenFlags::empty())?;
    add(&ctx, &ep, &r, 1, POLLIN | EPOLLET)?;
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (task, ep, r, ack) =
                (ctx.sibling(2, (*ctx.cred()).clone()), ep.clone(), r.clone(), ack_w.clone());
            thread::spawn(move || {
                let mut mine = 0;
                loop {
                    let Ok(events) = wait(&task, &ep, 1, None) else { return mine };
                    let mut byte = [0; 1];
                    match r.read(&task, &mut IoDst::from_slice(&mut byte), IoFlags::empty()) {
                        Ok(0) => return mine,
                        Ok(_) => mine += 1,
                        Err(_) => assert!(events.is_empty(), "woken for nothing"),
                    }
                    let _ = ack.write(&task, &mut IoSrc::from_slice(&byte), IoFlags::empty());
                }
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        w.write(&ctx, &mut IoSrc::from_slice(b"x"), IoFlags::empty())?;
        ack_r.read(&ctx, &mut IoDst::from_slice(&mut [0; 1]), IoFlags::empty())?;
    }
    drop(w);
    // Each thread that leaves makes the hang-up known to the next by another look.
    let mut total = 0;
    for t in threads {
        while !t.is_finished() {
            ctl(&ctx, &ep, EPOLL_CTL_MOD, &r, 1, POLLIN | EPOLLET)?;
            thread::yield_now();
        }
        total += t.join().unwrap_or(0);
    }
    assert_eq!(total, ROUNDS);
    Ok(())
}

#[test]
fn an_exclusive_watch_spares_the_other_instances() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let file = do_eventfd(&ctx, 0, 0)?;
    let eps = [do_epoll_create(&ctx, 0)?, do_epoll_create(&ctx, 0)?];
    for ep in &eps {
        add(&ctx, ep, &file, 1, POLLIN | EPOLLEXCLUSIVE)?;
    }
    let waiters = [0, 1].map(|i: usize| {
        let (task, ep) = (ctx.sibling(2, (*ctx.cred()).clone()), eps[i].clone());
        thread::spawn(move || wait(&task, &ep, 1, None))
    });
    while !eps.iter().all(|ep| instance(ep).is_some_and(|i| i.ready.is_awaited())) {
        thread::yield_now();
    }
    bump(&ctx, &file);
    while !waiters.iter().any(thread::JoinHandle::is_finished) {
        thread::yield_now();
    }
    assert_eq!(waiters.iter().filter(|w| w.is_finished()).count(), 1);
    bump(&ctx, &file);
    for waiter in waiters {
        assert_eq!(waiter.join().ok(), Some(Ok(vec![(1, POLLIN)])));
    }
    Ok(())
}
