//! Several tasks change one overlay through the VFS at the same time: no deadlock, no lock out of order, and in the end
//! the tree is what a fresh overlay of the same layers shows.

use super::{Fixture, inode_of};
use crate::{OverlayParams, new_super};
use fs_vfs::{
    At, File, IoFlags, OpenHow, TaskContext, TestContext, build_open_flags, do_filp_open, do_linkat,
    do_mkdirat, do_renameat2, do_unlinkat,
};
use sentry_mm::{IoDst, IoSrc};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBADF, EIO, ESTALE};
use sentry_uapi::fcntl::{AT_REMOVEDIR, OpenFlags};
use std::sync::Arc;

const LOWER: &[&str] =
    &["a/", "a/a/", "a/a/p=1", "a/p=2", "a/q=3", "b/", "b/p=4", "b/b/", "b/b/q=5", "p=6", "q=7", "r=8"];

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn path(&mut self) -> String {
        let depth = self.below(3) + 1;
        let name = |r: &mut Random| ["a", "b", "p", "q", "r"][usize::try_from(r.below(5)).unwrap_or(0)];
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
        0 => do_mkdirat(ctx, &At::Cwd, old, 0o755),
        1 => do_unlinkat(ctx, &At::Cwd, old, 0),
        2 => do_unlinkat(ctx, &At::Cwd, old, AT_REMOVEDIR),
        3 => {
            let exchange = u32::from(random.below(4) == 0) * 2;
            do_renameat2(ctx, &At::Cwd, old, &At::Cwd, new, exchange)
        }
        4 => do_linkat(ctx, &At::Cwd, old, &At::Cwd, new, 0),
        5 => {
            let file = open(ctx, &one, OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::APPEND)?;
            file.write(ctx, &mut IoSrc::from_slice(b"x"), IoFlags::empty()).map(drop)
        }
        6 => {
            let mut buf = [0; 16];
            let file = open(ctx, &one, OpenFlags::default())?;
            file.read(ctx, &mut IoDst::from_slice(&mut buf), IoFlags::empty()).map(drop)
        }
        _ => open(ctx, &one, OpenFlags::DIRECTORY)?
            .readdir(ctx, &mut super::Names { seen: Vec::new(), room: 99 }),
    }
}

/// Every path with its contents, or none for a directory; each directory's listing agrees with its lookups.
fn tree(fs: &Fixture, dir: &str, out: &mut Vec<(String, Option<String>)>) -> Result<(), Errno> {
    for name in fs.list(dir)? {
        let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
        if fs.walk(&path)?.is_dir() {
            out.push((path.clone(), None));
            tree(fs, &path, out)?;
        } else {
            let data = fs.get(&path)?;
            out.push((path, Some(data)));
        }
    }
    Ok(())
}

fn run(seed: u64) -> Result<(), Errno> {
    let fs = Fixture::new(&[&["a/", "a/q=10", "r!"], LOWER], Some(&[]))?;
    let mnt = fs.ctx.vfs.kern_mount(fs.root.clone());
    let user_ns = fs.ctx.cred.user_ns.clone();
    let ctx = TestContext::with_root(fs.ctx.vfs.clone(), user_ns, &mnt);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let task = ctx.sibling(thread + 2, (*fs.ctx.cred).clone());
            scope.spawn(move || {
                let mut random = Random(seed * 31 + u64::from(thread));
                for _ in 0..400 {
                    // Errors are to be expected, but not these.
                    let result = step(&task, &mut random);
                    assert!(!matches!(result, Err(ESTALE | EIO | EBADF)), "seed {seed}: {result:?}");
                }
            });
        }
    });
    let mut used = Vec::new();
    tree(&fs, "", &mut used)?;
    let root = new_super(OverlayParams {
        vfs: fs.ctx.vfs.clone(),
        cred: fs.ctx.cred.clone(),
        user_ns: fs.ctx.cred.user_ns.clone(),
        lower: fs.lower.clone(),
        upper: fs.upper.clone(),
        source: Vec::new(),
        options: String::new(),
    })?;
    let fresh = Fixture { root, ..fs };
    let mut again = Vec::new();
    tree(&fresh, "", &mut again)?;
    assert_eq!(used, again, "seed {seed}");
    inode_of(&fresh.root).getattr().map(drop)
}

