//! Overlays of tmpfs layers.

mod files;
mod model;
mod names;
mod stress;

use crate::{OverlayParams, new_super};
use fs_tmpfs::{TmpfsOptions, TmpfsParams, make_node};
use fs_vfs::{
    Dentry, DirSink, File, Inode, NewNode, NodeKind, Path, Rename, RenameFlags, SuperFlags, TaskContext,
    TestContext,
};
use sentry_auth::{Kgid, Kuid};
use sentry_mm::{IoDst, IoSrc, MemoryFile};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EEXIST, ENOENT};
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;

pub(super) struct Fixture {
    pub(super) ctx: TestContext,
    pub(super) lower: Vec<Arc<Dentry>>,
    pub(super) upper: Option<Arc<Dentry>>,
    pub(super) root: Arc<Dentry>,
}

pub(super) fn node(kind: NodeKind) -> NewNode {
    NewNode::new(kind, 0o644, Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT)
}

pub(super) fn inode_of(dentry: &Arc<Dentry>) -> Arc<Inode> {
    dentry.inode().unwrap_or_else(|| unreachable!("a root is never negative"))
}

/// A tree as a list: `dir/` for a directory, `name=contents`, `name@target`, `name!` for a whiteout. Parents come first.
pub(super) fn fill(ctx: &TestContext, root: &Arc<Dentry>, tree: &[&str]) -> Result<(), Errno> {
    for item in tree {
        let end = item.find(['=', '@', '!']).unwrap_or(item.len());
        let path = item[..end].trim_end_matches('/');
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = walk_from(ctx, inode_of(root), dir)?;
        let kind = match item.as_bytes().get(end) {
            None => NodeKind::Directory,
            Some(b'@') => NodeKind::Symlink(item[end + 1..].into()),
            Some(b'!') => NodeKind::CharDevice(0),
            Some(_) => NodeKind::Regular,
        };
        let made = make_node(&dir, name.as_bytes(), node(kind))?;
        if item.as_bytes().get(end) == Some(&b'=') {
            let file = open_at(ctx, root, &made, OpenFlags::RDWR)?;
            file.ops().write(&file, ctx, &mut IoSrc::from_slice(&item.as_bytes()[end + 1..]), 0)?;
        }
    }
    Ok(())
}

fn walk_from(ctx: &TestContext, from: Arc<Inode>, path: &str) -> Result<Arc<Inode>, Errno> {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.into_iter().try_fold(from, |dir, name| dir.ops().lookup(&dir, ctx, name.as_bytes()))
}

fn open_at(
    ctx: &TestContext,
    root: &Arc<Dentry>,
    inode: &Arc<Inode>,
    flags: OpenFlags,
) -> Result<Arc<File>, Errno> {
    let ops = inode.ops().open(inode, ctx, flags)?;
    let path = Path { mnt: ctx.vfs.kern_mount(root.clone()), dentry: Dentry::new_root(inode.clone(), b"x") };
    Ok(File::new(path, inode.clone(), ops, flags, ctx.cred()))
}

fn tmpfs(ctx: &TestContext, memory: &Arc<MemoryFile>) -> Result<Arc<Dentry>, Errno> {
    fs_tmpfs::new_super(TmpfsParams {
        fs_type: "tmpfs",
        dev: ctx.vfs.alloc_dev(),
        user_ns: ctx.cred.user_ns.clone(),
        clocks: ctx.vfs.clocks.clone(),
        memory: memory.clone(),
        flags: SuperFlags::empty(),
        source: b"tmpfs".to_vec(),
        options: TmpfsOptions::with_memory(1 << 30),
    })
}

impl Fixture {
    /// An overlay of these lower trees, the uppermost first, under an upper one.
    pub(super) fn new(lower: &[&[&str]], upper: Option<&[&str]>) -> Result<Fixture, Errno> {
        let ctx = TestContext::new();
        let memory = MemoryFile::new()?;
        let layer = |tree: &[&str]| {
            let root = tmpfs(&ctx, &memory)?;
            fill(&ctx, &root, tree)?;
            Ok(root)
        };
        let lower: Vec<_> = lower.iter().map(|tree| layer(tree)).collect::<Result<_, Errno>>()?;
        let upper = upper.map(layer).transpose()?;
        let root = new_super(OverlayParams {
            vfs: ctx.vfs.clone(),
            cred: ctx.cred(),
            user_ns: ctx.cred.user_ns.clone(),
            lower: lower.clone(),
            upper: upper.clone(),
            source: b"overlay".to_vec(),
            options: String::new(),
        })?;
        Ok(Fixture { ctx, lower, upper, root })
    }

