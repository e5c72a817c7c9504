//! Contents against a plain vector of bytes.

use super::{Fixture, node};
use crate::inode::tmpfs_inode;
use fs_vfs::{IoFlags, NodeKind, SetAttr};
use proptest::prelude::*;
use sentry_mm::{MapFault, Mappable, PAGE_SIZE};
use sentry_uapi::Errno;
use sentry_uapi::errno::{EFBIG, ENOSPC, ENXIO, EOPNOTSUPP};
use sentry_uapi::falloc::{FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE};
use sentry_uapi::fcntl::OpenFlags;

#[derive(Clone, Debug)]
enum Op {
    Write { at: u64, len: usize, byte: u8 },
    Append { len: usize, byte: u8 },
    Truncate(u64),
    Punch { at: u64, len: u64 },
    Allocate { at: u64, len: u64, keep: bool },
    Fault { at: u64 },
    Read { at: u64, len: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0u64..200_000;
    prop_oneof![
        3 => (at.clone(), 1usize..70_000, any::<u8>()).prop_map(|(at, len, byte)| Op::Write { at, len, byte }),
        2 => (1usize..9_000, any::<u8>()).prop_map(|(len, byte)| Op::Append { len, byte }),
        1 => at.clone().prop_map(Op::Truncate),
        1 => (at.clone(), 1u64..50_000).prop_map(|(at, len)| Op::Punch { at, len }),
        1 => (at.clone(), 1u64..50_000, any::<bool>()).prop_map(|(at, len, keep)| Op::Allocate { at, len, keep }),
        1 => at.clone().prop_map(|at| Op::Fault { at }),
        3 => (at, 1usize..100_000).prop_map(|(at, len)| Op::Read { at, len }),
    ]
}

fn run(ops: &[Op]) -> Result<(), Errno> {
    let fs = Fixture::new("")?;
    let inode = fs.make("f", NodeKind::Regular)?;
    let file = fs.open(&inode, OpenFlags::RDWR)?;
    let appender = fs.open(&inode, OpenFlags::RDWR | OpenFlags::APPEND)?;
    let data = tmpfs_inode(&inode)?.regular()?.clone();
    let mut model: Vec<u8> = Vec::new();
    for op in ops {
        match op {
            Op::Write { at, len, byte } => {
                assert_eq!(fs.write(&file, &vec![*byte; *len], *at), Ok(*len));
                let at = usize::try_from(*at).map_err(|_| EFBIG)?;
                model.resize(model.len().max(at + len), 0);
                model[at..at + len].fill(*byte);
            }
            Op::Append { len, byte } => {
                assert_eq!(fs.write(&appender, &vec![*byte; *len], 7), Ok(*len));
                model.resize(model.len() + len, *byte);
            }
            Op::Truncate(size) => {
                inode.ops().setattr(&inode, &SetAttr { size: Some(*size), ..SetAttr::default() })?;
                model.resize(usize::try_from(*size).map_err(|_| EFBIG)?, 0);
            }
            Op::Punch { at, len } => {
                file.ops().fallocate(&file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, *at, *len)?;
                let at = usize::try_from(*at).map_err(|_| EFBIG)?;
                let end = model.len().min(at + usize::try_from(*len).map_err(|_| EFBIG)?);
                if at < end {
                    model[at..end].fill(0);
                }
            }
            Op::Allocate { at, len, keep } => {
                file.ops().fallocate(&file, if *keep { FALLOC_FL_KEEP_SIZE } else { 0 }, *at, *len)?;
                let end = usize::try_from(at + len).map_err(|_| EFBIG)?;
                if !keep && end > model.len() {
                    model.resize(end, 0);
                }
            }
            Op::Fault { at } => {
                let at = at & !(PAGE_SIZE - 1);
                match data.map_pages(at, 1 << 20, true) {
                    Ok(frames) => {
                        let mut page = vec![0; 4096];
                        fs.memory.read_at(frames.start, &mut page)?;
                        let at = usize::try_from(at).map_err(|_| EFBIG)?;
                        let have = &model[at..model.len().min(at + 4096)];
                        assert_eq!(&page[..have.len()], have);
                        fs.memory.dec_ref(frames);
                    }
                    Err(e) => {
                        assert_eq!(e, MapFault::Bus);
                        assert!(usize::try_from(at).map_err(|_| EFBIG)? >= model.len());
                    }
                }
            }
            Op::Read { at, len } => {
                let at_index = usize::try_from(*at).map_err(|_| EFBIG)?.min(model.len());
                let end = model.len().min(at_index + len);
                assert_eq!(fs.read(&file, *len, *at)?, &model[at_index..end]);
            }
        }
        let attr = inode.getattr()?;
        assert_eq!(usize::try_from(attr.size), Ok(model.len()));
        // SEEK_DATA never skips bytes that are not zero; SEEK_HOLE never points at some.
        if let Some(first) = model.iter().position(|b| *b != 0) {
            assert!(usize::try_from(file.ops().seek_data(&file, 0, false)?).map_err(|_| EFBIG)? <= first);
            let hole = usize::try_from(file.ops().seek_data(&file, 0, true)?).map_err(|_| EFBIG)?;
            assert!(model.get(hole).is_none_or(|b| *b == 0));
        }
    }
    let size = model.len();
    assert_eq!(fs.read(&file, size + 10, 0)?, model);
    drop((file, appender, data));
    let dir = fs.dir();
    dir.ops().unlink(&dir, &fs.ctx, b"f", &inode)?;
    drop(inode);
    assert_eq!(fs.memory.allocated(), 0);
    assert_eq!(dir.sb().ops.statfs().blocks_free, dir.sb().ops.statfs().blocks);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn contents_agree_with_a_vector(ops in prop::collection::vec(op(), 1..25)) {
        prop_assert_eq!(run(&ops), Ok(()));
    }
}

#[test]
fn a_growing_file_stays_in_one_piece() -> Result<(), Errno> {
    let fs = Fixture::new("")?;
    let (a, b) = (fs.make("a", NodeKind::Regular)?, fs.make("b", NodeKind::Regular)?);
    let (fa, fb) = (fs.open(&a, OpenFlags::RDWR)?, fs.open(&b, OpenFlags::RDWR)?);
    for page in 0..256 {
        fs.write(&fa, &[1; 4096], page * PAGE_SIZE)?;
        fs.write(&fb, &[2; 4096], page * PAGE_SIZE)?;
    }
    let data = tmpfs_inode(&a)?.regular()?.clone();
    let (mut at, mut pieces) = (0, 0);
    while at < 256 * PAGE_SIZE {
        let Ok(frames) = data.map_pages(at, u64::MAX, false) else { unreachable!("within the file") };
        fs.memory.dec_ref(frames);
        at += frames.len();
        pieces += 1;
    }
    assert!(pieces <= 10, "{pieces} pieces");
    assert_eq!(a.getattr()?.blocks, 2048);
    Ok(())
}

#[test]
fn room_runs_out_at_the_limit_and_comes_back() -> Result<(), Errno> {
    let fs = Fixture::new("size=64k")?;
    let f = fs.make("f", NodeKind::Regular)?;
    let file = fs.open(&f, OpenFlags::RDWR)?;
    assert_eq!(fs.write(&file, &[1; 100_000], 0), Ok(65536));
    assert_eq!(fs.write(&file, &[1], 65536), Err(ENOSPC));
    assert_eq!(fs.write(&file, &[1; 65536], 0), Ok(65536));
    assert_eq!(file.ops().fallocate(&file, 0, 0, 1 << 20), Err(ENOSPC));
    let change = SetAttr { size: Some(1), ..SetAttr::default() };
    f.ops().setattr(&f, &change)?;
    assert_eq!(file.ops().fallocate(&file, 0, 60_000, 10_000), Ok(()));
    assert_eq!(f.getattr()?.size, 70_000);
    assert_eq!(file.ops().fallocate(&file, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), Err(EOPNOTSUPP));
    assert_eq!(fs.dir().sb().ops.statfs().blocks_free, 16 - 1 - 4);
    Ok(())
}

#[test]
fn holes_and_data_are_found() -> Result<(), Errno> {
    let fs = Fixture::new("")?;
    let f = fs.make("f", NodeKind::Regular)?;
    let file = fs.open(&f, OpenFlags::RDWR)?;
    fs.write(&file, b"x", 3 * PAGE_SIZE)?;
    assert_eq!(file.lseek(0, 3), Ok(3 * PAGE_SIZE));
    assert_eq!(file.lseek(0, 4), Ok(0));
    let hole = i64::try_from(3 * PAGE_SIZE).map_err(|_| EFBIG)?;
    assert_eq!(file.lseek(hole, 4), Ok(3 * PAGE_SIZE + 1));
    assert_eq!(file.lseek(hole + 1, 3), Err(ENXIO));
    assert_eq!(f.getattr()?.blocks, 8);
    Ok(())
}

#[test]
fn writing_strips_set_id_bits_of_those_without_the_right() -> Result<(), Errno> {
    let fs = Fixture::new("")?;
    let dir = fs.dir();
    let mut new = node(NodeKind::Regular);
    new.perm = 0o6775;
    let f = dir.ops().create(&dir, &fs.ctx, b"suid", new)?;
    let file = fs.open(&f, OpenFlags::RDWR)?;
    fs.write(&file, b"x", 0)?;
    assert_eq!(f.getattr()?.perm, 0o6775);
    let user = sentry_auth::Cred::user(
        fs.ctx.cred.user_ns.clone(),
        sentry_auth::Kuid::from_global(5),
        sentry_auth::Kgid::from_global(5),
        sentry_auth::GroupInfo::default(),
    );
    let other = fs.ctx.sibling(2, user);
    file.write_at(&other, &mut sentry_mm::IoSrc::from_slice(b"y"), 0, IoFlags::empty())?;
    assert_eq!(f.getattr()?.perm, 0o775);
    Ok(())
}
