//! `/sys` as programs read it.

use crate::cpu::mask;
use crate::{SysfsParams, new_super};
use fs_vfs::{Dentry, Inode, IoFlags, Path, TestContext, dentry_open};
use sentry_mm::{IoDst, IoSrc};
use sentry_net::NetNamespace;
use sentry_uapi::Errno;
use sentry_uapi::errno::{EINVAL, ENOENT};
use sentry_uapi::fcntl::OpenFlags;
use std::sync::Arc;

fn sys(ctx: &TestContext, cpus: u32) -> Arc<Dentry> {
    let user_ns = ctx.cred.user_ns.clone();
    let net = NetNamespace::new_initial(user_ns.clone(), ctx.vfs.clocks.clone(), Some([2, 0, 0, 0, 0, 0xab]));
    new_super(SysfsParams { vfs: &ctx.vfs, user_ns, cpus, net: Some(net), source: b"sysfs".to_vec() })
}

fn walk(ctx: &TestContext, root: &Arc<Dentry>, path: &str) -> Result<Arc<Inode>, Errno> {
    path.split('/')
        .try_fold(root.inode().ok_or(ENOENT)?, |dir, name| dir.ops().lookup(&dir, ctx, name.as_bytes()))
}

fn file(ctx: &TestContext, root: &Arc<Dentry>, path: &str) -> Result<Arc<fs_vfs::File>, Errno> {
    let dentry = Dentry::new_root(walk(ctx, root, path)?, b"x");
    dentry_open(ctx, Path { mnt: ctx.vfs.kern_mount(root.clone()), dentry }, OpenFlags::RDWR)
}

fn read(ctx: &TestContext, root: &Arc<Dentry>, path: &str) -> Result<String, Errno> {
    let mut buf = [0; 4096];
    let n = file(ctx, root, path)?.read(ctx, &mut IoDst::from_slice(&mut buf), IoFlags::empty())?;
    Ok(String::from_utf8_lossy(&buf[..n]).into_owned())
}

#[test]
fn processors_are_counted() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let root = sys(&ctx, 4);
    let cpu = |path: &str| read(&ctx, &root, &format!("devices/system/cpu/{path}"));
    assert_eq!(
        (cpu("online")?, cpu("offline")?, cpu("kernel_max")?),
        ("0-3\n".into(), "\n".into(), "3\n".into())
    );
    assert_eq!(
        (cpu("cpu3/topology/core_id")?, cpu("cpu3/topology/core_siblings")?),
        ("3\n".into(), "f\n".into())
    );
    assert_eq!((cpu("cpu0/online").err(), cpu("cpu1/online")?), (Some(ENOENT), "1\n".into()));
    assert_eq!(read(&ctx, &sys(&ctx, 1), "devices/system/cpu/possible")?, "0\n");
    assert_eq!(walk(&ctx, &root, "devices/system/cpu/online")?.getattr()?.size, 4096);
    Ok(())
}

#[test]
fn masks_are_printed_in_words() {
    assert_eq!(mask(4, |_| true), "f");
    assert_eq!(mask(6, |n| n == 5), "20");
    assert_eq!(mask(40, |_| true), "ff,ffffffff");
    assert_eq!(mask(64, |n| n == 32), "00000001,00000000");
}

#[test]
fn huge_pages_take_one_of_three_words() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let root = sys(&ctx, 2);
    let path = "kernel/mm/transparent_hugepage/enabled";
    assert_eq!(read(&ctx, &root, path)?, "always [madvise] never\n");
    let write =
        |data: &[u8]| file(&ctx, &root, path)?.write(&ctx, &mut IoSrc::from_slice(data), IoFlags::empty());
    assert_eq!((write(b"never\n"), write(b"perhaps")), (Ok(6), Err(EINVAL)));
    assert_eq!(read(&ctx, &root, path)?, "always madvise [never]\n");
    Ok(())
}

#[test]
fn interfaces_are_there() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let root = sys(&ctx, 2);
    let link = walk(&ctx, &root, "class/net/lo")?;
    assert_eq!(link.ops().readlink_text(&link, &ctx)?, b"../../devices/virtual/net/lo");
    assert_eq!(read(&ctx, &root, "devices/virtual/net/lo/mtu")?, "65536\n");
    let ethernet = |name: &str| read(&ctx, &root, &format!("devices/virtual/net/eth0/{name}"));
    assert_eq!((ethernet("address")?, ethernet("flags")?), ("02:00:00:00:00:ab\n".into(), "0x1003\n".into()));
    assert_eq!((ethernet("carrier")?, ethernet("operstate")?), ("0\n".into(), "down\n".into()));
    assert!(walk(&ctx, &root, "fs/cgroup")?.is_dir());
    Ok(())
}
