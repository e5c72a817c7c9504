//! Names, attributes, directories.

use super::{Fixture, Names};
use crate::Sharing;
use fs_vfs::{FileType, Inode, LinkTarget, NewNode, NodeKind, Rename, RenameFlags, SetAttr, SetTime};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EIO, ELOOP, ENOENT, ENOTEMPTY, EROFS};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::time::Timespec;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Arc;

fn rename(fs: &Fixture, dir: &Arc<Inode>, old: &str, new: &str, flags: RenameFlags) -> Result<(), Errno> {
    let target = dir.ops().lookup(dir, &fs.ctx, old.as_bytes())?;
    let replaced = dir.ops().lookup(dir, &fs.ctx, new.as_bytes()).ok();
    let rename = Rename {
        old_dir: dir,
        old_name: old.as_bytes(),
        target: &target,
        new_dir: dir,
        new_name: new.as_bytes(),
        replaced: replaced.as_ref(),
        flags,
    };
    dir.ops().rename(&rename, &fs.ctx)
}

#[test]
fn numbers_and_attributes_are_the_hosts() -> Result<(), Errno> {
    let fs = Fixture::new(false, Sharing::Exclusive)?;
    fs.put("f", b"hello")?;
    let meta = std::fs::metadata(fs.host("f")).map_err(|_| EIO)?;
    let inode = fs.walk("f")?;
    let attr = inode.getattr()?;
    assert_eq!((attr.ino, attr.size, attr.perm), (meta.ino(), 5, meta.mode() & 0o7777));
    assert_eq!(attr.mtime.tv_sec, meta.mtime());
    assert!(Arc::ptr_eq(&inode, &fs.walk("f")?));
    assert_eq!(fs.walk("g").err(), Some(ENOENT));
    let dir = fs.dir();
    assert_eq!(fs.make(&dir, "new", NodeKind::Regular).err(), Some(EROFS));
    // Nobody else changes an exclusive tree: what is known is not asked for again.
    fs.put("f", b"longer than before")?;
    assert_eq!(inode.getattr()?.size, 5);
    Ok(())
}

#[test]
fn shared_trees_are_asked_again() -> Result<(), Errno> {
    let fs = Fixture::new(false, Sharing::Shared)?;
    let dir = fs.dir();
    assert!(dir.sb().revalidates());
    fs.put("f", b"1")?;
    let inode = fs.walk("f")?;
    assert!(dir.ops().revalidate(&dir, &fs.ctx, b"f", Some(&inode)));
    fs.put("f", b"12345")?;
    assert_eq!(inode.getattr()?.size, 5);
    fs.put("g", b"")?;
    std::fs::rename(fs.host("g"), fs.host("f")).map_err(|_| EIO)?;
    assert!(!dir.ops().revalidate(&dir, &fs.ctx, b"f", Some(&inode)));
    assert!(dir.ops().revalidate(&dir, &fs.ctx, b"g", None));
    assert!(!dir.ops().revalidate(&dir, &fs.ctx, b"f", None));
    Ok(())
}

#[test]
fn host_links_are_shown_and_never_followed() -> Result<(), Errno> {
    let fs = Fixture::new(true, Sharing::Shared)?;
    symlink("/etc", fs.host("out")).map_err(|_| EIO)?;
    let link = fs.walk("out")?;
    assert_eq!(link.file_type(), FileType::Symlink);
    let LinkTarget::Path(target) = link.ops().readlink(&link, &fs.ctx)? else { return Err(EIO) };
    assert_eq!(target, b"/etc");
    // A directory that turns into a link behind our back leads nowhere.
    std::fs::create_dir(fs.host("d")).map_err(|_| EIO)?;
    let d = fs.walk("d")?;
    std::fs::rename(fs.host("d"), fs.host("elsewhere")).map_err(|_| EIO)?;
    symlink("/etc", fs.host("d")).map_err(|_| EIO)?;
    assert!(d.ops().lookup(&d, &fs.ctx, b"passwd").is_err());
    // So does a file.
    fs.put("f", b"mine")?;
    let f = fs.walk("f")?;
    std::fs::remove_file(fs.host("f")).map_err(|_| EIO)?;
    symlink("/etc/passwd", fs.host("f")).map_err(|_| EIO)?;
    assert_eq!(f.ops().open(&f, &fs.ctx, OpenFlags::default()).err(), Some(ELOOP));
    Ok(())
}

#[test]
fn deep_trees_need_few_descriptors() -> Result<(), Errno> {
    let fs = Fixture::new(true, Sharing::Exclusive)?;
    let mut chains = Vec::new();
    for chain in 0..4 {
        let mut dir = fs.make(&fs.dir(), &format!("c{chain}"), NodeKind::Directory)?;
        for _ in 0..40 {
            dir = fs.make(&dir, "d", NodeKind::Directory)?;
        }
        chains.push(dir);
    }
    for (n, dir) in chains.iter().enumerate() {
        let file = fs.make(dir, "leaf", NodeKind::Regular)?;
        let open = fs.open(&file, OpenFlags::RDWR)?;
        fs.write(&open, &[u8::try_from(n).map_err(|_| EIO)?], 0)?;
    }
    for (n, dir) in chains.iter().enumerate() {
        let file = dir.ops().lookup(dir, &fs.ctx, b"leaf")?;
        let open = fs.open(&file, OpenFlags::default())?;
        assert_eq!(fs.read(&open, 10, 0)?, [u8::try_from(n).map_err(|_| EIO)?]);
    }
    Ok(())
}

