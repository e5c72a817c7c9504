//! Linux: fs/overlayfs/copy_up.c.

use crate::inode::{Origin, OvlInode, Place, inherit_mount_flags, need_upper, ovl_inode};
use crate::whiteout::{is_private_xattr, lookup_real};
use fs_vfs::{
    AclType, Attr, File, FileType, Inode, LinkTarget, NewNode, NodeKind, SetAttr, SetTime, TaskContext,
    XattrFlags,
};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EEXIST, EINVAL, EIO, ENODATA, ENXIO, EOPNOTSUPP};
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;

/// Bytes copied at once. A larger buffer would be mapped anew, and fault, each time.
const CHUNK: usize = 64 << 10;

impl OvlInode {
    /// The upper file, made by copying if there is none yet. Linux: `ovl_copy_up`.
    ///
    /// # Errors
    /// `EROFS` without an upper layer; those of the layers.
    pub(crate) fn copy_up(&self, inode: &Inode) -> Result<Arc<Inode>, Errno> {
        self.copy_up_to(inode, u64::MAX)
    }

    /// As [`OvlInode::copy_up`], for a file that is about to be truncated to `size`: no more is copied.
    pub(crate) fn copy_up_to(&self, inode: &Inode, size: u64) -> Result<Arc<Inode>, Errno> {
        if let Some(upper) = self.upper() {
            return Ok(upper.clone());
        }
        // The directories first, from the top: not by recursion, for a guest decides how deep they are.
        let mut missing: Vec<Arc<Inode>> = Vec::new();
        let mut place = self.place();
        while let Some(at) = place {
            let node = ovl_inode(&at.dir)?;
            if node.upper().is_some() {
                break;
            }
            place = node.place();
            missing.push(at.dir);
        }
        while let Some(dir) = missing.pop() {
            ovl_inode(&dir)?.copy_up_one(&dir, u64::MAX)?;
        }
        self.copy_up_one(inode, size)
    }

    fn copy_up_one(&self, inode: &Inode, size: u64) -> Result<Arc<Inode>, Errno> {
        let _copying = self.copying.lock();
        if let Some(upper) = self.upper() {
            return Ok(upper.clone());
        }
        let lower = self.lower.first().ok_or(EIO)?;
        // The root of an overlay has an upper directory or never will; so has what has no name any more.
        let place = need_upper(self.place())?;
        let attr = lower.getattr()?;
        // Known before anybody can find the upper file by its name.
        let mark = |upper: &Inode| {
            inherit_mount_flags(upper, lower.ops().mount_flags(lower));
            if lower.is_dir() || attr.nlink <= 1 {
                upper.attached_or(|| Origin { ino: inode.ino(), lower: lower.clone() });
            }
        };
        let upper = if inode.file_type() == FileType::Regular {
            self.copy_regular(lower, &attr, &place, size, mark)?
        } else {
            self.copy_other(lower, &attr, &place, mark)?
        };
        self.set_upper(upper.clone());
        ovl_inode(&place.dir)?.dir_modified();
        Ok(upper)
    }

    /// Copies a file whole before it gets its name. Linux: `ovl_copy_up_tmpfile`.
    fn copy_regular(
        &self,
        lower: &Arc<Inode>,
        attr: &Attr,
        place: &Place,
        size: u64,
        mark: impl FnOnce(&Inode),
    ) -> Result<Arc<Inode>, Errno> {
        let ctx = &self.fs.mounter;
        let dir = ovl_inode(&place.dir)?;
        let upper_dir = need_upper(dir.upper())?;
        let node = new_node(NodeKind::Regular, attr);
        let upper = upper_dir.ops().tmpfile(upper_dir, ctx, node)?;
        let len = attr.size.min(size);
        if len > 0 {
            let from = self.fs.open_real(ctx, lower, OpenFlags::NOATIME)?;
            let to = self.fs.open_real(ctx, &upper, OpenFlags::RDWR)?;
            copy_data(ctx, &from, &to, len)?;
        }
        // A hole at the end is in no write.
        upper.ops().setattr(&upper, &SetAttr { size: Some(len), ..SetAttr::default() })?;
        copy_attributes(lower, &upper, attr)?;
        mark(&upper);
        let _entries = dir.entries.write_nested();
        // Removed or renamed meanwhile? Its name is what it is now.
        if let Some(now) = self.place()
            && Arc::ptr_eq(&now.dir, &place.dir)
        {
            let before = upper_dir.getattr()?;
            match upper_dir.ops().link(upper_dir, ctx, &now.name, &upper) {
                // Another inode of the same name, of a lower file with several, was quicker.
                Err(EEXIST) => return lookup_real(ctx, upper_dir, &now.name)?.ok_or(EEXIST),
                other => other?,
            }
            restore_times(upper_dir, &before)?;
        }
        Ok(upper)
    }

