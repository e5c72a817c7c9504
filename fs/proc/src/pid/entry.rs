//! Entries of a process's directory. Linux: fs/proc/base.c, `struct pid_entry`.

use crate::pid::{ProcTask, Subject};
use crate::procfs::Caller;
use fs_kernfs::{Node, NodeAttr, NodeOps, SeqNode};
use fs_vfs::{Access, Attr, File, FileType, TaskContext, generic_permission};
use sentry_auth::{Cred, UserNamespace};
use sentry_kernel::PidNamespace;
use sentry_mm::IoSrc;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, EINVAL, EIO};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::Arc;

/// Most bytes one write to a file of a process may have.
const STORE_MAX: usize = 4096;

/// A read of, or write to, a file of a process.
pub(crate) struct View<'a> {
    /// The process.
    pub(crate) at: &'a ProcTask,
    /// The same, found.
    pub(crate) who: Subject,
    /// The open file.
    pub(crate) file: &'a File,
    /// Who reads or writes.
    pub(crate) ctx: &'a dyn TaskContext,
}

impl View<'_> {
    /// The user namespace ids are shown in: the opener's. Linux: `seq_user_ns`.
    pub(crate) fn user_ns(&self) -> &Arc<UserNamespace> {
        &self.file.cred().user_ns
    }

    /// The pid namespace ids are shown in. Linux: `proc_pid_ns`.
    pub(crate) fn pid_ns(&self) -> &Arc<PidNamespace> {
        &self.at.fs.pid_ns
    }

    /// Whether the reader may look into the process. Linux: `ptrace_may_access`.
    pub(crate) fn may_access(&self) -> bool {
        self.who.task().is_some_and(|task| Caller::new(self.ctx).may_access(task))
    }
}

/// Puts a file's text out.
pub(crate) type Show = fn(&View<'_>, &mut Vec<u8>) -> Result<(), Errno>;
/// Takes what is written at a position.
pub(crate) type Store = fn(&View<'_>, &[u8], u64) -> Result<(), Errno>;

/// What stands behind a name.
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// Text for everybody whom the permission bits let in.
    Public(Show),
    /// Text for those who may trace the process; the rest gets `EACCES` from open(2).
    Private(Show),
    /// Text that can be written as well.
    Store(Show, Store),
    /// A directory.
    Dir(fn(&ProcTask) -> Node),
    /// A link.
    Link(fn(&ProcTask) -> Node),
    /// A file that does everything itself.
    File(fn(&ProcTask) -> Node),
}

/// A name in the directory of every process or thread.
pub(crate) struct PidEntry {
    pub(crate) name: &'static str,
    perm: u32,
    what: What,
}

impl PidEntry {
    pub(crate) const fn new(name: &'static str, perm: u32, what: What) -> PidEntry {
        PidEntry { name, perm, what }
    }

    pub(crate) fn file_type(&self) -> FileType {
        match self.what {
            What::Dir(_) => FileType::Directory,
            What::Link(_) => FileType::Symlink,
            _ => FileType::Regular,
        }
    }

    pub(crate) fn node(&self, at: &ProcTask) -> Node {
        match self.what {
            What::Dir(make) | What::Link(make) | What::File(make) => make(at),
            what => Node::seq(PidText { at: at.clone(), name: self.name, perm: self.perm, what }),
        }
    }
}

/// A file of text.
struct PidText {
    at: ProcTask,
    name: &'static str,
    perm: u32,
    what: What,
}

impl PidText {
    fn view<'a>(&'a self, file: &'a File, ctx: &'a dyn TaskContext) -> Result<View<'a>, Errno> {
        Ok(View { at: &self.at, who: self.at.subject()?, file, ctx })
    }
}

impl NodeOps for PidText {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(self.perm, false)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }

    /// The threads of a process may always name each other, however little may be known of it. Linux:
    /// `proc_tid_comm_permission`.
    fn permission(&self, attr: &Attr, file_type: FileType, cred: &Cred, access: Access) -> Result<(), Errno> {
        let of_thread = !self.at.whole && self.name == "comm" && !access.contains(Access::EXEC);
        if of_thread && self.at.task().is_ok_and(|t| Caller::Cred(cred).is_of_process(&t)) {
            return Ok(());
        }
        generic_permission(attr, file_type, cred, access)
    }
}

impl SeqNode for PidText {
    fn open(&self, ctx: &dyn TaskContext, _flags: OpenFlags) -> Result<(), Errno> {
        let who = self.at.subject()?;
        match (self.what, who.task()) {
            (What::Private(_), Some(task)) if !Caller::new(ctx).may_access(task) => Err(EACCES),
            _ => Ok(()),
        }
    }

    fn show(&self, file: &File, ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        let view = self.view(file, ctx)?;
        match self.what {
            // Asked again: the process may have changed its program or its ids since it was opened.
            What::Private(_) if view.who.task().is_some() && !view.may_access() => Err(EACCES),
            What::Public(show) | What::Private(show) | What::Store(show, _) => show(&view, out),
            What::Dir(_) | What::Link(_) | What::File(_) => Err(EIO),
        }
    }

    fn pwritable(&self) -> bool {
        false
    }

    fn write(
        &self,
        file: &File,
        ctx: &dyn TaskContext,
        src: &mut IoSrc<'_>,
        pos: u64,
    ) -> Result<usize, Errno> {
        let What::Store(_, store) = self.what else { return Err(EIO) };
        if src.remaining() > STORE_MAX {
            return Err(EINVAL);
        }
        let bytes = src.read_vec(STORE_MAX)?;
        store(&self.view(file, ctx)?, &bytes, pos)?;
        Ok(bytes.len())
    }
}

/// A written number, base 10, 16 after `0x` or 8 after `0`, with blanks around it. Linux: `kstrtoint` after `strstrip`.
///
/// # Errors
/// `EINVAL`.
pub(crate) fn parse_int(bytes: &[u8]) -> Result<i64, Errno> {
    let text = str::from_utf8(bytes).map_err(|_| EINVAL)?;
    let text = text.trim_end_matches('\0').trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(EINVAL);
    }
    let value = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    let value = value.map_err(|_| EINVAL)?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(parse_int(b"12\n"), Ok(12));
        assert_eq!(parse_int(b" -17 "), Ok(-17));
        assert_eq!(parse_int(b"0x1f"), Ok(31));
        assert_eq!(parse_int(b"010"), Ok(8));
        for bad in [&b""[..], b"x", b"1 2", b"--1", b"0x", b"-+1"] {
            assert_eq!(parse_int(bad), Err(EINVAL));
        }
    }
}
