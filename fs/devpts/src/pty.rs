//! A pair of terminals. Linux: drivers/tty/pty.c and the part of tty_io.c about one terminal.
//!
//! Both ends are one object under one lock: what one end does is mostly the other's business. Only the slave can be a
//! controlling terminal. Signals are sent and sleepers woken when the lock has been given back.

use crate::devpts::Devpts;
use crate::n_tty::{NTty, ReadWait};
use crate::wire::{Effects, FLIP_SIZE, Flow, Output, Wakes};
use fs_vfs::SuperBlock;
use sentry_kernel::{Pid, Tty};
use sentry_sync::{ANY_EVENT, Mutex, WaitQueue, level};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EBUSY, EIO};
use sentry_uapi::poll::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM};
use sentry_uapi::signal::SIGWINCH;
use sentry_uapi::stat::makedev;
use sentry_uapi::termios::{Termios2, Winsize};
use sentry_uapi::tty_ioctl::TIOCPKT_DATA;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// Major number of slaves. Linux: `UNIX98_PTY_SLAVE_MAJOR`.
pub(crate) const PTS_MAJOR: u32 = 136;

/// Events of an end that has hung up. Linux: `hung_up_tty_poll`.
const HUNG_UP_EVENTS: u32 = POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM;

/// What a terminal asks of the rest of the kernel.
pub(crate) trait Jobs: Send + Sync {
    /// Sends a signal of the kernel's to a process group.
    fn kill_pgrp(&self, pgrp: &Pid, signo: i32);
    /// The terminal of a session is gone: the session hears of it. Linux: `tty_signal_session_leader`.
    fn session_lost_tty(&self, session: &Pid, tty: &Pty);
}

/// An end of a pty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Master,
    Slave,
}

/// What is true of either end.
#[derive(Default)]
struct End {
    /// Open files.
    open: u32,
    /// How often it has hung up. A file opened before the last time is dead.
    hangups: u64,
    /// TIOCEXCL.
    exclusive: bool,
}

/// What an open file remembers of its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) side: Side,
    hangups: u64,
}

pub(crate) struct Pair {
    pub(crate) ntty: NTty,
    pub(crate) out: Output,
    /// Bytes the master has written and the slave's line discipline has not taken.
    flip: VecDeque<u8>,
    /// Of the master's output.
    flip_flow: Flow,
    master: End,
    slave: End,
    /// The slave cannot be opened yet. Linux: `TTY_PTY_LOCK`.
    pub(crate) locked: bool,
    /// The slave was open and is not any more. Linux: `TTY_OTHER_CLOSED` of the master.
    slave_gone: bool,
    /// The session it is the controlling terminal of.
    pub(crate) session: Option<Arc<Pid>>,
    /// The foreground process group.
    pub(crate) pgrp: Option<Arc<Pid>>,
    pub(crate) winsize: Winsize,
}

/// A pseudo terminal.
pub struct Pty {
    /// Its number: the name of the slave.
    pub(crate) index: u32,
    /// The instance of devpts it belongs to.
    pub(crate) sb: Arc<SuperBlock>,
    jobs: Arc<dyn Jobs>,
    pair: Mutex<Pair, { level::TTY }>,
    master_wait: WaitQueue,
    slave_wait: WaitQueue,
}

