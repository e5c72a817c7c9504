//! Pseudo-terminals.

use super::{Guest, zeroed};
use test_syscalls_macros::sys;

/// A pseudo-terminal: both sides open, neither anyone's controlling terminal.
#[derive(Clone, Copy)]
pub struct Pty {
    /// The side of the terminal emulator.
    pub master: i32,
    /// The side of the programs.
    pub slave: i32,
    /// The number in `/dev/pts`.
    pub number: u32,
}

impl Guest {
    /// A new pseudo-terminal with the default settings.
    #[track_caller]
    pub fn pty(&self) -> Pty {
        let master = self.open("/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY);
        let (mut number, unlock) = (0_u32, 0_i32);
        sys!(ioctl(master, libc::TIOCGPTN, &raw mut number)).ok();
        sys!(ioctl(master, libc::TIOCSPTLCK, &raw const unlock)).ok();
        let slave = self.open(&format!("/dev/pts/{number}"), libc::O_RDWR | libc::O_NOCTTY);
        Pty { master, slave, number }
    }

    /// The kernel's settings of a terminal.
    #[track_caller]
    pub fn termios(&self, fd: i32) -> libc::termios2 {
        let mut termios: libc::termios2 = zeroed();
        sys!(ioctl(fd, libc::TCGETS2, &raw mut termios)).ok();
        termios
    }

    /// Changes the settings of a terminal at once.
    #[track_caller]
    pub fn set_termios(&self, fd: i32, change: impl FnOnce(&mut libc::termios2)) {
        let mut termios = self.termios(fd);
        change(&mut termios);
        sys!(ioctl(fd, libc::TCSETS2, &raw const termios)).ok();
    }

    /// Runs `body` in a child that leads a session whose controlling terminal is the slave.
    #[track_caller]
    pub fn in_session(&self, pty: Pty, body: impl FnOnce()) -> super::Child {
        self.fork(|| {
            sys!(setsid()).ok();
            sys!(ioctl(pty.slave, libc::TIOCSCTTY, 0)).ok();
            body();
        })
    }
}
