//! Contents, attributes, copying up.

use super::{Fixture, inode_of};
use crate::inode::ovl_inode;
use fs_vfs::{SetAttr, SetTime, XattrFlags};
use sentry_auth::Kuid;
use sentry_uapi::Errno;
use sentry_uapi::errno::{ENODATA, EOPNOTSUPP};
use sentry_uapi::fcntl::OpenFlags;
use sentry_uapi::time::Timespec;

const LOWER: &[&str] = &["d/", "d/e/", "d/e/f=0123456789", "g=data"];

#[test]
fn a_reader_sees_what_was_written_after_copy_up() -> Result<(), Errno> {
    let fs = Fixture::new(&[LOWER], Some(&[]))?;
    let reader = fs.open("d/e/f", OpenFlags::default())?;
    assert_eq!(fs.read(&reader)?, "0123456789");
    fs.put("d/e/f", "abc")?;
    assert_eq!(fs.read(&reader)?, "abc3456789");
    let lower = Fixture { root: fs.lower[0].clone(), ..fs };
    assert_eq!(lower.get("d/e/f")?, "0123456789");
    Ok(())
}

#[test]
fn opening_to_read_copies_nothing() -> Result<(), Errno> {
    let fs = Fixture::new(&[LOWER], Some(&[]))?;
    fs.get("d/e/f")?;
    fs.list("d/e")?;
    assert!(ovl_inode(&*fs.walk("d/e/f")?)?.upper().is_none());
    let upper = fs.upper.as_ref().map(inode_of).ok_or(ENODATA)?;
    assert_eq!(upper.getattr()?.nlink, 2);
    Ok(())
}

#[test]
fn attributes_come_along_and_times_stay() -> Result<(), Errno> {
    let fs = Fixture::new(&[LOWER], Some(&[]))?;
    let lower = Fixture {
        root: fs.lower[0].clone(),
        ctx: fs.ctx.sibling(2, (*fs.ctx.cred).clone()),
        lower: Vec::new(),
        upper: None,
    };
    let f = lower.walk("d/e/f")?;
    let old = Timespec { tv_sec: 1000, tv_nsec: 1 };
    let set = SetAttr {
        perm: Some(0o751),
        uid: Some(Kuid::from_global(7)),
        mtime: Some(SetTime::To(old)),
        ..SetAttr::default()
    };
    f.ops().setattr(&f, &set)?;
    f.ops().setxattr(&f, b"user.a", b"1", XattrFlags::empty())?;
    f.ops().setxattr(&f, b"trusted.overlay.x", b"1", XattrFlags::empty())?;
    let e = lower.walk("d/e")?;
    e.ops().setattr(&e, &SetAttr { mtime: Some(SetTime::To(old)), ..SetAttr::default() })?;
    let f = fs.walk("d/e/f")?;
    f.ops().setxattr(&f, b"user.b", b"2", XattrFlags::empty())?;
    assert!(ovl_inode(&f)?.upper().is_some());
    let attr = f.getattr()?;
    assert_eq!((attr.perm, attr.uid.to_global(), attr.mtime), (0o751, 7, old));
    assert_eq!(f.ops().listxattr(&f)?, [b"user.a".to_vec(), b"user.b".to_vec()]);
    assert_eq!(f.ops().getxattr(&f, b"trusted.overlay.x"), Err(ENODATA));
    let hidden = f.ops().setxattr(&f, b"trusted.overlay.opaque", b"y", XattrFlags::empty());
    assert_eq!(hidden, Err(EOPNOTSUPP));
    assert_eq!(fs.walk("d/e")?.getattr()?.mtime, old);
    assert_eq!(fs.get("d/e/f")?, "0123456789");
    Ok(())
}

#[test]
fn truncating_copies_no_more_than_stays() -> Result<(), Errno> {
    let fs = Fixture::new(&[LOWER], Some(&[]))?;
    let f = fs.walk("d/e/f")?;
    f.ops().setattr(&f, &SetAttr { size: Some(4), ..SetAttr::default() })?;
    assert_eq!(fs.get("d/e/f")?, "0123");
    let g = fs.walk("g")?;
    g.ops().setattr(&g, &SetAttr { size: Some(6), ..SetAttr::default() })?;
    assert_eq!(fs.get("g")?, "data\0\0");
    Ok(())
}

#[test]
fn a_removed_file_can_still_be_written() -> Result<(), Errno> {
    let fs = Fixture::new(&[LOWER], Some(&[]))?;
    let file = fs.open("g", OpenFlags::RDWR)?;
    fs.remove("g")?;
    let src = &mut sentry_mm::IoSrc::from_slice(b"DA");
    file.ops().write(&file, &fs.ctx, src, 0)?;
    assert_eq!(fs.read(&file)?, "DAta");
    assert_eq!(file.inode().getattr()?.nlink, 0);
    Ok(())
}
