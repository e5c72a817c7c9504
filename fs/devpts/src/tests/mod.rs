//! A master and a slave, through the VFS.

mod canonical;
mod console;
mod files;
mod raw;

use crate::devpts::Ptys;
use crate::drivers::register_ptys;
use crate::file::TtyFile;
use crate::pty::{Jobs, Pty};
use crate::termios::PTY_TERMIOS;
use fs_vfs::{
    At, File, IoFlags, MountArgs, OpenHow, TestContext, build_open_flags, do_filp_open, do_mkdirat,
    do_mknodat, do_mount,
};
use sentry_auth::UserNamespace;
use sentry_kernel::{Pid, PidNamespace};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::EIO;
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::stat::{S_IFCHR, makedev};
use sentry_uapi::termios::Termios2;
use std::sync::{Arc, Mutex, PoisonError};

/// Notes the signals that a terminal sends.
#[derive(Default)]
struct Recorder(Mutex<Vec<(u32, i32)>>);

impl Jobs for Recorder {
    fn kill_pgrp(&self, pgrp: &Pid, signo: i32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((pgrp.global(), signo));
    }

    fn session_lost_tty(&self, session: &Pid, _tty: &Pty) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((session.global(), 0));
    }
}

/// A task with devpts mounted on `/pts` and a `/ptmx` beside it.
struct Fixture {
    ctx: TestContext,
    jobs: Arc<Recorder>,
    pids: Arc<PidNamespace>,
}

impl Fixture {
    fn new() -> Result<Fixture, Errno> {
        Fixture::with_options("ptmxmode=666")
    }

    fn with_options(options: &str) -> Result<Fixture, Errno> {
        let ctx = TestContext::new();
        let jobs = Arc::new(Recorder::default());
        register_ptys(&ctx.vfs, &Ptys::new(jobs.clone()))?;
        do_mkdirat(&ctx, &At::Cwd, b"/pts", 0o755)?;
        do_mknodat(&ctx, &At::Cwd, b"/ptmx", S_IFCHR | 0o666, makedev(5, 2))?;
        let args =
            MountArgs { source: Some(b"devpts"), fs_type: Some(b"devpts"), flags: 0, data: Some(options) };
        do_mount(&ctx, b"/pts", &args)?;
        let pids = PidNamespace::new_initial(UserNamespace::new_initial());
        Ok(Fixture { ctx, jobs, pids })
    }

    fn open(&self, path: &str) -> Result<Arc<File>, Errno> {
        self.open_with(path, OpenFlags::RDWR | OpenFlags::NONBLOCK)
    }

    fn open_with(&self, path: &str, flags: OpenFlags) -> Result<Arc<File>, Errno> {
        let op = build_open_flags(&OpenHow::for_open(flags.bits(), 0))?;
        do_filp_open(&self.ctx, &At::Cwd, path.as_bytes(), &op)
    }

    /// A pair whose slave has these modes.
    fn pair_with(&self, modes: Termios2) -> Result<Ends<'_>, Errno> {
        let master = self.open("/ptmx")?;
        let pty = pty_of(&master)?;
        pty.update(|pair, fx| {
            pair.locked = false;
            pair.set_termios(&modes, fx);
        });
        let slave = self.open(&format!("/pts/{}", pty.index))?;
        Ok(Ends { fixture: self, pty, master, slave })
    }

    fn pair(&self) -> Result<Ends<'_>, Errno> {
        self.pair_with(PTY_TERMIOS)
    }

    fn signals(&self) -> Vec<(u32, i32)> {
        std::mem::take(&mut *self.jobs.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, file: &File, max: usize) -> Result<Vec<u8>, Errno> {
        let mut buf = vec![0; max];
        let n = file.read(&self.ctx, &mut IoDst::from_slice(&mut buf), IoFlags::empty())?;
        buf.truncate(n);
        Ok(buf)
    }

    fn write(&self, file: &File, bytes: &[u8]) -> Result<usize, Errno> {
        file.write(&self.ctx, &mut IoSrc::from_slice(bytes), IoFlags::empty())
    }
}

fn pty_of(file: &File) -> Result<Arc<Pty>, Errno> {
    Ok(file.downcast::<TtyFile>().ok_or(EIO)?.pty.clone())
}

/// Both ends of a pty.
struct Ends<'a> {
    fixture: &'a Fixture,
    pty: Arc<Pty>,
    master: Arc<File>,
    slave: Arc<File>,
}

impl Ends<'_> {
    /// Types on the master; gives what the slave echoes.
    fn types(&self, bytes: &[u8]) -> Result<String, Errno> {
        assert_eq!(self.fixture.write(&self.master, bytes)?, bytes.len());
        Ok(self.shown())
    }

    fn shown(&self) -> String {
        let shown = self.fixture.read(&self.master, 8192).unwrap_or_default();
        String::from_utf8_lossy(&shown).into_owned()
    }

    fn reads(&self, max: usize) -> Result<String, Errno> {
        Ok(String::from_utf8_lossy(&self.fixture.read(&self.slave, max)?).into_owned())
    }

    fn prints(&self, bytes: &[u8]) -> Result<String, Errno> {
        assert_eq!(self.fixture.write(&self.slave, bytes)?, bytes.len());
        Ok(self.shown())
    }

    fn change(&self, change: impl FnOnce(&mut Termios2)) {
        self.pty.update(|pair, fx| {
            let mut modes = *pair.ntty.termios();
            change(&mut modes);
            pair.set_termios(&modes, fx);
        });
    }

    /// Makes it the terminal of a session, with a foreground group; gives the group's number.
    fn foreground(&self) -> Result<u32, Errno> {
        let pid = self.fixture.pids.alloc_pid(&[], &self.fixture.ctx.cred)?;
        self.pty.set_session(Some(pid.clone()), Some(pid.clone()));
        Ok(pid.global())
    }
}
