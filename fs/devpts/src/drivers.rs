//! The devices: `/dev/tty`, `/dev/ptmx` and slaves. Linux: drivers/tty/tty_io.c, `tty_open`; pty.c, `ptmx_open`.

use crate::devpts::{DevptsType, Ptys, devpts_acquire, new_pty};
use crate::file::TtyFile;
use crate::inode::Node;
use crate::jobctrl::{KernelJobs, current_tty, open_proc_set_tty};
use crate::options::PTY_MAX;
use crate::pty::{PTS_MAJOR, Pty};
use fs_vfs::{DeviceKind, FileOps, Inode, TaskContext, Vfs};
use sentry_auth::CapSet;
use sentry_kernel::Kernel;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EIO, ENXIO};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::{Arc, Weak};

/// Major number of the devices that stand for other terminals. Linux: include/uapi/linux/major.h.
pub(crate) const TTYAUX_MAJOR: u32 = 5;
/// Minor numbers of `/dev/tty`, `/dev/console` and `/dev/ptmx`.
const TTY_MINOR: u32 = 0;
const CONSOLE_MINOR: u32 = 1;
const PTMX_MINOR: u32 = 2;

type Opened = Result<Box<dyn FileOps>, Errno>;

/// Registers the filesystem `devpts` and the drivers of `/dev/tty`, `/dev/ptmx` and slaves.
///
/// # Errors
/// `EBUSY` if they are registered already.
pub fn register(kernel: &Arc<Kernel>) -> Result<(), Errno> {
    register_ptys(&kernel.vfs, &Ptys::new(Arc::new(KernelJobs(Arc::downgrade(kernel)))))
}

pub(crate) fn register_ptys(vfs: &Vfs, ptys: &Arc<Ptys>) -> Result<(), Errno> {
    vfs.filesystems().register(Arc::new(DevptsType(ptys.clone())))?;
    let devices = vfs.devices();
    let aux = |minor, name, open: fn(&Arc<Inode>, &dyn TaskContext, OpenFlags) -> Opened| {
        devices.register(DeviceKind::Char, TTYAUX_MAJOR, minor..=minor, name, Arc::new(open))
    };
    aux(TTY_MINOR, "/dev/tty", open_current)?;
    aux(PTMX_MINOR, "/dev/ptmx", open_ptmx)?;
    devices.register(DeviceKind::Char, PTS_MAJOR, 0..=PTY_MAX - 1, "pts", Arc::new(open_slave))
}

/// Has `/dev/console` lead to a terminal, unless it leads somewhere already.
pub(crate) fn register_console(vfs: &Vfs, pty: Weak<Pty>) {
    let open = move |_: &Arc<Inode>, ctx: &dyn TaskContext, _: OpenFlags| -> Opened {
        let pty = pty.upgrade().ok_or(EIO)?;
        let opened = pty.open_slave(is_admin(ctx))?;
        Ok(Box::new(TtyFile::new_console(pty, opened)))
    };
    // The first container's terminal is the kernel's console; others are found under their own names.
    let _ = vfs.devices().register(
        DeviceKind::Char,
        TTYAUX_MAJOR,
        CONSOLE_MINOR..=CONSOLE_MINOR,
        "/dev/console",
        Arc::new(open),
    );
}

fn is_admin(ctx: &dyn TaskContext) -> bool {
    ctx.vfs().capable(&ctx.cred(), CapSet::SYS_ADMIN)
}

/// Linux: `ptmx_open`.
fn open_ptmx(inode: &Arc<Inode>, ctx: &dyn TaskContext, _flags: OpenFlags) -> Opened {
    let pty = new_pty(&devpts_acquire(ctx, inode)?, &ctx.cred())?;
    let opened = pty.opened_master();
    Ok(Box::new(TtyFile::new(pty, opened)))
}

/// Linux: `tty_open`, `pts_unix98_lookup`.
fn open_slave(inode: &Arc<Inode>, ctx: &dyn TaskContext, flags: OpenFlags) -> Opened {
    let Some(Node::Slave(_, pty)) = Node::of(inode) else { return Err(EIO) };
    reopen(&pty.upgrade().ok_or(EIO)?, ctx, flags)
}

/// Linux: `tty_open_current_tty`.
fn open_current(_inode: &Arc<Inode>, ctx: &dyn TaskContext, flags: OpenFlags) -> Opened {
    let tty: Arc<dyn Any + Send + Sync> = current_tty(ctx).ok_or(ENXIO)?;
    reopen(&tty.downcast::<Pty>().map_err(|_| ENXIO)?, ctx, flags)
}

fn reopen(pty: &Arc<Pty>, ctx: &dyn TaskContext, flags: OpenFlags) -> Opened {
    let opened = pty.open_slave(is_admin(ctx))?;
    let file = TtyFile::new(pty.clone(), opened);
    if !flags.contains(OpenFlags::NOCTTY) {
        open_proc_set_tty(ctx, pty, flags.readable());
    }
    Ok(Box::new(file))
}
