//! An open terminal. Linux: drivers/tty/tty_io.c, `tty_read`, `tty_write`, `tty_poll`, `tty_release`.

use crate::devpts::tty_update_time;
use crate::ioctl::tty_ioctl;
use crate::jobctrl::check_change;
use crate::pty::{Opened, Pty, Side};
use fs_vfs::{File, FileOps, PollTable, Sleep, TaskContext, Written};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EINVAL, EIO};
use sentry_uapi::poll::{POLLIN, POLLRDNORM};
use sentry_uapi::signal::{SIGTTIN, SIGTTOU};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes written at once. Linux: `do_tty_write`.
const WRITE_CHUNK: usize = 2048;

/// An open end of a pty.
pub(crate) struct TtyFile {
    pub(crate) pty: Arc<Pty>,
    pub(crate) opened: Opened,
    /// Opened as `/dev/console`, which job control leaves alone.
    console: bool,
}

impl TtyFile {
    /// Takes over one count of open files of the end.
    pub(crate) fn new(pty: Arc<Pty>, opened: Opened) -> TtyFile {
        TtyFile { pty, opened, console: false }
    }

    pub(crate) fn new_console(pty: Arc<Pty>, opened: Opened) -> TtyFile {
        TtyFile { pty, opened, console: true }
    }

    fn is_slave(&self) -> bool {
        self.opened.side == Side::Slave
    }
}

impl FileOps for TtyFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn seekable(&self) -> bool {
        false
    }

    fn read(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        _pos: u64,
    ) -> Result<usize, Errno> {
        if self.pty.is_hung_up(self.opened) {
            return Ok(0);
        }
        if self.is_slave() && !self.console {
            check_change(ctx, &self.pty, SIGTTIN)?;
        }
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let taken = match self.pty.read(self.opened, dst.remaining()) {
            // Without VMIN and VTIME nobody waits.
            Err(EAGAIN) if self.pty.read_wait(self.opened.side).first == Some(Duration::ZERO) => {
                return Ok(0);
            }
            other => other?,
        };
        if !taken.is_empty() {
            tty_update_time(file.inode(), true);
        }
        dst.write(&taken)
    }

    /// Linux: the loop of `n_tty_read`.
    fn read_blocking(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        dst: &mut IoDst<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        let wait = self.pty.read_wait(self.opened.side);
        let mut deadline = wait.first.map(|t| Instant::now() + t);
        let mut table = None;
        let mut total = 0;
        loop {
            let failed = match file.read_once(ctx, dst, pos) {
                Ok(0) => return Ok(total),
                Ok(n) => {
                    total += n;
                    if total >= wait.minimum || dst.remaining() == 0 {
                        return Ok(total);
                    }
                    deadline = wait.between.map(|t| Instant::now() + t);
                    continue;
                }
                Err(EAGAIN) if table.is_none() => {
                    let mut waiting = PollTable::new(POLLIN | POLLRDNORM, ctx.waker());
                    self.poll(file, &mut waiting);
                    table = Some(waiting);
                    continue;
                }
                Err(EAGAIN) => match ctx.sleep(deadline) {
                    Ok(Sleep::Woken) => continue,
                    Ok(Sleep::TimedOut) => return Ok(total),
                    Err(e) => e,
                },
                Err(e) => e,
            };
            return if total > 0 { Ok(total) } else { Err(failed) };
        }
    }

    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<Written, Errno> {
        if self.pty.is_hung_up(self.opened) {
            return Err(EIO);
        }
        if self.is_slave() && !self.console && self.pty.update(|pair, _| pair.ntty.stops_background()) {
            check_change(ctx, &self.pty, SIGTTOU)?;
        }
        let mut count = 0;
        while src.remaining() > 0 {
            let chunk = match src.read_vec(WRITE_CHUNK) {
                Ok(chunk) => chunk,
                Err(e) if count == 0 => return Err(e),
                Err(_) => break,
            };
            let n = match self.pty.write(self.opened, &chunk) {
                Ok(n) => n,
                Err(e) if count == 0 => return Err(e),
                Err(_) => break,
            };
            count += n;
            if n < chunk.len() {
                src.revert(chunk.len() - n);
                if count == 0 {
                    return Err(EAGAIN);
                }
                break;
            }
        }
        if count > 0 {
            tty_update_time(file.inode(), false);
        }
        Ok(Written { count, end: pos })
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait(self.pty.wait_queue(self.opened.side));
        self.pty.events(self.opened)
    }

    fn ioctl(&self, file: &File, ctx: &dyn TaskContext, cmd: u32, arg: u64) -> Result<i64, Errno> {
        tty_ioctl(self, file, ctx, cmd, arg)
    }

    fn fsync(&self, _file: &File, _data_only: bool) -> Result<(), Errno> {
        Err(EINVAL)
    }

    fn show_fdinfo(&self, _file: &File) -> String {
        match self.opened.side {
            Side::Master => format!("tty-index:\t{}\n", self.pty.index),
            Side::Slave => String::new(),
        }
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        self.pty.close(self.opened.side);
    }
}
