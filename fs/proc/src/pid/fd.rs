//! `/proc/[pid]/{fd,fdinfo}`. Linux: fs/proc/fd.c.

use crate::pid::ProcTask;
use crate::procfs::Caller;
use crate::seq::put;
use fs_kernfs::{DirNode, Emit, LinkNode, Node, NodeAttr, NodeOps, SeqNode};
use fs_vfs::{
    Access, Attr, FIRST_ENTRY, FdTable, File, FileType, LinkTarget, Path, TaskContext, d_path,
    generic_permission,
};
use sentry_auth::Cred;
use sentry_kernel::PidFd;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EACCES, ENOENT, ESRCH};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::Arc;

pub(crate) fn dir(at: &ProcTask) -> Node {
    Node::dir(FdDir { at: at.clone(), info: false })
}

pub(crate) fn info_dir(at: &ProcTask) -> Node {
    Node::dir(FdDir { at: at.clone(), info: true })
}

fn files(at: &ProcTask) -> Result<Arc<FdTable>, Errno> {
    at.task().and_then(|t| t.files()).map_err(|_| ENOENT)
}

/// A descriptor's number as a name: digits without a leading zero. Linux: `name_to_int`.
pub(crate) fn name_to_int(name: &[u8]) -> Option<u32> {
    let text = str::from_utf8(name).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?;
    if text.len() > 1 && text.starts_with('0') { None } else { text.parse().ok() }
}

struct FdDir {
    at: ProcTask,
    /// It is `fdinfo`.
    info: bool,
}

/// Linux: `proc_fdinfo_permission`.
fn info_permission(
    at: &ProcTask,
    attr: &Attr,
    file_type: FileType,
    cred: &Cred,
    access: Access,
) -> Result<(), Errno> {
    let task = at.task().map_err(|_| ESRCH)?;
    if !Caller::Cred(cred).may_access(&task) {
        return Err(EACCES);
    }
    generic_permission(attr, file_type, cred, access)
}

impl NodeOps for FdDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(if self.info { 0o555 } else { 0o500 }, true)
    }

    fn alive(&self) -> bool {
        self.at.exists()
    }

    /// A process may always look at its own descriptors, whatever its ids have become. Linux: `proc_fd_permission`.
    fn permission(&self, attr: &Attr, file_type: FileType, cred: &Cred, access: Access) -> Result<(), Errno> {
        if self.info {
            return info_permission(&self.at, attr, file_type, cred, access);
        }
        match generic_permission(attr, file_type, cred, access) {
            Err(e) => {
                let task = self.at.task().map_err(|_| e)?;
                if Caller::Cred(cred).is_of_process(&task) { Ok(()) } else { Err(e) }
            }
            Ok(()) => Ok(()),
        }
    }
}

impl DirNode for FdDir {
    fn lookup(&self, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        let fd = name_to_int(name).and_then(|fd| i32::try_from(fd).ok()).ok_or(ENOENT)?;
        let file = files(&self.at)?.get_raw(fd).ok_or(ENOENT)?;
        let at = self.at.clone();
        Ok(if self.info {
            Node::seq(FdInfo { at, fd })
        } else {
            Node::link(FdLink { at, fd, perm: link_perm(&file) })
        })
    }

    fn list(&self, _ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let files = files(&self.at)?;
        let file_type = if self.info { FileType::Regular } else { FileType::Symlink };
        let mut at = usize::try_from(from.saturating_sub(FIRST_ENTRY)).unwrap_or(usize::MAX);
        while let Some((fd, _file)) = files.next_fd(at) {
            let next = u64::try_from(fd).unwrap_or(u64::MAX).saturating_add(FIRST_ENTRY + 1);
            if !emit(fd.to_string().as_bytes(), file_type, next) {
                break;
            }
            at = fd.saturating_add(1);
        }
        Ok(())
    }
}

/// A link's permission bits tell what the descriptor may do. Linux: `tid_fd_update_inode`.
fn link_perm(file: &File) -> u32 {
    let read = if file.readable() { 0o500 } else { 0 };
    let write = if file.writable() { 0o300 } else { 0 };
    read | write
}

/// `/proc/[pid]/fd/N`.
struct FdLink {
    at: ProcTask,
    fd: i32,
    perm: u32,
}

impl FdLink {
    /// Linux: `proc_fd_link`.
    fn path(&self, ctx: &dyn TaskContext) -> Result<Path, Errno> {
        let files = self.at.access(ctx)?.files().map_err(|_| ENOENT)?;
        files.get_raw(self.fd).map(|file| file.path().clone()).ok_or(ENOENT)
    }
}

impl NodeOps for FdLink {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(NodeAttr { size: 64, ..self.at.attr(self.perm, false)? })
    }

    /// Whether the descriptor is still open, and for the same access. Linux: `tid_fd_revalidate`.
    fn alive(&self) -> bool {
        files(&self.at).ok().and_then(|f| f.get_raw(self.fd)).is_some_and(|f| link_perm(&f) == self.perm)
    }
}

impl LinkNode for FdLink {
    fn readlink(&self, ctx: &dyn TaskContext) -> Result<LinkTarget, Errno> {
        Ok(LinkTarget::Jump(self.path(ctx)?))
    }

    fn text(&self, ctx: &dyn TaskContext) -> Result<Vec<u8>, Errno> {
        Ok(d_path(&self.path(ctx)?, &ctx.fs().root()))
    }
}

/// `/proc/[pid]/fdinfo/N`.
struct FdInfo {
    at: ProcTask,
    fd: i32,
}

impl NodeOps for FdInfo {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        self.at.attr(0o444, false)
    }

    fn alive(&self) -> bool {
        files(&self.at).is_ok_and(|f| f.get_raw(self.fd).is_some())
    }

    fn permission(&self, attr: &Attr, file_type: FileType, cred: &Cred, access: Access) -> Result<(), Errno> {
        info_permission(&self.at, attr, file_type, cred, access)
    }
}

impl SeqNode for FdInfo {
    fn show(&self, _file: &File, _ctx: &dyn TaskContext, out: &mut Vec<u8>) -> Result<(), Errno> {
        let files = files(&self.at)?;
        let file = files.get_raw(self.fd).ok_or(ENOENT)?;
        let cloexec = files.cloexec(self.fd).unwrap_or(false);
        let flags = file.flags() | if cloexec { OpenFlags::CLOEXEC } else { OpenFlags::empty() };
        put(
            out,
            format_args!(
                "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{}\nino:\t{}\n",
                file.pos(),
                flags.bits(),
                file.path().mnt.id,
                file.inode().ino()
            ),
        );
        match file.downcast::<PidFd>() {
            Some(pidfd) => out.extend_from_slice(pidfd.fdinfo(&self.at.fs.pid_ns).as_bytes()),
            None => out.extend_from_slice(file.ops().show_fdinfo(&file).as_bytes()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_descriptors() {
        assert_eq!(name_to_int(b"0"), Some(0));
        assert_eq!(name_to_int(b"17"), Some(17));
        for bad in [&b""[..], b"00", b"01", b"+1", b"-1", b"1x", b"4294967296"] {
            assert_eq!(name_to_int(bad), None);
        }
    }
}
