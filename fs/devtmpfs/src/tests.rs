//! `/dev` through the VFS.

use crate::{DevtmpfsParams, new_super, register_mem_devices};
use fs_vfs::{File, IoFlags, LinkTarget, Path, TestContext, dentry_open};
use sentry_mm::{IoDst, IoSrc, MemoryFile, PAGE_SIZE};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EIO, ENOENT, ENOSPC, ENXIO};
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;

struct Fixture {
    ctx: TestContext,
    dev: Arc<fs_vfs::Dentry>,
}

impl Fixture {
    fn new() -> Result<Fixture, Errno> {
        let ctx = TestContext::new();
        let memory = MemoryFile::new()?;
        register_mem_devices(&ctx.vfs, &memory)?;
        let dev = new_super(DevtmpfsParams {
            fs_type: "devtmpfs",
            vfs: &ctx.vfs,
            user_ns: ctx.cred.user_ns.clone(),
            memory,
            total_memory: 1 << 30,
        })?;
        Ok(Fixture { ctx, dev })
    }

    fn open(&self, name: &str) -> Result<Arc<File>, Errno> {
        let dir = self.dev.inode().ok_or(ENOENT)?;
        let inode = dir.ops().lookup(&dir, &self.ctx, name.as_bytes())?;
        let mnt = self.ctx.vfs.kern_mount(self.dev.clone());
        let path = Path { mnt, dentry: fs_vfs::Dentry::new_root(inode, name.as_bytes()) };
        dentry_open(&self.ctx, path, OpenFlags::RDWR)
    }

    fn read(&self, file: &File, len: usize) -> Result<Vec<u8>, Errno> {
        let mut buf = vec![7; len];
        let n = file.read(&self.ctx, &mut IoDst::from_slice(&mut buf), IoFlags::empty())?;
        buf.truncate(n);
        Ok(buf)
    }

    fn write(&self, file: &File, data: &[u8]) -> Result<usize, Errno> {
        file.write(&self.ctx, &mut IoSrc::from_slice(data), IoFlags::empty())
    }
}

#[test]
fn memory_devices_do_as_their_names_say() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let (null, zero, full) = (fs.open("null")?, fs.open("zero")?, fs.open("full")?);
    assert_eq!((fs.read(&null, 10)?, fs.write(&null, b"gone")), (vec![], Ok(4)));
    assert_eq!((fs.read(&zero, 3)?, fs.write(&zero, b"gone")), (vec![0; 3], Ok(4)));
    assert_eq!((fs.read(&full, 3)?, fs.write(&full, b"no")), (vec![0; 3], Err(ENOSPC)));
    let random = fs.open("urandom")?;
    let (a, b) = (fs.read(&random, 40_000)?, fs.read(&random, 40_000)?);
    assert_eq!((a.len(), a == b), (40_000, false));
    assert_eq!(fs.open("tty").err(), Some(ENXIO));
    Ok(())
}

#[test]
fn mappings_of_zero_are_memory_of_their_own() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let zero = fs.open("zero")?;
    let (one, two) = (zero.ops().mmap(&zero)?, zero.ops().mmap(&zero)?);
    let a = one.map_pages(1 << 30, 4 * PAGE_SIZE, true).map_err(|_| EIO)?;
    let b = two.map_pages(1 << 30, 4 * PAGE_SIZE, true).map_err(|_| EIO)?;
    assert_eq!(a.len(), 4 * PAGE_SIZE);
    assert_ne!(a, b);
    Ok(())
}

#[test]
fn links_and_directories_are_there() -> Result<(), Errno> {
    let fs = Fixture::new()?;
    let dir = fs.dev.inode().ok_or(ENOENT)?;
    let link = dir.ops().lookup(&dir, &fs.ctx, b"stdin")?;
    let LinkTarget::Path(target) = link.ops().readlink(&link, &fs.ctx)? else { return Err(EIO) };
    assert_eq!(target, b"/proc/self/fd/0");
    assert_eq!(dir.ops().lookup(&dir, &fs.ctx, b"shm")?.getattr()?.perm, 0o1777);
    Ok(())
}
