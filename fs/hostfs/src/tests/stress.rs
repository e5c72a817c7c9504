//! Several tasks change one host directory through the VFS at the same time; in the end both sides agree.

use super::Fixture;
use crate::Sharing;
use fs_vfs::{
    At, File, FileType, Inode, IoFlags, OpenHow, TaskContext, TestContext, build_open_flags, do_filp_open,
    do_linkat, do_mkdirat, do_renameat2, do_unlinkat,
};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EIO, ENOENT, ESTALE};
use sentry_uapi::fcntl::{AT_REMOVEDIR, OpenFlags};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn path(&mut self) -> String {
        let depth = self.below(4) + 1;
        let name = |r: &mut Random| ["a", "b", "p", "q"][usize::try_from(r.below(4)).unwrap_or(0)];
        let names: Vec<&str> = (0..depth).map(|_| name(self)).collect();
        format!("/{}", names.join("/"))
    }
}

fn open(ctx: &dyn TaskContext, path: &str, flags: OpenFlags) -> Result<Arc<File>, Errno> {
    let mode = if flags.contains(OpenFlags::CREAT) { 0o644 } else { 0 };
    let how = OpenHow { flags: u64::from(flags.bits()), mode, resolve: 0 };
    do_filp_open(ctx, &At::Cwd, path.as_bytes(), &build_open_flags(&how)?)
}

fn step(ctx: &TestContext, random: &mut Random) -> Result<(), Errno> {
    let (one, two) = (random.path(), random.path());
    let (old, new) = (one.as_bytes(), two.as_bytes());
    match random.below(8) {
        0 | 1 => do_mkdirat(ctx, &At::Cwd, old, 0o755),
        2 => do_unlinkat(ctx, &At::Cwd, old, 0),
        3 => do_unlinkat(ctx, &At::Cwd, old, AT_REMOVEDIR),
        4 => {
            let exchange = u32::from(random.below(4) == 0) * 2;
            do_renameat2(ctx, &At::Cwd, old, &At::Cwd, new, exchange)
        }
        5 => do_linkat(ctx, &At::Cwd, old, &At::Cwd, new, 0),
        6 => {
            let file = open(ctx, &one, OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::APPEND)?;
            // Written under whatever name it has by now.
            file.write(ctx, &mut IoSrc::from_slice(b"x"), IoFlags::empty()).map(drop)
        }
        _ => {
            let mut buf = [0; 16];
            let file = open(ctx, &one, OpenFlags::default())?;
            file.read(ctx, &mut IoDst::from_slice(&mut buf), IoFlags::empty()).map(drop)
        }
    }
}

/// The guest's tree has what the host's has, with the same numbers and sizes, and nothing else.
fn compare(ctx: &TestContext, dir: &Arc<Inode>, host: &Path) -> Result<usize, Errno> {
    let mut count = 0;
    for entry in std::fs::read_dir(host).map_err(|_| EIO)? {
        let entry = entry.map_err(|_| EIO)?;
        let meta = entry.metadata().map_err(|_| EIO)?;
        let inode = dir.ops().lookup(dir, ctx, entry.file_name().as_encoded_bytes())?;
        let attr = inode.getattr()?;
        let theirs = (meta.ino(), meta.len(), meta.nlink());
        assert_eq!((attr.ino, attr.size, u64::from(attr.nlink)), theirs, "{:?}", entry.path());
        count += 1;
        if inode.file_type() == FileType::Directory {
            count += compare(ctx, &inode, &entry.path())?;
        }
    }
    for name in ["a", "b", "p", "q"] {
        let missing = !host.join(name).exists();
        assert_eq!(dir.ops().lookup(dir, ctx, name.as_bytes()).err() == Some(ENOENT), missing);
    }
    Ok(count)
}

#[test]
fn tasks_at_work_together_and_the_host_agree() -> Result<(), Errno> {
    let mut seen = 0;
    for seed in 0..10 {
        let sharing = if seed % 2 == 0 { Sharing::Exclusive } else { Sharing::Shared };
        let fs = Fixture::new(true, sharing)?;
        let mnt = fs.ctx.vfs.kern_mount(fs.root.clone());
        let ctx = TestContext::with_root(fs.ctx.vfs.clone(), fs.ctx.cred.user_ns.clone(), &mnt);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let task = ctx.sibling(thread + 2, (*fs.ctx.cred).clone());
                scope.spawn(move || {
                    let mut random = Random(seed * 31 + u64::from(thread));
                    for _ in 0..300 {
                        // Errors are to be expected, but not these.
                        let result = step(&task, &mut random);
                        assert!(!matches!(result, Err(ESTALE | EIO | EBADF)), "seed {seed}: {result:?}");
                    }
                });
            }
        });
        seen += compare(&fs.ctx, &fs.dir(), &fs.path)?;
    }
    assert!(seen > 20, "{seen} files are no test");
    Ok(())
}
