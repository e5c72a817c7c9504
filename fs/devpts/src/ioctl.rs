//! ioctl(2) of terminals. Linux: drivers/tty/tty_io.c, `tty_ioctl`; tty_ioctl.c; pty.c, `pty_unix98_ioctl`.
//!
//! Differs: what a pty has sent is never on its way, so that nothing waits for it; the interfaces of the BSDs' older
//! terminals (`struct sgttyb` and so on), which x86 has not, are not there.

use crate::devpts::open_peer;
use crate::file::TtyFile;
use crate::jobctrl::{
    check_change, check_change_for_spgrp, is_current_tty, tiocgpgrp, tiocgsid, tiocnotty, tiocsctty,
    tiocspgrp,
};
use crate::pty::{Pty, Side};
use crate::termios::{Modes, PTY_TERMIOS, UserTermios, to_termio, to_termios};
use fs_vfs::{File, TaskContext};
use sentry_auth::CapSet;
use sentry_kernel::Tty;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, EIO, ENOTTY, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::signal::{SIGINT, SIGQUIT, SIGTSTP, SIGTTOU};
use sentry_uapi::termios::{
    CLOCAL, POSIX_VDISABLE, TCIFLUSH, TCIOFF, TCIOFLUSH, TCION, TCOFLUSH, TCOOFF, TCOON, Termio, Termios,
    Termios2, VSTART, VSTOP, Winsize,
};
use sentry_uapi::tty_ioctl::*;

/// Serves an ioctl(2) of an open terminal.
///
/// # Errors
/// Those of the command; `ENOTTY` for one it does not know; `EIO` when the file has hung up.
pub(crate) fn tty_ioctl(
    tty: &TtyFile,
    file: &File,
    ctx: &dyn TaskContext,
    cmd: u32,
    arg: u64,
) -> Result<i64, Errno> {
    if tty.pty.is_hung_up(tty.opened) {
        return Err(if cmd == TIOCSPGRP { ENOTTY } else { EIO });
    }
    let side = tty.opened.side;
    let call = Call { tty, file, ctx, pty: &tty.pty, side, arg };
    if matches!(cmd, TIOCSETD | TIOCSBRK | TIOCCBRK | TCSBRK | TCSBRKP) {
        call.check_own_change()?;
    }
    if let Some(done) = call.general(cmd).or_else(|| call.job_control(cmd)) {
        return done;
    }
    if side == Side::Master
        && let Some(done) = call.master(cmd)
    {
        return done;
    }
    call.line_discipline(cmd).or_else(|| call.modes(cmd)).unwrap_or(Err(ENOTTY))
}

/// A call being served.
struct Call<'a> {
    tty: &'a TtyFile,
    file: &'a File,
    ctx: &'a dyn TaskContext,
    pty: &'a Pty,
    side: Side,
    arg: u64,
}

type Done = Option<Result<i64, Errno>>;

fn done(result: Result<(), Errno>) -> Done {
    Some(result.map(|()| 0))
}