    /// Copies what has no contents.
    fn copy_other(
        &self,
        lower: &Arc<Inode>,
        attr: &Attr,
        place: &Place,
        mark: impl FnOnce(&Inode),
    ) -> Result<Arc<Inode>, Errno> {
        let ctx = &self.fs.mounter;
        let kind = match lower.file_type() {
            FileType::Directory => NodeKind::Directory,
            FileType::Symlink => match lower.ops().readlink(lower, ctx)? {
                LinkTarget::Path(target) => NodeKind::Symlink(target),
                LinkTarget::Jump(_) => return Err(EINVAL),
            },
            FileType::Fifo => NodeKind::Fifo,
            FileType::Socket => NodeKind::Socket,
            FileType::CharDevice => NodeKind::CharDevice(lower.rdev()),
            FileType::BlockDevice => NodeKind::BlockDevice(lower.rdev()),
            FileType::Regular | FileType::Anonymous => return Err(EINVAL),
        };
        let dir = ovl_inode(&place.dir)?;
        let upper_dir = need_upper(dir.upper())?;
        let _entries = dir.entries.write_nested();
        let before = upper_dir.getattr()?;
        let upper = upper_dir.ops().create(upper_dir, ctx, &place.name, new_node(kind, attr))?;
        mark(&upper);
        copy_attributes(lower, &upper, attr)?;
        restore_times(upper_dir, &before)?;
        Ok(upper)
    }
}

fn new_node(kind: NodeKind, attr: &Attr) -> NewNode {
    NewNode::new(kind, attr.perm, attr.uid, attr.gid)
}

/// Linux: `ovl_copy_up_data`. Holes stay holes.
fn copy_data(ctx: &dyn TaskContext, from: &File, to: &File, len: u64) -> Result<(), Errno> {
    let mut buf = vec![0u8; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
    let mut pos = 0;
    while pos < len {
        pos = match from.ops().seek_data(from, pos, false) {
            Ok(data) => data.max(pos),
            Err(ENXIO) => return Ok(()),
            Err(_) => pos,
        };
        if pos >= len {
            return Ok(());
        }
        let want = usize::try_from(len - pos).unwrap_or(CHUNK).min(buf.len());
        let chunk = buf.get_mut(..want).ok_or(EIO)?;
        let n = from.ops().read(from, ctx, &mut IoDst::from_slice(chunk), pos)?;
        if n == 0 {
            return Ok(());
        }
        let mut src = IoSrc::from_slice(chunk.get(..n).ok_or(EIO)?);
        while src.remaining() > 0 {
            pos = to.ops().write(to, ctx, &mut src, pos)?.end;
        }
    }
    Ok(())
}

/// Linux: `ovl_copy_xattr` and `ovl_set_attr`.
fn copy_attributes(lower: &Arc<Inode>, upper: &Arc<Inode>, attr: &Attr) -> Result<(), Errno> {
    for name in lower.ops().listxattr(lower)? {
        if is_private_xattr(&name) {
            continue;
        }
        let value = match lower.ops().getxattr(lower, &name) {
            Err(ENODATA) => continue,
            other => other?,
        };
        match upper.ops().setxattr(upper, &name, &value, XattrFlags::empty()) {
            // As Linux: what only the lower filesystem knows is left behind.
            Ok(()) | Err(EOPNOTSUPP) => {}
            Err(e) => return Err(e),
        }
    }
    for kind in [AclType::Access, AclType::Default] {
        if let Some(acl) = lower.get_acl(kind)? {
            match upper.ops().set_acl(upper, kind, Some(acl), None) {
                Ok(()) | Err(EOPNOTSUPP) => {}
                Err(e) => return Err(e),
            }
        }
    }
    let set = SetAttr {
        atime: Some(SetTime::To(attr.atime)),
        mtime: Some(SetTime::To(attr.mtime)),
        ..SetAttr::default()
    };
    upper.ops().setattr(upper, &set)
}

/// A directory in which something was copied up looks as before.
fn restore_times(dir: &Arc<Inode>, before: &Attr) -> Result<(), Errno> {
    let set = SetAttr {
        atime: Some(SetTime::To(before.atime)),
        mtime: Some(SetTime::To(before.mtime)),
        ..SetAttr::default()
    };
    dir.ops().setattr(dir, &set)
}
