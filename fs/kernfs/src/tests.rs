//! An example filesystem: a static tree, a counter, and a directory that follows a table.

use super::*;
use crate::simple::{link, seq, store, symlink, text};
use fs_vfs::{
    Dentry, DirSink, File, FileType, Inode, IoFlags, LinkTarget, Path, SuperFlags, TaskContext, TestContext,
};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOENT, EPERM};
use sentry_uapi::fcntl::OpenFlags;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory with an entry for each number below its size.
struct Numbers(Arc<AtomicU32>);

impl NodeOps for Numbers {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<NodeAttr, Errno> {
        Ok(NodeAttr { nlink: 2, ..NodeAttr::root(0o555) })
    }
}

impl DirNode for Numbers {
    fn lookup(&self, _ctx: &dyn TaskContext, name: &[u8]) -> Result<Node, Errno> {
        let number: u32 = str::from_utf8(name).ok().and_then(|s| s.parse().ok()).ok_or(ENOENT)?;
        if number >= self.0.load(Ordering::Relaxed) {
            return Err(ENOENT);
        }
        Ok(text(0o444, format!("{number}\n")))
    }

    fn list(&self, _ctx: &dyn TaskContext, from: u64, emit: &mut Emit<'_>) -> Result<(), Errno> {
        let names: Vec<String> = (0..self.0.load(Ordering::Relaxed)).map(|n| n.to_string()).collect();
        emit_names(names.iter().map(|n| (n.as_bytes(), FileType::Regular)), 2, from, emit);
        Ok(())
    }
}

fn example(ctx: &TestContext, size: &Arc<AtomicU32>) -> Arc<Dentry> {
    let reads = AtomicU32::new(0);
    let value = Arc::new(AtomicU32::new(7));
    let shown = value.clone();
    let root = StaticDir::new(0o555)
        .with("numbers", Node::dir(Numbers(size.clone())))
        .with(
            "reads",
            seq(0o444, move |_, out| {
                out.extend(format!("read {} times\n", reads.fetch_add(1, Ordering::Relaxed)).bytes());
                Ok(())
            }),
        )
        .with(
            "value",
            store(
                0o644,
                move |_, out| {
                    out.extend(format!("{}\n", shown.load(Ordering::Relaxed)).bytes());
                    Ok(())
                },
                move |_, new| {
                    let new = str::from_utf8(new).ok().and_then(|s| s.trim().parse().ok()).ok_or(EINVAL)?;
                    value.store(new, Ordering::Relaxed);
                    Ok(())
                },
            ),
        )
        .with("self", link(|ctx| Ok(LinkTarget::Path(ctx.ids().0.to_string().into_bytes()))))
        .with("mounts", symlink("self/mounts"));
    let params = SuperParams {
        fs_type: "example",
        magic: 0x1234,
        dev: ctx.vfs.alloc_dev(),
        user_ns: ctx.cred.user_ns.clone(),
        clocks: ctx.vfs.clocks.clone(),
        flags: SuperFlags::empty(),
        source: b"none".to_vec(),
        options: String::new(),
    };
    new_super(params, root.node())
}

fn root_inode(root: &Arc<Dentry>) -> Arc<Inode> {
    root.inode().unwrap_or_else(|| unreachable!("a root is never negative"))
}

fn open(ctx: &TestContext, root: &Arc<Dentry>, inode: &Arc<Inode>) -> Result<Arc<File>, Errno> {
    let ops = inode.ops().open(inode, ctx, OpenFlags::RDWR)?;
    let path = Path { mnt: ctx.vfs.kern_mount(root.clone()), dentry: Dentry::new_root(inode.clone(), b"x") };
    Ok(File::new(path, inode.clone(), ops, OpenFlags::RDWR, ctx.cred()))
}

fn read(ctx: &TestContext, file: &File, n: usize) -> Result<String, Errno> {
    let mut buf = vec![0; n];
    let n = file.read(ctx, &mut IoDst::from_slice(&mut buf), IoFlags::empty())?;
    Ok(String::from_utf8_lossy(&buf[..n]).into_owned())
}

#[derive(Default)]
struct Names {
    seen: Vec<(String, u64)>,
    room: usize,
    at: u64,
}

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], ino: u64, _dtype: u8, next: u64) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.at = next;
        self.seen.push((String::from_utf8_lossy(name).into_owned(), ino));
        true
    }
}

#[test]
fn text_stays_the_same_until_it_is_read_from_the_start_again() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let root = example(&ctx, &Arc::default());
    let dir = root_inode(&root);
    let file = open(&ctx, &root, &dir.ops().lookup(&dir, &ctx, b"reads")?)?;
    assert_eq!(read(&ctx, &file, 6)?, "read 0");
    assert_eq!(read(&ctx, &file, 100)?, " times\n");
    assert_eq!(read(&ctx, &file, 100)?, "");
    file.lseek(0, 0)?;
    assert_eq!(read(&ctx, &file, 100)?, "read 1 times\n");
    assert_eq!(file.lseek(0, 2), Err(EINVAL));
    Ok(())
}

#[test]
fn a_store_takes_whole_values_at_the_start() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let root = example(&ctx, &Arc::default());
    let dir = root_inode(&root);
    let file = open(&ctx, &root, &dir.ops().lookup(&dir, &ctx, b"value")?)?;
    assert_eq!(file.write(&ctx, &mut IoSrc::from_slice(b"42\n"), IoFlags::empty()), Ok(3));
    assert_eq!(file.write(&ctx, &mut IoSrc::from_slice(b"43\n"), IoFlags::empty()), Err(EINVAL));
    file.lseek(0, 0)?;
    assert_eq!(read(&ctx, &file, 100)?, "42\n");
    Ok(())
}

#[test]
fn directories_list_what_they_look_up_under_the_same_numbers() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let size = Arc::new(AtomicU32::new(3));
    let root = example(&ctx, &size);
    let dir = root_inode(&root);
    assert_eq!(dir.getattr()?.nlink, 3);
    let numbers = dir.ops().lookup(&dir, &ctx, b"numbers")?;
    let file = open(&ctx, &root, &numbers)?;
    let mut sink = Names { room: 4, ..Names::default() };
    file.readdir(&ctx, &mut sink)?;
    sink.room = 10;
    file.readdir(&ctx, &mut sink)?;
    let names: Vec<&str> = sink.seen.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, [".", "..", "0", "1", "2"]);
    assert_eq!(numbers.ops().lookup(&numbers, &ctx, b"2")?.ino(), sink.seen[4].1);
    assert_eq!(numbers.ops().lookup(&numbers, &ctx, b"3").err(), Some(ENOENT));
    let top = open(&ctx, &root, &dir)?;
    let mut sink = Names { room: 100, ..Names::default() };
    top.readdir(&ctx, &mut sink)?;
    let names: Vec<&str> = sink.seen.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, [".", "..", "numbers", "reads", "value", "self", "mounts"]);
    Ok(())
}

#[test]
fn links_know_who_follows_them() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let root = example(&ctx, &Arc::default());
    let dir = root_inode(&root);
    let link = dir.ops().lookup(&dir, &ctx, b"self")?;
    assert_eq!(link.ops().readlink_text(&link, &ctx)?, b"1");
    let other = ctx.sibling(9, (*ctx.cred).clone());
    assert_eq!(link.ops().readlink_text(&link, &other)?, b"9");
    assert_eq!(dir.ops().rmdir(&dir, &ctx, b"numbers", &link), Err(EPERM));
    Ok(())
}