impl Call<'_> {
    fn get<T: zerocopy::FromBytes>(&self) -> Result<T, Errno> {
        self.ctx.mm()?.read_obj(self.arg)
    }

    fn put<T: zerocopy::IntoBytes + zerocopy::Immutable>(&self, value: &T) -> Result<(), Errno> {
        self.ctx.mm()?.write_obj(self.arg, value)
    }

    fn privileged(&self) -> bool {
        self.ctx.vfs().capable(&self.ctx.cred(), CapSet::SYS_ADMIN)
    }

    fn require_privilege(&self) -> Result<(), Errno> {
        if self.privileged() { Ok(()) } else { Err(EPERM) }
    }

    /// Modes and window size are the slave's, whichever end is asked; but the background is only kept from changing its
    /// own terminal.
    fn check_change(&self) -> Result<(), Errno> {
        check_change(self.ctx, self.pty, SIGTTOU)
    }

    fn check_own_change(&self) -> Result<(), Errno> {
        if self.side == Side::Master { Ok(()) } else { self.check_change() }
    }

    /// Linux: the switch of `tty_ioctl`.
    fn general(&self, cmd: u32) -> Done {
        let exclusive = |on| {
            self.pty.update(|pair, _| pair.set_exclusive(self.side, on));
            Some(Ok(0))
        };
        match cmd {
            TIOCSTI => done(self.simulate_input()),
            TIOCGWINSZ => done(self.put(&self.pty.update(|pair, _| pair.winsize))),
            TIOCSWINSZ => done(self.get::<Winsize>().map(|size| self.pty.resize(size))),
            TIOCCONS if self.side == Side::Master => Some(Err(EINVAL)),
            // The console is a terminal of its own.
            TIOCCONS => done(self.require_privilege().and(Err(EINVAL))),
            TIOCEXCL => exclusive(true),
            TIOCNXCL => exclusive(false),
            TIOCGEXCL => done(self.put(&i32::from(self.pty.update(|pair, _| pair.is_exclusive(self.side))))),
            TIOCGETD => done(self.put(&N_TTY)),
            TIOCSETD => {
                done(self.get().and_then(|ldisc: i32| if ldisc == N_TTY { Ok(()) } else { Err(EINVAL) }))
            }
            TIOCVHANGUP => done(self.require_privilege().map(|()| self.pty.hang_up(self.side))),
            TIOCGDEV => done(self.put(&u32::try_from(self.pty.device()).unwrap_or(u32::MAX))),
            // A pty has no break.
            TIOCSBRK | TIOCCBRK | TCSBRK | TCSBRKP => Some(Ok(0)),
            TIOCMGET | TIOCMSET | TIOCMBIC | TIOCMBIS | TIOCGICOUNT => Some(Err(ENOTTY)),
            TIOCGPTPEER if self.side == Side::Slave => Some(Err(EIO)),
            TIOCGPTPEER => {
                let flags = OpenFlags::from_bits_retain(u32::try_from(self.arg & 0xffff_ffff).unwrap_or(0));
                Some(open_peer(self.ctx, self.file, self.pty, flags).map(i64::from))
            }
            _ => None,
        }
    }

    /// Linux: `tiocsti`.
    fn simulate_input(&self) -> Result<(), Errno> {
        let own = self.side == Side::Slave && is_current_tty(self.ctx, self.pty);
        if !own {
            self.require_privilege()?;
        }
        let c: u8 = self.get()?;
        self.pty.update(|pair, fx| pair.simulate_input(self.side, c, fx));
        Ok(())
    }

    /// Linux: `tty_jobctrl_ioctl`.
    fn job_control(&self, cmd: u32) -> Done {
        let by_master = self.side == Side::Master;
        match cmd {
            TIOCNOTTY if by_master => Some(Err(ENOTTY)),
            TIOCNOTTY => done(tiocnotty(self.ctx, self.pty)),
            TIOCSCTTY => {
                done(tiocsctty(self.ctx, &self.tty.pty, self.file.readable(), self.arg & 0xffff_ffff == 1))
            }
            TIOCGPGRP => done(tiocgpgrp(self.ctx, self.pty, by_master).and_then(|nr| self.put(&nr))),
            TIOCSPGRP => done(self.set_foreground()),
            TIOCGSID => done(tiocgsid(self.ctx, self.pty, by_master).and_then(|nr| self.put(&nr))),
            _ => None,
        }
    }

    fn set_foreground(&self) -> Result<(), Errno> {
        check_change_for_spgrp(self.ctx, self.pty)?;
        let nr: i32 = self.get()?;
        tiocspgrp(self.ctx, self.pty, nr)
    }

    /// Linux: `pty_unix98_ioctl`.
    fn master(&self, cmd: u32) -> Done {
        let flag = |on: bool| done(self.put(&i32::from(on)));
        match cmd {
            TIOCGPTN => done(self.put(&self.pty.index)),
            TIOCSPTLCK => {
                done(self.get().map(|lock: i32| self.pty.update(|pair, _| pair.locked = lock != 0)))
            }
            TIOCGPTLCK => flag(self.pty.update(|pair, _| pair.locked)),
            TIOCPKT => done(self.get().map(|on: i32| {
                self.pty.update(|pair, _| {
                    if on != 0 && !pair.out.packet {
                        pair.out.pktstatus = 0;
                    }
                    pair.out.packet = on != 0;
                });
            })),
            TIOCGPKT => flag(self.pty.update(|pair, _| pair.out.packet)),
            TIOCSIG => match i32::try_from(self.arg & 0xffff_ffff) {
                Ok(signo @ (SIGINT | SIGQUIT | SIGTSTP)) => {
                    self.pty.signal_foreground(signo);
                    Some(Ok(0))
                }
                _ => Some(Err(EINVAL)),
            },
            _ => None,
        }
    }

    /// Linux: `n_tty_ioctl`, `n_tty_ioctl_helper`.
    fn line_discipline(&self, cmd: u32) -> Done {
        match cmd {
            TIOCOUTQ => done(self.put(&0i32)),
            TIOCINQ => {
                let count = self.pty.update(|pair, _| pair.inq(self.side));
                done(self.put(&i32::try_from(count).unwrap_or(i32::MAX)))
            }
            TCXONC => done(self.flow()),
            TCFLSH => done(self.flush()),
            _ => None,
        }
    }

    fn flow(&self) -> Result<(), Errno> {
        self.check_own_change()?;
        let action = u32::try_from(self.arg).map_err(|_| EINVAL)?;
        self.pty.update(|pair, fx| {
            let modes = if self.side == Side::Slave { *pair.ntty.termios() } else { PTY_TERMIOS };
            match action {
                TCOOFF => pair.stop_by_hand(self.side, true, fx),
                TCOON => pair.stop_by_hand(self.side, false, fx),
                TCIOFF | TCION => {
                    let c = modes.cc(if action == TCIOFF { VSTOP } else { VSTART });
                    if c != POSIX_VDISABLE {
                        pair.send_xchar(self.side, c, fx);
                    }
                }
                _ => return Err(EINVAL),
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<(), Errno> {
        self.check_own_change()?;
        let queue = u32::try_from(self.arg).map_err(|_| EINVAL)?;
        self.pty.update(|pair, fx| {
            if !matches!(queue, TCIFLUSH | TCOFLUSH | TCIOFLUSH) {
                return Err(EINVAL);
            }
            if queue != TCOFLUSH {
                pair.flush_input(self.side, fx);
            }
            if queue != TCIFLUSH {
                pair.flush_output(self.side, fx);
            }
            Ok(())
        })
    }

    /// Linux: `tty_mode_ioctl`.
    fn modes(&self, cmd: u32) -> Done {
        let present = || self.pty.update(|pair, _| *pair.ntty.termios());
        let set = |how: UserTermios, flush| self.set_termios(how, flush);
        let old = |flush| self.check_change().and_then(|()| set(UserTermios::Old(self.get()?), flush));
        let new = |flush| self.check_change().and_then(|()| set(UserTermios::New(self.get()?), flush));
        let ancient = |flush| {
            self.check_change().and_then(|()| set(UserTermios::Ancient(self.get::<Termio>()?), flush))
        };
        done(match cmd {
            TCGETS => self.put(&to_termios(&present())),
            TCGETS2 => self.put(&present()),
            TCGETA => self.put(&to_termio(&present())),
            TCSETS | TCSETSW => old(false),
            TCSETSF => old(true),
            TCSETS2 | TCSETSW2 => new(false),
            TCSETSF2 => new(true),
            TCSETA | TCSETAW => ancient(false),
            TCSETAF => ancient(true),
            TIOCGLCKTRMIOS => self.put(&to_termios(&self.pty.update(|pair, _| pair.ntty.locked))),
            TIOCSLCKTRMIOS => self.lock_termios(),
            TIOCGSOFTCAR => self.put(&i32::from(present().c_cflag & CLOCAL != 0)),
            TIOCSSOFTCAR => self.get().map(|on: i32| {
                let mut modes = present();
                modes.c_cflag = if on != 0 { modes.c_cflag | CLOCAL } else { modes.c_cflag & !CLOCAL };
                self.pty.update(|pair, fx| pair.set_termios(&modes, fx));
            }),
            _ => return None,
        })
    }

    fn set_termios(&self, modes: UserTermios, flush: bool) -> Result<(), Errno> {
        self.pty.update(|pair, fx| {
            if flush {
                pair.flush_input(Side::Slave, fx);
            }
            let modes = modes.over(pair.ntty.termios());
            pair.set_termios(&modes, fx);
        });
        Ok(())
    }

    fn lock_termios(&self) -> Result<(), Errno> {
        self.require_privilege()?;
        let locked: Termios = self.get()?;
        self.pty.update(|pair, _| {
            pair.ntty.locked = UserTermios::Old(locked).over(&Termios2::default());
        });
        Ok(())
    }
}
