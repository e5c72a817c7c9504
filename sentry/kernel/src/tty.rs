//! What the kernel needs of a controlling terminal. The terminal itself is a filesystem's (`devpts`).

use std::any::Any;

/// A terminal that can be a session's controlling terminal. Linux: include/linux/tty.h.
pub trait Tty: Any + Send + Sync {
    /// Device number, as `/proc/[pid]/stat` shows it.
    fn device(&self) -> u64;
    /// The foreground process group (global number); 0 for none.
    fn foreground(&self) -> u32;
    /// The session leader has ended, or let go with TIOCNOTTY: the terminal belongs to nobody.
    fn session_gone(&self);
    /// For the terminal driver to get back at its own type.
    fn as_any(&self) -> &dyn Any;
}
