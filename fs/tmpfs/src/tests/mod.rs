//! A tmpfs as the VFS uses it, without the VFS.

mod data;
mod names;
mod sealing;

use crate::{TmpfsOptions, TmpfsParams, new_super};
use fs_vfs::{Dentry, DirSink, File, Inode, NewNode, NodeKind, Path, SuperFlags, TaskContext, TestContext};
use sentry_auth::{Kgid, Kuid};
use sentry_mm::{IoDst, IoSrc, MemoryFile};
use sentry_uapi::Errno;
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;

pub(super) struct Fixture {
    pub(super) ctx: TestContext,
    pub(super) memory: Arc<MemoryFile>,
    pub(super) root: Arc<Dentry>,
}

pub(super) fn node(kind: NodeKind) -> NewNode {
    NewNode::new(kind, 0o644, Kuid::GLOBAL_ROOT, Kgid::GLOBAL_ROOT)
}

impl Fixture {
    pub(super) fn new(options: &str) -> Result<Fixture, Errno> {
        let ctx = TestContext::new();
        let memory = MemoryFile::new()?;
        let options = TmpfsOptions::parse(options, 1 << 30, &ctx.cred)?;
        let root = new_super(TmpfsParams {
            fs_type: "tmpfs",
            dev: ctx.vfs.alloc_dev(),
            user_ns: ctx.cred.user_ns.clone(),
            clocks: ctx.vfs.clocks.clone(),
            memory: memory.clone(),
            flags: SuperFlags::empty(),
            source: b"tmpfs".to_vec(),
            options,
        })?;
        Ok(Fixture { ctx, memory, root })
    }

    pub(super) fn dir(&self) -> Arc<Inode> {
        self.root.inode().unwrap_or_else(|| unreachable!("a root is never negative"))
    }

    pub(super) fn make(&self, name: &str, kind: NodeKind) -> Result<Arc<Inode>, Errno> {
        let dir = self.dir();
        dir.ops().create(&dir, &self.ctx, name.as_bytes(), node(kind))
    }

    pub(super) fn open(&self, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<File>, Errno> {
        let ops = inode.ops().open(inode, &self.ctx, flags)?;
        let mnt = self.ctx.vfs.kern_mount(self.root.clone());
        let path = Path { mnt, dentry: Dentry::new_root(inode.clone(), b"x") };
        Ok(File::new(path, inode.clone(), ops, flags, self.ctx.cred()))
    }

    pub(super) fn write(&self, file: &File, data: &[u8], pos: u64) -> Result<usize, Errno> {
        file.ops().write(file, &self.ctx, &mut IoSrc::from_slice(data), pos).map(|w| w.count)
    }

    pub(super) fn read(&self, file: &File, len: usize, pos: u64) -> Result<Vec<u8>, Errno> {
        let mut buf = vec![0xee; len];
        let n = file.ops().read(file, &self.ctx, &mut IoDst::from_slice(&mut buf), pos)?;
        buf.truncate(n);
        Ok(buf)
    }
}

/// Collects names until it is full.
#[derive(Default)]
pub(super) struct Names {
    pub(super) seen: Vec<String>,
    pub(super) room: usize,
}

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], _ino: u64, _dtype: u8, _next: u64) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.seen.push(String::from_utf8_lossy(name).into_owned());
        true
    }
}