    pub(super) fn walk(&self, path: &str) -> Result<Arc<Inode>, Errno> {
        walk_from(&self.ctx, inode_of(&self.root), path)
    }

    /// The directory a path is in, and its last name.
    fn parent<'a>(&self, path: &'a str) -> Result<(Arc<Inode>, &'a [u8]), Errno> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.walk(dir)?, name.as_bytes()))
    }

    pub(super) fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<File>, Errno> {
        open_at(&self.ctx, &self.root, &self.walk(path)?, flags)
    }

    pub(super) fn make(&self, path: &str, kind: NodeKind) -> Result<Arc<Inode>, Errno> {
        let (dir, name) = self.parent(path)?;
        match dir.ops().lookup(&dir, &self.ctx, name) {
            Ok(_) => Err(EEXIST),
            Err(ENOENT) => dir.ops().create(&dir, &self.ctx, name, node(kind)),
            Err(e) => Err(e),
        }
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), Errno> {
        let (dir, name) = self.parent(path)?;
        let target = dir.ops().lookup(&dir, &self.ctx, name)?;
        if target.is_dir() {
            dir.ops().rmdir(&dir, &self.ctx, name, &target)
        } else {
            dir.ops().unlink(&dir, &self.ctx, name, &target)
        }
    }

    pub(super) fn link(&self, old: &str, new: &str) -> Result<(), Errno> {
        let (dir, name) = self.parent(new)?;
        dir.ops().link(&dir, &self.ctx, name, &self.walk(old)?)
    }

    pub(super) fn rename(&self, old: &str, new: &str, flags: RenameFlags) -> Result<(), Errno> {
        let ((old_dir, old_name), (new_dir, new_name)) = (self.parent(old)?, self.parent(new)?);
        let target = old_dir.ops().lookup(&old_dir, &self.ctx, old_name)?;
        let replaced = match new_dir.ops().lookup(&new_dir, &self.ctx, new_name) {
            Ok(inode) => Some(inode),
            Err(ENOENT) => None,
            Err(e) => return Err(e),
        };
        let rename = Rename {
            old_dir: &old_dir,
            old_name,
            target: &target,
            new_dir: &new_dir,
            new_name,
            replaced: replaced.as_ref(),
            flags,
        };
        old_dir.ops().rename(&rename, &self.ctx)
    }

    pub(super) fn put(&self, path: &str, data: &str) -> Result<(), Errno> {
        let file = self.open(path, OpenFlags::RDWR)?;
        file.ops().write(&file, &self.ctx, &mut IoSrc::from_slice(data.as_bytes()), 0).map(drop)
    }

    pub(super) fn read(&self, file: &File) -> Result<String, Errno> {
        let mut buf = vec![0; 4096];
        let n = file.ops().read(file, &self.ctx, &mut IoDst::from_slice(&mut buf), 0)?;
        Ok(String::from_utf8_lossy(&buf[..n]).into_owned())
    }

    pub(super) fn get(&self, path: &str) -> Result<String, Errno> {
        self.read(&*self.open(path, OpenFlags::default())?)
    }

    /// Names in a directory, sorted, each checked to have the number that stat gives it.
    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let dir = self.walk(path)?;
        let file = self.open(path, OpenFlags::default())?;
        let mut names = Names { seen: Vec::new(), room: 3 };
        loop {
            let before = names.seen.len();
            file.readdir(&self.ctx, &mut names)?;
            if names.seen.len() == before {
                break;
            }
            names.room = 3;
        }
        let mut out = Vec::new();
        for (name, ino, dtype) in names.seen {
            if name == "." || name == ".." {
                continue;
            }
            let inode = dir.ops().lookup(&dir, &self.ctx, name.as_bytes())?;
            assert_eq!((inode.getattr()?.ino, inode.file_type().dirent_type()), (ino, dtype), "{name}");
            out.push(name);
        }
        out.sort();
        Ok(out)
    }
}

struct Names {
    seen: Vec<(String, u64, u8)>,
    room: usize,
}

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], ino: u64, dtype: u8, _next: u64) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.seen.push((String::from_utf8_lossy(name).into_owned(), ino, dtype));
        true
    }
}
