//! Bytes between the two ends of a pty. Linux: drivers/tty/tty_buffer.c; pty.c, `pty_write`, `pty_write_room`.

use bitflags::bitflags;
use sentry_uapi::tty_ioctl::{TIOCPKT_FLUSHWRITE, TIOCPKT_START, TIOCPKT_STOP};
use std::collections::VecDeque;

/// Bytes on their way to a line discipline. Linux: `tty_buffer_set_limit` in `pty_common_install`.
pub(crate) const FLIP_SIZE: usize = 8192;
/// Bytes in the queue of a line discipline. Linux: `N_TTY_BUF_SIZE`.
pub(crate) const N_TTY_BUF_SIZE: usize = 4096;
/// What the master's line discipline holds of what it was sent; it keeps one place free.
const MASTER_QUEUE: usize = N_TTY_BUF_SIZE - 1;

bitflags! {
    /// Who is to be woken.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Wakes: u8 {
        /// Readers of the slave.
        const SLAVE_IN = 1;
        /// Writers to the slave.
        const SLAVE_OUT = 2;
        /// Readers of the master.
        const MASTER_IN = 4;
        /// Writers to the master.
        const MASTER_OUT = 8;
    }
}

/// What a change has to be followed by, once the pty is unlocked.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) wakes: Wakes,
    /// Signals to the foreground process group, each once.
    pub(crate) signals: Vec<i32>,
}

impl Effects {
    pub(crate) fn signal(&mut self, signo: i32) {
        if !self.signals.contains(&signo) {
            self.signals.push(signo);
        }
    }
}

/// Whether an end's output is stopped. Linux: `struct tty_struct`, `flow`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) stopped: bool,
    /// By TCXONC, which no control character undoes.
    pub(crate) by_hand: bool,
}

/// What the slave's output goes through: the queue of the master's line discipline and the buffer before it, in one.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: VecDeque<u8>,
    /// How many of them are of the change being made, and have not reached the master's line discipline.
    in_flight: usize,
    pub(crate) flow: Flow,
    /// The master reads packets. Linux: `ctrl.packet` of the master.
    pub(crate) packet: bool,
    /// What the next packet has to tell. Linux: `ctrl.pktstatus` of the slave.
    pub(crate) pktstatus: u8,
}

impl Output {
    /// Bytes in the queue of the master's line discipline.
    pub(crate) fn arrived(&self) -> usize {
        self.bytes.len().min(MASTER_QUEUE)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that can be put. Linux: `pty_write_room`.
    pub(crate) fn room(&self) -> usize {
        if self.flow.stopped {
            return 0;
        }
        FLIP_SIZE.saturating_sub(self.bytes.len().saturating_sub(MASTER_QUEUE))
    }

    /// Puts bytes, for which there must be room.
    pub(crate) fn put(&mut self, bytes: &[u8], fx: &mut Effects) {
        self.bytes.extend(bytes);
        self.in_flight = self.in_flight.saturating_add(bytes.len());
        fx.wakes |= Wakes::MASTER_IN;
    }

    /// Puts a byte even if a control character has stopped the output. Linux: `tty_send_xchar`.
    pub(crate) fn send_xchar(&mut self, c: u8, fx: &mut Effects) {
        let was_stopped = self.flow.stopped;
        if was_stopped {
            self.start(fx);
        }
        if self.room() > 0 {
            self.put(&[c], fx);
        }
        if was_stopped {
            self.stop(fx);
        }
    }

    /// What was put before has arrived, as far as there is room.
    pub(crate) fn settle(&mut self) {
        self.in_flight = 0;
    }

    /// Takes at most `max` bytes.
    pub(crate) fn take(&mut self, max: usize, fx: &mut Effects) -> Vec<u8> {
        let n = max.min(self.arrived());
        let taken = self.bytes.drain(..n).collect();
        if self.bytes.len() < MASTER_QUEUE + FLIP_SIZE / 2 {
            fx.wakes |= Wakes::SLAVE_OUT;
        }
        taken
    }

    /// Drops all there is.
    pub(crate) fn clear(&mut self, fx: &mut Effects) {
        self.bytes.clear();
        fx.wakes |= Wakes::SLAVE_OUT;
    }

    /// Drops what has not reached the master's line discipline. Linux: `pty_flush_buffer`.
    pub(crate) fn flush(&mut self, fx: &mut Effects) {
        let arrived = self.bytes.len().saturating_sub(std::mem::take(&mut self.in_flight));
        self.bytes.truncate(arrived.min(MASTER_QUEUE));
        fx.wakes |= Wakes::SLAVE_OUT;
        self.tell(TIOCPKT_FLUSHWRITE, fx);
    }

    /// Has the next packet tell something. Linux: `n_tty_packet_mode_flush` and its like.
    pub(crate) fn tell(&mut self, status: u32, fx: &mut Effects) {
        if self.packet {
            self.pktstatus |= u8::try_from(status).unwrap_or(0);
            fx.wakes |= Wakes::MASTER_IN;
        }
    }

    fn untell(&mut self, status: u32) {
        self.pktstatus &= !u8::try_from(status).unwrap_or(0);
    }

    /// Linux: `__stop_tty`, `pty_stop`.
    pub(crate) fn stop(&mut self, fx: &mut Effects) {
        if !self.flow.stopped {
            self.flow.stopped = true;
            self.untell(TIOCPKT_START);
            self.tell(TIOCPKT_STOP, fx);
        }
    }

    /// Linux: `__start_tty`, `pty_start`.
    pub(crate) fn start(&mut self, fx: &mut Effects) {
        if self.flow.stopped && !self.flow.by_hand {
            self.flow.stopped = false;
            self.untell(TIOCPKT_STOP);
            self.tell(TIOCPKT_START, fx);
            fx.wakes |= Wakes::SLAVE_OUT;
        }
    }
}
