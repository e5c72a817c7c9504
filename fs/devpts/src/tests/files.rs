//! Nodes, opening and closing.

use super::{Fixture, pty_of};
use fs_vfs::{At, DirSink, LookupFlags, do_mkdirat, do_mknodat, user_path_at};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EIO, ENODEV, ENOENT, ENOSPC, ENXIO, ESPIPE};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::poll::{POLLHUP, POLLIN};
use sentry_uapi::signal::SIGWINCH;
use sentry_uapi::stat::{S_IFCHR, makedev};
use sentry_uapi::termios::Winsize;

#[derive(Default)]
struct Names(Vec<String>);

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], _ino: u64, _dtype: u8, _next: u64) -> bool {
        self.0.push(String::from_utf8_lossy(name).into_owned());
        true
    }
}

fn list(fs: &Fixture) -> Result<Vec<String>, Errno> {
    let mut names = Names::default();
    fs.open_with("/pts", OpenFlags::DIRECTORY)?.readdir(&fs.ctx, &mut names)?;
    Ok(names.0)
}

#[test]
fn slaves_come_and_go_with_their_masters() -> Result<(), Errno> {
    let fs = Fixture::with_options("mode=620,gid=5")?;
    assert_eq!(fs.open("/pts/0").err(), Some(ENOENT));
    let one = fs.open("/ptmx")?;
    let two = fs.open("/pts/ptmx")?;
    assert_eq!(list(&fs)?, [".", "..", "ptmx", "0", "1"]);
    assert_eq!(fs.open("/pts/00").err(), Some(ENOENT));
    let path = user_path_at(&fs.ctx, &At::Cwd, b"/pts/1", LookupFlags::empty())?;
    let attr = path.inode().ok_or(ENOENT)?.getattr()?;
    assert_eq!((attr.perm, attr.gid.to_global(), attr.rdev, attr.ino), (0o620, 5, makedev(136, 1), 4));
    drop(one);
    assert_eq!(fs.open("/pts/0").err(), Some(ENOENT));
    assert_eq!(list(&fs)?, [".", "..", "ptmx", "1"]);
    let again = fs.open("/ptmx")?;
    assert_eq!((pty_of(&again)?.index, pty_of(&two)?.index), (0, 1));
    assert_eq!(again.lseek(0, 0), Err(ESPIPE));
    Ok(())
}

#[test]
fn a_locked_slave_cannot_be_opened() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let master = fs.open("/ptmx")?;
    assert_eq!(fs.open("/pts/0").err(), Some(EIO));
    pty_of(&master)?.update(|pair, _| pair.locked = false);
    assert!(fs.open("/pts/0").is_ok());
    // A node of the same number elsewhere is no slave.
    do_mknodat(&fs.ctx, &At::Cwd, b"/tty0", S_IFCHR | 0o666, makedev(136, 0))?;
    assert_eq!(fs.open("/tty0").err(), Some(EIO));
    Ok(())
}

#[test]
fn there_are_only_so_many() -> Result<(), Errno> {
    let fs = Fixture::with_options("max=2")?;
    let (_one, two) = (fs.open("/ptmx")?, fs.open("/ptmx")?);
    assert_eq!(fs.open("/ptmx").err(), Some(ENOSPC));
    drop(two);
    assert!(fs.open("/ptmx").is_ok());
    Ok(())
}

#[test]
fn a_ptmx_without_devpts_leads_nowhere() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    fs_vfs::do_umount(&fs.ctx, b"/pts", 0)?;
    assert_eq!(fs.open("/ptmx").err(), Some(ENODEV));
    do_mkdirat(&fs.ctx, &At::Cwd, b"/dev", 0o755)?;
    do_mknodat(&fs.ctx, &At::Cwd, b"/dev/tty", S_IFCHR | 0o666, makedev(5, 0))?;
    assert_eq!(fs.open("/dev/tty").err(), Some(ENXIO));
    Ok(())
}

#[test]
fn the_master_s_end_hangs_the_slave_up() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    let session = tty.foreground()?;
    tty.types(b"typed\n")?;
    let (pty, slave) = (tty.pty.clone(), tty.slave.clone());
    drop(tty);
    assert_eq!(fs.signals(), [(session, 0)]);
    assert!(pty.session().0.is_none());
    assert_eq!((fs.read(&slave, 10)?, fs.write(&slave, b"x")), (vec![], Err(EIO)));
    assert_eq!(slave.poll_now() & (POLLHUP | POLLIN), POLLHUP | POLLIN);
    // Its number is not given out as long as somebody holds it.
    assert_eq!(fs.open("/ptmx").and_then(|master| pty_of(&master))?.index, 1);
    drop((slave, pty));
    assert_eq!(fs.open("/ptmx").and_then(|master| pty_of(&master))?.index, 0);
    Ok(())
}

#[test]
fn a_slave_outlives_a_hang_up_when_it_is_opened_anew() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    tty.pty.hang_up(crate::pty::Side::Slave);
    assert_eq!(fs.write(&tty.slave, b"x"), Err(EIO));
    let slave = fs.open("/pts/0")?;
    assert_eq!(fs.write(&slave, b"y")?, 1);
    assert_eq!(tty.shown(), "y");
    Ok(())
}

#[test]
fn a_new_window_size_is_told_to_the_foreground() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let tty = fs.pair()?;
    let pgrp = tty.foreground()?;
    let size = Winsize { ws_row: 24, ws_col: 80, ..Winsize::default() };
    tty.pty.resize(size);
    tty.pty.resize(size);
    assert_eq!(fs.signals(), [(pgrp, SIGWINCH)]);
    Ok(())
}
