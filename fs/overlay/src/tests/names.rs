//! Merging, whiteouts, opaque directories, renames.

use super::{Fixture, inode_of};
use crate::inode::ovl_inode;
use fs_vfs::{FileType, NodeKind, RenameFlags};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EEXIST, EINVAL, ENOENT, ENOTEMPTY, EROFS, EXDEV};

const LOWER: &[&str] = &["a=lower", "d/", "d/x=1", "d/y=2", "only/", "only/z=3", "l@a"];

fn plain() -> Result<Fixture, Errno> {
    Fixture::new(&[LOWER], Some(&[]))
}

#[test]
fn layers_merge_with_the_upper_one_in_front() -> Result<(), Errno> {
    let middle: &[&str] = &["a=middle", "d/", "d/y!", "d/m=4", "only!"];
    let fs = Fixture::new(&[middle, LOWER], Some(&["d/", "d/x=upper", "u=5"]))?;
    assert_eq!(fs.list("")?, ["a", "d", "l", "u"]);
    assert_eq!(fs.list("d")?, ["m", "x"]);
    assert_eq!((fs.get("a")?, fs.get("d/x")?), ("middle".into(), "upper".into()));
    assert_eq!(fs.walk("only").err(), Some(ENOENT));
    assert_eq!(fs.walk("d/y").err(), Some(ENOENT));
    assert_eq!(fs.walk("d")?.getattr()?.nlink, 1);
    Ok(())
}

#[test]
fn numbers_are_the_lower_ones_and_stay_across_copy_up() -> Result<(), Errno> {
    let fs = plain()?;
    let lower = inode_of(&fs.lower[0]);
    assert_eq!(fs.walk("")?.ino(), lower.ino());
    let (a, d) = (fs.walk("a")?.ino(), fs.walk("d")?.ino());
    assert_eq!(a, lower.ops().lookup(&lower, &fs.ctx, b"a")?.ino());
    fs.put("a", "changed")?;
    fs.make("d/new", NodeKind::Regular)?;
    assert_eq!((fs.walk("a")?.ino(), fs.walk("d")?.ino()), (a, d));
    // By another name too, and when nothing of it was in use.
    fs.link("a", "b")?;
    fs.rename("a", "c", RenameFlags::empty())?;
    assert_eq!((fs.walk("b")?.ino(), fs.walk("c")?.getattr()?.ino), (a, a));
    let mine = fs.make("mine", NodeKind::Regular)?.ino();
    assert_ne!(mine >> 56, 0);
    assert_eq!(fs.list("")?, ["b", "c", "d", "l", "mine", "only"]);
    assert_eq!(fs.list("d")?, ["new", "x", "y"]);
    Ok(())
}

#[test]
fn removing_hides_what_is_below() -> Result<(), Errno> {
    let fs = plain()?;
    fs.remove("a")?;
    assert_eq!(fs.walk("a").err(), Some(ENOENT));
    assert_eq!(fs.list("")?, ["d", "l", "only"]);
    fs.make("a", NodeKind::Regular)?;
    assert_eq!(fs.get("a")?, "");
    assert_eq!(fs.remove("d"), Err(ENOTEMPTY));
    fs.remove("d/x")?;
    fs.remove("d/y")?;
    let gone = fs.walk("d")?;
    fs.remove("d")?;
    assert_eq!(fs.list("")?, ["a", "l", "only"]);
    assert_eq!(gone.ops().create(&gone, &fs.ctx, b"late", super::node(NodeKind::Fifo)).err(), Some(ENOENT));
    fs.make("d", NodeKind::Directory)?;
    assert!(fs.list("d")?.is_empty());
    fs.make("d/x", NodeKind::Regular)?;
    assert_eq!((fs.list("d")?, fs.get("d/x")?), (vec!["x".to_owned()], String::new()));
    fs.remove("d/x")?;
    fs.remove("d")?;
    assert_eq!(fs.walk("d").err(), Some(ENOENT));
    let lower = inode_of(&fs.lower[0]);
    assert!(lower.ops().lookup(&lower, &fs.ctx, b"d").is_ok());
    Ok(())
}

#[test]
fn files_move_and_merged_directories_do_not() -> Result<(), Errno> {
    let fs = plain()?;
    assert_eq!(fs.rename("d", "e", RenameFlags::empty()), Err(EXDEV));
    fs.rename("d/x", "x", RenameFlags::empty())?;
    assert_eq!((fs.get("x")?, fs.walk("d/x").err()), ("1".into(), Some(ENOENT)));
    assert_eq!(fs.list("d")?, ["y"]);
    fs.make("new", NodeKind::Directory)?;
    fs.make("new/n", NodeKind::Regular)?;
    // An upper directory over a merged one that has been emptied.
    fs.remove("d/y")?;
    fs.rename("new", "d", RenameFlags::empty())?;
    assert_eq!(fs.list("d")?, ["n"]);
    assert_eq!(fs.rename("d", "only", RenameFlags::empty()), Err(ENOTEMPTY));
    fs.rename("a", "x", RenameFlags::EXCHANGE)?;
    assert_eq!((fs.get("a")?, fs.get("x")?), ("1".into(), "lower".into()));
    fs.rename("x", "a", RenameFlags::empty())?;
    assert_eq!((fs.get("a")?, fs.walk("x").err()), ("lower".into(), Some(ENOENT)));
    assert_eq!(fs.rename("a", "b", RenameFlags::WHITEOUT), Err(EINVAL));
    fs.rename("d", "elsewhere", RenameFlags::empty())?;
    assert_eq!(fs.list("")?, ["a", "elsewhere", "l", "only"]);
    fs.make("d", NodeKind::Directory)?;
    assert!(fs.list("d")?.is_empty());
    Ok(())
}

#[test]
fn without_an_upper_layer_nothing_changes() -> Result<(), Errno> {
    let fs = Fixture::new(&[LOWER], None)?;
    assert!(fs.root.sb().is_read_only());
    assert_eq!(fs.make("new", NodeKind::Regular).err(), Some(EROFS));
    assert_eq!(fs.make("a", NodeKind::Regular).err(), Some(EEXIST));
    assert_eq!(fs.put("a", "x"), Err(EROFS));
    assert_eq!(fs.remove("a"), Err(EROFS));
    assert_eq!(fs.get("a")?, "lower");
    Ok(())
}

#[test]
fn one_file_has_one_inode() -> Result<(), Errno> {
    let fs = plain()?;
    let a = fs.walk("a")?;
    assert!(std::sync::Arc::ptr_eq(&a, &fs.walk("a")?));
    fs.put("a", "changed")?;
    assert!(std::sync::Arc::ptr_eq(&a, &fs.walk("a")?));
    fs.link("a", "b")?;
    assert!(std::sync::Arc::ptr_eq(&a, &fs.walk("b")?));
    assert_eq!(a.getattr()?.nlink, 2);
    assert_eq!(fs.walk("l")?.file_type(), FileType::Symlink);
    assert!(ovl_inode(&*fs.walk("l")?)?.upper().is_none());
    Ok(())
}
