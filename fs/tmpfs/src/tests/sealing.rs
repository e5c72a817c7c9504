//! Nameless files and seals.

use crate::{Seals, Shmem, add_seals, get_seals};
use fs_vfs::{SetAttr, TaskContext, TestContext};
use sentry_mm::{IoSrc, MemoryFile};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EBUSY, EINVAL, EPERM};

fn resize(file: &fs_vfs::File, size: u64) -> Result<(), Errno> {
    let inode = file.inode();
    inode.ops().setattr(inode, &SetAttr { size: Some(size), ..SetAttr::default() })
}

#[test]
fn seals_stop_what_they_name() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let shm = Shmem::new(&ctx.vfs, MemoryFile::new()?, &ctx.cred.user_ns)?;
    let file = shm.new_memfd("x", true, false, ctx.cred())?;
    let write =
        |data: &[u8], pos| file.ops().write(&file, &ctx, &mut IoSrc::from_slice(data), pos).map(|w| w.count);
    assert_eq!(&*file.path().dentry.name(), b"/memfd:x (deleted)");
    resize(&file, 4096)?;
    add_seals(&file, Seals::SHRINK.bits() | Seals::GROW.bits())?;
    assert_eq!((resize(&file, 10), resize(&file, 5000)), (Err(EPERM), Err(EPERM)));
    assert_eq!(write(b"ab", 4094), Ok(2));
    assert_eq!(write(b"ab", 4096), Err(EPERM));
    file.ops().map_writable(&file, true)?;
    assert_eq!(add_seals(&file, Seals::WRITE.bits()), Err(EBUSY));
    file.ops().map_writable(&file, false)?;
    add_seals(&file, Seals::WRITE.bits() | Seals::SEAL.bits())?;
    assert_eq!(write(b"ab", 0), Err(EPERM));
    assert_eq!(file.ops().map_writable(&file, true), Err(EPERM));
    assert_eq!(add_seals(&file, Seals::EXEC.bits()), Err(EPERM));
    assert_eq!(add_seals(&file, 0x1000), Err(EINVAL));
    assert_eq!(get_seals(&file)?, Seals::SHRINK | Seals::GROW | Seals::WRITE | Seals::SEAL);
    Ok(())
}

#[test]
fn without_leave_to_seal_only_the_seal_on_seals_is_set() -> Result<(), Errno> {
    let ctx = TestContext::new();
    let shm = Shmem::new(&ctx.vfs, MemoryFile::new()?, &ctx.cred.user_ns)?;
    let plain = shm.new_memfd("plain", false, false, ctx.cred())?;
    assert_eq!(get_seals(&plain)?, Seals::SEAL);
    assert_eq!(add_seals(&plain, Seals::GROW.bits()), Err(EPERM));
    let noexec = shm.new_memfd("noexec", false, true, ctx.cred())?;
    assert_eq!(get_seals(&noexec)?, Seals::EXEC);
    let inode = noexec.inode();
    let chmod = |perm| inode.ops().setattr(inode, &SetAttr { perm: Some(perm), ..SetAttr::default() });
    assert_eq!(chmod(0o700), Err(EPERM));
    assert_eq!(chmod(0o600), Ok(()));
    let anon = shm.new_file("dev/zero", 1 << 20, ctx.cred())?;
    let pages = anon.ops().mmap(&anon)?;
    let Ok(frames) = pages.map_pages(0, 1 << 20, true) else { unreachable!("there is room") };
    assert_eq!(frames.len(), 1 << 20);
    Ok(())
}
