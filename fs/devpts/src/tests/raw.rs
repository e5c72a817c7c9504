//! Bytes: VMIN and VTIME, room, packets.

use super::{Ends, Fixture, pty_of};
use crate::termios::PTY_TERMIOS;
use fs_vfs::{IoFlags, TestContext};
use sentry_auth::Cred;
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EIO};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLIN, POLLOUT, POLLPRI};
use sentry_uapi::termios::*;
use sentry_uapi::tty_ioctl::*;
use std::time::{Duration, Instant};

fn raw(min: u8, time: u8) -> Termios2 {
    let mut modes = Termios2 { c_iflag: 0, c_oflag: 0, c_lflag: 0, ..PTY_TERMIOS };
    modes.c_cc[VMIN] = min;
    modes.c_cc[VTIME] = time;
    modes
}

/// Another task, and the slave open for blocking reads.
fn blocking_read(tty: &Ends<'_>, max: usize) -> Result<(Vec<u8>, Duration), Errno> {
    let slave = tty.fixture.open_with(&format!("/pts/{}", tty.pty.index), OpenFlags::RDWR)?;
    let start = Instant::now();
    let read = tty.fixture.read(&slave, max)?;
    Ok((read, start.elapsed()))
}

#[test]
fn a_read_waits_for_so_many_bytes() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair_with(raw(3, 0))?;
    tty.types(b"ab")?;
    assert_eq!(tty.slave.poll_now() & POLLIN, 0);
    let writer: TestContext = fs.ctx.sibling(2, Cred::root(fs.ctx.cred.user_ns.clone()));
    let (read, _) = std::thread::scope(|scope| {
        let late = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            tty.master.write(&writer, &mut IoSrc::from_slice(b"cde"), IoFlags::empty())
        });
        let read = blocking_read(&tty, 10);
        assert!(late.join().is_ok_and(|written| written == Ok(3)));
        read
    })?;
    assert_eq!(read, b"abcde");
    // A full buffer is enough.
    tty.types(b"f")?;
    assert_eq!(blocking_read(&tty, 1)?.0, b"f");
    Ok(())
}

#[test]
fn a_read_waits_so_long() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair_with(raw(0, 0))?;
    assert_eq!(tty.reads(10)?, "");
    assert_eq!(blocking_read(&tty, 10)?.0, b"");
    tty.change(|t| *t = raw(0, 1));
    assert_eq!(tty.reads(10), Err(EAGAIN));
    let (read, took) = blocking_read(&tty, 10)?;
    assert_eq!((read, took >= Duration::from_millis(100)), (vec![], true));
    tty.change(|t| *t = raw(5, 1));
    tty.types(b"ab")?;
    let (read, took) = blocking_read(&tty, 10)?;
    assert_eq!((read, took >= Duration::from_millis(100)), (b"ab".to_vec(), true));
    Ok(())
}

#[test]
fn both_directions_are_bounded() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair_with(raw(1, 0))?;
    let block = [b'x'; 1 << 16];
    let written = fs.write(&tty.slave, &block)?;
    assert_eq!(written, 8192 + 4095);
    assert_eq!((fs.write(&tty.slave, b"y"), tty.slave.poll_now() & POLLOUT), (Err(EAGAIN), 0));
    let mut read = 0;
    while let Ok(part) = fs.read(&tty.master, 1 << 16) {
        read += part.len();
    }
    assert_eq!((read, tty.slave.poll_now() & POLLOUT), (written, POLLOUT));
    let typed = fs.write(&tty.master, &block)?;
    assert_eq!(typed, 8192 + 4095);
    assert_eq!(fs.write(&tty.master, b"y"), Err(EAGAIN));
    let mut read = 0;
    while let Ok(part) = fs.read(&tty.slave, 1 << 16) {
        read += part.len();
    }
    assert_eq!(read, typed);
    Ok(())
}

#[test]
fn packets_tell_of_changes() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    tty.pty.update(|pair, _| pair.out.packet = true);
    let packet = |status: u32| vec![u8::try_from(status).unwrap_or(0)];
    fs.write(&tty.slave, b"out")?;
    assert_eq!(fs.read(&tty.master, 10)?, b"\0out");
    fs.write(&tty.master, b"\x13")?;
    assert_eq!(tty.master.poll_now() & (POLLPRI | POLLIN), POLLPRI | POLLIN);
    assert_eq!(fs.read(&tty.master, 10)?, packet(TIOCPKT_STOP));
    fs.write(&tty.master, b"\x11")?;
    assert_eq!(fs.read(&tty.master, 10)?, packet(TIOCPKT_START));
    tty.change(|t| t.c_iflag &= !IXON);
    assert_eq!(fs.read(&tty.master, 10)?, packet(TIOCPKT_NOSTOP));
    tty.pty.update(|pair, fx| pair.flush_input(crate::pty::Side::Slave, fx));
    assert_eq!(fs.read(&tty.master, 10)?, packet(TIOCPKT_FLUSHREAD));
    assert_eq!(fs.read(&tty.master, 10), Err(EAGAIN));
    Ok(())
}

#[test]
fn what_was_written_can_be_read_after_the_slave_is_closed() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair_with(raw(1, 0))?;
    fs.write(&tty.slave, b"last")?;
    let Ends { master, slave, .. } = tty;
    drop(slave);
    assert_eq!(fs.read(&master, 10)?, b"last");
    assert_eq!(fs.read(&master, 10), Err(EIO));
    let mut byte = [0];
    // Not even a blocking read waits.
    master.set_status_flags(OpenFlags::RDWR)?;
    assert_eq!(master.read(&fs.ctx, &mut IoDst::from_slice(&mut byte), IoFlags::empty()), Err(EIO));
    let again = fs.open(&format!("/pts/{}", pty_of(&master)?.index))?;
    fs.write(&again, b"more")?;
    assert_eq!(fs.read(&master, 10)?, b"more");
    Ok(())
}