#[test]
fn changes_reach_the_host() -> Result<(), Errno> {
    let fs = Fixture::new(true, Sharing::Exclusive)?;
    let dir = fs.dir();
    let f = fs.make(&dir, "f", NodeKind::Regular)?;
    let sub = fs.make(&dir, "sub", NodeKind::Directory)?;
    fs.make(&sub, "x", NodeKind::Fifo)?;
    fs.make(&dir, "l", NodeKind::Symlink(b"f".to_vec()))?;
    assert_eq!(std::fs::read_link(fs.host("l")).map_err(|_| EIO)?.to_str(), Some("f"));
    dir.ops().link(&dir, &fs.ctx, b"g", &f)?;
    assert_eq!(f.getattr()?.nlink, 2);
    assert_eq!(dir.ops().rmdir(&dir, &fs.ctx, b"sub", &sub), Err(ENOTEMPTY));
    rename(&fs, &dir, "g", "h", RenameFlags::empty())?;
    rename(&fs, &dir, "f", "sub", RenameFlags::EXCHANGE)?;
    assert!(std::fs::metadata(fs.host("f")).map_err(|_| EIO)?.is_dir());
    assert!(Arc::ptr_eq(&fs.walk("sub")?, &f));
    let time = Timespec { tv_sec: 1000, tv_nsec: 5 };
    let change = SetAttr { perm: Some(0o640), mtime: Some(SetTime::To(time)), ..SetAttr::default() };
    f.ops().setattr(&f, &change)?;
    let attr = f.getattr()?;
    assert_eq!((attr.perm, attr.mtime), (0o640, time));
    // Removed while open: still there for those who hold it.
    let open = fs.open(&f, OpenFlags::RDWR)?;
    dir.ops().unlink(&dir, &fs.ctx, b"sub", &f)?;
    dir.ops().unlink(&dir, &fs.ctx, b"h", &f)?;
    fs.write(&open, b"late", 0)?;
    assert_eq!((f.getattr()?.nlink, f.getattr()?.size), (0, 4));
    assert_eq!(fs.walk("sub").err(), Some(ENOENT));
    Ok(())
}

#[test]
fn a_nameless_file_gets_a_name() -> Result<(), Errno> {
    let fs = Fixture::new(true, Sharing::Exclusive)?;
    let dir = fs.dir();
    let attr = dir.getattr()?;
    let node = NewNode::new(NodeKind::Regular, 0o600, attr.uid, attr.gid);
    let f = dir.ops().tmpfile(&dir, &fs.ctx, node)?;
    let open = fs.open(&f, OpenFlags::RDWR)?;
    fs.write(&open, b"data", 0)?;
    match dir.ops().link(&dir, &fs.ctx, b"named", &f) {
        // Only the capable may.
        Err(ENOENT) => return Ok(()),
        other => other?,
    }
    assert_eq!(std::fs::read(fs.host("named")).map_err(|_| EIO)?, b"data");
    Ok(())
}

#[test]
fn listings_are_complete_and_go_on_where_they_stopped() -> Result<(), Errno> {
    for (writable, sharing) in [(false, Sharing::Exclusive), (true, Sharing::Shared)] {
        let fs = Fixture::new(writable, sharing)?;
        for n in 0..300 {
            fs.put(&format!("file{n}"), b"")?;
        }
        let dir = fs.dir();
        let open = fs.open(&dir, OpenFlags::default())?;
        let mut names = Names::default();
        for _ in 0..50 {
            names.room = 7;
            open.readdir(&fs.ctx, &mut names)?;
        }
        assert_eq!(names.seen.len(), 302);
        let seventh = names.seen.get(7).cloned();
        let unique: std::collections::HashSet<_> = names.seen.iter().map(|(n, _)| n.clone()).collect();
        assert_eq!(unique.len(), 302);
        let dots: Vec<_> = names.seen.iter().filter(|(n, _)| n.starts_with('.')).map(|(_, i)| *i).collect();
        assert_eq!(dots, [dir.ino(), dir.ino()]);
        // Back to the start, and to a position in between.
        open.lseek(0, 0)?;
        let mut again = Names { room: 7, ..Names::default() };
        open.readdir(&fs.ctx, &mut again)?;
        let pos = i64::try_from(open.pos()).map_err(|_| EIO)?;
        again.room = 1000;
        open.readdir(&fs.ctx, &mut again)?;
        open.lseek(pos, 0)?;
        let mut tail = Names { room: 1, ..Names::default() };
        open.readdir(&fs.ctx, &mut tail)?;
        assert_eq!(tail.seen.first().cloned(), seventh);
        assert_eq!(again.seen, names.seen);
    }
    Ok(())
}
