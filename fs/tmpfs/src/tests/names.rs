//! Directories, links, renames, attributes.

use super::{Fixture, Names, node};
use crate::make_node;
use fs_vfs::{FileType, Inode, LinkTarget, NodeKind, Rename, RenameFlags, XattrFlags};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EEXIST, ENODATA, ENOENT, ENOSPC, ENOTEMPTY, EOPNOTSUPP};
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;

fn rename(
    fs: &Fixture,
    from: (&Arc<Inode>, &str),
    to: (&Arc<Inode>, &str),
    flags: RenameFlags,
) -> Result<(), Errno> {
    let target = from.0.ops().lookup(from.0, &fs.ctx, from.1.as_bytes())?;
    let replaced = to.0.ops().lookup(to.0, &fs.ctx, to.1.as_bytes()).ok();
    let rename = Rename {
        old_dir: from.0,
        old_name: from.1.as_bytes(),
        target: &target,
        new_dir: to.0,
        new_name: to.1.as_bytes(),
        replaced: replaced.as_ref(),
        flags,
    };
    from.0.ops().rename(&rename, &fs.ctx)
}

fn nlink(inode: &Inode) -> Result<u32, Errno> {
    Ok(inode.getattr()?.nlink)
}

#[test]
fn a_reader_meets_every_lasting_entry_once_while_others_come_and_go() -> Result<(), Errno> {
    let fs = Fixture::new("")?;
    let dir = fs.dir();
    for n in 0..20 {
        fs.make(&format!("lasting{n}"), NodeKind::Regular)?;
        fs.make(&format!("gone{n}"), NodeKind::Regular)?;
    }
    let file = fs.open(&dir, OpenFlags::default())?;
    let mut names = Names::default();
    for n in 0..20 {
        names.room = 3;
        file.readdir(&fs.ctx, &mut names)?;
        let gone = format!("gone{n}");
        let target = dir.ops().lookup(&dir, &fs.ctx, gone.as_bytes())?;
        dir.ops().unlink(&dir, &fs.ctx, gone.as_bytes(), &target)?;
        fs.make(&format!("new{n}"), NodeKind::Regular)?;
    }
    names.room = 1000;
    file.readdir(&fs.ctx, &mut names)?;
    for n in 0..20 {
        let name = format!("lasting{n}");
        assert_eq!(names.seen.iter().filter(|s| **s == name).count(), 1, "{name}");
    }
    assert_eq!(&names.seen[..2], [".", ".."]);
    Ok(())
}

#[test]
fn links_are_counted() -> Result<(), Errno> {
    let fs = Fixture::new("nr_inodes=4")?;
    let dir = fs.dir();
    let f = fs.make("f", NodeKind::Regular)?;
    dir.ops().link(&dir, &fs.ctx, b"g", &f)?;
    assert_eq!(nlink(&f)?, 2);
    let sub = fs.make("d", NodeKind::Directory)?;
    assert_eq!((nlink(&sub)?, nlink(&dir)?), (2, 3));
    // A hard link counts as an inode, as on Linux.
    assert_eq!(fs.make("x", NodeKind::Fifo).err(), Some(ENOSPC));
    dir.ops().unlink(&dir, &fs.ctx, b"g", &f)?;
    fs.make("x", NodeKind::Fifo)?;
    assert_eq!(sub.getattr()?.size, 40);
    dir.ops().rmdir(&dir, &fs.ctx, b"d", &sub)?;
    assert_eq!((nlink(&sub)?, nlink(&dir)?), (0, 2));
    assert_eq!(make_node(&sub, b"late", node(NodeKind::Fifo)).err(), Some(ENOSPC));
    drop(sub);
    let sub = fs.make("d", NodeKind::Directory)?;
    dir.ops().rmdir(&dir, &fs.ctx, b"d", &sub)?;
    dir.ops().unlink(&dir, &fs.ctx, b"f", &f)?;
    drop(f);
    assert_eq!(make_node(&sub, b"late", node(NodeKind::Fifo)).err(), Some(ENOENT));
    let unnamed = dir.ops().tmpfile(&dir, &fs.ctx, node(NodeKind::Regular))?;
    assert_eq!(nlink(&unnamed)?, 0);
    dir.ops().link(&dir, &fs.ctx, b"named", &unnamed)?;
    assert_eq!(nlink(&unnamed)?, 1);
    Ok(())
}

