//! Pages out of the host's page cache.

use super::Fixture;
use crate::Sharing;
use fs_vfs::{File, Inode, NodeKind, SetAttr};
use sentry_mm::{FrameRange, MapFault, Mappable, PAGE_SIZE};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFAULT, EIO};
use sentry_uapi::falloc::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE};
use sentry_uapi::fcntl::OpenFlags;
use std::collections::BTreeSet;
use std::sync::Arc;

struct Mapped {
    fs: Fixture,
    inode: Arc<Inode>,
    file: Arc<File>,
    pages: Arc<dyn Mappable>,
}

impl Mapped {
    /// A file of `len` sevens, opened with `flags`.
    fn new(len: usize, flags: OpenFlags) -> Result<Mapped, Errno> {
        let fs = Fixture::new(true, Sharing::Shared)?;
        fs.memory.use_host_files()?;
        fs.put("f", &vec![7; len])?;
        let inode = fs.walk("f")?;
        let file = fs.open(&inode, flags)?;
        let pages = file.ops().mmap(&file)?;
        Ok(Mapped { fs, inode, file, pages })
    }

    fn map(&self, page: u64, write: bool) -> Result<FrameRange, Errno> {
        self.pages.map_pages(page * PAGE_SIZE, 1 << 20, write).map_err(|_| EIO)
    }

    fn byte(&self, at: u64) -> Result<u8, Errno> {
        let mut byte = [0];
        self.fs.memory.read_at(at, &mut byte)?;
        Ok(byte[0])
    }

    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.inode.ops().setattr(&self.inode, &SetAttr { size: Some(size), ..SetAttr::default() })
    }
}

#[test]
fn nothing_is_copied_and_what_is_written_is_seen() -> Result<(), Errno> {
    let m = Mapped::new(5 * 4096, OpenFlags::RDWR)?;
    assert!(m.pages.is_host_mapped());
    let frames = m.map(1, false)?;
    assert_eq!((frames.len(), m.fs.memory.allocated()), (4 * PAGE_SIZE, 0));
    assert_eq!(m.byte(frames.start)?, 7);
    m.fs.write(&m.file, &[8], PAGE_SIZE)?;
    assert_eq!(m.byte(frames.start)?, 8);
    assert_eq!(m.fs.memory.write_at(frames.start, &[9]), Err(EFAULT));
    assert_eq!(m.map(2, false)?.start, frames.start + PAGE_SIZE);
    Ok(())
}

#[test]
fn the_first_mapping_that_may_write_ends_it() -> Result<(), Errno> {
    let m = Mapped::new(5 * 4096, OpenFlags::RDWR)?;
    let host = m.map(0, false)?;
    let before = m.pages.generation();
    m.pages.before_map_writable();
    assert_ne!(m.pages.generation(), before);
    assert!(!m.pages.is_host_mapped());
    m.file.ops().map_writable(&m.file, true)?;
    let frames = m.map(0, true)?;
    m.fs.memory.write_at(frames.start, &[8])?;
    assert_eq!(m.map(0, false)?, frames);
    assert_eq!((m.byte(host.start)?, m.byte(frames.start)?), (7, 8));
    m.fs.memory.dec_ref(host);
    assert_eq!(m.byte(host.start), Err(EFAULT));
    let pages = m.pages.generation();
    m.pages.before_map_writable();
    assert_eq!(m.pages.generation(), pages);
    Ok(())
}

#[test]
fn pages_end_where_the_file_does() -> Result<(), Errno> {
    let m = Mapped::new(5 * 4096, OpenFlags::default())?;
    let frames = m.map(0, false)?;
    let before = m.pages.generation();
    m.truncate(5000)?;
    assert_ne!(m.pages.generation(), before);
    assert_eq!((m.byte(frames.start + 4999)?, m.byte(frames.start + 5000)?), (7, 0));
    assert_eq!(m.byte(frames.start + 2 * PAGE_SIZE), Err(EFAULT));
    assert_eq!(m.pages.map_pages(2 * PAGE_SIZE, PAGE_SIZE, false), Err(MapFault::Bus));
    assert_eq!(m.map(0, false)?.len(), 2 * PAGE_SIZE);
    m.truncate(4 * PAGE_SIZE)?;
    let more = m.map(2, false)?;
    assert_eq!((more.len(), m.byte(more.start)?), (2 * PAGE_SIZE, 0));
    // The host may change it, too.
    m.fs.put("f", &vec![9; 6 * 4096])?;
    assert_eq!(m.byte(m.map(5, false)?.start)?, 9);
    Ok(())
}

#[test]
fn a_hole_is_punched_in_what_is_mapped() -> Result<(), Errno> {
    let m = Mapped::new(5 * 4096, OpenFlags::RDWR)?;
    let frames = m.map(0, false)?;
    let mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if m.file.ops().fallocate(&m.file, mode, PAGE_SIZE, PAGE_SIZE).is_err() {
        // Not every host filesystem has them.
        return Ok(());
    }
    assert_eq!(m.byte(frames.start + PAGE_SIZE)?, 0);
    let hole = m.map(1, false)?;
    assert_eq!((hole.len(), m.byte(hole.start)?), (PAGE_SIZE, 0));
    assert_eq!(m.byte(m.map(2, false)?.start)?, 7);
    Ok(())
}

#[test]
fn a_file_that_only_a_writable_descriptor_leads_to_is_copied() -> Result<(), Errno> {
    let fs = Fixture::new(true, Sharing::Exclusive)?;
    fs.memory.use_host_files()?;
    let f = fs.make(&fs.dir(), "f", NodeKind::Regular)?;
    let file = fs.open(&f, OpenFlags::RDWR)?;
    fs.write(&file, &[7; 100], 0)?;
    fs.dir().ops().unlink(&fs.dir(), &fs.ctx, b"f", &f)?;
    let pages = file.ops().mmap(&file)?;
    let frames = pages.map_pages(0, PAGE_SIZE, false).map_err(|_| EIO)?;
    assert!(fs.memory.allocated() > 0);
    fs.memory.write_at(frames.start, &[8])?;
    assert_eq!(fs.read(&file, 1, 0)?, [7]);
    Ok(())
}

#[test]
fn what_nobody_maps_does_not_stay_for_good() -> Result<(), Errno> {
    let fs = Fixture::new(false, Sharing::Exclusive)?;
    fs.memory.use_host_files()?;
    let (mut inodes, mut places) = (Vec::new(), BTreeSet::new());
    for n in 0..40 {
        fs.put(&format!("f{n}"), &[n; 100])?;
        let f = fs.walk(&format!("f{n}"))?;
        let file = fs.open(&f, OpenFlags::default())?;
        let frames = file.ops().mmap(&file)?.map_pages(0, PAGE_SIZE, false).map_err(|_| EIO)?;
        fs.memory.dec_ref(frames);
        inodes.push(f);
        places.insert(frames.start);
    }
    // What one has left is another's.
    assert!((8..=20).contains(&places.len()), "{places:?}");
    assert_eq!(fs.memory.allocated(), 0);
    Ok(())
}