#[test]
fn tasks_at_work_together_leave_a_tree_that_fits_its_layers() -> Result<(), Errno> {
    for seed in 0..20 {
        run(seed)?;
    }
    Ok(())
}

#[test]
fn the_vfs_works_on_an_overlay_of_a_host_directory() -> Result<(), Errno> {
    let path = std::env::temp_dir().join(format!("overlay-test-{}", std::process::id()));
    std::fs::create_dir_all(path.join("d")).map_err(|_| EIO)?;
    std::fs::write(path.join("d/f"), "host").map_err(|_| EIO)?;
    let fs = Fixture::new(&[&[]], Some(&[]))?;
    let memory = sentry_mm::MemoryFile::new()?;
    let lower = fs_hostfs::HostFs::new_super(
        std::fs::File::open(&path).map_err(|_| EIO)?.into(),
        fs_hostfs::HostFsParams {
            fs_type: "hostfs",
            dev: fs.ctx.vfs.alloc_dev(),
            user_ns: fs.ctx.cred.user_ns.clone(),
            clocks: fs.ctx.vfs.clocks.clone(),
            memory,
            source: b"none".to_vec(),
            writable: false,
            sharing: fs_hostfs::Sharing::Exclusive,
            owners: None,
            mount_flags: std::collections::HashMap::new(),
            ids_from_host: None,
            ids_to_host: None,
            max_fds: 64,
            max_cached: 1 << 20,
        },
    )?;
    let root = new_super(OverlayParams {
        vfs: fs.ctx.vfs.clone(),
        cred: fs.ctx.cred.clone(),
        user_ns: fs.ctx.cred.user_ns.clone(),
        lower: vec![lower],
        upper: fs.upper.clone(),
        source: Vec::new(),
        options: String::new(),
    })?;
    let mnt = fs.ctx.vfs.kern_mount(root);
    let ctx = TestContext::with_root(fs.ctx.vfs.clone(), fs.ctx.cred.user_ns.clone(), &mnt);
    let read = |path: &str| {
        let mut buf = [0; 64];
        let n = open(&ctx, path, OpenFlags::default())?.read(
            &ctx,
            &mut IoDst::from_slice(&mut buf),
            IoFlags::empty(),
        )?;
        Ok::<_, Errno>(String::from_utf8_lossy(&buf[..n]).into_owned())
    };
    assert_eq!(read("/d/f")?, "host");
    let append = open(&ctx, "/d/f", OpenFlags::WRONLY | OpenFlags::APPEND)?;
    append.write(&ctx, &mut IoSrc::from_slice(b"+guest"), IoFlags::empty())?;
    assert_eq!(read("/d/f")?, "host+guest");
    open(&ctx, "/d/new", OpenFlags::WRONLY | OpenFlags::CREAT | OpenFlags::EXCL)?;
    open(&ctx, "/d/f", OpenFlags::WRONLY | OpenFlags::TRUNC)?;
    assert_eq!(read("/d/f")?, "");
    do_unlinkat(&ctx, &At::Cwd, b"/d/f", 0)?;
    do_unlinkat(&ctx, &At::Cwd, b"/d/new", 0)?;
    do_unlinkat(&ctx, &At::Cwd, b"/d", AT_REMOVEDIR)?;
    assert!(read("/d/f").is_err());
    assert_eq!(std::fs::read(path.join("d/f")).map_err(|_| EIO)?, b"host");
    std::fs::remove_dir_all(&path).map_err(|_| EIO)
}
