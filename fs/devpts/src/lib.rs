//! Terminals: the line discipline, pseudo terminals with the filesystem of their slaves, job control, and the console.
//!
//! Linux: drivers/tty and fs/devpts. A pty is one object ([`pty`]) under one lock of level `TTY`; its slave edits, echoes
//! and signals ([`n_tty`]). The tree of processes is locked before a terminal; signals are sent and sleepers are woken with
//! neither held.
#![forbid(unsafe_code)]

mod console;
mod ctype;
mod devpts;
mod drivers;
mod file;
mod inode;
mod ioctl;
mod jobctrl;
mod n_tty;
mod options;
mod pty;
mod termios;
mod wire;

pub use console::Console;
pub use drivers::register;
pub use pty::Pty;

#[cfg(test)]
mod tests;
