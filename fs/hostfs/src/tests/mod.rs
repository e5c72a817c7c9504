//! A directory of the host, made for the test, as a filesystem.

mod contents;
mod host_pages;
mod owners;
mod stress;
mod tree;

use crate::{HostFs, HostFsParams, HostOwners, Sharing};
use fs_vfs::{Dentry, DirSink, File, Inode, NewNode, NodeKind, Path, TaskContext, TestContext};
use sentry_auth::{Kgid, Kuid};
use sentry_mm::{IoDst, IoSrc, MemoryFile};
use sentry_uapi::Errno;
use sentry_uapi::errno::EIO;
use sentry_uapi::fcntl::OpenFlags;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub(super) struct Fixture {
    pub(super) ctx: TestContext,
    pub(super) memory: Arc<MemoryFile>,
    pub(super) root: Arc<Dentry>,
    pub(super) path: PathBuf,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Fixture {
    pub(super) fn new(writable: bool, sharing: Sharing) -> Result<Fixture, Errno> {
        Fixture::with_owners(writable, sharing, None)
    }

    pub(super) fn with_owners(
        writable: bool,
        sharing: Sharing,
        owners: Option<Arc<dyn HostOwners>>,
    ) -> Result<Fixture, Errno> {
        let name = format!("hostfs-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|_| EIO)?;
        let ctx = TestContext::new();
        let memory = MemoryFile::new()?;
        let root_fd: OwnedFd = std::fs::File::open(&path).map_err(|_| EIO)?.into();
        let params = HostFsParams {
            fs_type: "hostfs",
            dev: ctx.vfs.alloc_dev(),
            user_ns: ctx.cred.user_ns.clone(),
            clocks: ctx.vfs.clocks.clone(),
            memory: memory.clone(),
            source: b"none".to_vec(),
            writable,
            sharing,
            owners,
            mount_flags: HashMap::new(),
            ids_from_host: None,
            ids_to_host: None,
            max_fds: 8,
            max_cached: 1 << 20,
        };
        let root = HostFs::new_super(root_fd, params)?;
        Ok(Fixture { ctx, memory, root, path })
    }

    pub(super) fn host(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn put(&self, name: &str, data: &[u8]) -> Result<(), Errno> {
        std::fs::write(self.host(name), data).map_err(|_| EIO)
    }

    pub(super) fn dir(&self) -> Arc<Inode> {
        self.root.inode().unwrap_or_else(|| unreachable!("a root is never negative"))
    }

    pub(super) fn walk(&self, path: &str) -> Result<Arc<Inode>, Errno> {
        path.split('/').try_fold(self.dir(), |dir, name| dir.ops().lookup(&dir, &self.ctx, name.as_bytes()))
    }

    pub(super) fn make(&self, dir: &Arc<Inode>, name: &str, kind: NodeKind) -> Result<Arc<Inode>, Errno> {
        // The ids of the test: those of the directory it made.
        let attr = self.dir().getattr()?;
        let (uid, gid): (Kuid, Kgid) = (attr.uid, attr.gid);
        dir.ops().create(dir, &self.ctx, name.as_bytes(), NewNode::new(kind, 0o700, uid, gid))
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

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Collects names until it is full.
#[derive(Default)]
pub(super) struct Names {
    pub(super) seen: Vec<(String, u64)>,
    pub(super) room: usize,
}

impl DirSink for Names {
    fn entry(&mut self, name: &[u8], ino: u64, _dtype: u8, _next: u64) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.seen.push((String::from_utf8_lossy(name).into_owned(), ino));
        true
    }
}
