//! Making, removing and renaming files of the host.

use crate::inode::{HostInode, Place, host_flags as flags, host_inode};
use fs_vfs::{Inode, NewNode, NodeKind, Rename, RenameFlags};
use platform_host::fs;
use sentry_uapi::Errno;
use sentry_uapi::errno::EPERM;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Makes a node and gives it its owner. The sentry's own umask is 0, so permission bits are as asked for.
pub(crate) fn create(
    parent: &HostInode,
    dir: &Arc<Inode>,
    name: &[u8],
    node: &NewNode,
) -> Result<Arc<Inode>, Errno> {
    parent.check_writable()?;
    let dir_fd = parent.path_fd()?;
    let fd = make(dir_fd.as_fd(), name, node)?;
    parent.changed();
    if let Err(e) = set_owner(parent, fd.as_fd(), node) {
        // The first error is the one to tell.
        let _ = fs::unlink_at(dir_fd.as_fd(), name, node.kind == NodeKind::Directory);
        return Err(e);
    }
    let stat = fs::stat(fd.as_fd())?;
    let inode = parent.fs.iget(dir.sb(), &stat, Some(Place { dir: dir.clone(), name: name.into() }));
    if node.kind == NodeKind::Regular {
        let made = host_inode(&inode)?;
        parent.fs.fds.store(&made.write, Arc::new(fd));
    }
    Ok(inode)
}

fn make(dir: BorrowedFd<'_>, name: &[u8], node: &NewNode) -> Result<OwnedFd, Errno> {
    match &node.kind {
        NodeKind::Regular => {
            let how = flags::O_RDWR | flags::O_CREAT | flags::O_EXCL | flags::O_SAFE;
            return fs::open_beneath(dir, name, how, node.perm);
        }
        NodeKind::Directory => fs::mkdir_at(dir, name, node.perm)?,
        NodeKind::Symlink(target) => fs::symlink_at(dir, name, target)?,
        // Of devices only the whiteout of an overlay: anything else would be a device of the host.
        NodeKind::Fifo | NodeKind::Socket | NodeKind::CharDevice(0) => {
            fs::mknod_at(dir, name, node.kind.file_type().mode_bits() | node.perm)?;
        }
        NodeKind::CharDevice(_) | NodeKind::BlockDevice(_) => return Err(EPERM),
    }
    fs::open_beneath(dir, name, flags::O_PATH, 0)
}

fn set_owner(parent: &HostInode, fd: BorrowedFd<'_>, node: &NewNode) -> Result<(), Errno> {
    let stat = fs::stat(fd)?;
    let uid = parent.fs.uid_to_host(node.uid.to_global());
    let gid = parent.fs.gid_to_host(node.gid.to_global());
    if (stat.uid, stat.gid) != (uid, gid) {
        fs::chown(fd, uid, gid)?;
        if node.kind == NodeKind::Regular {
            // A change of owner takes set-ID bits away.
            fs::chmod(fd, node.perm)?;
        }
    }
    Ok(())
}

/// Makes a file without a name.
pub(crate) fn tmpfile(parent: &HostInode, dir: &Arc<Inode>, node: &NewNode) -> Result<Arc<Inode>, Errno> {
    parent.check_writable()?;
    let how = flags::O_RDWR | flags::O_TMPFILE | flags::O_SAFE;
    let fd = Arc::new(fs::reopen_dir(parent.path_fd()?.as_fd(), how, node.perm)?);
    set_owner(parent, fd.as_fd(), node)?;
    let inode = parent.fs.iget(dir.sb(), &fs::stat(fd.as_fd())?, None);
    let made = host_inode(&inode)?;
    made.pin(fd.clone());
    parent.fs.fds.store(&made.write, fd);
    Ok(inode)
}

pub(crate) fn link(
    parent: &HostInode,
    dir: &Arc<Inode>,
    name: &[u8],
    target: &HostInode,
) -> Result<(), Errno> {
    parent.check_writable()?;
    let dir_fd = parent.path_fd()?;
    let names = parent.fs.names.read();
    match target.place() {
        Some(old) => {
            let old_dir = host_inode(&old.dir)?.path_fd_locked()?;
            fs::link_at(old_dir.as_fd(), &old.name, dir_fd.as_fd(), name)?;
        }
        None => fs::link_fd(target.path_fd_locked()?.as_fd(), dir_fd.as_fd(), name)?,
    }
    target.add_place(Place { dir: dir.clone(), name: name.into() }, u32::MAX);
    drop(names);
    parent.changed();
    target.changed();
    Ok(())
}

/// Holds on to a file whose name is about to go, so that those who use it still can.
fn keep(target: &HostInode) -> Result<bool, Errno> {
    target.pin(target.path_fd()?);
    let stat = target.stat_now()?;
    Ok(stat.nlink <= 1 || stat.mode & 0o170_000 == 0o040_000)
}

pub(crate) fn remove(
    parent: &HostInode,
    dir: &Arc<Inode>,
    name: &[u8],
    target: &HostInode,
    is_dir: bool,
) -> Result<(), Errno> {
    parent.check_writable()?;
    let last = keep(target)?;
    let dir_fd = parent.path_fd()?;
    {
        let _names = parent.fs.names.write();
        fs::unlink_at(dir_fd.as_fd(), name, is_dir)?;
        lost_name(target, &Place { dir: dir.clone(), name: name.into() }, last);
    }
    parent.changed();
    Ok(())
}

fn lost_name(target: &HostInode, place: &Place, last: bool) {
    target.remove_place(place);
    target.changed();
    if last {
        target.fs.inodes.forget(&target.key);
    }
}

pub(crate) fn rename(r: &Rename<'_>) -> Result<(), Errno> {
    let (old_dir, new_dir) = (host_inode(r.old_dir)?, host_inode(r.new_dir)?);
    let target = host_inode(r.target)?;
    old_dir.check_writable()?;
    let exchange = r.flags.contains(RenameFlags::EXCHANGE);
    let replaced = r.replaced.map(|i| host_inode(i)).transpose()?;
    let last = match replaced {
        Some(other) if !exchange => keep(other)?,
        _ => false,
    };
    let (old_fd, new_fd) = (old_dir.path_fd()?, new_dir.path_fd()?);
    let names = old_dir.fs.names.write();
    fs::rename_at(old_fd.as_fd(), r.old_name, new_fd.as_fd(), r.new_name, r.flags.bits())?;
    let old = Place { dir: r.old_dir.clone(), name: r.old_name.into() };
    let new = Place { dir: r.new_dir.clone(), name: r.new_name.into() };
    match replaced {
        // Both names were the same file: nothing happened.
        Some(other) if other.key == target.key => {}
        Some(other) => {
            lost_name(other, &new, last);
            target.remove_place(&old);
            target.add_place(new, u32::MAX);
            if exchange {
                other.add_place(old, u32::MAX);
            }
        }
        None => {
            target.remove_place(&old);
            target.add_place(new, u32::MAX);
        }
    }
    drop(names);
    old_dir.changed();
    new_dir.changed();
    target.changed();
    Ok(())
}