impl Pair {
    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Master => &mut self.master,
            Side::Slave => &mut self.slave,
        }
    }

    fn is_hung_up(&mut self, opened: Opened) -> bool {
        self.end(opened.side).hangups != opened.hangups
    }

    /// Has the line discipline take what it can. Linux: `flush_to_ldisc`.
    fn push_flip(&mut self, fx: &mut Effects) {
        let taken = self.ntty.receive_buf(self.flip.make_contiguous(), &mut self.out, fx);
        if taken > 0 {
            self.flip.drain(..taken);
            fx.wakes |= Wakes::MASTER_OUT;
        }
    }

    fn flip_room(&self) -> usize {
        if self.flip_flow.stopped { 0 } else { FLIP_SIZE.saturating_sub(self.flip.len()) }
    }

    /// Sets the slave's modes.
    pub(crate) fn set_termios(&mut self, modes: &Termios2, fx: &mut Effects) {
        self.ntty.set_termios(modes, &mut self.out, fx);
        self.push_flip(fx);
    }

    /// TCIFLUSH of an end.
    pub(crate) fn flush_input(&mut self, side: Side, fx: &mut Effects) {
        match side {
            Side::Slave => {
                self.flip.clear();
                self.ntty.flush_input(&mut self.out, fx);
                fx.wakes |= Wakes::MASTER_OUT;
            }
            Side::Master => self.out.clear(fx),
        }
    }

    /// TCOFLUSH of an end.
    pub(crate) fn flush_output(&mut self, side: Side, fx: &mut Effects) {
        match side {
            Side::Slave => self.out.flush(fx),
            Side::Master => {
                self.flip.clear();
                fx.wakes |= Wakes::MASTER_OUT;
            }
        }
    }

    /// TCOOFF and TCOON of an end. What a control character has stopped, TCOON does not start.
    pub(crate) fn stop_by_hand(&mut self, side: Side, stop: bool, fx: &mut Effects) {
        match side {
            Side::Slave if stop => {
                self.out.flow.by_hand = true;
                self.out.stop(fx);
            }
            Side::Slave => {
                if std::mem::take(&mut self.out.flow.by_hand) {
                    self.out.start(fx);
                }
            }
            Side::Master => {
                self.flip_flow = Flow { stopped: stop, by_hand: stop };
                fx.wakes |= Wakes::MASTER_OUT;
            }
        }
    }

    /// Sends a character although output may be stopped, but not if it is by hand. Linux: `tty_send_xchar`.
    pub(crate) fn send_xchar(&mut self, side: Side, c: u8, fx: &mut Effects) {
        match side {
            Side::Slave => self.out.send_xchar(c, fx),
            Side::Master if self.flip_room() == 0 => {}
            Side::Master => {
                self.flip.push_back(c);
                self.push_flip(fx);
            }
        }
    }

    /// Types a character. Linux: `tiocsti`.
    pub(crate) fn simulate_input(&mut self, side: Side, c: u8, fx: &mut Effects) {
        match side {
            Side::Slave => {
                self.ntty.receive_buf(&[c], &mut self.out, fx);
            }
            Side::Master if self.out.room() > 0 => self.out.put(&[c], fx),
            Side::Master => {}
        }
    }

    /// Bytes an end could read.
    pub(crate) fn inq(&self, side: Side) -> usize {
        match side {
            Side::Slave => self.ntty.inq(),
            Side::Master => self.out.arrived(),
        }
    }

    pub(crate) fn set_exclusive(&mut self, side: Side, exclusive: bool) {
        self.end(side).exclusive = exclusive;
    }

    pub(crate) fn is_exclusive(&mut self, side: Side) -> bool {
        self.end(side).exclusive
    }
}

impl Pty {
    /// A new pair, whose slave is locked. The master counts as open, once. Linux: `ptmx_open`.
    pub(crate) fn new(index: u32, sb: Arc<SuperBlock>, jobs: Arc<dyn Jobs>) -> Arc<Pty> {
        Arc::new(Pty {
            index,
            sb,
            jobs,
            pair: Mutex::new(Pair {
                ntty: NTty::new(),
                out: Output::default(),
                flip: VecDeque::new(),
                flip_flow: Flow::default(),
                master: End { open: 1, ..End::default() },
                slave: End::default(),
                locked: true,
                slave_gone: false,
                session: None,
                pgrp: None,
                winsize: Winsize::default(),
            }),
            master_wait: WaitQueue::new(),
            slave_wait: WaitQueue::new(),
        })
    }

    /// Looks at the pair, or changes it; then does what follows from that.
    pub(crate) fn update<R>(&self, f: impl FnOnce(&mut Pair, &mut Effects) -> R) -> R {
        let mut fx = Effects::default();
        let mut pair = self.pair.lock();
        pair.out.settle();
        let result = f(&mut pair, &mut fx);
        let pgrp = if fx.signals.is_empty() { None } else { pair.pgrp.clone() };
        drop(pair);
        if let Some(pgrp) = pgrp {
            for signo in fx.signals {
                self.jobs.kill_pgrp(&pgrp, signo);
            }
        }
        for (wake, queue, events) in [
            (Wakes::SLAVE_IN, &self.slave_wait, POLLIN | POLLRDNORM),
            (Wakes::SLAVE_OUT, &self.slave_wait, POLLOUT | POLLWRNORM),
            (Wakes::MASTER_IN, &self.master_wait, POLLIN | POLLRDNORM | POLLPRI),
            (Wakes::MASTER_OUT, &self.master_wait, POLLOUT | POLLWRNORM),
        ] {
            if fx.wakes.contains(wake) {
                queue.wake_all(events);
            }
        }
        result
    }