#[test]
fn renames_replace_exchange_and_leave_whiteouts() -> Result<(), Errno> {
    let fs = Fixture::new("")?;
    let dir = fs.dir();
    let (a, b) = (fs.make("a", NodeKind::Directory)?, fs.make("b", NodeKind::Directory)?);
    let f = make_node(&a, b"f", node(NodeKind::Regular))?;
    let sub = make_node(&b, b"sub", node(NodeKind::Directory))?;
    rename(&fs, (&a, "f"), (&b, "sub"), RenameFlags::EXCHANGE)?;
    assert!(Arc::ptr_eq(&a.ops().lookup(&a, &fs.ctx, b"f")?, &sub));
    assert!(Arc::ptr_eq(&b.ops().lookup(&b, &fs.ctx, b"sub")?, &f));
    assert_eq!((nlink(&a)?, nlink(&b)?), (3, 2));
    rename(&fs, (&b, "sub"), (&dir, "top"), RenameFlags::WHITEOUT)?;
    let white = b.ops().lookup(&b, &fs.ctx, b"sub")?;
    assert_eq!((white.file_type(), white.rdev(), white.getattr()?.perm), (FileType::CharDevice, 0, 0));
    let empty = fs.make("empty", NodeKind::Directory)?;
    assert_eq!(rename(&fs, (&dir, "empty"), (&dir, "a"), RenameFlags::empty()), Err(ENOTEMPTY));
    let before = nlink(&dir)?;
    rename(&fs, (&a, "f"), (&dir, "empty"), RenameFlags::empty())?;
    assert_eq!((nlink(&a)?, nlink(&dir)?, nlink(&empty)?), (2, before, 0));
    rename(&fs, (&dir, "a"), (&dir, "c"), RenameFlags::empty())?;
    assert_eq!(dir.ops().lookup(&dir, &fs.ctx, b"a").err(), Some(ENOENT));
    Ok(())
}

#[test]
fn a_deep_tree_goes_without_deep_recursion() -> Result<(), Errno> {
    let fs = Fixture::new("nr_inodes=0")?;
    let mut dir = fs.dir();
    for _ in 0..100_000 {
        dir = make_node(&dir, b"d", node(NodeKind::Directory))?;
    }
    let sb = dir.sb().clone();
    drop(dir);
    drop(fs);
    assert_eq!(sb.ops.statfs().files_free, 0);
    Ok(())
}

#[test]
fn extended_attributes_have_known_prefixes_and_bounds() -> Result<(), Errno> {
    let fs = Fixture::new("")?;
    let f = fs.make("f", NodeKind::Regular)?;
    let none = XattrFlags::empty();
    let set = |name: &[u8], value: &[u8], flags| f.ops().setxattr(&f, name, value, flags);
    set(b"user.a", b"1", none)?;
    set(b"trusted.overlay.opaque", b"y", XattrFlags::CREATE)?;
    assert_eq!(set(b"user.a", b"2", XattrFlags::CREATE), Err(EEXIST));
    assert_eq!(set(b"user.b", b"2", XattrFlags::REPLACE), Err(ENODATA));
    assert_eq!(set(b"system.x", b"", none), Err(EOPNOTSUPP));
    assert_eq!(f.ops().getxattr(&f, b"user.a")?, b"1");
    assert_eq!(f.ops().listxattr(&f)?, [b"trusted.overlay.opaque".to_vec(), b"user.a".to_vec()]);
    set(b"user.big", &vec![0; 64 << 10], none)?;
    assert_eq!(set(b"user.more", &vec![0; 64 << 10], none), Err(ENOSPC));
    f.ops().removexattr(&f, b"user.a")?;
    assert_eq!(f.ops().getxattr(&f, b"user.a"), Err(ENODATA));
    Ok(())
}

#[test]
fn symbolic_links_keep_their_target() -> Result<(), Errno> {
    let fs = Fixture::new("")?;
    let link = fs.make("l", NodeKind::Symlink(b"/some/where".to_vec()))?;
    assert_eq!(link.getattr()?.size, 11);
    let LinkTarget::Path(target) = link.ops().readlink(&link, &fs.ctx)? else { return Err(ENOENT) };
    assert_eq!(target, b"/some/where");
    Ok(())
}
