//! Reading, writing, mapping.

use super::Fixture;
use crate::Sharing;
use fs_vfs::{NodeKind, SetAttr, XattrFlags};
use sentry_mm::{MapFault, PAGE_SIZE};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EIO, ENODATA, EOPNOTSUPP};
use sentry_uapi::fcntl::OpenFlags;

fn host(fs: &Fixture, name: &str) -> Result<Vec<u8>, Errno> {
    std::fs::read(fs.host(name)).map_err(|_| EIO)
}

#[test]
fn reads_writes_and_appends_are_the_hosts() -> Result<(), Errno> {
    let fs = Fixture::new(true, Sharing::Exclusive)?;
    let f = fs.make(&fs.dir(), "f", NodeKind::Regular)?;
    let file = fs.open(&f, OpenFlags::RDWR)?;
    assert_eq!(fs.write(&file, b"hello world", 0)?, 11);
    assert_eq!(f.getattr()?.size, 11);
    let appender = fs.open(&f, OpenFlags::WRONLY | OpenFlags::APPEND)?;
    assert_eq!(fs.write(&appender, b"!", 3)?, 1);
    assert_eq!(host(&fs, "f")?, b"hello world!");
    assert_eq!(fs.read(&file, 100, 6)?, b"world!");
    f.ops().setattr(&f, &SetAttr { size: Some(5), ..SetAttr::default() })?;
    assert_eq!(host(&fs, "f")?, b"hello");
    Ok(())
}

#[test]
fn mapped_pages_and_calls_see_each_other() -> Result<(), Errno> {
    let fs = Fixture::new(true, Sharing::Exclusive)?;
    fs.put("f", &vec![7; 100_000])?;
    let f = fs.walk("f")?;
    let file = fs.open(&f, OpenFlags::RDWR)?;
    let pages = file.ops().mmap(&file)?;
    let map = |offset, write| pages.map_pages(offset, 1 << 20, write).map_err(|_| EIO);
    let frames = map(PAGE_SIZE, false)?;
    let mut byte = [0];
    fs.memory.read_at(frames.start, &mut byte)?;
    assert_eq!(byte, [7]);
    // A write reaches the frames.
    fs.write(&file, b"call", PAGE_SIZE)?;
    let mut word = [0; 4];
    fs.memory.read_at(frames.start, &mut word)?;
    assert_eq!(&word, b"call");
    fs.memory.dec_ref(frames);
    // A change through a mapping reaches reads at once, and the host with msync.
    file.ops().map_writable(&file, true)?;
    let frames = map(2 * PAGE_SIZE, true)?;
    fs.memory.write_at(frames.start, b"mapped")?;
    assert_eq!(fs.read(&file, 6, 2 * PAGE_SIZE)?, b"mapped");
    assert_eq!(host(&fs, "f")?.get(8192..8198), Some(&[7; 6][..]));
    pages.msync(0, 100_000)?;
    assert_eq!(host(&fs, "f")?.get(8192..8198), Some(&b"mapped"[..]));
    // The last writable mapping going writes back too.
    fs.memory.write_at(frames.start, b"again!")?;
    fs.memory.dec_ref(frames);
    file.ops().map_writable(&file, false)?;
    assert_eq!(host(&fs, "f")?.get(8192..8198), Some(&b"again!"[..]));
    assert_eq!(host(&fs, "f")?.len(), 100_000);
    assert_eq!(pages.map_pages(25 * PAGE_SIZE, PAGE_SIZE, false), Err(MapFault::Bus));
    Ok(())
}

#[test]
fn truncation_takes_pages_away() -> Result<(), Errno> {
    let fs = Fixture::new(true, Sharing::Exclusive)?;
    fs.put("f", &vec![7; 20_000])?;
    let f = fs.walk("f")?;
    let file = fs.open(&f, OpenFlags::RDWR)?;
    let pages = file.ops().mmap(&file)?;
    let frames = pages.map_pages(0, 1 << 20, false).map_err(|_| EIO)?;
    assert_eq!(frames.len(), 5 * PAGE_SIZE);
    let before = pages.generation();
    f.ops().setattr(&f, &SetAttr { size: Some(5000), ..SetAttr::default() })?;
    assert_ne!(pages.generation(), before);
    let mut tail = [1; 4];
    fs.memory.read_at(frames.start + 5000, &mut tail)?;
    assert_eq!(tail, [0; 4]);
    fs.memory.dec_ref(frames);
    assert_eq!(pages.map_pages(2 * PAGE_SIZE, PAGE_SIZE, false), Err(MapFault::Bus));
    let frames = pages.map_pages(PAGE_SIZE, 1 << 20, false).map_err(|_| EIO)?;
    assert_eq!(frames.len(), PAGE_SIZE);
    fs.memory.dec_ref(frames);
    drop((pages, file, f));
    assert_eq!(fs.memory.allocated(), 0);
    Ok(())
}

#[test]
fn caches_of_unmapped_files_are_bounded() -> Result<(), Errno> {
    let fs = Fixture::new(false, Sharing::Exclusive)?;
    let mut inodes = Vec::new();
    for n in 0..20 {
        fs.put(&format!("f{n}"), &vec![1; 256 << 10])?;
        let f = fs.walk(&format!("f{n}"))?;
        let file = fs.open(&f, OpenFlags::default())?;
        let pages = file.ops().mmap(&file)?;
        fs.memory.dec_ref(pages.map_pages(0, 1 << 20, false).map_err(|_| EIO)?);
        inodes.push(f);
    }
    assert!(fs.memory.allocated() <= (1 << 20) + (256 << 10), "{}", fs.memory.allocated());
    Ok(())
}

#[test]
fn only_the_users_own_attributes_pass() -> Result<(), Errno> {
    let fs = Fixture::new(true, Sharing::Exclusive)?;
    let f = fs.make(&fs.dir(), "f", NodeKind::Regular)?;
    assert_eq!(f.ops().getxattr(&f, b"security.capability"), Err(ENODATA));
    assert_eq!(f.ops().getxattr(&f, b"trusted.x"), Err(ENODATA));
    assert_eq!(f.ops().setxattr(&f, b"trusted.x", b"", XattrFlags::empty()), Err(EOPNOTSUPP));
    match f.ops().setxattr(&f, b"user.x", b"1", XattrFlags::empty()) {
        // Not every host filesystem has them.
        Err(EOPNOTSUPP) => return Ok(()),
        other => other?,
    }
    assert_eq!(f.ops().getxattr(&f, b"user.x")?, b"1");
    assert_eq!(f.ops().listxattr(&f)?, [b"user.x".to_vec()]);
    Ok(())
}