    pub(crate) fn wait_queue(&self, side: Side) -> &WaitQueue {
        match side {
            Side::Master => &self.master_wait,
            Side::Slave => &self.slave_wait,
        }
    }

    /// The master's first file.
    pub(crate) fn opened_master(&self) -> Opened {
        Opened { side: Side::Master, hangups: 0 }
    }

    /// Opens the slave once more. Linux: `tty_reopen`, `pty_open`.
    ///
    /// # Errors
    /// `EIO` when the master is closed or the slave locked; `EBUSY` in exclusive mode, unless `privileged`.
    pub(crate) fn open_slave(&self, privileged: bool) -> Result<Opened, Errno> {
        self.update(|pair, _| {
            if pair.master.open == 0 {
                return Err(EIO);
            }
            if pair.slave.exclusive && !privileged {
                return Err(EBUSY);
            }
            if pair.locked {
                return Err(EIO);
            }
            pair.slave.open += 1;
            pair.slave_gone = false;
            Ok(Opened { side: Side::Slave, hangups: pair.slave.hangups })
        })
    }

    /// Closes a file of an end. The slave stays a controlling terminal though nobody has it open. Linux: `tty_release`,
    /// `pty_close`.
    pub(crate) fn close(&self, side: Side) {
        let last = self.update(|pair, fx| {
            let end = pair.end(side);
            end.open = end.open.saturating_sub(1);
            let last = end.open == 0;
            if last && side == Side::Slave {
                pair.slave_gone = true;
                fx.wakes |= Wakes::MASTER_IN;
            }
            last
        });
        if last && side == Side::Master {
            if let Some(devpts) = self.sb.downcast::<Devpts>() {
                devpts.pty_kill(self.index);
            }
            self.hang_up(Side::Slave);
        }
        self.master_wait.wake_all(ANY_EVENT);
    }

    /// All files of an end are dead from here on. Linux: `__tty_hangup`.
    pub(crate) fn hang_up(&self, side: Side) {
        if side == Side::Slave
            && let (Some(session), _) = self.session()
        {
            self.jobs.session_lost_tty(&session, self);
        }
        let gone = self.update(|pair, fx| {
            let end = pair.end(side);
            end.hangups = end.hangups.wrapping_add(1);
            match side {
                Side::Slave => {
                    pair.ntty.hang_up(&mut pair.out, fx);
                    pair.out.pktstatus = 0;
                    (pair.session.take(), pair.pgrp.take())
                }
                Side::Master => (None, None),
            }
        });
        drop(gone);
        self.slave_wait.wake_all(ANY_EVENT);
        self.master_wait.wake_all(ANY_EVENT);
    }

    pub(crate) fn is_hung_up(&self, opened: Opened) -> bool {
        self.update(|pair, _| pair.is_hung_up(opened))
    }

    /// How long a read of an end waits, and for how much.
    pub(crate) fn read_wait(&self, side: Side) -> ReadWait {
        match side {
            Side::Slave => self.update(|pair, _| pair.ntty.read_wait()),
            Side::Master => ReadWait { minimum: 1, first: None, between: None },
        }
    }

    /// Reads at most `max` bytes, which is not 0; nothing at the end of a file. Linux: `n_tty_read`.
    ///
    /// # Errors
    /// `EAGAIN` if there is nothing yet; `EIO` on the master when the slave is closed.
    pub(crate) fn read(&self, opened: Opened, max: usize) -> Result<Vec<u8>, Errno> {
        self.update(|pair, fx| {
            if pair.is_hung_up(opened) {
                return Ok(Vec::new());
            }
            match opened.side {
                Side::Master => pair.read_master(max, fx),
                Side::Slave => pair.read_slave(max, fx),
            }
        })
    }

