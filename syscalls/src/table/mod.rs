//! The table of system calls: one row per call, which alone knows its number, arguments and state of support.

mod x86_64;

use crate::arg::ArgKind;
use sentry_kernel::SyscallFn;
use sentry_uapi::Errno;
use sentry_uapi::sysno::NR_SYSCALLS;

/// How much of a call there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// All of it.
    Full,
    /// Some of it; the text says what is missing.
    Partial(&'static str),
    /// None of it; it fails with this error, for this reason.
    Missing(Errno, &'static str),
}

/// A row.
pub struct Row {
    /// Number.
    pub nr: u32,
    /// Name.
    pub name: &'static str,
    /// Names and kinds of its arguments.
    pub args: &'static [(&'static str, ArgKind)],
    /// The handler.
    pub handler: SyscallFn,
    /// State of support.
    pub support: Support,
}

/// All rows, by number.
pub fn rows() -> &'static [Row] {
    x86_64::ROWS
}

/// The handlers by number, as the kernel takes them.
pub fn entries() -> Vec<Option<SyscallFn>> {
    let mut entries = vec![None; NR_SYSCALLS];
    for row in rows() {
        if let Some(slot) = usize::try_from(row.nr).ok().and_then(|nr| entries.get_mut(nr)) {
            *slot = Some(row.handler);
        }
    }
    entries
}

/// The row of a number.
pub fn row(nr: u64) -> Option<&'static Row> {
    let nr = u32::try_from(nr).ok()?;
    rows().iter().find(|r| r.nr == nr)
}

/// One row for each line: `number, name(argument: type, …), support;`. The handler has the call's name; a missing call
/// has none.
macro_rules! table {
    ($( $nr:literal, $name:ident ( $($arg:ident : $type:ty),* ), $support:ident $(($($note:expr),*))? ; )*) => {
        pub(super) const ROWS: &[crate::table::Row] = &[
            $( crate::table::Row {
                nr: $nr,
                name: stringify!($name),
                args: &[$((stringify!($arg), <$type as crate::arg::FromArg>::KIND)),*],
                handler: table!(@handler $support $(($($note),*))?, $name, $($type),*),
                support: crate::table::Support::$support $(($($note),*))?,
            }, )*
        ];
    };
    (@handler Missing ($errno:expr, $why:expr), $name:ident, $($type:ty),*) => {
        |_, _| Err($errno.into())
    };
    (@handler $support:ident $(($($note:expr),*))?, $name:ident, $($type:ty),*) => {
        |task, args| {
            #[allow(unused_mut, unused_variables)]
            let mut args = args.into_iter();
            $name(task, $(<$type as crate::arg::FromArg>::from_arg(args.next().unwrap_or(0))),*)
        }
    };
}
pub(crate) use table;
