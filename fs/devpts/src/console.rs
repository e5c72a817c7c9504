//! The terminal of a container, whose other end is a person's: the kernel itself holds the master.

use crate::devpts::{DevptsType, new_pty, slave_path};
use crate::drivers::register_console;
use crate::pty::{Opened, Pty, Side};
use fs_vfs::{File, Mount, SetAttr, TaskContext, d_path, dentry_open};
use sentry_auth::Kuid;
use sentry_sync::{ANY_EVENT, Parker};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EAGAIN, EIO, ENODEV};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::termios::Winsize;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Most bytes handed to the host at once.
const OUTPUT_CHUNK: usize = 4096;

/// The container's terminal, as the runtime drives it. Its methods are for the sentry's own threads: they may sleep.
pub struct Console {
    pty: Arc<Pty>,
    master: Opened,
    /// Nothing more will be typed, and what is written only up to the end of what there is.
    finishing: AtomicBool,
    hung_up: AtomicBool,
    reader: Arc<Parker>,
    writer: Arc<Parker>,
}

impl Console {
    /// A new terminal in an instance of devpts that is mounted in the caller's namespace; `/dev/console` leads to it from
    /// here on. Its slave belongs to `owner`.
    ///
    /// # Errors
    /// `ENODEV` if no devpts is mounted; `ENOSPC` if it is full.
    pub fn new(ctx: &dyn TaskContext, owner: Kuid, rows: u16, cols: u16) -> Result<Arc<Console>, Errno> {
        let is_devpts = |mnt: &Arc<Mount>| mnt.sb.fs_type == DevptsType::NAME && mnt.root.is_root();
        let mnt = ctx.mnt_ns().mounts().into_iter().find(is_devpts).ok_or(ENODEV)?;
        let pty = new_pty(&mnt.sb, &ctx.cred())?;
        pty.update(|pair, _| pair.locked = false);
        pty.resize(Winsize { ws_row: rows, ws_col: cols, ..Winsize::default() });
        register_console(ctx.vfs(), Arc::downgrade(&pty));
        let console = Arc::new(Console {
            master: pty.opened_master(),
            pty,
            finishing: AtomicBool::new(false),
            hung_up: AtomicBool::new(false),
            reader: Arc::new(Parker::new()),
            writer: Arc::new(Parker::new()),
        });
        let path = slave_path(ctx, None, &console.pty)?;
        if let Some(inode) = path.inode() {
            inode.ops().setattr(inode, &SetAttr { uid: Some(owner), ..SetAttr::default() })?;
        }
        Ok(console)
    }

    /// Opens the slave, for standard input, output and error. It becomes the controlling terminal of the caller's
    /// session if the caller leads one and has none.
    ///
    /// # Errors
    /// `EIO` when it has hung up.
    pub fn open(&self, ctx: &dyn TaskContext) -> Result<Arc<File>, Errno> {
        dentry_open(ctx, slave_path(ctx, None, &self.pty)?, OpenFlags::RDWR)
    }

    /// Where the slave is found in the caller's tree of names.
    ///
    /// # Errors
    /// `ENOENT` when it has hung up.
    pub fn path(&self, ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
        Ok(d_path(&slave_path(ctx, None, &self.pty)?, &ctx.fs().root()))
    }

    /// Types. Sleeps while there is no room, until the terminal hangs up or its output has been finished.
    pub fn input(&self, mut bytes: &[u8]) {
        let _waiting = self.pty.wait_queue(Side::Master).register(ANY_EVENT, self.writer.clone());
        while !bytes.is_empty() && !self.is_over() {
            match self.pty.write(self.master, bytes) {
                Ok(0) => {
                    self.writer.park(None);
                }
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(_) => return,
            }
        }
    }

    /// Carries what is written to the terminal to `to`, until the terminal hangs up, `to` fails, or
    /// [`Console::finish`] has been called and nothing is left. While `to` does not take more, writers of the guest wait.
    pub fn pump(&self, to: &mut dyn Write) {
        let _waiting = self.pty.wait_queue(Side::Master).register(ANY_EVENT, self.reader.clone());
        loop {
            match self.pty.read(self.master, OUTPUT_CHUNK) {
                Ok(bytes) if bytes.is_empty() => return,
                Ok(bytes) => {
                    if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
                        return;
                    }
                }
                // Nobody has it open just now; somebody may again.
                Err(EAGAIN | EIO) => {
                    if self.is_over() {
                        return;
                    }
                    self.reader.park(None);
                }
                Err(_) => return,
            }
        }
    }

    /// The container has ended: [`Console::pump`] returns once everything has been put out.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        self.reader.unpark();
        self.writer.unpark();
    }

    /// The window has a new size.
    pub fn resize(&self, rows: u16, cols: u16) {
        self.pty.resize(Winsize { ws_row: rows, ws_col: cols, ..Winsize::default() });
    }

    /// The person's terminal is gone: so is this one. The session is told by SIGHUP.
    pub fn hang_up(&self) {
        if !self.hung_up.swap(true, Ordering::AcqRel) {
            self.pty.close(Side::Master);
        }
        self.reader.unpark();
        self.writer.unpark();
    }

    fn is_over(&self) -> bool {
        self.finishing.load(Ordering::Acquire) || self.hung_up.load(Ordering::Acquire)
    }
}