    /// Writes as much as there is room for. Linux: `n_tty_write`.
    ///
    /// # Errors
    /// `EIO` when it has hung up, or the master is closed.
    pub(crate) fn write(&self, opened: Opened, bytes: &[u8]) -> Result<usize, Errno> {
        self.update(|pair, fx| {
            if pair.is_hung_up(opened) || pair.master.open == 0 {
                return Err(EIO);
            }
            Ok(match opened.side {
                Side::Slave => pair.ntty.write(bytes, &mut pair.out, fx),
                Side::Master => {
                    let n = bytes.len().min(pair.flip_room());
                    pair.flip.extend(bytes.iter().take(n));
                    pair.push_flip(fx);
                    n
                }
            })
        })
    }

    /// The events that hold now. Linux: `n_tty_poll`.
    pub(crate) fn events(&self, opened: Opened) -> u32 {
        self.update(|pair, _| {
            if pair.is_hung_up(opened) {
                return HUNG_UP_EVENTS;
            }
            let (readable, writable) = match opened.side {
                Side::Slave => (pair.ntty.input_available(true), pair.out.room() > 0),
                Side::Master => (!pair.out.is_empty(), pair.flip_room() > 0),
            };
            let mut events = 0;
            if readable {
                events |= POLLIN | POLLRDNORM;
            }
            if writable {
                events |= POLLOUT | POLLWRNORM;
            }
            if opened.side == Side::Master {
                if pair.out.packet && pair.out.pktstatus != 0 {
                    events |= POLLPRI | POLLIN | POLLRDNORM;
                }
                if pair.slave_gone {
                    events |= POLLHUP;
                }
            }
            events
        })
    }

    /// Makes it the controlling terminal of a session, with a foreground process group; none for both: of nobody.
    pub(crate) fn set_session(&self, session: Option<Arc<Pid>>, pgrp: Option<Arc<Pid>>) {
        let mut pair = self.pair.lock();
        let gone = (std::mem::replace(&mut pair.session, session), std::mem::replace(&mut pair.pgrp, pgrp));
        drop(pair);
        drop(gone);
    }

    /// Session and foreground process group.
    pub(crate) fn session(&self) -> (Option<Arc<Pid>>, Option<Arc<Pid>>) {
        let pair = self.pair.lock();
        (pair.session.clone(), pair.pgrp.clone())
    }

    /// Sets the window size; the foreground hears of a new one. Linux: `pty_resize`.
    pub(crate) fn resize(&self, size: Winsize) {
        self.update(|pair, fx| {
            if pair.winsize != size {
                pair.winsize = size;
                fx.signal(SIGWINCH);
            }
        });
    }

    /// Sends a signal to the foreground.
    pub(crate) fn signal_foreground(&self, signo: i32) {
        self.update(|_, fx| fx.signal(signo));
    }
}

impl Pair {
    fn read_master(&mut self, max: usize, fx: &mut Effects) -> Result<Vec<u8>, Errno> {
        if self.out.packet && self.out.pktstatus != 0 {
            return Ok(vec![std::mem::take(&mut self.out.pktstatus)]);
        }
        if self.out.is_empty() {
            return Err(if self.slave_gone { EIO } else { EAGAIN });
        }
        if !self.out.packet {
            return Ok(self.out.take(max, fx));
        }
        let mut packet = vec![u8::try_from(TIOCPKT_DATA).unwrap_or(0)];
        packet.extend(self.out.take(max.saturating_sub(1), fx));
        Ok(packet)
    }

    fn read_slave(&mut self, max: usize, fx: &mut Effects) -> Result<Vec<u8>, Errno> {
        if !self.ntty.input_available(false) {
            return Err(EAGAIN);
        }
        let taken = self.ntty.read(max);
        self.push_flip(fx);
        Ok(taken)
    }
}

impl Tty for Pty {
    fn device(&self) -> u64 {
        makedev(PTS_MAJOR, self.index)
    }

    fn foreground(&self) -> u32 {
        self.pair.lock().pgrp.as_ref().map_or(0, |p| p.global())
    }

    fn session_gone(&self) {
        self.set_session(None, None);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Some(devpts) = self.sb.downcast::<Devpts>() {
            devpts.free_index(self.index);
        }
    }
}

/// The pty of a node, as long as its master is open.
pub(crate) type WeakPty = Weak<Pty>;
